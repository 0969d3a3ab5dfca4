"""Conversion and choice."""

from __future__ import annotations

from tracejit.ops.table import Op, register
from tracejit.vecmath import language as sl
from tracejit.vecmath.language import Scalar


def _cast(x: Scalar, *, dtype: str) -> Scalar:
    return sl.cast(x, dtype)


register(Op("cast", "elementwise", scalar=_cast, symbol="{0}.astype({dtype})", doc="astype."))
register(
    Op(
        "where",
        "elementwise",
        scalar=sl.select,
        symbol="({1} if {0} else {2})",
        doc="x where the condition holds, else y.",
    )
)
