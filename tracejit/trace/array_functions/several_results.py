"""Ufuncs of several results, each of which is an op: one kernel has them all."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ops.table import OPS
from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import KERNEL_DTYPES, elementwise, where


@implements(np.divmod)
def divmod_function(x1: Any, x2: Any, **options: Any) -> Any:
    kernels = all(getattr(x, "dtype", np.dtype(float)) in KERNEL_DTYPES for x in (x1, x2))
    if options or not kernels:
        return interrupt_call(np.divmod, (x1, x2), options)
    return elementwise(OPS["floor_divide"], x1, x2), elementwise(OPS["remainder"], x1, x2)


@implements(np.modf)
def modf(x: Any, **options: Any) -> Any:
    tracer = asarray(x)
    if options or tracer.dtype.kind != "f":
        return interrupt_call(np.modf, (x,), options)
    whole = elementwise(OPS["trunc"], tracer)
    # An infinity has no part behind the point; zeros keep the sign.
    part = where(np.isinf(tracer), tracer.dtype.type(0), np.subtract(tracer, whole))
    return np.copysign(part, tracer), whole
