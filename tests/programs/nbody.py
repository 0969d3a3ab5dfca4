"""Gravity: accelerations of all pairs, and a leapfrog step in place."""

import numpy as np

from tests.programs import Program


def accelerations(position, mass, softening=0.01):
    offset = position[None, :, :] - position[:, None, :]
    inverse = ((offset**2).sum(axis=-1) + softening**2) ** -1.5
    return (offset * (mass[None, :] * inverse)[:, :, None]).sum(axis=1)


def leapfrog(position, velocity, mass, dt):
    velocity += 0.5 * dt * accelerations(position, mass)
    position += dt * velocity
    velocity += 0.5 * dt * accelerations(position, mass)
    return 0.5 * np.sum(mass * np.sum(velocity**2, axis=1))


def make_arguments(rng, size):
    return rng.normal(size=(size, 3)), rng.normal(size=(size, 3)), rng.random(size), 0.01


PROGRAMS = [Program("nbody_leapfrog", leapfrog, make_arguments, (1e-10, 1e-11), mutates=True)]
