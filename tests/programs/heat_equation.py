"""Explicit heat equation in place, several steps over two buffers."""

import numpy as np

from tests.programs import Program


def diffuse(u, alpha, steps):
    for _ in range(steps):
        u[1:-1, 1:-1] += alpha * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
        u[0, :] = u[1, :]
        u[-1, :] = u[-2, :]
    return u


def diffuse_two_buffers(u, scratch, alpha):
    for _ in range(4):
        scratch[1:-1] = u[1:-1] + alpha * (u[2:] - 2 * u[1:-1] + u[:-2])
        scratch[0], scratch[-1] = u[0], u[-1]
        u, scratch = scratch, u
    return u.max()


def make_plate(rng, size):
    return rng.random((size, size + 2)), 0.1, 5


def make_rod(rng, size):
    return rng.random(6 * size), np.zeros(6 * size), 0.2


PROGRAMS = [
    Program("heat_plate", diffuse, make_plate, (0.0, 0.0), mutates=True),
    Program("heat_rod", diffuse_two_buffers, make_rod, (0.0, 0.0), mutates=True),
]
