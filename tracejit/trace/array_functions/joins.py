"""Joins: each is a chain of updates of one new array."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Index, Node, Shape
from tracejit.trace.array_functions.shapes import (
    atleast_1d,
    atleast_2d,
    broadcast_to,
    expand_dims,
    reshape,
)
from tracejit.trace.dispatch import asarray, copy, implements, write_out
from tracejit.trace.number import as_dimension, wrap
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.record import (
    broadcast,
    normalize_axes,
    operand_node,
)
from tracejit.trace.state import Trace, current, user_line
from tracejit.trace.tracer import Tracer, fresh


def _empty(trace: Trace, shape: Shape, dtype: Any) -> Node:
    return trace.builder.node("empty", (), {}, ArrayType(np.dtype(dtype), shape))


def place(trace: Trace, base: Node, value: Node, starts: Sequence[Any]) -> Node:
    """`base` with `value` at an offset."""
    indices = tuple(
        Index(None, 1, start) if dimension == 1 else Index(axis, 1, start)
        for axis, (start, dimension) in enumerate(zip(starts, value.shape, strict=True))
    )
    return trace.builder.node("update", (base, value), {"indices": indices}, base.type, user_line())


@implements(np.concatenate, np.concat)
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, casting: str = "same_kind") -> Any:
    trace = current()
    tracers = [asarray(value) for value in arrays]
    if not tracers:
        raise ValueError("need at least one array to concatenate")
    if axis is None:
        tracers, axis = [reshape(tracer, (-1,)) for tracer in tracers], 0
    rank = tracers[0].ndim
    if rank == 0:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    (axis,) = normalize_axes(axis, rank)
    common = np.dtype(dtype) if dtype is not None else np.result_type(*(tracer.dtype for tracer in tracers))
    total: Any = 0
    for number, tracer in enumerate(tracers):
        _check_join(trace, tracers[0], tracer, axis, number)
        total = sizes.add(total, tracer.symbolic_shape[axis])
    shape = tuple(total if p == axis else d for p, d in enumerate(tracers[0].symbolic_shape))
    node, start = _empty(trace, shape, common), 0
    for tracer in tracers:
        value = operand_node(trace, tracer, common)
        node = place(trace, node, value, [start if p == axis else 0 for p in range(rank)])
        start = sizes.add(start, tracer.symbolic_shape[axis])  # type: ignore[assignment]
    result = fresh(trace, node)
    return result if out is None else write_out(out, result)


def _check_join(trace: Trace, first: Tracer, other: Tracer, axis: int, number: int) -> None:
    if other.ndim != first.ndim:
        raise ValueError(
            f"all the input array dimensions must match exactly: array 0 has {first.ndim} dimension(s) and array "
            f"{number} has {other.ndim}"
        )
    for position in range(first.ndim):
        a, b = first.symbolic_shape[position], other.symbolic_shape[position]
        if position != axis and not trace.equal(a, b):
            raise ValueError(
                f"all the input array dimensions except for the concatenation axis must match exactly, but along "
                f"dimension {position}, the array at index 0 has size {trace.value(a)} and the array at index "
                f"{number} has size {trace.value(b)}"
            )


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, dtype: Any = None, casting: str = "same_kind") -> Any:
    return concatenate([expand_dims(value, axis) for value in arrays], axis, out, dtype)


HANDLERS["stack"] = stack


@implements(np.vstack)
def vstack(tup: Any, dtype: Any = None, casting: str = "same_kind") -> Any:
    return concatenate([atleast_2d(value) for value in tup], 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Any, dtype: Any = None, casting: str = "same_kind") -> Any:
    tracers = [atleast_1d(value) for value in tup]
    return concatenate(tracers, 0 if tracers[0].ndim == 1 else 1, dtype=dtype)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    return concatenate([atleast_3d(value) for value in tup], 2)


@implements(np.atleast_3d)
def atleast_3d(*arrays: Any) -> Any:
    shown = []
    for value in arrays:
        tracer = atleast_2d(value)
        shown.append(tracer if tracer.ndim > 2 else expand_dims(tracer, 2))
    return shown[0] if len(shown) == 1 else tuple(shown)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    return concatenate([expand_dims(v, 1) if asarray(v).ndim < 2 else asarray(v) for v in tup], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate((asarray(arr), asarray(values)), axis)


@implements(np.split, np.array_split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    tracer = asarray(ary)
    (axis,) = normalize_axes(axis, tracer.ndim)
    length = tracer.shape[axis]
    if not isinstance(indices_or_sections, (tuple, list, np.ndarray)):
        count = operator.index(indices_or_sections)
        base, extra = divmod(operator.index(length), count)
        cuts = np.cumsum([base + (number < extra) for number in range(count)])[:-1].tolist()
    else:
        cuts = list(indices_or_sections)
    edges = [0, *cuts, None]
    prefix = (slice(None),) * axis
    return [tracer[(*prefix, slice(low, high))] for low, high in pairwise(edges)]


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    trace, tracer = current(), asarray(array)
    if mode not in ("constant", "edge", "wrap", "reflect") or set(options) - {"constant_values"}:
        return interrupt_call(np.pad, (array, pad_width, mode), options)
    widths = np.broadcast_to(np.asarray(pad_width), (tracer.ndim, 2)).tolist()
    widths = [[as_dimension(width) for width in pair] for pair in widths]
    if mode != "constant":
        widths = [[operator.index(wrap(trace, width)) for width in pair] for pair in widths]
    fill = options.get("constant_values", 0)
    if mode == "constant" and isinstance(fill, (int, float)):
        shape = tuple(
            sizes.add(d, sizes.add(low, high)) for d, (low, high) in zip(tracer.symbolic_shape, widths, strict=True)
        )
        base = broadcast(trace, operand_node(trace, fill, tracer.dtype), shape)
        return fresh(trace, place(trace, base, tracer.node, [low for low, _ in widths]))
    if mode == "constant":
        return interrupt_call(np.pad, (array, pad_width, mode), options)
    for axis, (low, high) in enumerate(widths):
        tracer = _pad_axis(tracer, axis, low, high, mode)
    return tracer


def _pad_axis(tracer: Tracer, axis: int, low: int, high: int, mode: str) -> Tracer:
    """Pad one axis by slices of the array itself; widths that need several rounds go through NumPy."""
    length = tracer.shape[axis]
    needed = {"edge": 1, "wrap": max(low, high), "reflect": max(low, high) + 1}[mode]
    if length < needed:
        widths = [(low, high) if p == axis else (0, 0) for p in range(tracer.ndim)]
        return interrupt_call(np.pad, (tracer, widths, mode), {})  # type: ignore[no-any-return]

    def part(key: slice) -> Tracer:
        return tracer[(*[slice(None)] * axis, key)]  # type: ignore[no-any-return]

    def edge(key: slice, count: int) -> Tracer:
        shape = [count if p == axis else d for p, d in enumerate(tracer.shape)]
        return broadcast_to(part(key), tuple(shape))

    pieces: list[Tracer] = [tracer]
    if mode == "edge":
        before, after = edge(slice(0, 1), low), edge(slice(-1, None), high)
    elif mode == "wrap":
        before, after = part(slice(length - low, None)), part(slice(0, high))
    else:
        before, after = part(slice(low, 0, -1)), part(slice(length - 2, length - 2 - high, -1))
        if high and current().value(as_dimension(length) or 0) == high + 1:
            after = part(slice(length - 2, None, -1))
    pieces = ([before] if low else []) + pieces + ([after] if high else [])
    return concatenate(pieces, axis)  # type: ignore[no-any-return]


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    tracer = asarray(a)
    if axis is None:
        flat = roll(reshape(tracer, (-1,)), shift, 0)
        return reshape(flat, tracer.shape)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    pairs = np.broadcast(np.asarray([0] * len(shifts)), np.asarray([0] * len(axes))).size
    for number in range(pairs):
        tracer = _roll_axis(tracer, shifts[number % len(shifts)], axes[number % len(axes)])
    return tracer


def _roll_axis(tracer: Tracer, shift: Any, axis: int) -> Tracer:
    (axis,) = normalize_axes(axis, tracer.ndim)
    length = tracer.shape[axis]
    if length == 0:
        return copy(tracer)
    # A shift shorter than the axis stays as it is (a guard says so); a longer one wraps.
    if not (0 <= shift <= length):
        shift = shift + length if -length <= shift < 0 else shift % length
    prefix = (slice(None),) * axis
    cut = length - shift
    if shift == 0 or cut == 0:
        return copy(tracer)
    return concatenate([tracer[(*prefix, slice(cut, None))], tracer[(*prefix, slice(None, cut))]], axis)  # type: ignore[no-any-return]


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    tracer = asarray(a)
    count = as_dimension(repeats)
    if isinstance(repeats, (list, tuple, np.ndarray)) and np.ndim(repeats) == 1 and np.size(repeats) > 1:
        return _repeat_each(tracer, np.asarray(repeats), axis)
    if count is None:
        return interrupt_call(np.repeat, (a, repeats), {"axis": axis})
    if axis is None or not tracer.ndim:
        tracer, axis = reshape(tracer, (-1,)), 0 if axis is None else axis
    (axis,) = normalize_axes(axis, tracer.ndim)
    shape = list(tracer.shape)
    wide = broadcast_to(expand_dims(tracer, axis + 1), (*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    shape[axis] = shape[axis] * repeats
    return reshape(copy(wide), tuple(shape))


def _repeat_each(tracer: Tracer, repeats: Any, axis: Any) -> Any:
    """Each element repeated its own number of times: a choice of places."""
    if axis is None or not tracer.ndim:
        tracer, axis = reshape(tracer, (-1,)), 0 if axis is None else axis
    (axis,) = normalize_axes(axis, tracer.ndim)
    if tracer.shape[axis] != repeats.size:
        raise ValueError("operands could not be broadcast together with shape of the array and of repeats")
    return HANDLERS["getitem"](tracer, (*[slice(None)] * axis, np.repeat(np.arange(repeats.size), repeats)))


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    tracer = asarray(A)
    counts = list(reps) if isinstance(reps, (tuple, list)) else [reps]
    rank = max(len(counts), tracer.ndim)
    counts = [1] * (rank - len(counts)) + counts
    shape = (1,) * (rank - tracer.ndim) + tracer.shape
    paired: list[Any] = []
    wide: list[Any] = []
    for count, length in zip(counts, shape, strict=True):
        paired += [1, length]
        wide += [count, length]
    spread = broadcast_to(reshape(tracer, tuple(paired)), tuple(wide))
    return reshape(copy(spread), tuple(c * n for c, n in zip(counts, shape, strict=True)))
