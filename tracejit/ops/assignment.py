"""`x[key] = value` where arrays are in the key."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.ops.library import library, overridable


@overridable
def setitem(base: Any, key: Any, value: Any) -> Any:
    """A copy of `base` with `base[key] = value` done on it."""
    copy = np.array(base)
    copy[key] = value
    return copy


setitem.in_place = operator.setitem  # type: ignore[attr-defined] # see `schedule.steps.CallInPlace`


@overridable
def written(cotangent: Any, key: Any, value: Any) -> Any:
    """The transpose of `setitem` by the value: what of `cotangent` stands where each element of `value` was written.

    Of elements written to one place the last one stays, and only that one has the place's cotangent.
    """
    places = np.arange(cotangent.size).reshape(cotangent.shape)[key]
    last = np.full(cotangent.size, -1)
    last[places.ravel()] = np.arange(places.size)
    stayed = last[places] == np.arange(places.size).reshape(places.shape)
    found = np.where(stayed, cotangent[key], 0)
    shape = np.shape(value)
    # The value was broadcast: axes may be missing in front (or be too many there), or have length one.
    missing = tuple(range(found.ndim - len(shape)))
    found = found.reshape((1,) * (len(shape) - found.ndim) + found.shape).sum(axis=missing)
    stretched = tuple(a for a, (own, length) in enumerate(zip(shape, found.shape, strict=True)) if own == 1 != length)
    return found.sum(axis=stretched, keepdims=True).astype(cotangent.dtype)


def _base_jvp(t: Any, out: Any, base: Any, key: Any, value: Any) -> Any:
    return setitem(t, key, 0)


def _setitem_jvp(position: int) -> Any:
    return _base_jvp if position == 0 else _value_jvp


def _value_jvp(t: Any, out: Any, base: Any, key: Any, value: Any) -> Any:
    return setitem(np.zeros_like(base), key, t)


def _setitem_vjp(position: int) -> Any:
    return _base_vjp if position == 0 else _value_vjp


def _base_vjp(g: Any, out: Any, base: Any, key: Any, value: Any) -> Any:
    return setitem(g, key, 0)


def _value_vjp(g: Any, out: Any, base: Any, key: Any, value: Any) -> Any:
    return written(g, key, value)


def _written_jvp(position: int) -> Any:
    return _again if position == 0 else _nothing


def _again(t: Any, out: Any, cotangent: Any, key: Any, value: Any) -> Any:
    return written(t, key, value)


def _written_vjp(position: int) -> Any:
    return _back if position == 0 else _nothing


def _back(g: Any, out: Any, cotangent: Any, key: Any, value: Any) -> Any:
    return setitem(np.zeros_like(cotangent), key, g)


def _nothing(t: Any, out: Any, cotangent: Any, key: Any, value: Any) -> Any:
    """`written` looks at the value's shape only."""
    return np.zeros_like(value)


library(setitem, "The base with the elements under an index of arrays replaced.", jvp=_setitem_jvp, vjp=_setitem_vjp)
library(written, "The elements that `setitem` wrote, as they stand in an array.", jvp=_written_jvp, vjp=_written_vjp)
