"""Orders and quantiles along an axis, by NumPy's own loops.

Where elements are equal, a sort and what is made of it take them in the order in which they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.ops.library import NoRule, call_batch, library
from tracejit.ops.table import Op, register


def _order(a: Any, axis: int) -> Any:
    return np.argsort(a, axis=axis, kind="stable")


def _permuting(function: Callable[..., Any], doc: str, order: Callable[..., Any]) -> None:
    """A function that puts the elements along an axis in an order: `order(out, a, axis)`."""

    def jvp(t: Any, out: Any, a: Any, *args: Any, axis: int = -1, **options: Any) -> Any:
        return np.take_along_axis(t, order(out, a, axis), axis)

    def vjp(g: Any, out: Any, a: Any, *args: Any, axis: int = -1, **options: Any) -> Any:
        return np.take_along_axis(g, _order(order(out, a, axis), axis), axis)

    library(function, doc, jvp=[jvp], vjp=[vjp], one_core=True)


def _sorted_order(out: Any, a: Any, axis: int) -> Any:
    return _order(a, axis)


def _partial_order(out: Any, a: Any, axis: int) -> Any:
    """Where each element of a partition comes from: its rank tells."""
    ranks = _order(_order(out, axis), axis)
    return np.take_along_axis(_order(a, axis), ranks, axis)


_permuting(np.sort, "Sorted along an axis.", _sorted_order)
_permuting(np.partition, "Partitioned along an axis.", _partial_order)
for _function, _one_core, _doc in (
    (np.argsort, True, "The positions that sort along an axis."),
    (np.argmax, False, "Position of the largest."),
    (np.argmin, False, "Position of the smallest."),
):
    _spelling = (f"numpy.{_function.__name__}",)
    register(Op(_function.__name__, "call", _spelling, _function, one_core=_one_core, batch=call_batch, doc=_doc))


# ---- quantiles, along the last axis


def _median(a: Any, axis: int) -> Any:
    return _quantile(a, 0.5, axis)


def _percentile(a: Any, q: Any, axis: int, method: str) -> Any:
    return _quantile(a, np.true_divide(q, 100), axis, method)


def _quantile(a: Any, q: Any, axis: int, method: str = "linear") -> Any:
    ordered = np.sort(a, axis=axis)
    if np.ndim(q):
        return np.stack([_quantile_of_sorted(ordered, part, method) for part in q])
    return _quantile_of_sorted(ordered, q, method)


def _quantile_of_sorted(ordered: Any, q: Any, method: str) -> Any:
    place = np.multiply(q, np.subtract(ordered.shape[-1], 1))
    low = np.floor(place)
    high = np.minimum(low + 1, np.subtract(ordered.shape[-1], 1))
    below, above = (np.take(ordered, np.add(end, 0.5).astype(np.int64), axis=-1) for end in (low, high))
    match method:
        case "linear":
            share = place - low
        case "midpoint":
            share = np.where(place == low, 0, 0.5)
        case "lower":
            share = 0.0
        case "higher":
            share = np.where(place == low, 0.0, 1.0)
        case "nearest":
            share = np.rint(place) - low
        case _:
            raise NoRule(f"method {method!r} is not differentiated; linear, lower, higher, midpoint and nearest are")
    return below + (above - below) * share


library(np.median, "Median.", stand_in=_median, one_core=True)
library(np.quantile, "Quantiles.", stand_in=_quantile, one_core=True)
library(np.percentile, "Percentiles.", stand_in=_percentile, one_core=True)
