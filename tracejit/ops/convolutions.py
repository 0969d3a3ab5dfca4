"""Convolution, correlation and interpolation of one-dimensional arrays, by NumPy's own loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ops.library import library


def _shorter(a: Any, b: Any) -> Any:
    return a.shape[0] if a.shape[0] < b.shape[0] else b.shape[0]


def _in_full(g: Any, a: Any, b: Any, before: Any) -> Any:
    """A part of a full convolution with zeros around it; `before` are missing in front."""
    after = a.shape[0] + b.shape[0] - 1 - before - g.shape[0]
    return np.pad(g, ((before, after),))


def _convolved(g: Any, a: Any, v: Any, mode: Any) -> Any:
    few = _shorter(a, v)
    return _in_full(g, a, v, {"full": 0, "same": (few - 1) // 2, "valid": few - 1}[mode])


def _correlated(g: Any, a: Any, v: Any, mode: Any) -> Any:
    """NumPy correlates the longer with the shorter; where it has exchanged them it turns the result around."""
    few = _shorter(a, v)
    half = few // 2 if a.shape[0] < v.shape[0] else (few - 1) // 2
    return _in_full(g, a, v, {"full": 0, "same": half, "valid": few - 1}[mode])


def _convolve_jvp(position: int) -> Any:
    def rule(t: Any, out: Any, a: Any, v: Any, mode: Any) -> Any:
        return np.convolve(t, v, mode) if position == 0 else np.convolve(a, t, mode)

    return rule


def _convolve_vjp(position: int) -> Any:
    def rule(g: Any, out: Any, a: Any, v: Any, mode: Any) -> Any:
        return np.convolve(_convolved(g, a, v, mode), (v if position == 0 else a)[::-1], "valid")

    return rule


def _correlate_jvp(position: int) -> Any:
    def rule(t: Any, out: Any, a: Any, v: Any, mode: Any) -> Any:
        return np.correlate(t, v, mode) if position == 0 else np.correlate(a, t, mode)

    return rule


def _correlate_vjp(position: int) -> Any:
    def rule(g: Any, out: Any, a: Any, v: Any, mode: Any) -> Any:
        full = _correlated(g, a, v, mode)
        return np.convolve(full, v, "valid") if position == 0 else np.convolve(full, a[::-1], "valid")[::-1]

    return rule


library(np.convolve, "Convolution.", jvp=_convolve_jvp, vjp=_convolve_vjp)
library(np.correlate, "Correlation.", jvp=_correlate_jvp, vjp=_correlate_vjp)


def _interp(x: Any, xp: Any, fp: Any, **options: Any) -> Any:
    """np.interp as a choice of lines."""
    if xp.shape[0] == 1:
        return fp[0] + np.zeros_like(x)
    right = np.clip(np.searchsorted(xp, x, side="right"), 1, xp.shape[0] - 1)
    x0, x1, y0, y1 = xp[right - 1], xp[right], fp[right - 1], fp[right]
    line = y0 + (x - x0) * ((y1 - y0) / (x1 - x0))
    below = fp[0] if options.get("left") is None else options["left"]
    above = fp[-1] if options.get("right") is None else options["right"]
    return np.where(x < xp[0], below, np.where(x > xp[-1], above, line))


library(np.interp, "Linear interpolation.", stand_in=_interp, one_core=True)
