"""Functions that write into an array by index."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from tracejit.ops import assignment
from tracejit.ops.gathering import scatter_add
from tracejit.trace.dispatch import asarray, copy, implements
from tracejit.trace.indexing import getitem, is_advanced, key_along_axis, normalize_key
from tracejit.trace.opaque import Call, Slot, call_node
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.record import as_tracer, broadcast, operand, operand_node, where
from tracejit.trace.state import current, user_line
from tracejit.trace.tracer import Tracer


@implements(assignment.setitem)
def setitem(base: Tracer, key: Any, value: Any) -> Tracer:
    return call_node(assignment.setitem, (base, key, value), {}, base.symbolic_shape, base.dtype)


@implements(assignment.written)
def written(cotangent: Tracer, key: Any, value: Any) -> Tracer:
    return call_node(assignment.written, (cotangent, key, value), {}, asarray(value).symbolic_shape, cotangent.dtype)


@functools.cache
def on_a_copy(function: Any) -> Any:
    """A NumPy function that writes into its first argument, as one that returns the result; always the same."""

    @functools.wraps(function)
    def changed(array: Any, *rest: Any) -> Any:
        copy = np.array(array)
        function(copy, *rest)
        return copy

    return changed


def write_by(function: Any, tracer: Tracer, *args: Any) -> None:
    """Let a NumPy function write into the tracer's memory: it is called on a copy, in the graph."""
    changed = on_a_copy(function)
    tracer.write(call_node(changed, (tracer, *args), {}, tracer.symbolic_shape, tracer.dtype).node)


@implements(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    tracer, array = asarray(arr), asarray(indices)
    if axis is None:
        put(tracer, array, values)
    else:
        tracer[key_along_axis(current(), tracer, array, operator.index(axis) % tracer.ndim)] = values


@implements(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    tracer, places, values = asarray(a), asarray(ind), asarray(v)
    same = values.ndim == 0 or (values.ndim == places.ndim == 1 and _as_long(values, places))
    if mode != "raise" or not same:
        write_by(np.put, tracer, places, values, mode)
        return
    flat = copy(tracer).reshape(-1)
    flat[places] = values
    tracer.write(flat.reshape(tracer.shape).node)


def _as_long(a: Tracer, b: Tracer) -> bool:
    return current().equal(a.symbolic_shape[0], b.symbolic_shape[0])


@implements(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    tracer, chosen, new = asarray(a), asarray(mask), asarray(values)
    trace = current()
    same = new.ndim == 0 or (
        new.ndim == tracer.ndim and all(map(trace.equal, new.symbolic_shape, tracer.symbolic_shape))
    )
    if same and chosen.ndim == tracer.ndim:
        tracer[...] = where(chosen, new.astype(tracer.dtype), tracer)
    else:
        write_by(np.putmask, tracer, chosen, new)


@implements(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    write_by(np.place, asarray(arr), asarray(mask), asarray(vals))


def ufunc_at(ufunc: np.ufunc, array: Any, key: Any, *values: Any) -> None:
    """`ufunc.at(array, key, value)`: repeated places are written repeatedly."""
    trace, tracer = current(), as_tracer(current(), array)
    given = [operand(trace, value) for value in values]
    if ufunc in (np.add, np.subtract) and _adds(tracer, key, given[0]):
        picked = getitem(tracer, key).node
        if picked.op == "gather" and picked.inputs[0] is tracer.node:
            value = operand_node(trace, given[0] if ufunc is np.add else np.negative(asarray(given[0])), tracer.dtype)
            indices, params = picked.inputs[1:], {name: picked[name] for name in ("axes", "at", "rank")}
            slots = tuple(Slot(position) for position in range(2 + len(indices)))
            call = Call(scatter_add, (params["axes"], params["at"], *slots), {}, f"np.{ufunc.__name__}.at")
            inputs = (tracer.node, broadcast(trace, value, picked.shape), *indices)
            type = tracer.node.type
            tracer.write(trace.builder.node("scatter_add", inputs, {**params, "call": call}, type, user_line()))
            return
    write_by(ufunc.at, tracer, key, *given)


def _adds(tracer: Tracer, key: Any, value: Any) -> bool:
    """Whether the call is a sum of floats at places that integers give."""
    arrays = [asarray(item) for item in normalize_key(tracer, key) if is_advanced(item)]
    places = all(array.dtype.kind in "iu" for array in arrays)
    return tracer.dtype.kind == "f" and places and np.can_cast(asarray(value).dtype, tracer.dtype, "same_kind")


HANDLERS["ufunc_at"] = ufunc_at
