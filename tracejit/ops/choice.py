"""Conversion and choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ops.table import Op, register
from tracejit.vecmath import language as sl
from tracejit.vecmath.language import Scalar


def _cast(x: Scalar, *, dtype: str) -> Scalar:
    return sl.cast(x, dtype)


def _cast_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    return rules.cast(tangents[0], node.dtype)


def _cast_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    return [rules.cast(cotangent, node.inputs[0].dtype)]


def _where_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    _, yes, no = (0 if tangent is None else tangent for tangent in tangents)
    return rules.choose(node.inputs[0], yes, no, node)


def _where_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    test = node.inputs[0]
    return [None, rules.choose(test, cotangent, 0, node), rules.choose(test, 0, cotangent, node)]


register(
    Op(
        "cast",
        "elementwise",
        scalar=_cast,
        symbol="{0}.astype({dtype})",
        jvp=_cast_jvp,
        vjp=_cast_vjp,
        doc="astype.",
    )
)
register(
    Op(
        "where",
        "elementwise",
        scalar=sl.select,
        symbol="({1} if {0} else {2})",
        jvp=_where_jvp,
        vjp=_where_vjp,
        doc="x where the condition holds, else y.",
    )
)


def _scale(x: Scalar, y: Scalar) -> Scalar:
    return sl.select(x == 0, x, x * y)


def _scaled(x: Any, y: Any) -> Any:
    """The op on arrays; NumPy's copysign has its loops: of floats."""
    dtype = np.copysign(x, y).dtype
    return np.where(np.equal(x, 0), x, np.multiply(x, y, dtype=dtype)).astype(dtype)[()]


def _scale_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    (x, y), (left, right) = node.inputs, tangents
    terms = [rules.apply("scale", left, y)] if left is not None else []
    terms += [rules.apply("scale", x, right)] if right is not None else []
    return terms[0] if len(terms) == 1 else rules.add(*terms)


def _scale_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    x, y = node.inputs
    return [rules.scale(cotangent, y), rules.mark(rules.multiply(cotangent, x))]


register(
    Op(
        "scale",
        "elementwise",
        reference=_scaled,
        scalar=_scale,
        resolve=np.copysign,
        dtypes="f",
        cost=3,
        jvp=_scale_jvp,
        vjp=_scale_vjp,
        doc="x * y, but 0 where x is 0, even if y is infinite or NaN: what a masked cotangent is multiplied by.",
    )
)
