"""Results as long as the data say, on a GPU: how many elements a mask chooses is read back, so that the host waits.

x[mask]     ->      places = where the running count of the mask goes up;   x[places]
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.eager.device_operations import run
from tracejit.runtime.device import no_device_form
from tracejit.runtime.device_array import DEVICE_CALLS, DeviceArray
from tracejit.runtime.device_library import true_places

_MASK = np.dtype(bool)


def flatnonzero(a: DeviceArray) -> DeviceArray:
    """Places in C order."""
    mask = a if a.dtype == _MASK else run(_is_true, (a,), {}, False)
    return true_places(mask.reshape(-1))


def _is_true(a: Any) -> Any:
    return a != 0


def _places_along_axes(flat: Any, shape: tuple[int, ...]) -> Any:
    found = []
    for length in reversed(shape):
        found.append(flat % length)
        flat = flat // length
    return tuple(reversed(found))


def nonzero(a: DeviceArray) -> tuple[DeviceArray, ...]:
    """An array of places for each axis."""
    if not a.ndim:
        raise ValueError("Calling nonzero on 0d arrays is not allowed. Use np.atleast_1d(scalar).nonzero() instead.")
    flat = flatnonzero(a)
    return (flat,) if a.ndim == 1 else tuple(run(_places_along_axes, (flat, a.shape), {}, True))


def where(condition: DeviceArray) -> tuple[DeviceArray, ...]:
    """np.where of one argument."""
    return nonzero(condition)


def argwhere(a: DeviceArray) -> DeviceArray:
    """A row of places for each element that is not zero."""
    return run(_stacked, (nonzero(a),), {}, False)  # type: ignore[no-any-return]


def _stacked(places: Any) -> Any:
    return np.stack(places, axis=-1)


def get_item(a: DeviceArray, key: Any) -> Any:
    """a[key] with masks in the key: each is the arrays of its places."""
    items = key if type(key) is tuple else (key,)
    masks = [item for item in items if _is_mask(item)]
    if not masks or a.dtype.kind == "c" or any(not mask.ndim for mask in masks):
        raise no_device_form(f"indexing an array of {a.dtype} so", a.device)
    found: list[Any] = []
    axis = 0
    for position, item in enumerate(items):
        if item is Ellipsis:
            rest = sum(0 if other is None else other.ndim if _is_mask(other) else 1 for other in items[position + 1 :])
            axis = a.ndim - rest
        elif _is_mask(item):
            _check_mask(a, item, axis)
            found += nonzero(item)
            axis += item.ndim
            continue
        else:
            axis += item is not None
        found.append(item)
    return run(operator.getitem, (a, tuple(found)), {}, True)


def _is_mask(item: Any) -> bool:
    return type(item) is DeviceArray and item.dtype == _MASK


def _check_mask(a: DeviceArray, mask: DeviceArray, axis: int) -> None:
    if axis + mask.ndim > a.ndim:
        wanted = axis + mask.ndim
        raise IndexError(f"too many indices for array: array is {a.ndim}-dimensional, but {wanted} were indexed")
    for place, (length, wanted) in enumerate(zip(mask.shape, a.shape[axis:], strict=False)):
        if length != wanted:
            raise IndexError(
                f"boolean index did not match indexed array along axis {axis + place}; size of axis is {wanted} but "
                f"size of corresponding boolean axis is {length}"
            )


def compress(condition: Any, a: DeviceArray, axis: int | None = None) -> Any:
    """The slices of an axis at which the condition is true."""
    if axis is None:
        a, axis = a.reshape(-1), 0
    chosen = condition if type(condition) is DeviceArray else a.home.upload(np.asarray(condition))
    if chosen.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    places = flatnonzero(chosen)
    return run(np.take, (a, places), {"axis": axis}, False)


def extract(condition: DeviceArray, arr: DeviceArray) -> Any:
    """The elements at which the condition is true."""
    return run(np.take, (arr.reshape(-1), flatnonzero(condition)), {}, False)


def sliding_window_view(x: DeviceArray, window_shape: Any, axis: Any = None, **options: Any) -> DeviceArray:
    """A view, as NumPy has it."""
    view = np.lib.stride_tricks.sliding_window_view(x.shadow, window_shape, axis, **options)
    return x.viewed(view)


DEVICE_CALLS.update(
    {
        operator.getitem: get_item,
        np.nonzero: nonzero,
        np.where: where,
        np.flatnonzero: flatnonzero,
        np.argwhere: argwhere,
        np.compress: compress,
        np.extract: extract,
        np.lib.stride_tricks.sliding_window_view: sliding_window_view,
    }
)
