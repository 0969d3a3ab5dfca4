"""Newton's method on many numbers at once, with stopping by data."""

import numpy as np

from tests.programs import Program


def cube_roots(values, limit=1e-10):
    x = np.maximum(np.abs(values), 1.0)
    for _ in range(60):
        step = (x**3 - np.abs(values)) / (3 * x**2)
        x = x - step
        if np.all(np.abs(step) < limit):
            break
    return np.copysign(x, values)


def make_arguments(rng, size):
    return (rng.normal(0, 20, 4 * size),)


PROGRAMS = [Program("newton_cube_roots", cube_roots, make_arguments, (1e-9, 1e-9))]
