"""SIR epidemic in many towns at once: Euler steps, history kept."""

import numpy as np

from tests.programs import Program


def simulate(infected, contact_rate, recovery, steps, dt=0.1):
    s, i, r = 1.0 - infected, infected, np.zeros_like(infected)
    history = np.empty((steps, 3, len(infected)))
    for t in range(steps):
        new_cases = contact_rate * s * i * dt
        recovered = recovery * i * dt
        s = s - new_cases
        i = i + new_cases - recovered
        r = r + recovered
        history[t] = s, i, r
    return history, history[:, 1].argmax(axis=0)


def make_arguments(rng, size):
    return 0.01 * rng.random(size), rng.uniform(0.5, 2.0, size), 0.3, 12


PROGRAMS = [Program("sir_epidemic", simulate, make_arguments, (0.0, 0.0))]
