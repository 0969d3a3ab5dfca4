"""Reductions over axes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.ops.table import Op, register
from tracejit.vecmath import language as sl
from tracejit.vecmath.language import Scalar


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
