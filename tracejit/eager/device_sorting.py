"""np.sort and what is made of it, on a GPU.  Equal elements stay in their order, whatever `kind` says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracejit.eager.device_operations import run
from tracejit.eager.device_selection import flatnonzero
from tracejit.runtime import device_library
from tracejit.runtime.device import no_device_form
from tracejit.runtime.device_array import DEVICE_CALLS, DeviceArray


def _comparable(a: DeviceArray, name: str) -> DeviceArray:
    """The elements in a dtype that the kernels compare, in the same order."""
    if a.dtype.kind == "c":
        raise no_device_form(f"np.{name} of complex numbers", a.device)
    if a.dtype == np.bool_:
        return a.view_as(np.uint8)
    return a.astype(np.float32) if a.dtype == np.float16 else a


def _sorted(a: DeviceArray, axis: int | None, places: bool) -> DeviceArray:
    """An axis sorted, None for all of the elements; or where its elements were."""
    if axis is None or not a.ndim:
        a, axis = a.reshape(-1), 0
    name = "argsort" if places else "sort"
    keys = _comparable(a, name)
    order = [*(k for k in range(a.ndim) if k != axis % a.ndim), axis % a.ndim]
    moved = keys.transpose(order)
    length = a.shape[axis]
    values, found = device_library.sort(moved.reshape(a.size // max(1, length), length), places)
    result = values if found is None else found
    result = result.reshape(moved.shape).transpose([order.index(k) for k in range(a.ndim)])
    return result if found is not None or result.dtype == a.dtype else result.astype(a.dtype)


def sort(a: DeviceArray, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """np.sort."""
    return _sorted(a, axis, False)


def argsort(a: DeviceArray, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """np.argsort."""
    return _sorted(a, axis, True)


def partition(a: DeviceArray, kth: Any, axis: int | None = -1, kind: Any = None, order: Any = None) -> Any:
    """What is sorted is parted at every place."""
    return _sorted(a, axis, False)


def argpartition(a: DeviceArray, kth: Any, axis: int | None = -1, kind: Any = None, order: Any = None) -> Any:
    """np.argpartition."""
    return _sorted(a, axis, True)


# ---- ranks


def _middle(pair: Any, last: Any) -> Any:
    found = np.mean(pair, axis=-1)
    return np.where(np.isnan(last), last, found) if pair.dtype.kind == "f" else found


def median(a: DeviceArray, axis: int = -1) -> Any:
    """The median of each row of the last axis."""
    ordered, length = _sorted(a, -1, False), a.shape[-1]
    if not length:
        return run(np.mean, (a,), {"axis": -1}, False)
    return run(_middle, (ordered[..., (length - 1) // 2 : length // 2 + 1], ordered[..., -1]), {}, False)


def _between(low: Any, high: Any, last: Any, share: Any) -> Any:
    """NumPy's interpolation, from the nearer end."""
    step = high - low
    found = np.where(share >= 0.5, high - step * (1 - share), low + step * share)
    return np.where(np.isnan(last), last, found) if last.dtype.kind == "f" else found


def _picked(value: Any, last: Any) -> Any:
    return np.where(np.isnan(last), last, value)


def quantile(a: DeviceArray, q: Any, axis: int = -1, method: str = "linear") -> Any:
    """np.quantile along the last axis; q is a number, or a list of them."""
    shares = np.asarray(q, a.dtype if a.dtype.kind == "f" else np.float64)
    return _quantiles(a, shares, method)


def percentile(a: DeviceArray, q: Any, axis: int = -1, method: str = "linear") -> Any:
    """np.percentile along the last axis."""
    dtype = a.dtype if a.dtype.kind == "f" else np.dtype(np.float64)
    return _quantiles(a, np.asarray(q, dtype) / dtype.type(100), method)


def _quantiles(a: DeviceArray, shares: np.ndarray[Any, Any], method: str) -> Any:
    ordered, length = _sorted(a, -1, False), a.shape[-1]
    if not length:
        raise IndexError(f"index -1 is out of bounds for axis 0 with size {length}")
    last = ordered[..., -1]
    if method == "linear":
        places = (length - 1) * shares
    else:
        # NumPy's own places, which nothing but the number of elements decides.
        known: Any = np.quantile
        places = np.asarray(known(np.arange(float(length)), shares.astype(float), method=method), shares.dtype)
    found = []
    for place in places.ravel():
        low = min(max(math.floor(place), 0), length - 1)
        above = min(low + 1, length - 1)
        if method in _CHOOSING:
            value = ordered[..., low]
            found.append(run(_picked, (value, last), {}, False) if a.dtype.kind == "f" else value)
        else:
            share = shares.dtype.type(place - low)
            found.append(run(_between, (ordered[..., low], ordered[..., above], last, share), {}, False))
    if not shares.ndim:
        return found[0]
    return run(_together, (tuple(found),), {}, False).reshape(*shares.shape, *a.shape[:-1])


_CHOOSING = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")
"""Methods whose result is an element."""


def _together(parts: Any) -> Any:
    return np.stack(parts)


# ---- looking up


def searchsorted(a: DeviceArray, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """np.searchsorted."""
    if sorter is not None:
        a = run(np.take, (a, sorter), {}, False)
    values = v if type(v) is DeviceArray else a.home.upload(np.asarray(v))
    dtype = np.result_type(a.dtype, values.dtype)
    ordered, wanted = (_comparable(x if x.dtype == dtype else x.astype(dtype), "searchsorted") for x in (a, values))
    ordered, wanted = (x if x.contiguous else x.copy() for x in (ordered, wanted))
    return device_library.search(ordered, wanted, side)


def digitize(x: DeviceArray, bins: DeviceArray, right: bool = False) -> Any:
    """np.digitize; the edges are read back to see which way they go."""
    steps = np.diff(bins.read())
    side = "left" if right else "right"
    if (steps >= 0).all():
        return searchsorted(bins, x, side)
    if not (steps <= 0).all():
        raise ValueError("bins must be monotonically increasing or decreasing")
    return run(np.subtract, (bins.size, searchsorted(bins[::-1], x, side)), {}, True)


def _line(x: Any, known: Any, values: Any, after: Any, left: Any, right: Any) -> Any:
    """NumPy's interpolation between the two known places around each x."""
    place = np.clip(after - 1, 0, known.shape[0] - 2)
    x0, x1, y0, y1 = known[place], known[place + 1], values[place], values[place + 1]
    slope = (y1 - y0) / (x1 - x0)
    found = slope * (x - x0) + y0
    other = slope * (x - x1) + y1
    found = np.where(np.isnan(found), np.where(np.isnan(other) & (y0 == y1), y0, other), found)
    found = np.where(x == x0, y0, found)
    found = np.where(x >= known[-1], np.where(x == known[-1], values[-1], right), found)
    return np.where(np.isnan(x), x, np.where(x < known[0], left, found))


def interp(x: DeviceArray, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """np.interp over at least two known places."""
    known, values = (a if type(a) is DeviceArray else x.home.upload(np.asarray(a)) for a in (xp, fp))
    if period is not None or values.dtype.kind == "c" or known.size < 2:
        raise no_device_form("np.interp with a period, of complex values or over one place", x.device)
    x, known, values = (a.astype(np.float64) for a in (x, known, values))
    ends = [values[k] if end is None else np.float64(end) for k, end in ((0, left), (-1, right))]
    return run(_line, (x, known, values, searchsorted(known, x, "right"), *ends), {}, False)


# ---- distinct elements


def _starts(ordered: Any, equal_nan: bool) -> Any:
    """Where an element differs from the one before."""
    differs = ordered[1:] != ordered[:-1]
    if equal_nan and ordered.dtype.kind == "f":
        differs = differs & ~(np.isnan(ordered[1:]) & np.isnan(ordered[:-1]))
    return np.concatenate([np.ones(1, bool), differs])


def _lengths(starts: Any, total: Any) -> Any:
    return np.diff(np.concatenate([starts, np.reshape(total, 1)]))


def unique(
    ar: DeviceArray,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """np.unique of all elements.  Waits for how many there are."""
    if axis is not None:
        raise no_device_form("np.unique along an axis", ar.device)
    flat = ar.reshape(-1)
    order = _sorted(flat, 0, True) if return_index or return_inverse else None
    ordered = _sorted(flat, 0, False)
    is_start = run(_starts, (ordered, equal_nan), {}, False) if flat.size else ordered.astype(bool)
    starts = flatnonzero(is_start)
    found: list[Any] = [run(np.take, (ordered, starts), {}, False)]
    if return_index:
        found.append(run(np.take, (order, starts), {}, False))
    if return_inverse:
        inverse = ar.home.empty(flat.shape, np.int64)
        if order is not None and flat.size:
            numbers = run(_numbers, (is_start,), {}, False)
            device_library.scatter(order, numbers, inverse)
        found.append(inverse.reshape(ar.shape))
    if return_counts:
        found.append(run(_lengths, (starts, flat.size), {}, True))
    return found[0] if len(found) == 1 else tuple(found)


def _numbers(is_start: Any) -> Any:
    return np.cumsum(is_start) - 1


def _of_unique(*parts: str) -> Any:
    def call(x: DeviceArray) -> Any:
        return unique(x, equal_nan=False, **dict.fromkeys(parts, True))

    return call


DEVICE_CALLS.update(
    {
        np.sort: sort,
        np.argsort: argsort,
        np.partition: partition,
        np.argpartition: argpartition,
        np.median: median,
        np.quantile: quantile,
        np.percentile: percentile,
        np.searchsorted: searchsorted,
        np.digitize: digitize,
        np.interp: interp,
        np.unique: unique,
        np.unique_values: _of_unique(),
    }
)
