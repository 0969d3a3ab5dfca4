"""Whether arrays are equal, or nearly: np.isclose, np.allclose, np.array_equal."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import where
from tracejit.trace.state import current


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: Any = False) -> Any:
    x, y = asarray(a), asarray(b)
    if x.dtype.kind not in "biuf" or y.dtype.kind not in "biuf":
        return interrupt_call(np.isclose, (a, b, rtol, atol, equal_nan), {})
    if y.dtype.kind != "f":
        y = asarray(y.astype(np.result_type(y.dtype, 1.0)))
    near = np.less_equal(np.abs(np.subtract(x, y)), np.add(atol, np.multiply(rtol, np.abs(y))))
    finite = np.isfinite(y)
    result = where(finite, near, np.equal(x, y))
    return result | (np.isnan(x) & np.isnan(y)) if equal_nan else result


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: Any = False) -> bool:
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    x, y = asarray(a1), asarray(a2)
    if x.ndim != y.ndim or not all(map(current().equal, x.symbolic_shape, y.symbolic_shape)):
        return False
    same = np.equal(x, y)
    if equal_nan and x.dtype.kind in "fc" and y.dtype.kind in "fc":
        same = same | (np.isnan(x) & np.isnan(y))
    return bool(np.all(same))
