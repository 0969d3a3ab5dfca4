"""Reductions over axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ops.table import OPS, Op, register
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


def _larger(accumulator: Scalar, value: Scalar) -> Scalar:
    return sl.select(value > accumulator, value, accumulator)


def _smaller(accumulator: Scalar, value: Scalar) -> Scalar:
    return sl.select(value < accumulator, value, accumulator)


def _largest_number(accumulator: Scalar, value: Scalar) -> Scalar:
    known = sl.select(sl.isnan(value), accumulator, sl.maximum(accumulator, value))
    return sl.select(sl.isnan(accumulator), value, known)


def _smallest_number(accumulator: Scalar, value: Scalar) -> Scalar:
    known = sl.select(sl.isnan(value), accumulator, sl.minimum(accumulator, value))
    return sl.select(sl.isnan(accumulator), value, known)


def _sum_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    return rules.sum(tangents[0], node["axes"])


def _sum_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    return [rules.spread(cotangent, node["axes"], node.inputs[0].shape)]


def _extremum_share(rules: Any, node: Any) -> Any:
    """What of the extremum's slope each element has: ties share it evenly."""
    source, axes = node.inputs[0], node["axes"]
    hit = rules.apply("equal", source, rules.spread(node, axes, source.shape))
    ones = rules.mark(rules.cast(hit, source.dtype))
    return rules.apply("divide", ones, rules.spread(rules.sum(ones, axes), axes, source.shape))


def _extremum_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    share = rules.mark(_extremum_share(rules, node))
    return rules.sum(rules.scale(share, tangents[0]), node["axes"])


def _extremum_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    spread = rules.spread(cotangent, node["axes"], node.inputs[0].shape)
    return [rules.mark(rules.multiply(spread, _extremum_share(rules, node)))]


def _products_of_others(rules: Any, node: Any) -> Any:
    """For each element the product of the others, also where some are zero."""
    source, axes = node.inputs[0], node["axes"]

    def everywhere(reduced: Any) -> Any:
        return rules.spread(reduced, axes, source.shape)

    zero = rules.apply("equal", source, 0)
    count = everywhere(rules.sum(rules.cast(zero, source.dtype), axes))
    safe = rules.choose(zero, 1, source, source)
    product = everywhere(rules.reduce("prod", safe, axes))
    alone = rules.choose(rules.apply("less_equal", count, 1), product, 0, source)
    others = rules.choose(rules.apply("equal", count, 0), rules.apply("divide", product, safe), 0, source)
    return rules.choose(zero, alone, others, source)


def _prod_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    return rules.sum(rules.scale(tangents[0], _products_of_others(rules, node)), node["axes"])


def _prod_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    spread = rules.spread(cotangent, node["axes"], node.inputs[0].shape)
    return [rules.scale(spread, _products_of_others(rules, node))]


def _reduction_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.reduce(node.op, inputs[0], tuple(axis + 1 for axis in node["axes"]))


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
        jvp=_sum_jvp,
        vjp=_sum_vjp,
        batch=_reduction_batch,
        doc="Sum over axes; floats as accurately as pairwise summation.",
    )
)
register(
    Op(
        "prod",
        "reduce",
        ("numpy.prod",),
        np.prod,
        operator.mul,
        np.multiply,
        identity=lambda dtype: 1,
        jvp=_prod_jvp,
        vjp=_prod_vjp,
        batch=_reduction_batch,
        doc="Product.",
    )
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
        of_numbers=_larger,
        jvp=_extremum_jvp,
        vjp=_extremum_vjp,
        batch=_reduction_batch,
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
        of_numbers=_smaller,
        jvp=_extremum_jvp,
        vjp=_extremum_vjp,
        batch=_reduction_batch,
        doc="Smallest; NaN if any.",
    )
)
register(
    Op(
        "nanmax",
        "reduce",
        (),
        np.nanmax,
        _largest_number,
        np.fmax,
        dtypes="f",
        identity=lambda dtype: np.nan,
        of_numbers=_larger,
        skips_nan="max",
        jvp=_extremum_jvp,
        vjp=_extremum_vjp,
        batch=_reduction_batch,
        doc="Largest but for NaN; NaN if there is nothing else.",
    )
)
register(
    Op(
        "nanmin",
        "reduce",
        (),
        np.nanmin,
        _smallest_number,
        np.fmin,
        dtypes="f",
        identity=lambda dtype: np.nan,
        of_numbers=_smaller,
        skips_nan="min",
        jvp=_extremum_jvp,
        vjp=_extremum_vjp,
        batch=_reduction_batch,
        doc="Smallest but for NaN; NaN if there is nothing else.",
    )
)


def _positions_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    function = OPS[node.op].reference

    def each(x: Any) -> Any:
        return function(np.reshape(x, (len(x), -1)), axis=1)  # type: ignore[misc]

    return rules.numpy(each, inputs[0], like=rules.along(node.type))


for _name, _extremum, _reference, _doc in (
    ("first_max", "max", np.argmax, "Position of the first of the largest in a whole array; of NaN if any."),
    ("first_min", "min", np.argmin, "Position of the first of the smallest in a whole array; of NaN if any."),
):
    register(Op(_name, "reduce", (), _reference, position_of=_extremum, batch=_positions_batch, doc=_doc))


register(
    Op(
        "any",
        "reduce",
        ("numpy.any",),
        np.any,
        operator.or_,
        np.logical_or,
        identity=lambda dtype: False,
        decided=True,
        batch=_reduction_batch,
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
        decided=False,
        batch=_reduction_batch,
        doc="All true.",
    )
)
