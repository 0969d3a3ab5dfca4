"""np.insert and np.delete at places that are plain numbers: pieces of the array, joined.

np.insert(a, 2, v)   ->   np.concatenate([a[:2], v, a[2:]])
np.delete(a, 2)      ->   np.concatenate([a[:2], a[3:]])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import normalize_axes
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer


def _along(array: Any, axis: Any) -> tuple[Tracer, int]:
    """The array and the axis; all elements as one axis where none is named."""
    tracer = asarray(array)
    if axis is None:
        return asarray(tracer if tracer.ndim == 1 else tracer.reshape(-1)), 0
    (place,) = normalize_axes(axis, tracer.ndim)
    return tracer, place


def _place(tracer: Tracer, axis: int, obj: Any, beyond: int) -> int | None:
    """Where a plain number points to, which may be so far beyond the end; None for what NumPy is asked about."""
    length = current().value(tracer.symbolic_shape[axis])
    if type(obj) is not int and not isinstance(obj, np.integer):
        return None
    return int(obj) if -length <= obj < length + beyond else None


def _piece(tracer: Tracer, axis: int, start: int | None, stop: int | None) -> Any:
    return tracer[(*[slice(None)] * axis, slice(start, stop))]


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    tracer, along = _along(arr, axis)
    place, given = _place(tracer, along, obj, 1), asarray(values)
    if place is None or given.ndim > tracer.ndim or (given.ndim == tracer.ndim > 1):
        return interrupt_call(np.insert, (arr, obj, values), {"axis": axis})
    count = given.shape[0] if tracer.ndim == 1 and given.ndim else 1
    shape = [count if position == along else length for position, length in enumerate(tracer.shape)]
    if tracer.ndim > 1 and given.ndim:
        # What is inserted lacks the axis.
        given = given[(..., None, *[slice(None)] * min(given.ndim, tracer.ndim - 1 - along))]
    between = np.broadcast_to(given.astype(tracer.dtype), tuple(shape))
    return np.concatenate([_piece(tracer, along, None, place), between, _piece(tracer, along, place, None)], along)


def _span(tracer: Tracer, axis: int, obj: Any) -> tuple[int | None, int | None] | None:
    """From where to where a plain number, or a slice without a step, goes; None for what NumPy is asked about."""
    if type(obj) is slice:
        ends = obj.start or 0, obj.stop
        plain = obj.step in (None, 1) and all(end is None or type(end) is int for end in ends)
        if not plain or (ends[1] is not None and ((ends[0] < 0) != (ends[1] < 0) or ends[0] > ends[1])):
            return None
        return ends
    place = _place(tracer, axis, obj, 0)
    return None if place is None else (place, place + 1 or None)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    tracer, along = _along(arr, axis)
    span = _span(tracer, along, obj)
    if span is None:
        return interrupt_call(np.delete, (arr, obj), {"axis": axis})
    rest = [_piece(tracer, along, None, span[0])]
    return np.concatenate([*rest, *([] if span[1] is None else [_piece(tracer, along, span[1], None)])], along)
