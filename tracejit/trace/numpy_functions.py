"""NumPy's array functions in terms of ops: shapes, joins, statistics, products."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Index, Node, Shape
from tracejit.ops.table import OPS
from tracejit.trace.dispatch import asarray, copy, dispatch_function, implements, write_out
from tracejit.trace.indexing import take, take_along_axis
from tracejit.trace.number import as_dimension, wrap
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.record import (
    NoKernel,
    as_tracer,
    broadcast,
    broadcast_shapes,
    elementwise,
    expand,
    normalize_axes,
    operand_node,
    reduce,
    where,
)
from tracejit.trace.state import Trace, current, user_line
from tracejit.trace.tracer import ReshapeStep, Tracer, ViewStep, fresh


def dimensions(shape: Any) -> Shape:
    """A user's shape argument as dimensions."""
    items = shape if isinstance(shape, (tuple, list)) else (shape,)
    result = []
    for item in items:
        dimension = as_dimension(item)
        result.append(operator.index(item) if dimension is None else dimension)
    return tuple(result)


# Shapes


@implements(np.reshape)
def reshape(a: Any, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Tracer:
    trace, tracer = current(), asarray(a)
    if order not in ("C", "A", "K"):
        return interrupt_call(np.reshape, (a, shape), {"order": order})  # type: ignore[no-any-return]
    target = list(dimensions(shape if shape is not None else newshape))
    total = sizes.product(tracer.symbolic_shape)
    unknown = [axis for axis, dimension in enumerate(target) if dimension == -1]
    if len(unknown) > 1:
        raise ValueError("can only specify one unknown dimension")
    if unknown:
        rest = sizes.product(tuple(d for d in target if d != -1))
        fits = trace.value(rest) != 0 and trace.equal(sizes.modulo(total, rest), 0) if rest != 1 else True
        target[unknown[0]] = sizes.floor_divide(total, rest) if fits else 0
        if not fits:
            raise _reshape_error(trace, tracer, target)
    elif not trace.equal(sizes.product(tuple(target)), total):
        raise _reshape_error(trace, tracer, target)
    return _reshaped(trace, tracer, tuple(_one_if_one(trace, d) for d in target))


def _one_if_one(trace: Trace, dimension: Any) -> Any:
    """A dimension that is 1 in this run broadcasts, so that it is 1 becomes a guard."""
    return 1 if not isinstance(dimension, int) and trace.value(dimension) == 1 and trace.equal(dimension, 1) else dimension


def _reshape_error(trace: Trace, tracer: Tracer, target: Sequence[Any]) -> ValueError:
    shown = tuple(trace.value(d) for d in target)
    return ValueError(
        f"cannot reshape array of size {trace.value(sizes.product(tracer.symbolic_shape))} into shape "
        f"{str(shown).replace(' ', '')}"
    )


def _reshaped(trace: Trace, tracer: Tracer, target: Shape) -> Tracer:
    """A view where only axes of length one come or go, or the tracer is its whole storage; a copy otherwise."""
    source = tracer.symbolic_shape
    if [d for d in source if d != 1] == [d for d in target if d != 1]:
        places = iter([axis for axis, d in enumerate(target) if d != 1])
        indices = tuple(Index(None) if d == 1 else Index(next(places)) for d in source)
        return tracer.viewed(ViewStep(indices, target))
    if all(isinstance(step, ReshapeStep) for step in tracer.steps):
        return tracer.viewed(ReshapeStep(target))
    return fresh(trace, trace.builder.node("reshape", (tracer.node,), {}, ArrayType(tracer.dtype, target)))


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Tracer:
    return reshape(a, (-1,), order)


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Tracer:
    return asarray(a).transpose(axes)  # type: ignore[no-any-return]


@implements(np.matrix_transpose)
def matrix_transpose(x: Any) -> Tracer:
    return swapaxes(x, -1, -2)


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Tracer:
    tracer = asarray(a)
    order = list(range(tracer.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return tracer.transpose(order)  # type: ignore[no-any-return]


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Tracer:
    tracer = asarray(a)
    origins = [axis % tracer.ndim for axis in (source if isinstance(source, (tuple, list)) else (source,))]
    targets = [axis % tracer.ndim for axis in (destination if isinstance(destination, (tuple, list)) else (destination,))]
    order = [axis for axis in range(tracer.ndim) if axis not in origins]
    for target, origin in sorted(zip(targets, origins, strict=True)):
        order.insert(target, origin)
    return tracer.transpose(order)  # type: ignore[no-any-return]


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Tracer:
    tracer = asarray(a)
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = normalize_axes(tuple(given), tracer.ndim + len(given))
    key: list[Any] = [None if position in axes else slice(None) for position in range(tracer.ndim + len(axes))]
    return tracer[tuple(key)]  # type: ignore[no-any-return]


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Tracer:
    tracer, trace = asarray(a), current()
    ones = {position for position, d in enumerate(tracer.symbolic_shape) if d == 1}
    axes = ones if axis is None else set(normalize_axes(axis, tracer.ndim))
    if not axes <= ones:
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    kept = tuple(d for position, d in enumerate(tracer.symbolic_shape) if position not in axes)
    return _reshaped(trace, tracer, kept)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Tracer:
    trace, tracer = current(), asarray(array)
    target = dimensions(shape)
    merged = broadcast_shapes(trace, tracer.symbolic_shape, target)
    if len(merged) != len(target) or not all(trace.equal(a, b) for a, b in zip(merged, target, strict=True)):
        raise ValueError(
            f"operands could not be broadcast together with remapped shapes [original->remapped]: "
            f"{tuple(trace.value(d) for d in tracer.symbolic_shape)} and requested shape "
            f"{tuple(trace.value(d) for d in target)}"
        )
    return fresh(trace, broadcast(trace, tracer.node, target))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tracer, ...]:
    trace = current()
    tracers = [asarray(value) for value in args]
    shape = broadcast_shapes(trace, *(tracer.symbolic_shape for tracer in tracers))
    return tuple(fresh(trace, broadcast(trace, tracer.node, shape)) for tracer in tracers)


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Tracer:
    tracer = asarray(m)
    axes = normalize_axes(axis, tracer.ndim)
    return tracer[tuple(slice(None, None, -1) if p in axes else slice(None) for p in range(tracer.ndim))]  # type: ignore[no-any-return]


@implements(np.fliplr)
def fliplr(m: Any) -> Tracer:
    return flip(m, 1)


@implements(np.flipud)
def flipud(m: Any) -> Tracer:
    return flip(m, 0)


@implements(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    results = tuple(asarray(a) if asarray(a).ndim >= 1 else reshape(a, (1,)) for a in arrays)
    return results[0] if len(results) == 1 else results


@implements(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    results = []
    for value in arrays:
        tracer = asarray(value)
        results.append(tracer if tracer.ndim >= 2 else reshape(tracer, (1, -1)))
    return results[0] if len(results) == 1 else tuple(results)


@implements(np.copy)
def copy_function(a: Any, order: str = "K", subok: bool = False) -> Tracer:
    return copy(asarray(a))


@implements(np.shape)
def shape_function(a: Any) -> Any:
    return asarray(a).shape


@implements(np.ndim)
def ndim_function(a: Any) -> int:
    return asarray(a).ndim  # type: ignore[no-any-return]


@implements(np.size)
def size_function(a: Any, axis: Any = None) -> Any:
    tracer = asarray(a)
    return tracer.size if axis is None else tracer.shape[axis]


# Joins: each is a chain of updates of one new array


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
    return [tracer[(*prefix, slice(low, high))] for low, high in zip(edges[:-1], edges[1:], strict=True)]


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
        shape = tuple(sizes.add(d, sizes.add(low, high)) for d, (low, high) in zip(tracer.symbolic_shape, widths, strict=True))
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
    if count is None:
        return interrupt_call(np.repeat, (a, repeats), {"axis": axis})
    if axis is None:
        tracer, axis = reshape(tracer, (-1,)), 0
    (axis,) = normalize_axes(axis, tracer.ndim)
    shape = list(tracer.shape)
    wide = broadcast_to(expand_dims(tracer, axis + 1), (*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    shape[axis] = shape[axis] * repeats
    return reshape(copy(wide), tuple(shape))


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:  # noqa: N803
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


# Filled arrays


def full_node(shape: Any, value: Any, dtype: Any) -> Tracer:
    """A new array of one value."""
    trace = current()
    target = dimensions(shape)
    return fresh(trace, broadcast(trace, operand_node(trace, value, np.dtype(dtype)), target))


def _like(value: Any) -> Callable[..., Tracer]:
    def filled(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, device: Any = None) -> Tracer:
        tracer = asarray(a)
        return full_node(tracer.shape if shape is None else shape, value, tracer.dtype if dtype is None else dtype)

    return filled


implements(np.zeros_like)(_like(0))
implements(np.ones_like)(_like(1))


@implements(np.empty_like)
def empty_like(prototype: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, device: Any = None) -> Tracer:
    trace, tracer = current(), asarray(prototype)
    target = tracer.symbolic_shape if shape is None else dimensions(shape)
    return fresh(trace, _empty(trace, target, tracer.dtype if dtype is None else dtype))


@implements(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, device: Any = None) -> Tracer:
    trace, tracer = current(), asarray(a)
    target = np.dtype(tracer.dtype if dtype is None else dtype)
    node = operand_node(trace, fill_value if not isinstance(fill_value, (list, np.ndarray)) else asarray(fill_value), target)
    return fresh(trace, broadcast(trace, node, tracer.symbolic_shape if shape is None else dimensions(shape)))


# Choice and rounding


@implements(np.where)
def where_function(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return interrupt_call(np.where, (condition,), {})
    return where(condition, x, y)


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None, dtype: Any = None) -> Any:
    low, high = (a_min if a_min is not None else min), (a_max if a_max is not None else max)
    result = asarray(a)
    if low is not None:
        result = elementwise(OPS["maximum"], result, low, dtype=dtype)
    if high is not None:
        result = elementwise(OPS["minimum"], result, high, dtype=dtype)
    result = copy(result) if low is None and high is None else result
    return result if out is None else write_out(out, result)


@implements(np.round, np.around)
def round_function(a: Any, decimals: int = 0, out: Any = None) -> Any:
    tracer = asarray(a)
    places = operator.index(decimals)
    if tracer.dtype.kind in "biu":
        return interrupt_call(np.round, (a, places), {}) if places < 0 else copy(tracer)
    if places == 0:
        result = elementwise(OPS["rint"], tracer)
    else:
        scale = 10.0 ** abs(places)
        up, down = ("multiply", "divide") if places > 0 else ("divide", "multiply")
        result = elementwise(OPS[down], elementwise(OPS["rint"], elementwise(OPS[up], tracer, scale)), scale)
    return result if out is None else write_out(out, result)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    tracer = asarray(x)
    if tracer.dtype.kind != "f":
        return interrupt_call(np.nan_to_num, (x,), {})
    info = np.finfo(tracer.dtype)
    high, low = (info.max if posinf is None else posinf), (info.min if neginf is None else neginf)
    result = where(np.isnan(tracer), nan, tracer)
    return where(result == np.inf, float(high), where(result == -np.inf, float(low), result))


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = where(condition, choice, result)
    return result


# Statistics


@implements(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = np._NoValue) -> Any:
    tracer = asarray(a)
    if where is not np._NoValue:
        return interrupt_call(np.mean, (a,), {"axis": axis, "dtype": dtype, "keepdims": keepdims, "where": where})
    work = _mean_dtype(tracer.dtype, dtype)
    total = reduce(OPS["sum"], tracer, axis, _keep(keepdims), work)
    result = elementwise(OPS["divide"], total, _count(tracer, axis))
    if dtype is None and tracer.dtype == np.float16:
        result = result.astype(np.float16)
    return result if out is None else write_out(out, result)


def _keep(keepdims: Any) -> bool:
    return bool(keepdims) if keepdims is not np._NoValue else False


def _mean_dtype(given: np.dtype[Any], dtype: Any) -> Any:
    if dtype is not None:
        return np.dtype(dtype)
    return np.dtype(np.float64) if given.kind in "biu" else np.dtype(np.float32) if given == np.float16 else given


def _count(tracer: Tracer, axis: Any) -> Any:
    axes = normalize_axes(axis, tracer.ndim)
    return wrap(current(), sizes.product(tuple(tracer.symbolic_shape[p] for p in axes)))


@implements(np.var)
def var(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, **options: Any) -> Any:
    tracer = asarray(a)
    ddof = options.pop("correction", ddof)
    if options or tracer.dtype.kind == "c":
        return interrupt_call(np.var, (a,), {"axis": axis, "dtype": dtype, "ddof": ddof, "keepdims": keepdims, **options})
    work = tracer.astype(_mean_dtype(tracer.dtype, dtype), copy=False)
    count = _count(tracer, axis)
    center = elementwise(OPS["divide"], reduce(OPS["sum"], work, axis, True), count)
    difference = elementwise(OPS["subtract"], work, center)
    total = reduce(OPS["sum"], elementwise(OPS["square"], difference), axis, _keep(keepdims))
    divisor = count - ddof
    result = elementwise(OPS["divide"], total, divisor if divisor > 0 else 0)
    if dtype is None and tracer.dtype == np.float16:
        result = result.astype(np.float16)
    return result if out is None else write_out(out, result)


@implements(np.std)
def std(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, **options: Any) -> Any:
    result = elementwise(OPS["sqrt"], var(a, axis, dtype, None, ddof, keepdims, **options))
    return result if out is None else write_out(out, result)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    high = reduce(OPS["max"], a, axis, _keep(keepdims))
    result = elementwise(OPS["subtract"], high, reduce(OPS["min"], a, axis, _keep(keepdims)))
    return result if out is None else write_out(out, result)


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    tracer = asarray(a)
    return reduce(OPS["sum"], tracer.astype(bool), axis, keepdims, np.int64)


@implements(np.nansum)
def nansum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    tracer = asarray(a)
    clean = where(np.isnan(tracer), 0, tracer) if tracer.dtype.kind == "f" else tracer
    result = reduce(OPS["sum"], clean, axis, _keep(keepdims), dtype)
    return result if out is None else write_out(out, result)


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    if weights is None and not returned:
        return mean(a, axis, keepdims=keepdims)
    tracer, heavy = asarray(a), asarray(weights) if weights is not None else None
    if returned or heavy is None or heavy.ndim != tracer.ndim:
        return interrupt_call(np.average, (a,), {"axis": axis, "weights": weights, "returned": returned, "keepdims": _keep(keepdims)})
    total = reduce(OPS["sum"], elementwise(OPS["multiply"], tracer, heavy), axis, _keep(keepdims))
    return elementwise(OPS["divide"], total, reduce(OPS["sum"], heavy, axis, _keep(keepdims)))


# Differences and products


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    tracer = asarray(a)
    if prepend is not np._NoValue or append is not np._NoValue:
        return interrupt_call(np.diff, (a, n, axis), {k: v for k, v in (("prepend", prepend), ("append", append)) if v is not np._NoValue})
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
        raise ValueError("matmul: Input operand 0 does not have enough dimensions (has 0, gufunc core with signature (n?,k),(k,m?)->(n?,m?) requires 1)")
    inner_left = left.symbolic_shape[-1]
    inner_right = right.symbolic_shape[-2 if right.ndim > 1 else -1]
    if not trace.equal(inner_left, inner_right):
        raise ValueError(
            f"matmul: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature (n?,k),(k,m?)->(n?,m?) "
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
    elif left.ndim <= 2 and right.ndim <= 2 or right.ndim == 1:
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
            raise ValueError(f"einstein sum subscripts string {term!r} does not match an operand of {tracer.ndim} dimensions")
        for letter, dimension in zip(term, tracer.symbolic_shape, strict=True):
            known = lengths.setdefault(letter, dimension)
            if known == 1:
                lengths[letter] = dimension
            elif dimension != 1 and not trace.equal(known, dimension):
                raise ValueError(f"operands could not be broadcast together: {letter!r} has sizes {trace.value(known)} and {trace.value(dimension)}")
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


# NumPy's own loops, with a result of known type


def _same_type(function: Any, dtype: Any = None) -> None:
    def call(a: Any, *args: Any, **options: Any) -> Any:
        tracer = asarray(a)
        if "axis" in options and options["axis"] is None or (args and args[0] is None) or tracer.ndim == 0:
            return interrupt_call(function, (a, *args), options)
        return call_node(function, (tracer, *args), options, tracer.symbolic_shape, dtype or tracer.dtype)

    implements(function)(call)


_same_type(np.sort)
_same_type(np.argsort, np.dtype(np.intp))


def _cumulative(function: Any, ufunc: np.ufunc) -> None:
    def call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        tracer = asarray(a)
        if axis is None:
            tracer, axis = reshape(tracer, (-1,)), 0
        small = tracer.dtype.kind in "biu" and tracer.dtype.itemsize < 8
        target = np.dtype(dtype) if dtype is not None else np.result_type(tracer.dtype, np.uint64 if tracer.dtype.kind == "u" else np.int64) if small else tracer.dtype
        result = call_node(function, (tracer,), {"axis": axis, "dtype": target}, tracer.symbolic_shape, target)
        return result if out is None else write_out(out, result)

    implements(function)(call)


_cumulative(np.cumsum, np.add)
_cumulative(np.cumprod, np.multiply)


def _arg_reduction(function: Any) -> None:
    def call(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        tracer = asarray(a)
        if axis is None:
            tracer = reshape(tracer, (-1,))
        axes = normalize_axes(0 if axis is None else axis, tracer.ndim)
        if current().equal(tracer.symbolic_shape[axes[0]], 0):
            raise ValueError(f"attempt to get {function.__name__} of an empty sequence")
        kept = tuple(d for p, d in enumerate(tracer.symbolic_shape) if p not in axes)
        result = call_node(function, (tracer,), {"axis": axes[0]}, kept, np.intp, scalar=not kept)
        result = expand(result, axes) if _keep(keepdims) and axis is not None else result
        return result if out is None else write_out(out, result)

    implements(function)(call)


_arg_reduction(np.argmax)
_arg_reduction(np.argmin)


@implements(np.result_type)
def result_type(*items: Any) -> Any:
    return np.result_type(*(item.dtype if isinstance(item, Tracer) else getattr(item, "value", item) for item in items))


@implements(np.can_cast)
def can_cast(source: Any, target: Any, casting: Any = "safe") -> bool:
    return np.can_cast(getattr(source, "dtype", source), target, casting)


@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    target = as_tracer(current(), dst)
    target[...] = src if where is True else where_function(where, src, target)


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    return asarray(x).dtype.kind == "c"  # type: ignore[no-any-return]


@implements(np.shares_memory, np.may_share_memory)
def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return isinstance(a, Tracer) and isinstance(b, Tracer) and a.storage is b.storage


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    tracers = [reshape(value, (-1,)) for value in xi]
    rank = len(tracers)
    shaped = []
    for position, tracer in enumerate(tracers):
        axis = {0: 1, 1: 0}.get(position, position) if indexing == "xy" and rank > 1 else position
        shaped.append(tracer[tuple(slice(None) if p == axis else None for p in range(rank))])
    if sparse:
        return tuple(shaped)
    return tuple(copy_function(grid) for grid in broadcast_arrays(*shaped))


def numpy_equivalent(function: Any, *args: Any, **options: Any) -> Any:
    """Call a NumPy function by the protocol even if none of its arguments is traced (the stand-in's way in)."""
    return dispatch_function(function, args, options)
