"""Counts and scattered results on a GPU: np.bincount, np.histogram, `at` of ufuncs.

Integers are counted by atomics, whose order does not matter; what is combined otherwise is sorted by place first, and
combined in its order, so that floats have NumPy's bits at each run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.eager.device_calls import filled, places_of
from tracejit.eager.device_operations import run
from tracejit.eager.device_sorting import searchsorted
from tracejit.ops.assignment import written
from tracejit.runtime import device_library
from tracejit.runtime.device import no_device_form
from tracejit.runtime.device_array import DEVICE_CALLS, DeviceArray
from tracejit.trace.array_functions.histograms import counts
from tracejit.trace.array_functions.writes import on_a_copy
from tracejit.trace.standin import arange


def _zeros(like: DeviceArray, length: int, dtype: Any) -> DeviceArray:
    found: DeviceArray = like.home.empty((length,), dtype)
    found[...] = 0
    return found


def _tally(places: DeviceArray, length: int, weights: DeviceArray | None) -> DeviceArray:
    """How often each place occurs, or the sum of the weights there."""
    if weights is None:
        total = _zeros(places, length, np.int64)
        device_library.count(places, total)
    else:
        total = _zeros(places, length, weights.dtype)
        device_library.combine("add", places, weights.reshape(-1, 1), total.reshape(-1, 1))
    return total


def _bounds(x: Any) -> Any:
    return np.stack([np.min(x), np.max(x)])


def bincount(x: DeviceArray, weights: DeviceArray | None = None, minlength: int = 0) -> DeviceArray:
    """np.bincount.  Waits for the largest element."""
    if not np.can_cast(x.dtype, np.int64, "safe"):
        raise TypeError(f"Cannot cast array data from {x.dtype!r} to dtype('int64') according to the rule 'safe'")
    if x.ndim != 1:
        raise ValueError("object too deep for desired array" if x.ndim else "object of too small depth")
    if minlength < 0:
        raise ValueError("'minlength' must not be negative")
    if weights is not None and weights.size != x.size:
        raise ValueError("The weights and list don't have the same length.")
    low, high = run(_bounds, (x,), {}, False).read().tolist() if x.size else (0, -1)
    if low < 0:
        raise ValueError("'list' argument must have no negative elements")
    places = x.astype(np.int64)
    added = None if weights is None else weights.astype(np.float64)
    return _tally(places, max(minlength, int(high) + 1), added)


def _bins(a: Any, edges: Any, after: Any) -> Any:
    """The bin of each element; the last edge belongs to the last bin, and one bin more takes what lies outside."""
    number = edges.shape[0] - 1
    inside = (a >= edges[0]) & (a <= edges[-1])
    return np.where(inside, np.minimum(after - 1, number - 1), number)


def histogram_counts(a: DeviceArray, edges: DeviceArray, weights: DeviceArray | None = None) -> DeviceArray:
    """How many elements lie in each bin, or the sums of their weights."""
    flat = a.reshape(-1)
    after = searchsorted(edges, flat, "right")
    places = run(_bins, (flat, edges, after), {}, False)
    added = None if weights is None else weights.reshape(-1)
    if added is not None and added.dtype.kind != "f":
        added = added.astype(np.int64 if added.dtype.kind in "bi" else added.dtype)
    found = _tally(places, edges.size, added)[:-1]
    converted: DeviceArray = found if weights is None else found.astype(weights.dtype, copy=False)
    return converted


def _densities(counts: Any, edges: Any) -> Any:
    return counts / np.diff(edges) / np.sum(counts)


def histogram(
    a: DeviceArray, bins: Any = 10, range: Any = None, density: Any = None, weights: DeviceArray | None = None
) -> tuple[DeviceArray, DeviceArray]:
    """np.histogram over so many bins or over edges.  Waits for the range of the elements if none is given."""
    if isinstance(bins, str) or a.dtype.kind not in "iuf":
        raise no_device_form(f"np.histogram of {a.dtype} over bins {bins!r}", a.device)
    if type(bins) is DeviceArray:
        edges = bins
        if (np.diff(edges.read()) < 0).any():
            raise ValueError("`bins` must increase monotonically, when an array")
    else:
        ends = run(_bounds, (a,), {}, False).read() if a.size and range is None and np.ndim(bins) == 0 else []
        edges = a.home.upload(np.histogram_bin_edges(np.asarray(ends, a.dtype), bins, range))
    found = histogram_counts(a, edges, weights)
    return (run(_densities, (found, edges), {}, False) if density else found), edges


def _at(ufunc: np.ufunc) -> Callable[..., DeviceArray]:
    """A copy of an array with `ufunc.at` done on it."""

    def call(array: DeviceArray, key: Any, value: Any) -> DeviceArray:
        total = array.copy()
        places = run(places_of, (array, key), {}, True)
        given = value.dtype if isinstance(value, (DeviceArray, np.generic)) else np.asarray(value).dtype
        dtype = array.dtype
        if dtype.kind not in "iuf" or dtype == np.float16:
            raise no_device_form(f"np.{ufunc.__name__}.at of {dtype}", array.device)
        if not np.can_cast(given, dtype, "same_kind"):
            raise TypeError(f"Cannot cast ufunc {ufunc.__name__!r} input 1 from {given!r} to {dtype!r}")
        values = run(filled, (value, places, dtype), {}, True)
        if places.size:
            flat = places.reshape(-1), values.reshape(-1, 1), total.reshape(-1, 1)
            device_library.combine(ufunc.__name__, *flat)
        return total

    return call


def _of_the_value(cotangent: Any, key: Any, value: Any) -> Any:
    places = places_of(cotangent, key)
    numbers = arange(places.size)
    last = arange(cotangent.size) * 0 - 1
    last[places.reshape(-1)] = numbers
    found = np.where(last[places] == numbers.reshape(places.shape), cotangent[key], 0)
    shape = np.shape(value)
    found = found.reshape((1,) * (len(shape) - found.ndim) + found.shape)
    found = np.sum(found, axis=tuple(range(found.ndim - len(shape))))
    stretched = tuple(a for a, (own, length) in enumerate(zip(shape, found.shape, strict=True)) if own == 1 != length)
    return np.sum(found, axis=stretched, keepdims=True).astype(cotangent.dtype)


def of_the_value(cotangent: DeviceArray, key: Any, value: Any) -> Any:
    """As `ops.assignment.written`."""
    return run(_of_the_value, (cotangent, key, value), {}, True)


def _reduce_at(ufunc: np.ufunc) -> Callable[..., DeviceArray]:
    """`reduceat` of a ufunc along one axis."""

    def call(array: DeviceArray, indices: Any, axis: int = 0) -> DeviceArray:
        adds = ufunc in (np.add, np.multiply)
        if array.dtype.kind not in "iuf" and not (adds and array.dtype == np.bool_):
            raise no_device_form(f"np.{ufunc.__name__}.reduceat of {array.dtype}", array.device)
        dtype = ufunc.reduce(np.ones(1, array.dtype)).dtype
        source = array.astype(np.float32 if dtype == np.float16 else dtype, copy=False)
        order = (axis % array.ndim, *(k for k in range(array.ndim) if k != axis % array.ndim))
        moved = source.transpose(order)
        given = indices if type(indices) is DeviceArray else array.home.upload(np.asarray(indices))
        places = given.astype(np.int64, copy=False).reshape(-1)
        found: DeviceArray = array.home.empty((places.size, *moved.shape[1:]), source.dtype)
        width = found.size // max(1, places.size)
        flat = moved.reshape(moved.shape[0], width)
        device_library.reduce_at(ufunc.__name__, flat, places, found.reshape(places.size, width))
        result: DeviceArray = found.transpose(tuple(order.index(k) for k in range(array.ndim)))
        return result if result.dtype == dtype else result.astype(dtype)

    return call


DEVICE_CALLS.update(
    {
        **{ufunc.reduceat: _reduce_at(ufunc) for ufunc in (np.add, np.multiply, np.maximum, np.minimum)},
        written: of_the_value,
        np.bincount: bincount,
        counts: histogram_counts,
        np.histogram: histogram,
        **{on_a_copy(ufunc.at): _at(ufunc) for ufunc in (np.add, np.subtract, np.multiply, np.maximum, np.minimum)},
    }
)
