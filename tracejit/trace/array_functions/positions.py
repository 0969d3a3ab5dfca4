"""Positions of extrema in terms of reductions: where along an axis the extremum, or the first NaN, stands first.

np.argmax(x, axis)   ->   m = np.max(x, axis, keepdims=True)
                          np.min(np.where(np.where(isnan(m), isnan(x), x == m), positions along the axis, large), axis)

Both reductions are stages of one kernel, the second reading a row that is still in cache.  For a whole array on a CPU
there is an op of its own, `first_max`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType
from tracejit.ops.table import OPS
from tracejit.trace.array_functions.shapes import reshape
from tracejit.trace.array_functions.statistics import kept
from tracejit.trace.dispatch import asarray, implements, write_out
from tracejit.trace.number import wrap
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.record import KERNEL_DTYPES, cast, elementwise, expand, normalize_axes, reduce, where
from tracejit.trace.state import current, user_line
from tracejit.trace.tracer import Tracer, fresh


def _arg_reduction(function: Any, extremum: str) -> None:
    def call(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        tracer = asarray(a)
        axes = normalize_axes(axis, tracer.ndim)
        length = sizes.product(tuple(tracer.symbolic_shape[p] for p in axes))
        if current().equal(length, 0):
            raise ValueError(f"attempt to get {function.__name__} of an empty sequence")
        on_gpu = getattr(current().device, "kind", "cpu") != "cpu"
        if tracer.dtype not in KERNEL_DTYPES:
            result = _called(function, tracer, None if axis is None else axes[0])
        elif axes and len(axes) == tracer.ndim and not on_gpu:
            result = _first_of_all(tracer, extremum)
        else:
            result = _first_extremum(tracer, extremum, axes)
        result = expand(result, axes) if kept(keepdims) and axes else result
        return result if out is None else write_out(out, result)

    implements(function)(call)


def _called(function: Any, tracer: Tracer, axis: int | None) -> Tracer:
    """NumPy's own loop."""
    if axis is None:
        tracer, axis = reshape(tracer, (-1,)), 0
    shape = tuple(d for p, d in enumerate(tracer.symbolic_shape) if p != axis)
    return call_node(function, (tracer,), {"axis": axis}, shape, np.intp, scalar=not shape)


def _first_of_all(tracer: Tracer, extremum: str) -> Tracer:
    """The position in a whole array, which one pass over memory finds."""
    trace, axes = current(), tuple(range(tracer.ndim))
    position = ArrayType(np.dtype(np.int64), ())
    node = trace.builder.node(f"first_{extremum}", (tracer.node,), {"axes": axes}, position, user_line())
    result: Tracer = fresh(trace, node, scalar=True).astype(np.intp, copy=False)
    result.scalar = True
    return result


def _first_extremum(tracer: Tracer, extremum: str, axes: tuple[int, ...]) -> Tracer:
    """The least position, counted over `axes` in their order, at which the extremum stands."""
    best = reduce(OPS[extremum], tracer, axes, True)
    hit = elementwise(OPS["equal"], tracer, best)
    if tracer.dtype.kind == "f":
        hit = where(elementwise(OPS["isnan"], best), elementwise(OPS["isnan"], tracer), hit)
    places = _positions(tracer, axes)
    found = reduce(OPS["min"], where(hit, places, np.iinfo(places.dtype).max), axes)
    result: Tracer = found.astype(np.intp, copy=False)
    result.scalar = not result.ndim
    return result


def _positions(tracer: Tracer, axes: tuple[int, ...]) -> Tracer:
    """Positions that broadcast to the array: of 32 bits where they do, for vectors of as many lanes as its own."""
    trace, total = current(), None
    for axis in reversed(axes):
        shape = tuple(d if p == axis else 1 for p, d in enumerate(tracer.symbolic_shape))
        iota = fresh(trace, trace.builder.node("iota", (), {"axis": axis}, ArrayType(np.dtype(np.int64), shape)))
        if total is None:
            total, step = iota, tracer.symbolic_shape[axis]
        else:
            total = elementwise(OPS["add"], total, elementwise(OPS["multiply"], iota, wrap(trace, step)))
            step = sizes.product((step, tracer.symbolic_shape[axis]))
    assert total is not None
    narrow = len(axes) == 1 and tracer.dtype.itemsize <= 4 and trace.less(step, 2**31)
    return cast(total, np.int32) if narrow else total


def _nan_arg_reduction(function: Any, plain: Any, worst: float) -> None:
    """The same without NaN, which stands for the worst that there is; of nothing else there is no position."""

    def call(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        tracer = asarray(a)
        if tracer.dtype.kind == "c":
            return interrupt_call(function, (tracer, axis, out), {"keepdims": kept(keepdims)})
        if tracer.dtype.kind != "f":
            return plain(tracer, axis, out, keepdims=kept(keepdims))
        holes = elementwise(OPS["isnan"], tracer)
        places = plain(where(holes, worst, tracer), axis, keepdims=kept(keepdims))
        empty = np.any(np.all(holes, axis=axis))
        shape, scalar = places.symbolic_shape, places.scalar
        result = call_node(_unless_all_nan, (places, empty), {}, shape, places.dtype, scalar)
        return result if out is None else write_out(out, result)

    implements(function)(call)


def _unless_all_nan(places: Any, empty: Any) -> Any:
    """What NumPy says of slices of nothing but NaN."""
    if empty:
        raise ValueError("All-NaN slice encountered")
    return places


_arg_reduction(np.argmax, "max")
_arg_reduction(np.argmin, "min")
_nan_arg_reduction(np.nanargmax, np.argmax, -np.inf)
_nan_arg_reduction(np.nanargmin, np.argmin, np.inf)
