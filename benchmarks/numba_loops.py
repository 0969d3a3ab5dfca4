"""The workloads as a Numba user would write them by hand: one parallel loop nest each, fresh outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_fast = numba.njit(parallel=True, fastmath=True, error_model="numpy")
_exact = numba.njit(parallel=True, error_model="numpy")
_serial = numba.njit(error_model="numpy")


@_fast
def trigonometry(x, y):
    out = np.empty_like(x)
    for i in numba.prange(x.size):
        out[i] = math.sin(x[i]) ** 2 + math.cos(y[i]) * math.exp(-x[i] * y[i])
    return out


@_exact
def triad(x, y, a, b, c):
    out = np.empty_like(x)
    for i in numba.prange(x.size):
        out[i] = a * x[i] + b * y[i] + c
    return out


@_fast
def black_scholes(s, k, t, r, v):
    call, put = np.empty_like(s), np.empty_like(s)
    for i in numba.prange(s.size):
        spread = v * math.sqrt(t[i])
        d1 = (math.log(s[i] / k[i]) + (r + 0.5 * v * v) * t[i]) / spread
        n1 = 0.5 + 0.5 * math.erf(d1 * 0.7071067811865476)
        n2 = 0.5 + 0.5 * math.erf((d1 - spread) * 0.7071067811865476)
        owed = k[i] * math.exp(-r * t[i])
        call[i] = s[i] * n1 - owed * n2
        put[i] = owed * (1.0 - n2) - s[i] * (1.0 - n1)
    return call, put


@_fast
def softmax(x):
    out = np.empty_like(x)
    for i in numba.prange(x.shape[0]):
        top = x[i, 0]
        for j in range(x.shape[1]):
            top = max(top, x[i, j])
        total = np.float32(0)
        for j in range(x.shape[1]):
            out[i, j] = math.exp(x[i, j] - top)
            total += out[i, j]
        for j in range(x.shape[1]):
            out[i, j] /= total
    return out


@_fast
def layernorm(x, gain, shift):
    out = np.empty_like(x)
    n = x.shape[1]
    for i in numba.prange(x.shape[0]):
        total = np.float32(0)
        for j in range(n):
            total += x[i, j]
        mean = total / np.float32(n)
        squares = np.float32(0)
        for j in range(n):
            squares += (x[i, j] - mean) * (x[i, j] - mean)
        scale = np.float32(1) / math.sqrt(squares / np.float32(n) + np.float32(1e-5))
        for j in range(n):
            out[i, j] = (x[i, j] - mean) * scale * gain[j] + shift[j]
    return out


@_fast
def squared_distance(x, y):
    total = 0.0
    for i in numba.prange(x.size):
        total += (x[i] - y[i]) ** 2
    return total


@_fast
def row_statistics(x):
    rows, n = x.shape
    mean, var, lse = np.empty(rows, x.dtype), np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    for i in numba.prange(rows):
        top, total = x[i, 0], np.float32(0)
        for j in range(n):
            top = max(top, x[i, j])
            total += x[i, j]
        middle = total / np.float32(n)
        squares, exponentials = np.float32(0), np.float32(0)
        for j in range(n):
            squares += (x[i, j] - middle) * (x[i, j] - middle)
            exponentials += math.exp(x[i, j] - top)
        mean[i], var[i], lse[i] = middle, squares / np.float32(n), top + math.log(exponentials)
    return mean, var, lse


@_exact
def jacobi(u):
    out = np.empty((u.shape[0] - 2, u.shape[1] - 2))
    for i in numba.prange(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = 0.25 * (u[i, j + 1] + u[i + 2, j + 1] + u[i + 1, j] + u[i + 1, j + 2])
    return out


@_exact
def jacobi_into(new, u):
    for i in numba.prange(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            new[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])


@_serial
def affine(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = x[i] * 2 + 1
    return out


@_serial
def sum_of_eight(a, b, c, d, e, f, g, h):
    out = np.empty_like(a)
    for i in range(a.size):
        out[i] = a[i] + b[i] + c[i] + d[i] + e[i] + f[i] + g[i] + h[i]
    return out


@_exact
def pairwise(a, b):
    out = np.empty((a.shape[0], b.shape[0]))
    for i in numba.prange(a.shape[0]):
        for j in range(b.shape[0]):
            total = 0.0
            for k in range(a.shape[1]):
                total += (a[i, k] - b[j, k]) ** 2
            out[i, j] = math.sqrt(total)
    return out


@_exact
def mandelbrot(cr, ci, zr, zi, counts):
    out = np.empty_like(counts)
    for i in numba.prange(cr.shape[0]):
        for j in range(cr.shape[1]):
            a, b, count = zr[i, j], zi[i, j], counts[i, j]
            for _ in range(100):
                if a * a + b * b > 4.0:
                    break
                count += 1
                a, b = a * a - b * b + cr[i, j], 2.0 * a * b + ci[i, j]
            out[i, j] = count
    return out


@_fast
def conv2d(x, w):
    batch, channels, height, width = x.shape
    out = np.zeros((batch, w.shape[0], height, width), x.dtype)
    for job in numba.prange(batch * w.shape[0]):
        n, o = job // w.shape[0], job % w.shape[0]
        for c in range(channels):
            for i in range(3):
                for j in range(3):
                    tap = w[o, c, i, j]
                    left, right = max(0, 1 - j), min(width, width + 1 - j)
                    for row in range(max(0, 1 - i), min(height, height + 1 - i)):
                        for column in range(left, right):
                            out[n, o, row, column] += tap * x[n, c, row + i - 1, column + j - 1]
    return out


LOOPS: dict[str, Callable[..., Any]] = {
    "W1": trigonometry,
    "W2": trigonometry,
    "W3": triad,
    "W4": black_scholes,
    "W5": softmax,
    "W6": layernorm,
    "W8a": squared_distance,
    "W8b": row_statistics,
    "W9": jacobi,
    "W9b": jacobi_into,
    "W10a": affine,
    "W10c": sum_of_eight,
    "W11": pairwise,
    "W12": mandelbrot,
    "W14": conv2d,
}
"""Workload -> loops; W7 is matrix products, where NumPy calls the same library."""
