"""Perlin noise from a permutation table."""

import numpy as np

from tests.programs import Program


def fade(t):
    return t * t * t * (t * (t * 6 - 15) + 10)


def gradient(h, x, y):
    angle = h * (2 * np.pi / 256)
    return np.cos(angle) * x + np.sin(angle) * y


def perlin(x, y, table):
    xi, yi = np.floor(x).astype(int) & 255, np.floor(y).astype(int) & 255
    xf, yf = x - np.floor(x), y - np.floor(y)
    u, v = fade(xf), fade(yf)
    h00 = table[(table[xi] + yi) & 255]
    h01 = table[(table[xi] + yi + 1) & 255]
    h10 = table[(table[(xi + 1) & 255] + yi) & 255]
    h11 = table[(table[(xi + 1) & 255] + yi + 1) & 255]
    top = gradient(h00, xf, yf) * (1 - u) + gradient(h10, xf - 1, yf) * u
    low = gradient(h01, xf, yf - 1) * (1 - u) + gradient(h11, xf - 1, yf - 1) * u
    return top * (1 - v) + low * v


def fractal_noise(table, n, octaves=3):
    axis = np.linspace(0, 4, n, endpoint=False)
    x, y = np.meshgrid(axis, axis)
    total = np.zeros((n, n))
    for octave in range(octaves):
        total += perlin(x * 2**octave, y * 2**octave, table) / 2**octave
    return total


def make_arguments(rng, size):
    return rng.permutation(256), size


PROGRAMS = [Program("perlin_noise", fractal_noise, make_arguments, (1e-10, 1e-12))]
