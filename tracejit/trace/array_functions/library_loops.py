"""NumPy's own loops, called in the graph because their result's type is known beforehand."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.trace.array_functions.choice import where_function
from tracejit.trace.array_functions.shapes import (
    broadcast_arrays,
    copy_function,
    reshape,
)
from tracejit.trace.array_functions.statistics import (
    kept,
)
from tracejit.trace.dispatch import asarray, implements, write_out
from tracejit.trace.number import HostNumber, wrap
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.protocol import Traced
from tracejit.trace.record import (
    as_tracer,
    expand,
    normalize_axes,
)
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer


def _same_shape(function: Any, dtype: Any = None) -> None:
    """A function along an axis whose result has the array's shape, and its dtype if none is given."""

    def call(a: Any, *args: Any, **options: Any) -> Any:
        tracer, given = asarray(a), signature.bind(a, *args, **options).arguments
        axis = given.get("axis", -1)
        if axis is None or tracer.ndim == 0 or given.get("order") is not None:
            return interrupt_call(function, (a, *args), options)
        # The axis is told by name and from the end, where it stays if axes are added in front.
        (axis,) = normalize_axes(axis, tracer.ndim)
        rest = {key: value for key, value in given.items() if key not in ("a", "axis", "order") and value is not None}
        first = (tracer, rest.pop("kth")) if "kth" in rest else (tracer,)
        options = {"axis": axis - tracer.ndim, **rest}
        return call_node(function, first, options, tracer.symbolic_shape, dtype or tracer.dtype)

    signature = inspect.signature(function)
    implements(function)(call)


_same_shape(np.sort)
_same_shape(np.argsort, np.dtype(np.intp))
_same_shape(np.partition)
_same_shape(np.argpartition, np.dtype(np.intp))


def _axes_last(tracer: Tracer, axis: Any) -> tuple[Tracer, tuple[int, ...]]:
    """The array with the axes that a function goes over as one, the last; and which they were."""
    axes = normalize_axes(axis, tracer.ndim)
    others = [position for position in range(tracer.ndim) if position not in axes]
    moved = tracer.transpose([*others, *axes]) if tracer.ndim else tracer
    length = wrap(current(), sizes.product(tuple(tracer.symbolic_shape[position] for position in axes)))
    shape = tuple(tracer.shape[position] for position in others)
    return reshape(moved, (*shape, length)) if len(axes) != 1 else moved, axes


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    tracer = asarray(a)
    if tracer.dtype.kind not in "biuf":
        return interrupt_call(np.median, (a,), {"axis": axis, "keepdims": kept(keepdims)})
    flat, axes = _axes_last(tracer, axis)
    rest = flat.symbolic_shape[:-1]
    dtype = np.median(np.ones(1, tracer.dtype)).dtype
    result = call_node(np.median, (flat,), {"axis": -1}, rest, dtype, scalar=not rest)
    result = expand(result, axes) if kept(keepdims) and axes else result
    return result if out is None else write_out(out, result)


def _quantile(function: Any) -> None:
    def call(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
    ) -> Any:
        tracer, shares = asarray(a), _plain_shares(q)
        if tracer.dtype.kind not in "biuf" or weights is not None or shares is None:
            extra = {"axis": axis, "method": method, "keepdims": kept(keepdims), "weights": weights}
            return interrupt_call(function, (a, q), extra)
        flat, axes = _axes_last(tracer, axis)
        # One element tells the dtype of the result, and what is wrong with q or the method.
        count = np.ndim(shares)
        probe = function(np.ones(1, tracer.dtype), shares, method=method)
        shape = (*probe.shape, *flat.symbolic_shape[:-1])
        options = {"axis": -1, "method": method}
        result = call_node(function, (flat, q if count == 0 else shares), options, shape, probe.dtype, scalar=not shape)
        result = expand(result, tuple(axis + count for axis in axes)) if kept(keepdims) and axes else result
        return result if out is None else write_out(out, result)

    implements(function)(call)


def _plain_shares(q: Any) -> Any:
    """A number, or a list of numbers; None for what is only known later."""
    if isinstance(q, HostNumber):
        return q.value
    unknown = isinstance(q, (list, tuple)) and any(isinstance(value, Traced) for value in q)
    if isinstance(q, Tracer) or unknown or np.ndim(q) > 1:
        return None
    return np.asarray(q).tolist()


_quantile(np.quantile)
_quantile(np.percentile)


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    tracer, edges = asarray(x), asarray(bins)
    if edges.ndim != 1:
        return interrupt_call(np.digitize, (x, bins, right), {})
    shape = tracer.symbolic_shape
    return call_node(np.digitize, (tracer, edges), {"right": bool(right)}, shape, np.intp, scalar=not shape)


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
