"""The dominant eigenvector by power iteration."""

import numpy as np

from tests.programs import Program


def dominant_eigenpair(matrix, start, steps=8):
    v = start / np.linalg.norm(start)
    for _ in range(steps):
        v = matrix @ v
        v /= np.sqrt((v * v).sum())
    return v, v @ matrix @ v


def make_arguments(rng, size):
    matrix = rng.random((size, size))
    return matrix @ matrix.T, rng.random(size)


PROGRAMS = [Program("power_iteration", dominant_eigenpair, make_arguments, (1e-10, 1e-12))]
