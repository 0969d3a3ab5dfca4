"""Shapes: views where NumPy gives views, copies where it copies."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Index, Shape
from tracejit.ir.size import Dimension
from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.elements import as_place
from tracejit.trace.number import wrap
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import (
    broadcast_places,
    broadcast_shapes,
    normalize_axes,
)
from tracejit.trace.state import Trace, current
from tracejit.trace.tracer import ReshapeStep, Tracer, ViewStep, fresh


def dimensions(shape: Any) -> Shape:
    """A user's shape argument as dimensions; one that is negative in this run is its plain value, under a guard."""
    trace = current()
    items = shape if isinstance(shape, (tuple, list)) else (shape,)
    result = []
    for item in items:
        dimension = as_place(trace, item)
        if dimension is None:
            dimension = operator.index(item)
        elif _is_negative(trace, dimension):
            dimension = operator.index(wrap(trace, dimension))
        result.append(dimension)
    return tuple(result)


def _is_negative(trace: Trace, dimension: Dimension) -> bool:
    """Guarded where numbers are in it; lengths alone are what the arrays of a call make them."""
    of_lengths = isinstance(dimension, int) or dimension.names <= trace.origins.keys()
    return trace.value(dimension) < 0 if of_lengths else trace.less(dimension, 0)


def new_shape(shape: Any) -> Shape:
    """A user's shape of a new array, which is not negative, also where nothing gets memory."""
    found = dimensions(shape)
    if any(isinstance(dimension, int) and dimension < 0 for dimension in found):
        raise ValueError("negative dimensions are not allowed")
    return found


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
        if not fits:
            raise _reshape_error(trace, tracer, target)
        target[unknown[0]] = sizes.floor_divide(total, rest)
    elif not trace.equal(sizes.product(tuple(target)), total):
        raise _reshape_error(trace, tracer, target)
    return _reshaped(trace, tracer, tuple(_one_if_one(trace, d) for d in target))


def _one_if_one(trace: Trace, dimension: Any) -> Any:
    """A dimension that is 1 in this run broadcasts, so that it is 1 becomes a guard."""
    return (
        1 if not isinstance(dimension, int) and trace.value(dimension) == 1 and trace.equal(dimension, 1) else dimension
    )


def _reshape_error(trace: Trace, tracer: Tracer, target: Sequence[Any]) -> ValueError:
    shown = tuple(trace.value(d) for d in target)
    return ValueError(
        f"cannot reshape array of size {trace.value(sizes.product(tracer.symbolic_shape))} into shape "
        f"{str(shown).replace(' ', '')}"
    )


def _reshaped(trace: Trace, tracer: Tracer, target: Shape) -> Tracer:
    """A view where only axes of length one come or go, or the elements lie in C order; a copy otherwise."""
    if tracer.scalar and not target:
        return tracer
    source = tracer.symbolic_shape
    if [d for d in source if d != 1] == [d for d in target if d != 1]:
        places = iter([axis for axis, d in enumerate(target) if d != 1])
        indices = tuple(Index(None) if d == 1 else Index(next(places)) for d in source)
        return tracer.viewed(ViewStep(indices, target))
    if _contiguous(trace, tracer):
        return tracer.viewed(ReshapeStep(target))
    return fresh(trace, trace.builder.node("reshape", (tracer.node,), {}, ArrayType(tracer.dtype, target)))


def _contiguous(trace: Trace, tracer: Tracer, dense: bool = False) -> bool:
    """Whether the tracer's elements lie in C order at one distance, so that NumPy's reshape shares the memory.

    dense: that distance must be one element.
    """
    shape: Shape = tracer.storage.node.shape
    strides = _packed(shape) if tracer.storage.leaf is None else _leaf_strides(trace, tracer.storage.leaf, shape)
    for step in tracer.steps:
        if isinstance(step, ReshapeStep):
            if not _evenly_spaced(trace, shape, strides):
                return False
            strides = tuple(sizes.multiply(_unit(shape, strides), stride) for stride in _packed(step.shape))
        else:
            moved: list[Dimension] = [0] * len(step.shape)
            for index, stride in zip(step.indices, strides, strict=True):
                if index.axis is not None:
                    moved[index.axis] = sizes.multiply(index.step, stride)
            strides = tuple(moved)
        shape = step.shape
    return _evenly_spaced(trace, shape, strides) and (not dense or trace.equal(_unit(shape, strides), 1))


def _leaf_strides(trace: Trace, leaf: int, shape: Shape) -> Shape:
    """The strides of an argument, in elements; those of a strided one become a guard."""
    array = np.asarray(trace.leaves[leaf].value)
    if array.flags.c_contiguous:
        return _packed(shape)
    if array.flags.f_contiguous:
        trace.guard(f"a{leaf}.flags.f_contiguous and not a{leaf}.flags.c_contiguous")
        return _packed(shape[::-1])[::-1]
    trace.guard(f"a{leaf}.strides == {array.strides}")
    return tuple(stride // array.itemsize for stride in array.strides)


def _packed(shape: Shape) -> Shape:
    """Strides, in elements, of an array in C order."""
    return tuple(sizes.product(shape[axis + 1 :]) for axis in range(len(shape)))


def _unit(shape: Shape, strides: Shape) -> Dimension:
    """The distance between neighbours along the last axis."""
    return next((s for d, s in zip(shape[::-1], strides[::-1], strict=True) if d != 1), 1)


def _evenly_spaced(trace: Trace, shape: Shape, strides: Shape) -> bool:
    unit = _unit(shape, strides)
    return all(
        dimension == 1 or trace.equal(stride, sizes.multiply(unit, packed))
        for dimension, stride, packed in zip(shape, strides, _packed(shape), strict=True)
    )


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Tracer:
    """Unlike `reshape`, a copy of what has gaps or runs backwards even if one stride would do."""
    tracer = asarray(a)
    return reshape(tracer if _contiguous(current(), tracer, dense=True) else copy_function(tracer), (-1,), order)


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Tracer:
    return asarray(a).transpose(axes)


@implements(np.matrix_transpose)
def matrix_transpose(x: Any) -> Tracer:
    return swapaxes(x, -1, -2)


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Tracer:
    tracer = asarray(a)
    order = list(range(tracer.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return tracer.transpose(order)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Tracer:
    tracer = asarray(a)
    origins = [axis % tracer.ndim for axis in (source if isinstance(source, (tuple, list)) else (source,))]
    targets = [
        axis % tracer.ndim for axis in (destination if isinstance(destination, (tuple, list)) else (destination,))
    ]
    order = [axis for axis in range(tracer.ndim) if axis not in origins]
    for target, origin in sorted(zip(targets, origins, strict=True)):
        order.insert(target, origin)
    return tracer.transpose(order)


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
    return _broadcast_view(trace, tracer, target)


def _broadcast_view(trace: Trace, tracer: Tracer, target: Shape) -> Tracer:
    """The tracer under a shape that it broadcasts to, on the same memory."""
    return tracer.viewed(ViewStep(broadcast_places(trace, tracer.symbolic_shape, target), target))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tracer, ...]:
    trace = current()
    tracers = [asarray(value) for value in args]
    shape = broadcast_shapes(trace, *(tracer.symbolic_shape for tracer in tracers))
    return tuple(_broadcast_view(trace, tracer, shape) for tracer in tracers)


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


@implements(np.rot90)
def rot90(m: Any, k: Any = 1, axes: Any = (0, 1)) -> Tracer:
    first, second = axes
    turns = operator.index(k) % 4
    if turns == 0:
        return asarray(m)[...]  # type: ignore[no-any-return]
    if turns == 2:
        return flip(m, (first, second))
    return swapaxes(flip(m, second), first, second) if turns == 1 else flip(swapaxes(m, first, second), second)


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
    tracer = asarray(a)
    return Tracer(current().storage(tracer.node), (), tracer.symbolic_shape, tracer.dtype)


@implements(np.shape)
def shape_function(a: Any) -> Any:
    return asarray(a).shape


@implements(np.ndim)
def ndim_function(a: Any) -> int:
    return asarray(a).ndim


@implements(np.size)
def size_function(a: Any, axis: Any = None) -> Any:
    tracer = asarray(a)
    return tracer.size if axis is None else tracer.shape[axis]
