"""NumPy's own loops, called in the graph because their result's type is known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.trace.array_functions.choice import where_function
from tracejit.trace.array_functions.shapes import (
    broadcast_arrays,
    copy_function,
    reshape,
)
from tracejit.trace.array_functions.statistics import (
    _keep,
)
from tracejit.trace.dispatch import asarray, implements, write_out
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.record import (
    as_tracer,
    expand,
    normalize_axes,
)
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer


def _same_type(function: Any, dtype: Any = None) -> None:
    def call(a: Any, *args: Any, **options: Any) -> Any:
        tracer = asarray(a)
        if ("axis" in options and options["axis"] is None) or (args and args[0] is None) or tracer.ndim == 0:
            return interrupt_call(function, (a, *args), options)
        return call_node(function, (tracer, *args), options, tracer.symbolic_shape, dtype or tracer.dtype)

    implements(function)(call)


_same_type(np.sort)
_same_type(np.argsort, np.dtype(np.intp))


def _cumulative(function: Any, ufunc: np.ufunc) -> None:
    def call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        tracer = asarray(a)
        if axis is None:
            tracer, axis = reshape(tracer, (-1,)), 0
        small = tracer.dtype.kind in "biu" and tracer.dtype.itemsize < 8
        target = (
            np.dtype(dtype)
            if dtype is not None
            else np.result_type(tracer.dtype, np.uint64 if tracer.dtype.kind == "u" else np.int64)
            if small
            else tracer.dtype
        )
        result = call_node(function, (tracer,), {"axis": axis, "dtype": target}, tracer.symbolic_shape, target)
        return result if out is None else write_out(out, result)

    implements(function)(call)


_cumulative(np.cumsum, np.add)
_cumulative(np.cumprod, np.multiply)


def _arg_reduction(function: Any) -> None:
    def call(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        tracer = asarray(a)
        if axis is None:
            tracer = reshape(tracer, (-1,))
        axes = normalize_axes(0 if axis is None else axis, tracer.ndim)
        if current().equal(tracer.symbolic_shape[axes[0]], 0):
            raise ValueError(f"attempt to get {function.__name__} of an empty sequence")
        kept = tuple(d for p, d in enumerate(tracer.symbolic_shape) if p not in axes)
        result = call_node(function, (tracer,), {"axis": axes[0]}, kept, np.intp, scalar=not kept)
        result = expand(result, axes) if _keep(keepdims) and axis is not None else result
        return result if out is None else write_out(out, result)

    implements(function)(call)


_arg_reduction(np.argmax)
_arg_reduction(np.argmin)


@implements(np.result_type)
def result_type(*items: Any) -> Any:
    return np.result_type(*(item.dtype if isinstance(item, Tracer) else getattr(item, "value", item) for item in items))


@implements(np.can_cast)
def can_cast(source: Any, target: Any, casting: Any = "safe") -> bool:
    return np.can_cast(getattr(source, "dtype", source), target, casting)


@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    target = as_tracer(current(), dst)
    target[...] = src if where is True else where_function(where, src, target)


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    return asarray(x).dtype.kind == "c"


@implements(np.shares_memory, np.may_share_memory)
def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return isinstance(a, Tracer) and isinstance(b, Tracer) and a.storage is b.storage


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    tracers = [reshape(value, (-1,)) for value in xi]
    rank = len(tracers)
    shaped = []
    for position, tracer in enumerate(tracers):
        axis = {0: 1, 1: 0}.get(position, position) if indexing == "xy" and rank > 1 else position
        shaped.append(tracer[tuple(slice(None) if p == axis else None for p in range(rank))])
    if sparse:
        return tuple(shaped)
    return tuple(copy_function(grid) for grid in broadcast_arrays(*shaped))
