"""Products of arrays, and elements taken of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
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
from tracejit.trace.number import wrap
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.record import (
    NoKernel,
    broadcast_shapes,
    elementwise,
)
from tracejit.trace.state import current, user_line
from tracejit.trace.tracer import fresh


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
        result = tensordot(left, right, ([left.ndim - 1], [right.ndim - 2]))
    return result if out is None else write_out(out, result)


@implements(np.inner)
def inner(a: Any, b: Any) -> Any:
    left, right = asarray(a), asarray(b)
    if left.ndim == 0 or right.ndim == 0:
        return elementwise(OPS["multiply"], left, right)
    if left.ndim == 1 and right.ndim == 1:
        return matmul(left, right)
    return tensordot(left, right, ([left.ndim - 1], [right.ndim - 1]))


@implements(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    if asarray(a).dtype.kind == "c" or asarray(b).dtype.kind == "c":
        raise NoKernel("vdot of complex arrays")
    return matmul(reshape(a, (-1,)), reshape(b, (-1,)))


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """One product of matrices, of whose axes some are many: as NumPy does it."""
    left, right = asarray(a), asarray(b)
    try:
        first, second = (list(axis) if isinstance(axis, (tuple, list)) else [axis] for axis in axes)
    except TypeError:
        first, second = list(range(left.ndim - axes, left.ndim)), list(range(axes))
    first, second = ([axis % tracer.ndim for axis in of] for of, tracer in ((first, left), (second, right)))
    pairs = zip(first, second, strict=False)
    trace = current()
    lengths = (left.symbolic_shape, right.symbolic_shape)
    if len(first) != len(second) or not all(trace.equal(lengths[0][i], lengths[1][j]) for i, j in pairs):
        raise ValueError("shape-mismatch for sum")
    rows = [axis for axis in range(left.ndim) if axis not in first]
    columns = [axis for axis in range(right.ndim) if axis not in second]
    summed = sizes.product(tuple(lengths[0][axis] for axis in first))
    outer = [lengths[0][axis] for axis in rows], [lengths[1][axis] for axis in columns]
    height, width = (wrap(trace, sizes.product(tuple(part))) for part in outer)
    inner = wrap(trace, summed)
    product = matmul(
        reshape(left.transpose([*rows, *first]), (height, inner)),
        reshape(right.transpose([*second, *columns]), (inner, width)),
    )
    result = reshape(product, tuple(wrap(trace, d) for d in (*outer[0], *outer[1])))
    result.scalar = False
    return result


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """NumPy chooses the cheapest order; what meets what is checked here, as its error would come late."""
    trace, tracers = current(), [asarray(value) for value in arrays]
    inner = all(tracer.ndim == 2 for tracer in tracers[1:-1])
    if len(tracers) < 3 or not inner or not {tracers[0].ndim, tracers[-1].ndim} <= {1, 2}:
        return interrupt_call(np.linalg.multi_dot, (arrays,), {"out": out})
    if not all(trace.equal(a.symbolic_shape[-1], b.symbolic_shape[0]) for a, b in pairwise(tracers)):
        return interrupt_call(np.linalg.multi_dot, (arrays,), {"out": out})
    shape = (*tracers[0].symbolic_shape[:-1], *tracers[-1].symbolic_shape[1:])
    dtype = np.result_type(*(tracer.dtype for tracer in tracers))
    result = call_node(np.linalg.multi_dot, (tracers,), {}, shape, dtype, scalar=not shape)
    return result if out is None else write_out(out, result)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    left, right = asarray(a), asarray(b)
    rank = max(left.ndim, right.ndim)
    left, right = (reshape(t, (*[1] * (rank - t.ndim), *t.shape)) for t in (left, right))
    spread = left[(slice(None), None) * rank], right[(None, slice(None)) * rank]
    shape = tuple(n * m for n, m in zip(left.shape, right.shape, strict=True))
    return reshape(elementwise(OPS["multiply"], *spread), shape)


@implements(np.cross)
def cross(a: Any, b: Any, *args: Any, **options: Any) -> Any:
    left, right = asarray(a), asarray(b)
    if args or options or not (left.ndim and right.ndim) or left.shape[-1] != 3 or right.shape[-1] != 3:
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
