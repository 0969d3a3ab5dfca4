"""Statistics that leave NaN out; of integers they are the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.ops.table import OPS
from tracejit.trace.array_functions.statistics import kept
from tracejit.trace.dispatch import asarray, implements, write_out
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import elementwise, reduce, where
from tracejit.trace.tracer import Tracer


def _without_nan(plain: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Arguments as NumPy has them: other arrays than floats go to the plain function, rare options to NumPy."""

    def bind(ours: Callable[..., Any]) -> Callable[..., Any]:
        function = getattr(np, f"nan{plain.__name__}")

        def call(a: Any, axis: Any = None, **options: Any) -> Any:
            tracer = asarray(a)
            out, keepdims = options.pop("out", None), kept(options.pop("keepdims", False))
            if tracer.dtype.kind != "f" or tracer.dtype == np.float16 or set(options) - {"ddof"}:
                target = plain if tracer.dtype.kind in "biu" else None
                call = target or (lambda *args, **rest: interrupt_call(function, args, rest))
                result = call(a, axis=axis, keepdims=keepdims, **options)
            else:
                result = ours(tracer, axis, keepdims, **options)
                result.scalar = not result.ndim
            return result if out is None else write_out(out, result)

        implements(function)(call)
        return ours

    return bind


def _holes(tracer: Tracer) -> Tracer:
    return elementwise(OPS["isnan"], tracer)


def _count(tracer: Tracer, axis: Any, keepdims: bool) -> Tracer:
    """How many are numbers, in the array's own dtype."""
    return reduce(OPS["sum"], where(_holes(tracer), 0, elementwise(OPS["power"], tracer, 0)), axis, keepdims)


@_without_nan(np.prod)
def nanprod(tracer: Tracer, axis: Any, keepdims: bool) -> Any:
    return reduce(OPS["prod"], where(_holes(tracer), 1, tracer), axis, keepdims)


@_without_nan(np.mean)
def nanmean(tracer: Tracer, axis: Any, keepdims: bool) -> Any:
    total = reduce(OPS["sum"], where(_holes(tracer), 0, tracer), axis, keepdims)
    return elementwise(OPS["divide"], total, _count(tracer, axis, keepdims))


@_without_nan(np.max)
def nanmax(tracer: Tracer, axis: Any, keepdims: bool) -> Any:
    return reduce(OPS["nanmax"], tracer, axis, keepdims)


@_without_nan(np.min)
def nanmin(tracer: Tracer, axis: Any, keepdims: bool) -> Any:
    return reduce(OPS["nanmin"], tracer, axis, keepdims)


@_without_nan(np.var)
def nanvar(tracer: Tracer, axis: Any, keepdims: bool, ddof: Any = 0) -> Any:
    center = nanmean(tracer, axis, True)
    difference = where(_holes(tracer), 0, elementwise(OPS["subtract"], tracer, center))
    count = elementwise(OPS["subtract"], _count(tracer, axis, keepdims), ddof)
    total = reduce(OPS["sum"], np.square(difference), axis, keepdims)
    enough = elementwise(OPS["greater"], count, 0)
    return where(enough, elementwise(OPS["divide"], total, where(enough, count, 1)), np.nan)


@_without_nan(np.std)
def nanstd(tracer: Tracer, axis: Any, keepdims: bool, ddof: Any = 0) -> Any:
    return elementwise(OPS["norm_root"], nanvar(tracer, axis, keepdims, ddof))


def _cumulative(plain: Any, neutral: int) -> None:
    def call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        tracer = asarray(a)
        clean = where(_holes(tracer), neutral, tracer) if tracer.dtype.kind == "f" else tracer
        return plain(clean, axis, dtype, out)

    implements(getattr(np, f"nan{plain.__name__}"))(call)


_cumulative(np.cumsum, 0)
_cumulative(np.cumprod, 1)
