"""Pooling: the largest or the mean of each window of images with channels, written with NumPy's functions.

Traced, each is one kernel: the places of a window are shifted views of the images, combined element by element.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.ops.channel_convolutions import each, result_places, widths
from tracejit.ops.library import library, overridable

OPTIONS = ("window", "stride", "padding")


def _array(x: Any) -> Any:
    """Lists as an array; what is like one, traced values too, as it is."""
    return x if hasattr(x, "__array_function__") else np.asarray(x)


def _windows(name: str, x: Any, rank: int, window: Any, stride: Any, padding: Any, fill: Any) -> list[Any]:
    """What stands at each place of the windows: one array for each place, all of the result's shape."""
    if x.ndim != rank + 2:
        letters = "length" if rank == 1 else "height, width"
        raise ValueError(f"{name} takes images (batch, channels, {letters}), not an array of {x.ndim} axes")
    lengths = each(window, rank, "window")
    steps = lengths if stride is None else each(stride, rank, "stride")
    ones = (1,) * rank
    around = widths(padding, x.shape[2:], lengths, steps, ones)
    places = result_places(name, x.shape[2:], lengths, steps, around, ones)
    if any(pair != (0, 0) for pair in around):
        x = np.pad(x, ((0, 0), (0, 0), *around), constant_values=fill)
    found = []
    for tap in np.ndindex(*lengths):
        rows = zip(tap, steps, places, strict=True)
        found.append(x[(slice(None), slice(None), *(slice(i, i + s * (n - 1) + 1, s) for i, s, n in rows))])
    return found


def _largest(name: str, rank: int) -> Callable[..., Any]:
    def call(x: Any, window: Any, stride: Any = None, padding: Any = 0) -> Any:
        images = _array(x)
        fill = -np.inf if images.dtype.kind == "f" else 0 if images.dtype.kind == "b" else np.iinfo(images.dtype).min
        return functools.reduce(np.maximum, _windows(name, images, rank, window, stride, padding, fill))

    return _documented(call, name, rank, "Largest element of each window; NaN if one is", "smallest numbers")


def _mean(name: str, rank: int) -> Callable[..., Any]:
    def call(x: Any, window: Any, stride: Any = None, padding: Any = 0) -> Any:
        pieces = _windows(name, _array(x), rank, window, stride, padding, 0)
        return functools.reduce(np.add, pieces) / len(pieces)

    return _documented(call, name, rank, "Mean of each window, padding counted", "zeros")


def _documented(call: Callable[..., Any], name: str, rank: int, meaning: str, fill: str) -> Callable[..., Any]:
    axes = "length" if rank == 1 else "height, width"
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""{meaning}.

    x: (batch, channels, {axes}).
    window: its length on every axis, or one for each.  stride: likewise; None: the window's.
    padding: {fill} around the images, as for a convolution.
    Returns (batch, channels, {axes}).  Raises ValueError for other ranks, and a window longer than the padded images.

    >>> {name}(np.ones({(1, 1, *(4,) * rank)}), 2).shape
    {(1, 1, *(2,) * rank)}
    """
    return overridable(call)


max_pool1d, max_pool2d = _largest("max_pool1d", 1), _largest("max_pool2d", 2)
avg_pool1d, avg_pool2d = _mean("avg_pool1d", 1), _mean("avg_pool2d", 2)

for _function, _doc in (
    (max_pool1d, "Largest of each window along one axis."),
    (max_pool2d, "Largest of each window along two axes."),
    (avg_pool1d, "Mean of each window along one axis."),
    (avg_pool2d, "Mean of each window along two axes."),
):
    library(_function, _doc, stand_in=_function.__wrapped__, options=OPTIONS)  # type: ignore[attr-defined]
