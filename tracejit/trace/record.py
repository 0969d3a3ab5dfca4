"""Recording elementwise ops and reductions: promotion, broadcasting, nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Index, Node, Shape
from tracejit.ops.table import Op
from tracejit.trace.number import HostNumber
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.state import Trace, Untraceable, current, user_line
from tracejit.trace.tracer import Tracer, fresh, number_node

KERNEL_DTYPES = frozenset(np.dtype(code) for code in "?bhilqBHILQefd")
"""The dtypes that kernels compute in; others go through NumPy."""


COMPLEX_DTYPES = frozenset(np.dtype(code) for code in "FD")
"""Those that kernels move, convert real numbers to, and know some arithmetic of."""


class NoKernel(TypeError):
    """These operands have no kernel (a complex dtype, say): the caller has NumPy do it."""


def operand(trace: Trace, value: Any) -> Any:
    """What a user passes to an op, as a tracer or a Python number."""
    if isinstance(value, (Tracer, HostNumber)) or type(value) in (int, float, complex, bool):
        return value
    if isinstance(value, np.generic):
        return fresh(trace, trace.builder.constant(value), scalar=True)
    if isinstance(value, np.ndarray):
        if value.dtype not in KERNEL_DTYPES and value.dtype.kind not in "c":
            raise NoKernel(f"dtype {value.dtype}")
        return captured(trace, value)
    if isinstance(value, (list, tuple)):
        return stack_list(trace, value)
    if hasattr(type(value), "__jitted_call__"):
        kind = type(value).__name__
        raise Untraceable(f"the function works on a tracejit.{kind} that is no argument of it (at {user_line()})")
    raise TypeError(f"unsupported operand of type {type(value).__name__} in a traced function (at {user_line()})")


def captured(trace: Trace, array: np.ndarray[Any, Any]) -> Tracer:
    """A tracer of an array that the function found outside its arguments."""
    leaf = trace.capture(array)
    node = trace.inputs[leaf]
    for storage in trace.live_storages():
        if storage.leaf == leaf:
            return Tracer(storage, (), node.shape, node.dtype)
    tracer = Tracer(trace.storage(node, leaf), (), node.shape, node.dtype)
    trace.keep.append(tracer.storage)
    return tracer


def stack_list(trace: Trace, values: Sequence[Any]) -> Tracer:
    """A list or tuple as an array: constant, or traced elements side by side."""
    if not any(_contains_traced(value) for value in values):
        return fresh(trace, trace.builder.constant(np.asarray(values)))
    parts = [as_tracer(trace, value) for value in values]
    return HANDLERS["stack"](parts)  # type: ignore[no-any-return]


def _contains_traced(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_contains_traced(item) for item in value)
    return isinstance(value, (Tracer, HostNumber))


def as_tracer(trace: Trace, value: Any) -> Tracer:
    """Any operand as a tracer; Python numbers take NumPy's default dtype."""
    item = operand(trace, value)
    if isinstance(item, Tracer):
        return item
    if isinstance(item, HostNumber):
        return fresh(trace, operand_node(trace, item, np.asarray(item.value).dtype))
    return fresh(trace, trace.builder.constant(np.asarray(item)))


def dtype_of(item: Any) -> Any:
    """What NumPy's promotion rules take for an operand: its dtype, or `int`, `float`, `complex` for a Python number."""
    if isinstance(item, Tracer):
        return {"i": int, "f": float}.get(item.dtype.kind, item.dtype) if item.weak else item.dtype
    value = item.value if isinstance(item, HostNumber) else item
    return np.dtype(bool) if isinstance(value, bool) else type(value)


def broadcast_shapes(trace: Trace, *shapes: Shape) -> Shape:
    """NumPy's broadcasting on symbolic shapes; each comparison that decides is guarded."""
    rank = max(len(shape) for shape in shapes)
    result: list[Any] = []
    for axis in range(-rank, 0):
        merged: Any = 1
        for shape in shapes:
            dimension = shape[axis] if len(shape) >= -axis else 1
            if dimension == 1 or dimension == merged:
                continue
            if merged == 1 or (isinstance(merged, sizes.Size) and trace.value(merged) == 1 and trace.equal(merged, 1)):
                merged = dimension
            elif trace.value(dimension) == 1 and trace.equal(dimension, 1):
                continue
            elif not trace.equal(merged, dimension):
                raise ValueError(_mismatch(trace, shapes))
        result.append(merged)
    return tuple(result)


def _mismatch(trace: Trace, shapes: Sequence[Shape]) -> str:
    shown = " ".join(
        "(" + ",".join(str(trace.value(d)) for d in shape) + ("," if len(shape) == 1 else "") + ")" for shape in shapes
    )
    return f"operands could not be broadcast together with shapes {shown}"


def broadcast(trace: Trace, node: Node, target: Shape) -> Node:
    """The node viewed under a shape that it broadcasts to."""
    if node.shape == target:
        return node
    return trace.builder.view(node, broadcast_places(trace, node.shape, target), target)


def broadcast_places(trace: Trace, shape: Shape, target: Shape) -> tuple[Index, ...]:
    """The indices into an array of `shape` that broadcast it to `target`."""
    shift = len(target) - len(shape)
    return tuple(
        Index(None)
        if dimension == 1 or (target[axis + shift] != dimension and trace.value(dimension) == 1)
        else Index(axis + shift)
        for axis, dimension in enumerate(shape)
    )


def operand_node(trace: Trace, item: Any, dtype: np.dtype[Any]) -> Node:
    """An operand converted to the loop dtype, not yet broadcast; NumPy does what kernels do not convert."""
    if isinstance(item, Tracer):
        if item.dtype != dtype and not _converts(trace, item.dtype, dtype):
            item = HANDLERS["converted"](item, dtype)
        return trace.builder.cast(item.node, dtype)
    if isinstance(item, HostNumber):
        if dtype.kind == "c" or isinstance(item.value, complex):
            node: Node = HANDLERS["converted"](item, dtype).node
            return node
        _check_range(trace, item, dtype)
        return trace.builder.cast(number_node(trace, item), dtype)
    return trace.builder.constant(np.asarray(item, dtype=dtype))


def _kernel_dtypes(trace: Trace) -> frozenset[np.dtype[Any]]:
    """The dtypes that kernels compute in where the trace is to run: complex ones on the CPU."""
    on_gpu = getattr(trace.device, "kind", "cpu") != "cpu"
    return KERNEL_DTYPES if on_gpu else KERNEL_DTYPES | COMPLEX_DTYPES


def _converts(trace: Trace, source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether kernels convert one dtype to the other; NumPy warns where an imaginary part is dropped."""
    known = _kernel_dtypes(trace)
    return source in known and target in known and (target in COMPLEX_DTYPES or source not in COMPLEX_DTYPES)


def _check_range(trace: Trace, number: HostNumber, dtype: np.dtype[Any]) -> None:
    """A Python int that meets a small integer dtype must fit, as NEP 50 says; so must the next call's."""
    if dtype.kind in "iu" and isinstance(number.value, int) and not isinstance(number.value, bool):
        np.asarray(number.value, dtype=dtype)
        info = np.iinfo(dtype)
        trace.guard(f"{info.min} <= {number.text} <= {info.max}")


def elementwise(op: Op, *values: Any, dtype: Any = None, rule: np.ufunc | None = None) -> Tracer:
    """Record an elementwise op; raises `NoKernel` where its loop dtype has none.

    rule: the ufunc whose dtype rule holds, if not the op's own (SciPy's promote otherwise than NumPy's).
    """
    trace = current()
    items = [operand(trace, value) for value in values]
    rule = rule or op.resolve
    if rule is None:
        raise TypeError(f"{op.name} has no dtype rule")
    signature = (np.dtype(dtype),) * (rule.nin + rule.nout) if dtype is not None else None
    resolve_dtypes: Any = rule.resolve_dtypes
    loop = resolve_dtypes(
        (*(dtype_of(item) for item in items), *[None] * rule.nout),
        **({"signature": signature, "casting": "same_kind"} if signature else {}),
    )
    arguments, result = loop[: len(items)], loop[-1]
    if len(set(arguments)) > 1:
        # NumPy compares int64 with uint64 by a loop of their own.
        raise NoKernel(f"{op.name} of {', '.join(map(str, arguments))}")
    # NumPy's arithmetic on complex scalars rounds otherwise than its loops.
    known = KERNEL_DTYPES if all_scalars(items) else _kernel_dtypes(trace)
    if any(d not in known or d.kind not in op.dtypes for d in arguments) or result not in known:
        raise NoKernel(f"{op.name} of {', '.join(map(str, arguments))}")
    nodes = [operand_node(trace, item, d) for item, d in zip(items, arguments, strict=True)]
    found = fresh(trace, apply(trace, op.name, nodes, result), scalar=all_scalars(items))
    # Python's operators on Python numbers give Python numbers; NumPy's functions give NumPy scalars.
    found.weak = op.symbol is not None and {item.weak for item in items if isinstance(item, Tracer)} == {True}
    return found


def all_scalars(items: Sequence[Any]) -> bool:
    """NumPy returns a scalar, not a 0-d array, when every operand of a ufunc has no dimensions."""
    return all(not isinstance(item, Tracer) or item.ndim == 0 for item in items)


def apply(trace: Trace, name: str, nodes: Sequence[Node], result: np.dtype[Any], **params: Any) -> Node:
    """An elementwise node on operands that still need broadcasting."""
    shape = broadcast_shapes(trace, *(node.shape for node in nodes))
    operands = tuple(broadcast(trace, node, shape) for node in nodes)
    return trace.builder.node(name, operands, params, ArrayType(np.dtype(result), shape), user_line())


def where(condition: Any, x: Any, y: Any) -> Tracer:
    """np.where with three arguments."""
    trace = current()
    items = [operand(trace, value) for value in (condition, x, y)]
    common = np.result_type(*(_promotable(item) for item in items[1:]))
    if common not in KERNEL_DTYPES and common.kind != "c":
        raise NoKernel(f"where of {common}")
    test = truth(trace, as_tracer(trace, items[0]).node)
    branches = [operand_node(trace, item, common) for item in items[1:]]
    return fresh(trace, apply(trace, "where", [test, *branches], common), scalar=False)


def _promotable(item: Any) -> Any:
    if isinstance(item, Tracer):
        return item.dtype.type(0).item() if item.weak else item.dtype
    return item.value if isinstance(item, HostNumber) else item


def truth(trace: Trace, node: Node) -> Node:
    """The node as bool."""
    return trace.builder.cast(node, np.dtype(bool))


def cast(tracer: Tracer, dtype: Any) -> Tracer:
    """astype; always a copy."""
    trace = current()
    target = np.dtype(dtype)
    if not _converts(trace, tracer.dtype, target):
        raise NoKernel(f"cast of {tracer.dtype} to {target}")
    return fresh(trace, trace.builder.cast(tracer.node, target, user_line()), tracer.scalar)


def normalize_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """The axes named by NumPy's `axis` argument, in order."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = []
    for item in given:
        number = item.__index__()
        if not -rank <= number < rank:
            raise np.exceptions.AxisError(number, rank)
        axes.append(number % rank)
    if len(set(axes)) != len(axes):
        raise ValueError("duplicate value in 'axis'")
    return tuple(sorted(axes))


def reduce(op: Op, value: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tracer:
    """Record a reduction over axes."""
    trace = current()
    tracer = as_tracer(trace, value)
    # NumPy takes axis 0 or -1 of an array without axes, too.
    axes = () if not tracer.ndim and axis in (0, -1) else normalize_axes(axis, tracer.ndim)
    node = _reduction_operand(trace, op, tracer, dtype)
    if op.of_numbers is not None:
        _check_not_empty(trace, op, node.shape, axes)
    # A reduced axis of length one needs no loop, but the reduction itself stays (a sum of -0.0, a cast).
    kept = tuple(d for position, d in enumerate(node.shape) if position not in axes)
    if axes:
        node = trace.builder.node(op.name, (node,), {"axes": axes}, ArrayType(node.dtype, kept), user_line())
    result = fresh(trace, node, scalar=not kept)
    return expand(result, axes) if keepdims and axes else result


def _reduction_operand(trace: Trace, op: Op, tracer: Tracer, dtype: Any) -> Node:
    node = tracer.node
    if op.name in ("any", "all"):
        return truth(trace, node)
    target = np.dtype(dtype) if dtype is not None else tracer.dtype
    if dtype is None and op.name in ("sum", "prod") and target.kind in "biu" and target.itemsize < 8:
        target = np.dtype(np.uint64 if target.kind == "u" else np.int64)
    if target not in KERNEL_DTYPES:
        raise NoKernel(f"{op.name} of {target}")
    return trace.builder.cast(node, target)


def _check_not_empty(trace: Trace, op: Op, shape: Shape, axes: tuple[int, ...]) -> None:
    for axis in axes:
        if trace.equal(shape[axis], 0):
            raise ValueError(f"zero-size array to reduction operation {op.resolve.__name__} which has no identity")  # type: ignore[union-attr]


def expand(tracer: Tracer, axes: tuple[int, ...]) -> Tracer:
    """Insert axes of length one (positions in the result)."""
    from_rank = iter(range(tracer.ndim))
    rank = tracer.ndim + len(axes)
    shape: list[Any] = []
    indices: list[Index] = []
    for axis in range(rank):
        if axis in axes:
            shape.append(1)
            continue
        dimension = tracer.symbolic_shape[next(from_rank)]
        shape.append(dimension)
        indices.append(Index(None) if dimension == 1 else Index(axis))
    trace = current()
    return fresh(trace, trace.builder.view(tracer.node, tuple(indices), tuple(shape)))
