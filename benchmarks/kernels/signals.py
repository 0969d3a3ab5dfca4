"""Filters and transforms."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel


def deriche(image, alpha):
    """Deriche's recursive smoothing filter: along the rows in both directions, then along the columns."""
    k = (1.0 - np.exp(-alpha)) ** 2 / (1.0 + 2.0 * alpha * np.exp(-alpha) - np.exp(2.0 * alpha))
    a1, a2 = k, k * np.exp(-alpha) * (alpha - 1.0)
    a3, a4 = k * np.exp(-alpha) * (alpha + 1.0), -k * np.exp(-2.0 * alpha)
    b1, b2 = 2.0 ** (-alpha), -np.exp(-2.0 * alpha)
    y1, y2 = np.empty_like(image), np.empty_like(image)
    y1[:, 0] = a1 * image[:, 0]
    y1[:, 1] = a1 * image[:, 1] + a2 * image[:, 0] + b1 * y1[:, 0]
    for j in range(2, image.shape[1]):
        y1[:, j] = a1 * image[:, j] + a2 * image[:, j - 1] + b1 * y1[:, j - 1] + b2 * y1[:, j - 2]
    y2[:, -1] = 0.0
    y2[:, -2] = a3 * image[:, -1]
    for j in range(image.shape[1] - 3, -1, -1):
        y2[:, j] = a3 * image[:, j + 1] + a4 * image[:, j + 2] + b1 * y2[:, j + 1] + b2 * y2[:, j + 2]
    smooth = y1 + y2
    y1[0] = a1 * smooth[0]
    y1[1] = a1 * smooth[1] + a2 * smooth[0] + b1 * y1[0]
    for i in range(2, image.shape[0]):
        y1[i] = a1 * smooth[i] + a2 * smooth[i - 1] + b1 * y1[i - 1] + b2 * y1[i - 2]
    y2[-1] = 0.0
    y2[-2] = a3 * smooth[-1]
    for i in range(image.shape[0] - 3, -1, -1):
        y2[i] = a3 * smooth[i + 1] + a4 * smooth[i + 2] + b1 * y2[i + 1] + b2 * y2[i + 2]
    return y1 + y2


def stockham_fft(x):
    """Stockham's self-sorting FFT of a power of two: half as many blocks, twice as long, at each level."""
    n = x.shape[0]
    values = x.reshape(1, n)
    while values.shape[1] > 1:
        blocks, length = values.shape
        half = length // 2
        twiddle = np.exp(-1j * np.pi * np.arange(blocks) / blocks)[:, None]
        even, odd = values[:, :half], twiddle * values[:, half:]
        values = np.concatenate((even + odd, even - odd), axis=0)
    return values.reshape(n)


def mandelbrot_loop(xs, ys, steps):
    """Escape counts over the plane by complex arithmetic, every point at every step."""
    c = xs[None, :] + 1j * ys[:, None]
    z = np.zeros_like(c)
    counts = np.zeros(c.shape, np.int64)
    for step in range(steps):
        alive = np.abs(z) < 2.0
        counts[alive] = step
        z[alive] = z[alive] ** 2 + c[alive]
    return counts


def mandelbrot_mask(xs, ys, steps):
    """The same over a list of the points that are left, which shrinks."""
    c = (xs[None, :] + 1j * ys[:, None]).ravel()
    counts = np.zeros(c.size, np.int64)
    places = np.arange(c.size)
    z = np.zeros_like(c)
    for step in range(steps):
        z = z * z + c
        alive = np.abs(z) < 2.0
        counts[places[~alive]] = step
        z, c, places = z[alive], c[alive], places[alive]
    counts[places] = steps
    return counts.reshape(ys.shape[0], xs.shape[0])


def _plane(rng, n):
    return np.linspace(-2.0, 0.5, n), np.linspace(-1.25, 1.25, n), 20


def _noise(rng, n):
    return (rng.random(n) + 1j * rng.random(n),)


KERNELS = (
    Kernel("deriche", deriche, lambda rng, n: (rng.random((n, n + 1)), 0.25), (4, 10, 40, 120, 400), numba=True),
    Kernel("stockham_fft", stockham_fft, _noise, (8, 1024, 2**16, 2**21)),
    Kernel("mandelbrot_loop", mandelbrot_loop, _plane, (3, 30, 300, 1000)),
    Kernel("mandelbrot_mask", mandelbrot_mask, _plane, (3, 30, 300, 1000)),
)
