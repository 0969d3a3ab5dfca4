"""The ops that are not arithmetic: sources, views, updates, choice, reductions, and calls of NumPy."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.ops.table import Op, register
from tracejit.vecmath import language as sl
from tracejit.vecmath.language import Scalar

register(Op("input", "source", doc="An array argument of the segment, by position."))
register(Op("scalar", "source", doc="A Python number computed on the host from arguments and sizes."))
register(Op("constant", "source", doc="A literal array, held as bytes."))
register(Op("empty", "source", doc="Uninitialized memory of a shape; the start of a chain of updates."))
register(Op("iota", "source", doc="0, 1, 2, ... along one axis."))
register(
    Op("view", "view", doc="Affine indexing: slices, flips, transposes, broadcasts and inserted axes are all this.")
)
register(Op("reshape", "view", doc="The same elements in C order under another shape."))
register(Op("update", "update", doc="The base with the elements under an affine view replaced."))
register(Op("gather", "gather", doc="Elements at computed positions of some axes.", cost=4))
register(Op("matmul", "contract", reference=np.matmul, doc="Matrix product, by NumPy's own BLAS."))
register(Op("call", "call", doc="A NumPy function without a kernel, called between kernels."))


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


def _sum(accumulator: Scalar, value: Scalar) -> Scalar:
    return accumulator | value if value.dtype.kind == "b" else accumulator + value


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _max(accumulator: Scalar, value: Scalar) -> Scalar:
    return accumulator | value if value.dtype.kind == "b" else sl.maximum(accumulator, value)


def _min(accumulator: Scalar, value: Scalar) -> Scalar:
    return accumulator & value if value.dtype.kind == "b" else sl.minimum(accumulator, value)


register(
    Op(
        "sum",
        "reduce",
        ("numpy.sum",),
        np.sum,
        _sum,
        np.add,
        identity=lambda dtype: 0,
        compensated=True,
        doc="Sum over axes; floats as accurately as pairwise summation.",
    )
)
register(
    Op("prod", "reduce", ("numpy.prod",), np.prod, operator.mul, np.multiply, identity=lambda dtype: 1, doc="Product.")
)
register(
    Op(
        "max",
        "reduce",
        ("numpy.max", "numpy.amax"),
        np.max,
        _max,
        np.maximum,
        identity=_lowest,
        doc="Largest; NaN if any.",
    )
)
register(
    Op(
        "min",
        "reduce",
        ("numpy.min", "numpy.amin"),
        np.min,
        _min,
        np.minimum,
        identity=_highest,
        doc="Smallest; NaN if any.",
    )
)
register(
    Op(
        "any",
        "reduce",
        ("numpy.any",),
        np.any,
        operator.or_,
        np.logical_or,
        identity=lambda dtype: False,
        doc="Any true.",
    )
)
register(
    Op(
        "all",
        "reduce",
        ("numpy.all",),
        np.all,
        operator.and_,
        np.logical_and,
        identity=lambda dtype: True,
        doc="All true.",
    )
)
