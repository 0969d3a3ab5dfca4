"""What NumPy does by a call between kernels, done on a GPU: running totals, scattered writes.

Each function stands for NumPy's (or for one of ours that NumPy's functions are made of) and takes DeviceArrays; what
has none here raises NoDeviceForm where it is traced.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.eager.device_operations import run
from tracejit.ops.gathering import scatter_add
from tracejit.runtime import device_library
from tracejit.runtime.device_array import DEVICE_CALLS, DeviceArray
from tracejit.trace.standin import arange


def _running(op: str) -> Callable[..., DeviceArray]:
    """np.cumsum, np.cumprod, and `accumulate` of the ufunc of that name."""

    def call(a: DeviceArray, axis: int | None = None, dtype: Any = None) -> DeviceArray:
        if axis is None:
            a, axis = a.reshape(-1), 0
        wanted = np.dtype(a.dtype if dtype is None else dtype)
        source = a if a.dtype != np.float16 else a.astype(np.float32)
        found = _totals(op, source, axis % a.ndim, np.dtype(_COMPUTED_IN.get(wanted.name, wanted)))
        return found if found.dtype == wanted else found.astype(wanted)

    return call


_COMPUTED_IN = {"float16": "float32", "bool": "uint8"}
"""What running totals of other dtypes are computed in."""


def _totals(op: str, a: DeviceArray, axis: int, dtype: np.dtype[Any]) -> DeviceArray:
    target: DeviceArray = a.home.empty(a.shape, dtype)
    if not target.size:
        return target
    order = (*(k for k in range(a.ndim) if k != axis), axis)
    source, rows = a.transpose(order), target.transpose(order)
    if a.ndim != 2:
        # A stack of rows has one stride where it is contiguous.
        source = source.reshape(-1, a.shape[axis])
        copied = a.home.empty(rows.shape, target.dtype)
        device_library.running_totals(op, source, copied.reshape(source.shape))
        target.transpose(order)[...] = copied
    else:
        device_library.running_totals(op, source, rows)
    return target


def places_of(like: Any, key: Any) -> Any:
    """The positions that an index reads, counted in C order."""
    return arange(like.size).reshape(like.shape)[key]


def filled(value: Any, like: Any, dtype: Any) -> Any:
    """A value broadcast to the shape of an array."""
    return np.broadcast_to(value, like.shape).astype(dtype)


def set_item(target: DeviceArray, key: Any, value: Any) -> None:
    """target[key] = value with arrays in the key; of several writes to a place the last one stays."""
    if not target.size:
        return
    places = run(places_of, (target, key), {}, False)
    values = run(filled, (value, places, target.dtype), {}, True)
    whole = target if target.contiguous else target.copy()
    if places.size:
        device_library.scatter(places.reshape(-1), values.reshape(-1), whole.reshape(-1))
    if whole is not target:
        target[...] = whole


def linear_places(like: Any, axes: tuple[int, ...], *indices: Any) -> Any:
    """Positions along some axes of an array, taken as one axis, not negative."""
    total: Any = 0
    for axis, index in zip(axes, indices, strict=True):
        length = like.shape[axis]
        total = total * length + np.where(index < 0, index + length, index)
    return total.astype(np.int64)


def add_at(
    axes: tuple[int, ...], at: int, base: DeviceArray, values: DeviceArray, *indices: DeviceArray
) -> DeviceArray:
    """As `ops.gathering.scatter_add`."""
    places = run(linear_places, (base, axes, *indices), {}, False)
    rank = indices[0].ndim
    rest = [axis for axis in range(base.ndim) if axis not in axes]
    order = (*axes, *rest)
    moved = base.transpose(order).copy()
    width = 1
    for axis in rest:
        width *= base.shape[axis]
    rows = values.transpose((*range(at, at + rank), *(k for k in range(values.ndim) if not at <= k < at + rank)))
    if values.size and base.size:
        stacked = moved.reshape(base.size // width, width)
        device_library.combine("add", places.reshape(-1), rows.reshape(places.size, width), stacked)
    return moved.transpose(tuple(order.index(axis) for axis in range(base.ndim)))


_CALLS: dict[Any, Callable[..., Any]] = {
    np.cumsum: _running("add"),
    np.cumprod: _running("multiply"),
    **{ufunc.accumulate: _running(ufunc.__name__) for ufunc in (np.add, np.multiply, np.maximum, np.minimum)},
    operator.setitem: set_item,
    scatter_add: add_at,
}
DEVICE_CALLS.update(_CALLS)
