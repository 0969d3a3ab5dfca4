"""Positions along an axis, in compiled code too: layers are no code of the user's, where `np` is stood in for."""

from __future__ import annotations

from typing import Any

from tracejit.trace.standin import STANDIN


def positions(length: Any) -> Any:
    """np.arange(length): int64 (length,), computed where it is used if the length is one of a trace."""
    return STANDIN.arange(length)
