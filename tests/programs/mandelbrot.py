"""Escape counts of the Mandelbrot set in real arithmetic, with masks."""

import numpy as np

from tests.programs import Program


def mandelbrot(width, height, iterations):
    x = np.linspace(-2.0, 0.6, width)[np.newaxis, :]
    y = np.linspace(-1.2, 1.2, height)[:, np.newaxis]
    zr = np.zeros((height, width))
    zi = np.zeros((height, width))
    counts = np.zeros((height, width), dtype=np.int32)
    for _ in range(iterations):
        r2, i2 = zr * zr, zi * zi
        alive = r2 + i2 <= 4.0
        counts += alive
        zi = np.where(alive, 2.0 * zr * zi + y, zi)
        zr = np.where(alive, r2 - i2 + x, zr)
    return counts


def make_arguments(rng, size):
    return size + 3, size, 20


PROGRAMS = [Program("mandelbrot", mandelbrot, make_arguments, (0.0, 0.0))]
