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
from tracejit.trace.array_functions.writes import write_by
from tracejit.trace.dispatch import asarray, copy, implements, write_out
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import broadcast, elementwise, normalize_axes, operand, operand_node, reduce, where
from tracejit.trace.state import current, user_line
from tracejit.trace.tracer import Tracer, ViewStep, fresh


def diagonal_step(tracer: Tracer, offset: int) -> ViewStep:
    """The view that the diagonal of the last two axes is."""
    trace, stack = current(), tracer.ndim - 2
    rows, columns = tracer.symbolic_shape[-2:]
    below, right = max(-offset, 0), max(offset, 0)
    height, width = sizes.subtract(rows, below), sizes.subtract(columns, right)
    length = width if trace.less(width, height) else height
    if trace.less(length, 1):
        length = below = right = 0
    elif trace.value(length) == 1 and trace.equal(length, 1):
        length = 1
    before = tuple(Index(axis) if d != 1 else Index(None) for axis, d in enumerate(tracer.symbolic_shape[:-2]))
    axis = None if length == 1 else stack
    indices = (*before, Index(axis, 1, below), Index(axis, 1, right))
    return ViewStep(indices, (*tracer.symbolic_shape[:-2], length))


@implements(np.diagonal)
def diagonal(a: Any, offset: Any = 0, axis1: int = 0, axis2: int = 1) -> Tracer:
    tracer = asarray(a)
    if tracer.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    (first,), (second,) = normalize_axes(axis1, tracer.ndim), normalize_axes(axis2, tracer.ndim)
    if first == second:
        raise ValueError("axis1 and axis2 cannot be the same")
    moved = moveaxis(tracer, (first, second), (-2, -1))
    return moved.viewed(diagonal_step(moved, operator.index(offset)))


@implements(np.trace)
def trace_function(a: Any, offset: Any = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    result = reduce(OPS["sum"], diagonal(a, offset, axis1, axis2), -1, dtype=dtype)
    return result if out is None else write_out(out, result)


@implements(np.diag)
def diag(v: Any, k: Any = 0) -> Tracer:
    tracer, offset = asarray(v), operator.index(k)
    if tracer.ndim == 2:
        return copy(tracer.viewed(diagonal_step(tracer, offset)))
    if tracer.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    side = tracer.shape[0] + abs(offset)
    result = full_node((side, side), 0, tracer.dtype)
    _write_diagonal(result, offset, tracer)
    return result


def _write_diagonal(tracer: Tracer, offset: int, value: Any) -> None:
    """Matrices with other diagonals; unlike `np.diagonal`, which is read-only."""
    trace, step, before = current(), diagonal_step(tracer, offset), tracer.node
    new = broadcast(trace, operand_node(trace, operand(trace, value), tracer.dtype), step.shape)
    tracer.write(trace.builder.node("update", (before, new), {"indices": step.indices}, before.type, user_line()))


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    tracer, value = asarray(a), operand(current(), val)
    if tracer.ndim == 2 and not wrap and (not isinstance(value, Tracer) or value.ndim == 0):
        _write_diagonal(tracer, 0, value)
    else:
        write_by(np.fill_diagonal, tracer, value, wrap)


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
