"""NumPy's linear algebra, called in the graph where shape and dtype of the result are known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer


def _computed_in(*operands: Tracer) -> np.dtype[Any] | None:
    """The dtype that LAPACK is called in; None where NumPy has none."""
    kinds = [operand.dtype for operand in operands]
    if any(dtype.kind not in "biuf" or dtype == np.float16 for dtype in kinds):
        return None
    return np.dtype(np.float32) if all(dtype == np.float32 for dtype in kinds) else np.dtype(np.float64)


def _is_square(tracer: Tracer) -> bool:
    return tracer.ndim >= 2 and current().equal(tracer.symbolic_shape[-1], tracer.symbolic_shape[-2])


def _of_one_matrix(function: Any, kept: int) -> None:
    """A function of square matrices whose result has all axes of them (kept 2), or none of the last two (0)."""

    def call(a: Any) -> Any:
        tracer = asarray(a)
        dtype = _computed_in(tracer)
        if dtype is None or not _is_square(tracer):
            return interrupt_call(function, (a,), {})
        shape = tracer.symbolic_shape if kept else tracer.symbolic_shape[:-2]
        return call_node(function, (tracer,), {}, shape, dtype, scalar=not shape)

    implements(function)(call)


_of_one_matrix(np.linalg.inv, 2)
_of_one_matrix(np.linalg.det, 0)


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    tracer = asarray(a)
    dtype = _computed_in(tracer)
    if dtype is None or not _is_square(tracer):
        return interrupt_call(np.linalg.cholesky, (a,), {"upper": upper})
    return call_node(np.linalg.cholesky, (tracer,), {"upper": upper}, tracer.symbolic_shape, dtype)


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    matrix, right = asarray(a), asarray(b)
    dtype = _computed_in(matrix, right)
    # NumPy takes b for a vector only where it has one axis, and broadcasts stacks; those go through NumPy at once.
    plain = matrix.ndim == 2 and right.ndim in (1, 2) and _is_square(matrix)
    if dtype is None or not plain or not current().equal(matrix.symbolic_shape[0], right.symbolic_shape[0]):
        return interrupt_call(np.linalg.solve, (a, b), {})
    return call_node(np.linalg.solve, (matrix, right), {}, right.symbolic_shape, dtype)
