"""Jacobi relaxation of Laplace's equation."""

import numpy as np

from tests.programs import Program


def sweep(u, source):
    new = u.copy()
    new[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - source[1:-1, 1:-1])
    return new


def solve(u, source, limit):
    residual = np.inf
    steps = 0
    while residual > limit and steps < 20:
        new = sweep(u, source)
        residual = np.abs(new - u).max()
        u = new
        steps += 1
    return u, residual, steps


def make_sweep(rng, size):
    return rng.random((size, size + 1)), 0.01 * rng.random((size, size + 1))


def make_solve(rng, size):
    return (*make_sweep(rng, size), 0.05)


PROGRAMS = [
    Program("jacobi_sweep", sweep, make_sweep, (0.0, 0.0)),
    Program("jacobi_solve", solve, make_solve, (0.0, 0.0)),
]
