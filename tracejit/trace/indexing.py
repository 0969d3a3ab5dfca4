"""Indexing: basic indexing is an affine view, integer arrays gather, boolean masks choose."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Index, Node
from tracejit.ir.size import Dimension
from tracejit.ops import assignment
from tracejit.ops.table import OPS
from tracejit.trace.elements import as_place, element
from tracejit.trace.handlers import inside_try
from tracejit.trace.number import HostNumber, as_dimension, wrap
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.record import (
    KERNEL_DTYPES,
    apply,
    as_tracer,
    broadcast,
    broadcast_shapes,
    elementwise,
    operand,
    operand_node,
)
from tracejit.trace.state import Trace, Untraceable, current, user_line
from tracejit.trace.tracer import Tracer, ViewStep, fresh


def is_advanced(item: Any) -> bool:
    """Whether one element of an index key is an array (or a bool) rather than an int, slice, None or Ellipsis."""
    if isinstance(item, Tracer):
        return item.ndim > 0 or item.dtype.kind == "b" or item.dtype.kind in "iu"
    return isinstance(item, (list, np.ndarray, bool, np.bool_, tuple))


def normalize_key(tracer: Tracer, key: Any) -> list[Any]:
    """The key as a list with Ellipsis spelt out as full slices."""
    items = list(key) if isinstance(key, tuple) else [key]
    used = sum(_consumed(item) for item in items)
    if used > tracer.ndim:
        raise IndexError(f"too many indices for array: array is {tracer.ndim}-dimensional, but {used} were indexed")
    fill = [slice(None)] * (tracer.ndim - used)
    places = [position for position, item in enumerate(items) if item is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if places:
        return items[: places[0]] + fill + items[places[0] + 1 :]
    return items + fill


def _consumed(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, (Tracer, np.ndarray)) and item.dtype.kind == "b":
        return item.ndim
    return 1


def slice_bounds(trace: Trace, item: slice, length: Dimension) -> tuple[Dimension, int, Dimension]:
    """start, step and count of a slice of a dimension, by Python's rules; comparisons are guarded."""
    step = 1 if item.step is None else operator.index(item.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    low: Dimension = 0 if step > 0 else -1
    high: Dimension = length if step > 0 else sizes.subtract(length, 1)

    def bound(value: Any, default: Dimension) -> Dimension:
        if value is None:
            return default
        place = as_place(trace, value)
        if place is None:
            place = operator.index(value)
        if trace.less(place, 0):
            place = sizes.add(place, length)
            return low if trace.less(place, low) else place
        return high if trace.less(high, place) else place

    start = bound(item.start, low if step > 0 else high)
    stop = bound(item.stop, high if step > 0 else low)
    distance = sizes.subtract(stop, start) if step > 0 else sizes.subtract(start, stop)
    if item.start is None and item.stop is None:
        count = sizes.floor_divide(sizes.add(length, abs(step) - 1), abs(step))
    elif trace.less(distance, 1):
        return 0, step, 0
    else:
        count = sizes.floor_divide(sizes.add(distance, abs(step) - 1), abs(step))
    return start, step, count


def integer_place(trace: Trace, item: Any, length: Dimension, axis: int) -> Dimension:
    """An integer index as a place from the start; out of bounds raises IndexError."""
    place = as_dimension(item)
    if place is None:
        place = operator.index(item)
    negative = trace.less(place, 0)
    moved = sizes.add(place, length) if negative else place
    if trace.less(moved, 0) or not trace.less(moved, length):
        shown, size = trace.value(place), trace.value(length)
        raise IndexError(f"index {shown} is out of bounds for axis {axis} with size {size}")
    return moved


def basic_step(trace: Trace, tracer: Tracer, items: list[Any]) -> ViewStep:
    """The affine view that ints, slices and None make; advanced items must already be full slices."""
    indices: list[Index] = []
    shape: list[Dimension] = []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        length = tracer.symbolic_shape[axis]
        if isinstance(item, slice):
            start, step, count = slice_bounds(trace, item, length)
            if count != 1 and not isinstance(count, int) and trace.value(count) == 1 and trace.equal(count, 1):
                count = 1
            indices.append(Index(None, 1, start) if count == 1 else Index(len(shape), step, start))
            shape.append(count)
        else:
            indices.append(Index(None, 1, integer_place(trace, item, length, axis)))
        axis += 1
    return ViewStep(tuple(indices), tuple(shape))


def getitem(tracer: Tracer, key: Any) -> Any:
    """tracer[key]."""
    trace = current()
    items = normalize_key(tracer, key)
    if any(is_advanced(item) for item in items):
        return _advanced_get(trace, tracer, key, items)
    view = tracer.viewed(basic_step(trace, tracer, items))
    if not view.symbolic_shape and Ellipsis not in (key if isinstance(key, tuple) else (key,)):
        return fresh(trace, view.node, scalar=True)
    return view


def _as_index_arrays(trace: Trace, items: list[Any]) -> list[Any] | None:
    """The advanced items as integer tracers, or None where a boolean mask (or another dtype) is among them."""
    result: list[Any] = []
    for item in items:
        if not is_advanced(item):
            result.append(item)
            continue
        array = as_tracer(trace, item)
        if array.dtype.kind == "b":
            return None
        if array.dtype.kind not in "iu" or array.dtype == np.uint64:
            raise IndexError("arrays used as indices must be of integer (or boolean) type")
        result.append(array)
    return result


def _as_places(trace: Trace, items: list[Any]) -> tuple[Any, ...] | None:
    """A key whose integers are elements of arguments, as a key of plain integers; None where there are others."""
    plain: list[Any] = []
    for item in items:
        if isinstance(item, Tracer) and item.scalar and (place := element(trace, item)) is not None:
            plain.append(wrap(trace, place))
        elif is_advanced(item):
            return None
        else:
            plain.append(item)
    return tuple(plain)


def _advanced_get(trace: Trace, tracer: Tracer, key: Any, items: list[Any]) -> Any:
    arrays = _as_index_arrays(trace, items)
    if arrays is None and trace.variables and tracer.dtype.kind == "f":
        # Where a derivative may be taken, only the places are asked for: reading there has a rule.
        return getitem(tracer, tuple(_without_masks(trace, items)))
    if tracer.dtype not in KERNEL_DTYPES and (plain := _as_places(trace, items)) is not None:
        return getitem(tracer, plain)
    if arrays is None or tracer.dtype not in KERNEL_DTYPES:
        return interrupt_call(operator.getitem, (tracer, key), {})
    # Slices, ints and None first, as a view; an int beside an index array is an index array too, to NumPy.
    places = [position for position, item in enumerate(arrays) if isinstance(item, Tracer) or _is_int(item)]
    if any(not isinstance(arrays[p], Tracer) for p in places):
        arrays = [as_tracer(trace, np.asarray(int(item))) if _is_int(item) else item for item in arrays]
    step = basic_step(trace, tracer, [slice(None) if isinstance(item, Tracer) else item for item in arrays])
    source = tracer.viewed(step).node
    if not trace.inside and inside_try():
        _raise_at_once(trace, tracer, key, [(source.shape[p], arrays[p]) for p in places])
    return _gather(trace, source, places, [arrays[p] for p in places])


def _raise_at_once(trace: Trace, tracer: Tracer, key: Any, looked_up: list[tuple[Dimension, Tracer]]) -> None:
    """Where an IndexError may be caught, whether there is one is asked for now; NumPy raises it."""
    for dimension, array in looked_up:
        length = wrap(trace, dimension)
        array = fresh(trace, trace.builder.cast(array.node, np.dtype(np.int64)))
        if ((array < -length) | (array >= length)).any():
            interrupt_call(operator.getitem, (tracer, key), {})


def _without_masks(trace: Trace, items: list[Any]) -> list[Any]:
    """A key with boolean masks as the integer arrays that they mean."""
    found: list[Any] = []
    for item in items:
        mask = as_tracer(trace, item) if is_advanced(item) else None
        if mask is not None and mask.dtype.kind == "b":
            found.extend(interrupt_call(np.nonzero, (mask,), {}))
        else:
            found.append(item)
    return found


def _is_int(item: Any) -> bool:
    return isinstance(item, (int, np.integer, HostNumber)) and not isinstance(item, bool)


def _gather(trace: Trace, source: Node, axes: list[int], arrays: list[Tracer]) -> Tracer:
    """source with `axes` indexed by integer arrays; the gathered axes stand where the first was if all are adjacent."""
    block = broadcast_shapes(trace, *(array.symbolic_shape for array in arrays))
    int64 = np.dtype(np.int64)
    nodes = [broadcast(trace, trace.builder.cast(array.node, int64), block) for array in arrays]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    at = axes[0] if adjacent else 0
    rest = [dimension for axis, dimension in enumerate(source.shape) if axis not in axes]
    shape = (*rest[:at], *block, *rest[at:])
    type = ArrayType(source.dtype, tuple(shape))
    params = {"axes": tuple(axes), "at": at, "rank": len(block)}
    node = trace.builder.node("gather", (source, *nodes), params, type, user_line())
    return fresh(trace, node, scalar=not shape)


def setitem(tracer: Tracer, key: Any, value: Any) -> None:
    """tracer[key] = value, seen by every view of the same memory."""
    trace = current()
    items = normalize_key(tracer, key)
    if tracer.dtype not in KERNEL_DTYPES and tracer.dtype.kind != "c":
        raise Untraceable(f"assignment to an array of {tracer.dtype}")
    if any(is_advanced(item) for item in items):
        _advanced_set(trace, tracer, key, items, value)
        return
    target = tracer.viewed(basic_step(trace, tracer, items))
    target.write(_fitted(trace, value, target))


def _fitted(trace: Trace, value: Any, target: Tracer) -> Node:
    """The value converted to the target's dtype and broadcast to its shape."""
    node = operand_node(trace, operand(trace, value), target.dtype)
    while len(node.shape) > target.ndim and node.shape[0] == 1:
        node = trace.builder.view(
            node, tuple(Index(None) if a == 0 else Index(a - 1) for a in range(len(node.shape))), node.shape[1:]
        )
    shape = broadcast_shapes(trace, node.shape, target.symbolic_shape)
    if len(shape) != target.ndim or not all(
        trace.equal(a, b) for a, b in zip(shape, target.symbolic_shape, strict=True)
    ):
        shown = [tuple(trace.value(d) for d in s) for s in (node.shape, target.symbolic_shape)]
        raise ValueError(f"could not broadcast input array from shape {shown[0]} into shape {shown[1]}")
    return broadcast(trace, node, target.symbolic_shape)


def _advanced_set(trace: Trace, tracer: Tracer, key: Any, items: list[Any], value: Any) -> None:
    masks = [item for item in items if is_advanced(item)]
    first = as_tracer(trace, masks[0])
    if (
        len(masks) == 1
        and first.dtype.kind == "b"
        and all(item is masks[0] or item == slice(None) for item in items)
        and items[0] is masks[0]
    ):
        item = operand(trace, value)
        trailing = tracer.ndim - first.ndim
        if not isinstance(item, Tracer) or item.ndim <= trailing:
            _masked_set(trace, tracer, first, item, trailing)
            return
    if not trace.inside and inside_try():
        # The same places are looked up, so that a wrong one raises here and not when the graph runs.
        getitem(tracer, key)
    converted = operand(trace, value)
    result = call_node(assignment.setitem, (tracer, key, converted), {}, tracer.symbolic_shape, tracer.dtype)
    tracer.write(result.node)


def _masked_set(trace: Trace, tracer: Tracer, mask: Tracer, value: Any, trailing: int) -> None:
    """x[mask] = value for a value that does not depend on how many elements the mask holds: a choice."""
    for axis, dimension in enumerate(mask.symbolic_shape):
        if not trace.equal(dimension, tracer.symbolic_shape[axis]):
            raise IndexError(
                f"boolean index did not match indexed array along axis {axis}; size of axis is "
                f"{trace.value(tracer.symbolic_shape[axis])} but size of corresponding boolean axis is "
                f"{trace.value(dimension)}"
            )
    condition = mask.node
    if trailing:
        indices = tuple(Index(None) if d == 1 else Index(a) for a, d in enumerate(mask.symbolic_shape))
        condition = trace.builder.view(condition, indices, (*mask.symbolic_shape, *[1] * trailing))
    chosen = operand_node(trace, value, tracer.dtype)
    node = apply(trace, "where", [condition, chosen, tracer.node], tracer.dtype)
    tracer.write(broadcast(trace, node, tracer.symbolic_shape))


def take(value: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Any:
    """np.take with mode "raise"."""
    trace = current()
    tracer = as_tracer(trace, value)
    if axis is None:
        tracer, axis = tracer.reshape(-1), 0
    axis = operator.index(axis) % tracer.ndim
    return getitem(tracer, (*[slice(None)] * axis, indices if isinstance(indices, Tracer) else np.asarray(indices)))


def take_along_axis(value: Any, indices: Any, axis: Any = -1) -> Any:
    """np.take_along_axis."""
    trace = current()
    tracer, array = as_tracer(trace, value), as_tracer(trace, indices)
    if axis is None:
        return getitem(tracer.reshape(-1), array)
    return getitem(tracer, key_along_axis(trace, tracer, array, operator.index(axis) % tracer.ndim))


def key_along_axis(trace: Trace, tracer: Tracer, array: Tracer, axis: int) -> tuple[Tracer, ...]:
    """The key under which every axis but one is indexed by its own position."""
    key: list[Any] = []
    for position, dimension in enumerate(tracer.symbolic_shape):
        if position == axis:
            key.append(array)
            continue
        node = trace.builder.node(
            "iota",
            (),
            {"axis": position},
            ArrayType(np.dtype(np.int64), tuple(dimension if p == position else 1 for p in range(tracer.ndim))),
        )
        key.append(fresh(trace, node))
    return tuple(key)


def iota(trace: Trace, length: Dimension) -> Tracer:
    """0 .. length-1 as int64."""
    return fresh(trace, trace.builder.node("iota", (), {"axis": 0}, ArrayType(np.dtype(np.int64), (length,))))


def arange_from(trace: Trace, start: Any, step: Any, length: Dimension, dtype: Any) -> Tracer:
    """start + step * (0 .. length-1), computed in `dtype`."""
    positions = fresh(trace, trace.builder.cast(iota(trace, length).node, np.dtype(dtype)))
    scaled = elementwise(OPS["multiply"], positions, step) if not (type(step) is int and step == 1) else positions
    return elementwise(OPS["add"], scaled, start) if not (type(start) is int and start == 0) else scaled


HANDLERS["getitem"] = getitem
HANDLERS["setitem"] = setitem
