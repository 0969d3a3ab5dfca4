"""Functions of NumPy's that look at arrays as sets or as sequences, on a GPU, in terms of sorting and looking up."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.eager.device_operations import run
from tracejit.eager.device_selection import flatnonzero, get_item
from tracejit.eager.device_sorting import argsort, searchsorted, sort, unique
from tracejit.runtime.device import no_device_form
from tracejit.runtime.device_array import DEVICE_CALLS, DeviceArray
from tracejit.trace.standin import arange


def _on_one_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its two arrays on the device where one of them is."""

    @functools.wraps(function)
    def call(a: Any, b: Any, **options: Any) -> Any:
        home = a.home if type(a) is DeviceArray else b.home
        first, second = (x if type(x) is DeviceArray else home.upload(np.asarray(x)) for x in (a, b))
        return function(first, second, **options)

    return call


def _found(ordered: Any, place: Any, values: Any) -> Any:
    return ordered[np.minimum(place, ordered.shape[0] - 1)] == values


@_on_one_device
def isin(element: DeviceArray, test: DeviceArray, assume_unique: bool = False, invert: bool = False, **_: Any) -> Any:
    """np.isin, whatever `kind` says."""
    if not test.size:
        found = run(np.zeros_like, (element,), {"dtype": bool}, False)
    else:
        dtype = np.result_type(element.dtype, test.dtype)
        values, ordered = element.astype(dtype, copy=False), sort(test.reshape(-1).astype(dtype, copy=False))
        found = run(_found, (ordered, searchsorted(ordered, values), values), {}, False)
    return run(np.logical_not, (found,), {}, False) if invert else found


def _joined(a: Any, b: Any) -> Any:
    return np.concatenate([a.reshape(-1), b.reshape(-1)])


@_on_one_device
def union1d(a: DeviceArray, b: DeviceArray) -> Any:
    """np.union1d."""
    return unique(run(_joined, (a, b), {}, False))


@_on_one_device
def setdiff1d(a: DeviceArray, b: DeviceArray, assume_unique: bool = False) -> Any:
    """np.setdiff1d."""
    values = a.reshape(-1) if assume_unique else unique(a)
    return get_item(values, isin(values, b, invert=True))


@_on_one_device
def intersect1d(a: DeviceArray, b: DeviceArray, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """np.intersect1d."""
    if return_indices:
        raise no_device_form("np.intersect1d with return_indices=True", a.device)
    values = unique(a)
    dtype = np.result_type(a.dtype, b.dtype)
    return get_item(values, isin(values, b)).astype(dtype, copy=False)


def lexsort(keys: Any, axis: int = -1) -> Any:
    """np.lexsort of keys of one axis: by the first key, then by the next one, stably."""
    order: Any = None
    for key in keys:
        if key.ndim != 1:
            raise no_device_form("np.lexsort of keys of several axes", key.device)
        order = argsort(key) if order is None else run(np.take, (order, argsort(key[order])), {}, False)
    return order


def repeat(a: DeviceArray, repeats: Any, axis: int | None = None) -> Any:
    """np.repeat with a count for each element.  Waits for how many there are in all."""
    if axis is None:
        a, axis = a.reshape(-1), 0
    counts = repeats if type(repeats) is DeviceArray else a.home.upload(np.asarray(repeats))
    if counts.size not in (1, a.shape[axis]):
        raise ValueError(f"operands could not be broadcast together with shape ({a.shape[axis]},) ({counts.size},)")
    ends = run(_ends, (counts, a.shape[axis]), {}, True)
    read = ends.read()
    if (np.diff(read, prepend=0) < 0).any():
        raise ValueError("repeats may not contain negative values.")
    total = int(read[-1]) if read.size else 0
    places = searchsorted(ends, run(_counted, (ends, total), {}, True), "right")
    return run(np.take, (a, places), {"axis": axis}, False)


def _ends(counts: Any, length: Any) -> Any:
    return np.cumsum(np.broadcast_to(counts.reshape(-1), (length,)))


def _counted(like: Any, total: Any) -> Any:
    return arange(total) + 0 * np.sum(like)


def trim_zeros(filt: DeviceArray, trim: str = "fb") -> Any:
    """np.trim_zeros of one axis.  Waits."""
    if filt.ndim != 1:
        raise no_device_form("np.trim_zeros of several axes", filt.device)
    places = flatnonzero(filt)
    if not places.size:
        return filt[:0]
    first, last = (int(places[k : k + 1 or None].read()[0]) for k in (0, -1))
    return filt[first if "f" in trim.lower() else 0 : last + 1 if "b" in trim.lower() else None]


# ---- ranks of what is no NaN


def _middles(ordered: Any) -> Any:
    count = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, -1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, ordered.shape[-1] - 1), -1)
    return np.where(low == high, low, np.mean(np.stack([low, high]), axis=0))


def _shares(ordered: Any, share: Any) -> Any:
    count = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)
    place = np.maximum(count - 1, 0) * share
    below = np.floor(place)
    low = np.take_along_axis(ordered, below.astype(np.int64), -1)
    high = np.take_along_axis(ordered, np.minimum(below.astype(np.int64) + 1, np.maximum(count - 1, 0)), -1)
    part, step = (place - below).astype(ordered.dtype), high - low
    return np.where(part >= 0.5, high - step * (1 - part), low + step * part)


def _leaving_out_nan(of_rows: Callable[..., Any], a: DeviceArray, axis: Any, keepdims: Any, *given: Any) -> Any:
    if axis is not None and type(axis) is not int:
        raise no_device_form("ranks over several axes that leave NaN out", a.device)
    ordered = sort(a, axis)
    rows = ordered if axis is None else run(np.moveaxis, (ordered, axis, -1), {}, False)
    found = run(of_rows, (rows, *given), {}, False)
    if keepdims is True:
        return found.reshape((1,) * a.ndim) if axis is None else run(np.moveaxis, (found, -1, axis), {}, False)
    return found[..., 0]


def nanmedian(a: DeviceArray, axis: Any = None, keepdims: Any = False, **_: Any) -> Any:
    """np.nanmedian."""
    return _leaving_out_nan(_middles, a, axis, keepdims)


def _nan_quantile(scale: int) -> Callable[..., Any]:
    def call(a: DeviceArray, q: Any, axis: Any = None, method: str = "linear", keepdims: Any = False, **_: Any) -> Any:
        if np.ndim(q) or method != "linear" or type(q) is DeviceArray:
            raise no_device_form("a quantile that leaves NaN out, of several shares or by another method", a.device)
        return _leaving_out_nan(_shares, a, axis, keepdims, a.dtype.type(q) / a.dtype.type(scale))

    return call


DEVICE_CALLS.update(
    {
        np.isin: isin,
        np.union1d: union1d,
        np.setdiff1d: setdiff1d,
        np.intersect1d: intersect1d,
        np.lexsort: lexsort,
        np.repeat: repeat,
        np.trim_zeros: trim_zeros,
        np.nanmedian: nanmedian,
        np.nanquantile: _nan_quantile(1),
        np.nanpercentile: _nan_quantile(100),
    }
)
