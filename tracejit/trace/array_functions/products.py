"""Differences, products and norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir.node import ArrayType
from tracejit.ops.table import OPS
from tracejit.trace.array_functions.joins import (
    stack,
)
from tracejit.trace.array_functions.shapes import (
    reshape,
)
from tracejit.trace.dispatch import asarray, implements, write_out
from tracejit.trace.indexing import take, take_along_axis
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.record import (
    NoKernel,
    broadcast_shapes,
    elementwise,
    normalize_axes,
    reduce,
)
from tracejit.trace.state import current, user_line
from tracejit.trace.tracer import fresh


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    tracer = asarray(a)
    if prepend is not np._NoValue or append is not np._NoValue:
        return interrupt_call(
            np.diff, (a, n, axis), {k: v for k, v in (("prepend", prepend), ("append", append)) if v is not np._NoValue}
        )
    (axis,) = normalize_axes(axis, tracer.ndim)
    prefix = (slice(None),) * axis
    for _ in range(n):
        op = OPS["not_equal" if tracer.dtype.kind == "b" else "subtract"]
        tracer = elementwise(op, tracer[(*prefix, slice(1, None))], tracer[(*prefix, slice(None, -1))])
    return tracer


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    left, right = reshape(a, (-1, 1)), reshape(b, (1, -1))
    result = elementwise(OPS["multiply"], left, right)
    return result if out is None else write_out(out, result)


@implements(np.matmul)
def matmul(x1: Any, x2: Any, out: Any = None, **options: Any) -> Any:
    trace = current()
    left, right = asarray(x1), asarray(x2)
    if left.ndim == 0 or right.ndim == 0:
        raise ValueError(
            "matmul: Input operand 0 does not have enough dimensions (has 0, gufunc core with signature "
            "(n?,k),(k,m?)->(n?,m?) requires 1)"
        )
    inner_left = left.symbolic_shape[-1]
    inner_right = right.symbolic_shape[-2 if right.ndim > 1 else -1]
    if not trace.equal(inner_left, inner_right):
        raise ValueError(
            f"matmul: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature "
            f"(n?,k),(k,m?)->(n?,m?) "
            f"(size {trace.value(inner_right)} is different from {trace.value(inner_left)})"
        )
    batch = broadcast_shapes(trace, left.symbolic_shape[:-2], right.symbolic_shape[:-2])
    rows = left.symbolic_shape[-2:-1] if left.ndim > 1 else ()
    columns = right.symbolic_shape[-1:] if right.ndim > 1 else ()
    dtype = np.result_type(left.dtype, right.dtype)
    shape = (*batch, *rows, *columns)
    operands = (trace.builder.cast(left.node, dtype), trace.builder.cast(right.node, dtype))
    node = trace.builder.node("matmul", operands, {}, ArrayType(dtype, shape), user_line())
    result = fresh(trace, node, scalar=not shape)
    return result if out is None else write_out(out, result)


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    left, right = asarray(a), asarray(b)
    if left.ndim == 0 or right.ndim == 0:
        result = elementwise(OPS["multiply"], left, right)
    elif (left.ndim <= 2 and right.ndim <= 2) or right.ndim == 1:
        result = matmul(left, right)
    else:
        shape = (*left.symbolic_shape[:-1], *right.symbolic_shape[:-2], right.symbolic_shape[-1])
        result = call_node(np.dot, (left, right), {}, shape, np.result_type(left.dtype, right.dtype))
    return result if out is None else write_out(out, result)


@implements(np.inner)
def inner(a: Any, b: Any) -> Any:
    left, right = asarray(a), asarray(b)
    if left.ndim == 1 and right.ndim == 1:
        return matmul(left, right)
    shape = (*left.symbolic_shape[:-1], *right.symbolic_shape[:-1])
    return call_node(np.inner, (left, right), {}, shape, np.result_type(left.dtype, right.dtype), scalar=not shape)


@implements(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    if asarray(a).dtype.kind == "c" or asarray(b).dtype.kind == "c":
        raise NoKernel("vdot of complex arrays")
    return matmul(reshape(a, (-1,)), reshape(b, (-1,)))


@implements(np.einsum)
def einsum(*operands: Any, **options: Any) -> Any:
    trace = current()
    formula = operands[0]
    if not isinstance(formula, str) or "." in formula or set(options) - {"optimize"}:
        return interrupt_call(np.einsum, operands, options)
    tracers = [asarray(value) for value in operands[1:]]
    inputs, _, output = formula.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if "->" not in formula:
        letters = inputs.replace(",", "")
        output = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    lengths: dict[str, Any] = {}
    for term, tracer in zip(terms, tracers, strict=True):
        if len(term) != tracer.ndim:
            raise ValueError(
                f"einstein sum subscripts string {term!r} does not match an operand of {tracer.ndim} dimensions"
            )
        for letter, dimension in zip(term, tracer.symbolic_shape, strict=True):
            known = lengths.setdefault(letter, dimension)
            if known == 1:
                lengths[letter] = dimension
            elif dimension != 1 and not trace.equal(known, dimension):
                raise ValueError(
                    f"operands could not be broadcast together: {letter!r} has sizes {trace.value(known)} and "
                    f"{trace.value(dimension)}"
                )
    shape = tuple(lengths[letter] for letter in output)
    dtype = np.result_type(*(tracer.dtype for tracer in tracers))
    return call_node(np.einsum, (formula, *tracers), {"optimize": True}, shape, dtype, scalar=not shape)


@implements(np.trace)
def trace_function(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    return interrupt_call(np.trace, (a, offset, axis1, axis2), {"dtype": dtype})


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    tracer = asarray(x)
    plain = ord is None or (ord == 2 and (tracer.ndim == 1 or isinstance(axis, int)))
    if not plain or tracer.dtype.kind == "c" or (isinstance(axis, tuple) and len(axis) > 2):
        return interrupt_call(np.linalg.norm, (x, ord, axis, keepdims), {})
    if tracer.dtype.kind != "f":
        tracer = tracer.astype(np.float64)
    return elementwise(OPS["sqrt"], reduce(OPS["sum"], elementwise(OPS["square"], tracer), axis, keepdims))


@implements(np.cross)
def cross(a: Any, b: Any, *args: Any, **options: Any) -> Any:
    left, right = asarray(a), asarray(b)
    if args or options or left.symbolic_shape[-1:] != right.symbolic_shape[-1:] or left.shape[-1] != 3:
        return interrupt_call(np.cross, (a, b, *args), options)
    pairs = [(1, 2), (2, 0), (0, 1)]
    return stack([left[..., i] * right[..., j] - left[..., j] * right[..., i] for i, j in pairs], -1)


implements(np.take_along_axis)(take_along_axis)


@implements(np.take)
def take_function(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    if mode != "raise":
        return interrupt_call(np.take, (a, indices, axis), {"mode": mode})
    result = take(a, indices, axis)
    return result if out is None else write_out(out, result)
