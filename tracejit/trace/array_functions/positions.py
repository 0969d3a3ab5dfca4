"""Positions of extrema in terms of reductions: where along an axis the extremum, or the first NaN, stands first.

np.argmax(x, axis)   ->   m = np.max(x, axis, keepdims=True)
                          np.min(np.where(np.where(isnan(m), isnan(x), x == m), positions along the axis, large), axis)

Both reductions are stages of one kernel, the second reading a row that is still in cache.
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
from tracejit.trace.opaque import call_node
from tracejit.trace.record import KERNEL_DTYPES, cast, elementwise, expand, normalize_axes, reduce, where
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer, fresh


def _arg_reduction(function: Any, extremum: str) -> None:
    def call(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        tracer = asarray(a)
        axes = normalize_axes(axis, tracer.ndim)
        length = sizes.product(tuple(tracer.symbolic_shape[p] for p in axes))
        if current().equal(length, 0):
            raise ValueError(f"attempt to get {function.__name__} of an empty sequence")
        # Two passes over a whole array in memory are slower than NumPy's one.
        on_gpu = getattr(current().device, "kind", "cpu") != "cpu"
        whole_in_memory = len(axes) == tracer.ndim and tracer.node.kind != "elementwise" and not on_gpu
        if whole_in_memory or tracer.dtype not in KERNEL_DTYPES:
            result = _called(function, tracer, None if axis is None else axes[0])
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


_arg_reduction(np.argmax, "max")
_arg_reduction(np.argmin, "min")
