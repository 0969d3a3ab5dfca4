"""Diagonals and triangles of matrices."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Index
from tracejit.ops.table import OPS
from tracejit.trace.array_functions.creation import full_node
from tracejit.trace.array_functions.shapes import moveaxis
from tracejit.trace.dispatch import asarray, copy, implements, write_out
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import elementwise, normalize_axes, operand, reduce, where
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer, ViewStep, fresh


def diagonal_view(tracer: Tracer, offset: int = 0) -> Tracer:
    """The diagonal of the last two axes, in the same memory."""
    trace, stack = current(), tracer.ndim - 2
    rows, columns = tracer.symbolic_shape[-2:]
    below, right = max(-offset, 0), max(offset, 0)
    height, width = sizes.subtract(rows, below), sizes.subtract(columns, right)
    length = width if trace.less(width, height) else height
    if trace.less(length, 1):
        length = 0
    elif trace.value(length) == 1 and trace.equal(length, 1):
        length = 1
    before = tuple(Index(axis) if d != 1 else Index(None) for axis, d in enumerate(tracer.symbolic_shape[:-2]))
    axis = None if length == 1 else stack
    step = (*before, Index(axis, 1, below if length else 0), Index(axis, 1, right if length else 0))
    return tracer.viewed(ViewStep(step, (*tracer.symbolic_shape[:-2], length)))


@implements(np.diagonal)
def diagonal(a: Any, offset: Any = 0, axis1: int = 0, axis2: int = 1) -> Tracer:
    tracer = asarray(a)
    if tracer.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    (first,), (second,) = normalize_axes(axis1, tracer.ndim), normalize_axes(axis2, tracer.ndim)
    if first == second:
        raise ValueError("axis1 and axis2 cannot be the same")
    return diagonal_view(moveaxis(tracer, (first, second), (-2, -1)), operator.index(offset))


@implements(np.trace)
def trace_function(a: Any, offset: Any = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    result = reduce(OPS["sum"], diagonal(a, offset, axis1, axis2), -1, dtype=dtype)
    return result if out is None else write_out(out, result)


@implements(np.diag)
def diag(v: Any, k: Any = 0) -> Tracer:
    tracer, offset = asarray(v), operator.index(k)
    if tracer.ndim == 2:
        return copy(diagonal_view(tracer, offset))
    if tracer.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    side = tracer.shape[0] + abs(offset)
    result = full_node((side, side), 0, tracer.dtype)
    diagonal_view(result, offset).write(tracer.node)
    return result


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    tracer, value = asarray(a), operand(current(), val)
    one = not isinstance(value, Tracer) or value.ndim == 0
    if tracer.ndim != 2 or wrap or not one:
        changed = interrupt_call(_filled, (tracer, value, wrap), {})
        tracer.write(changed.node)
    else:
        diagonal_view(tracer)[...] = value


def _filled(a: Any, val: Any, wrap: bool) -> Any:
    """np.fill_diagonal on a copy."""
    changed = np.array(a)
    np.fill_diagonal(changed, val, wrap)
    return changed


def _triangle(comparison: str) -> Any:
    def call(m: Any, k: Any = 0) -> Any:
        tracer = asarray(m)
        if tracer.ndim < 2:
            return interrupt_call(np.tril if comparison == "greater_equal" else np.triu, (m, k), {})
        rows, columns = tracer.symbolic_shape[-2:]
        row, column = (_positions((rows, 1), 0), _positions((1, columns), 1))
        inside = elementwise(OPS[comparison], elementwise(OPS["add"], row, k), column)
        return where(inside, tracer, full_node((), 0, tracer.dtype))

    return call


def _positions(shape: tuple[Any, ...], axis: int) -> Tracer:
    trace = current()
    return fresh(trace, trace.builder.node("iota", (), {"axis": axis}, ArrayType(np.dtype(np.int64), shape)))


implements(np.tril)(_triangle("greater_equal"))
implements(np.triu)(_triangle("less_equal"))
