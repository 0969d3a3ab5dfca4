"""The wave equation with three time levels and absorbing ends."""

import numpy as np

from tests.programs import Program


def propagate(now, before, courant, steps):
    c2 = courant * courant
    for _ in range(steps):
        after = np.zeros_like(now)
        after[1:-1] = 2 * now[1:-1] - before[1:-1] + c2 * (now[2:] - 2 * now[1:-1] + now[:-2])
        after[0] = now[1] + (courant - 1) / (courant + 1) * (after[1] - now[0])
        after[-1] = now[-2] + (courant - 1) / (courant + 1) * (after[-2] - now[-1])
        before, now = now, after
    energy = 0.5 * np.sum((now - before) ** 2) + 0.5 * c2 * np.sum(np.diff(now) ** 2)
    return now, energy


def make_arguments(rng, size):
    x = np.linspace(0, 1, 8 * size)
    pulse = np.exp(-200 * (x - 0.5) ** 2)
    return pulse, pulse.copy(), 0.9, 6


PROGRAMS = [Program("wave_equation", propagate, make_arguments, (1e-11, 1e-13))]
