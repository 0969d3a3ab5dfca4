"""The op table: every op of tracejit, each defined in one place."""

from tracejit.ops import arithmetic, structural, transcendental
from tracejit.ops.table import OPS, SPELLINGS, Op, register

__all__ = ["OPS", "SPELLINGS", "Op", "arithmetic", "register", "structural", "transcendental"]
