"""Monte Carlo from given random numbers: pi, and paths of a random walk with a barrier."""

import numpy as np

from tests.programs import Program


def estimate_pi(x, y):
    return 4 * np.mean(x**2 + y**2 <= 1.0)


def barrier_option(normals, spot, strike, barrier, volatility, dt):
    steps = volatility * np.sqrt(dt) * normals - 0.5 * volatility**2 * dt
    paths = spot * np.exp(np.cumsum(steps, axis=1))
    alive = ~(paths > barrier).any(axis=1)
    payoff = np.maximum(paths[:, -1] - strike, 0.0) * alive
    return payoff.mean(), payoff.std(ddof=1) / np.sqrt(len(payoff)), np.percentile(payoff, 90)


def make_points(rng, size):
    return rng.random(30 * size), rng.random(30 * size)


def make_paths(rng, size):
    return rng.normal(size=(5 * size, 12)), 100.0, 95.0, 140.0, 0.3, 1 / 12


PROGRAMS = [
    Program("estimate_pi", estimate_pi, make_points, (0.0, 0.0)),
    Program("barrier_option", barrier_option, make_paths, (1e-11, 1e-12)),
]
