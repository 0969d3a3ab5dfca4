"""The op table: every op of tracejit, each defined in one place."""

from tracejit.ops import (
    arithmetic,
    choice,
    contractions,
    control,
    gathering,
    reductions,
    sources,
    transcendental,
    views,
)
from tracejit.ops.table import OPS, SPELLINGS, Op, register

__all__ = [
    "OPS",
    "SPELLINGS",
    "Op",
    "arithmetic",
    "choice",
    "contractions",
    "control",
    "gathering",
    "reductions",
    "register",
    "sources",
    "transcendental",
    "views",
]
