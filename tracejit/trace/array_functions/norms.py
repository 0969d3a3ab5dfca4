"""Norms of vectors and matrices; those that are roots of sums of squares are flat at the origin."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ops.table import OPS
from tracejit.trace.array_functions.linear_algebra import svdvals
from tracejit.trace.array_functions.shapes import moveaxis
from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.handlers import inside_try
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import elementwise, expand, normalize_axes, reduce, where
from tracejit.trace.tracer import Tracer


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    tracer = asarray(x)
    axes = normalize_axes(axis, tracer.ndim)
    if tracer.dtype.kind not in "biuf" or not _is_known(ord, axes, axis):
        return interrupt_call(np.linalg.norm, (x, ord, axis, keepdims), {})
    if tracer.dtype.kind != "f":
        tracer = tracer.astype(np.float64)
    flat = axis is None and (ord is None or (ord == "fro" and tracer.ndim == 2) or (ord == 2 and tracer.ndim == 1))
    if flat or len(axes) == 1:
        return _of_vectors(tracer, ord, axes, keepdims)
    # The order of the axes tells rows from columns.
    rows, columns = axes if axis is None else (position % tracer.ndim for position in axis)
    return _of_matrices(tracer, ord, rows, columns, keepdims)


def _is_known(ord: Any, axes: tuple[int, ...], axis: Any) -> bool:
    if axis is None and ord is None:
        return True
    if len(axes) == 1:
        return ord is None or type(ord) in (int, float)
    spectral = ord in (2, -2, "nuc") and inside_try()
    return len(axes) == 2 and ord in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf) and not spectral


def _of_vectors(tracer: Tracer, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord in (None, 2, "fro"):
        return elementwise(OPS["norm_root"], reduce(OPS["sum"], np.square(tracer), axes, keepdims))
    if ord == 0:
        return reduce(OPS["sum"], elementwise(OPS["not_equal"], tracer, 0).astype(tracer.dtype), axes, keepdims)
    size = elementwise(OPS["absolute"], tracer)
    if abs(ord) == np.inf:
        return reduce(OPS["max" if ord > 0 else "min"], size, axes, keepdims)
    if ord == 1:
        return reduce(OPS["sum"], size, axes, keepdims)
    total = reduce(OPS["sum"], elementwise(OPS["power"], size, float(ord)), axes, keepdims)
    if ord < 0:
        return elementwise(OPS["power"], total, 1 / ord)
    # A choice, so that the origin has no infinite slope.
    nothing = elementwise(OPS["equal"], total, 0)
    return _scalar(where(nothing, total, elementwise(OPS["power"], where(nothing, 1, total), 1 / ord)))


def _scalar(tracer: Tracer) -> Tracer:
    tracer.scalar = not tracer.ndim
    return tracer


def _of_matrices(tracer: Tracer, ord: Any, rows: int, columns: int, keepdims: bool) -> Any:
    if ord in (None, "fro"):
        return elementwise(OPS["norm_root"], reduce(OPS["sum"], np.square(tracer), (rows, columns), keepdims))
    matrices = moveaxis(tracer, (rows, columns), (-2, -1))
    if ord in (2, -2, "nuc"):
        found = reduce(OPS["sum" if ord == "nuc" else "max" if ord == 2 else "min"], svdvals(matrices), -1)
    else:
        sums = reduce(OPS["sum"], elementwise(OPS["absolute"], matrices), -2 if abs(ord) == 1 else -1)
        found = reduce(OPS["max" if ord > 0 else "min"], sums, -1)
    return expand(found, tuple(sorted((rows, columns)))) if keepdims else found


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    tracer = asarray(x)
    axes = normalize_axes(axis, tracer.ndim)
    if tracer.dtype.kind != "f" or type(ord) not in (int, float):
        return interrupt_call(np.linalg.vector_norm, (x,), {"axis": axis, "keepdims": keepdims, "ord": ord})
    return _of_vectors(tracer, ord, axes, bool(keepdims))


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(x, ord, (-2, -1), keepdims)
