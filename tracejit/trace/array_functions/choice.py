"""Choice, clipping and rounding."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.ops.table import OPS
from tracejit.trace.dispatch import asarray, copy, implements, write_out
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import (
    elementwise,
    where,
)


@implements(np.where)
def where_function(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return interrupt_call(np.where, (condition,), {})
    return where(condition, x, y)


@implements(np.clip)
def clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    out: Any = None,
    *,
    min: Any = None,
    max: Any = None,
    dtype: Any = None,
) -> Any:
    low, high = (a_min if a_min is not None else min), (a_max if a_max is not None else max)
    result = asarray(a)
    if low is not None:
        result = elementwise(OPS["maximum"], result, low, dtype=dtype)
    if high is not None:
        result = elementwise(OPS["minimum"], result, high, dtype=dtype)
    result = copy(result) if low is None and high is None else result
    return result if out is None else write_out(out, result)


@implements(np.round, np.around)
def round_function(a: Any, decimals: int = 0, out: Any = None) -> Any:
    tracer = asarray(a)
    places = operator.index(decimals)
    if tracer.dtype.kind in "biu":
        return interrupt_call(np.round, (a, places), {}) if places < 0 else copy(tracer)
    if places == 0:
        result = elementwise(OPS["rint"], tracer)
    else:
        scale = 10.0 ** abs(places)
        up, down = ("multiply", "divide") if places > 0 else ("divide", "multiply")
        result = elementwise(OPS[down], elementwise(OPS["rint"], elementwise(OPS[up], tracer, scale)), scale)
    return result if out is None else write_out(out, result)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    tracer = asarray(x)
    if tracer.dtype.kind != "f":
        return interrupt_call(np.nan_to_num, (x,), {})
    info = np.finfo(tracer.dtype)
    high, low = (info.max if posinf is None else posinf), (info.min if neginf is None else neginf)
    result = where(np.isnan(tracer), nan, tracer)
    return where(np.equal(result, np.inf), float(high), where(np.equal(result, -np.inf), float(low), result))


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = where(condition, choice, result)
    return result
