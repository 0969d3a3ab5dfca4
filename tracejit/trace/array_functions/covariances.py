"""np.cov and np.corrcoef: means, and a product of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer


def _variables(value: Any, rowvar: bool) -> Tracer:
    """A row for each variable."""
    tracer = asarray(value)
    rows = tracer.astype(np.float64, copy=False)
    if tracer.ndim < 2:
        return asarray(rows.reshape(1, -1))
    return asarray(rows if rowvar else rows.T)


def _is_plain(m: Any, y: Any, options: dict[str, Any]) -> bool:
    """Whether it is a covariance of real numbers, without weights."""
    weights = any(options.get(name) is not None for name in ("fweights", "aweights", "dtype"))
    operands = [asarray(value) for value in (m, y) if value is not None]
    return not weights and all(x.ndim in (1, 2) and x.dtype.kind in "biuf" for x in operands)


def _covariance(rows: Tracer, ddof: int) -> Any:
    centred = rows - np.mean(rows, axis=1, keepdims=True)
    return np.matmul(centred, np.transpose(centred)) * (1 / (rows.shape[1] - ddof))


def _of_variables(m: Any, y: Any, rowvar: Any, bias: Any, ddof: Any, options: dict[str, Any]) -> Any:
    """The covariances, one row and column for each variable; None where NumPy is asked."""
    if not _is_plain(m, y, options) or type(ddof) not in (type(None), int):
        return None
    rows = _variables(m, bool(rowvar))
    if y is not None:
        rows = asarray(np.concatenate([rows, _variables(y, bool(rowvar))]))
    taken = ddof if ddof is not None else 0 if bias else 1
    if not current().less(taken, rows.symbolic_shape[1]) or not current().less(0, rows.symbolic_shape[0]):
        return None  # NumPy has a warning for it
    return _covariance(rows, taken)


@implements(np.cov)
def cov(
    m: Any, y: Any = None, rowvar: Any = True, bias: Any = False, ddof: Any = None, *weights: Any, **options: Any
) -> Any:
    options = {**dict(zip(("fweights", "aweights"), weights, strict=False)), **options}
    found = _of_variables(m, y, rowvar, bias, ddof, options)
    if found is None:
        return interrupt_call(np.cov, (m, y, rowvar, bias, ddof), options)
    return np.squeeze(found)


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: Any = True, *old: Any, **options: Any) -> Any:
    found = None if old or set(options) - {"dtype"} else _of_variables(x, y, rowvar, False, None, options)
    if found is None:
        return interrupt_call(np.corrcoef, (x, y, rowvar, *old), options)
    deviations = np.sqrt(np.diagonal(found))
    return np.squeeze(np.clip(found / deviations[:, None] / deviations[None, :], -1, 1))
