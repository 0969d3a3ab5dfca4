"""Statistics in terms of reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ops.table import OPS
from tracejit.trace.dispatch import asarray, implements, write_out
from tracejit.trace.number import wrap
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import (
    broadcast,
    elementwise,
    normalize_axes,
    reduce,
    where,
)
from tracejit.trace.record import where as choose
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer, fresh


@implements(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = np._NoValue
) -> Any:
    tracer = asarray(a)
    work, count = _mean_dtype(tracer.dtype, dtype), None
    if where is not np._NoValue and where is not True:
        tracer = asarray(choose(where, tracer, 0))
        chosen = choose(where, np.ones_like(tracer, dtype=work), 0)
        count = reduce(OPS["sum"], chosen, axis, kept(keepdims), work)
    total = reduce(OPS["sum"], tracer, axis, kept(keepdims), work)
    result = elementwise(OPS["divide"], total, _count(tracer, axis) if count is None else count)
    if dtype is None and tracer.dtype == np.float16:
        result = result.astype(np.float16)
    return result if out is None else write_out(out, result)


def kept(keepdims: Any) -> bool:
    """NumPy's `keepdims` argument as a bool."""
    return bool(keepdims) if keepdims is not np._NoValue else False


def _mean_dtype(given: np.dtype[Any], dtype: Any) -> Any:
    if dtype is not None:
        return np.dtype(dtype)
    return np.dtype(np.float64) if given.kind in "biu" else np.dtype(np.float32) if given == np.float16 else given


def _count(tracer: Tracer, axis: Any) -> Any:
    axes = normalize_axes(axis, tracer.ndim)
    return wrap(current(), sizes.product(tuple(tracer.symbolic_shape[p] for p in axes)))


@implements(np.var)
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, **options: Any
) -> Any:
    tracer = asarray(a)
    ddof = options.pop("correction", ddof)
    if options or tracer.dtype.kind == "c":
        return interrupt_call(
            np.var, (a,), {"axis": axis, "dtype": dtype, "ddof": ddof, "keepdims": keepdims, **options}
        )
    work = tracer.astype(_mean_dtype(tracer.dtype, dtype), copy=False)
    count = _count(tracer, axis)
    center = elementwise(OPS["divide"], reduce(OPS["sum"], work, axis, True), count)
    difference = elementwise(OPS["subtract"], work, center)
    total = reduce(OPS["sum"], elementwise(OPS["square"], difference), axis, kept(keepdims))
    divisor = count - ddof
    result = elementwise(OPS["divide"], total, divisor if divisor > 0 else 0)
    if dtype is None and tracer.dtype == np.float16:
        result = result.astype(np.float16)
    return result if out is None else write_out(out, result)


@implements(np.std)
def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, **options: Any
) -> Any:
    # Of equal elements the least, and flat there; var's slope is zero.
    result = elementwise(OPS["norm_root"], var(a, axis, dtype, None, ddof, keepdims, **options))
    return result if out is None else write_out(out, result)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    high = reduce(OPS["max"], a, axis, kept(keepdims))
    result = elementwise(OPS["subtract"], high, reduce(OPS["min"], a, axis, kept(keepdims)))
    return result if out is None else write_out(out, result)


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    tracer = asarray(a)
    return reduce(OPS["sum"], tracer.astype(bool), axis, keepdims, np.int64)


@implements(np.nansum)
def nansum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    tracer = asarray(a)
    clean = where(np.isnan(tracer), 0, tracer) if tracer.dtype.kind == "f" else tracer
    result = reduce(OPS["sum"], clean, axis, kept(keepdims), dtype)
    return result if out is None else write_out(out, result)


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    if weights is None and not returned:
        return mean(a, axis, keepdims=keepdims)
    tracer = asarray(a)
    heavy = asarray(1 if weights is None else weights)
    if weights is not None and heavy.ndim != tracer.ndim:
        if heavy.ndim != 1 or not isinstance(axis, int):
            return interrupt_call(
                np.average, (a,), {"axis": axis, "weights": weights, "returned": returned, "keepdims": kept(keepdims)}
            )
        (place,) = normalize_axes(axis, tracer.ndim)
        heavy = heavy[tuple(slice(None) if p == place else None for p in range(tracer.ndim))]
    trace, exact = current(), tracer.dtype.kind in "biu"
    dtype = np.result_type(tracer.dtype, heavy.dtype, *([np.float64] if exact else []))
    spread = fresh(trace, broadcast(trace, heavy.astype(dtype).node, tracer.symbolic_shape))
    share = reduce(OPS["sum"], spread, axis, kept(keepdims))
    total = reduce(OPS["sum"], elementwise(OPS["multiply"], tracer, spread), axis, kept(keepdims))
    result = elementwise(OPS["divide"], total, share)
    return (result, share) if returned else result
