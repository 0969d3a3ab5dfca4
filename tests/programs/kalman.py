"""One predict-and-update step of a Kalman filter held in a dataclass."""

from dataclasses import dataclass

import numpy as np

from tests.programs import Program


@dataclass
class State:
    mean: np.ndarray
    covariance: np.ndarray


def kalman_step(state, measurement, transition, observation, noise):
    mean = transition @ state.mean
    covariance = transition @ state.covariance @ transition.T + noise * np.eye(len(mean))
    innovation = measurement - observation @ mean
    spread = observation @ covariance @ observation.T + 0.1 * np.eye(len(measurement))
    gain = covariance @ observation.T @ np.linalg.inv(spread)
    return State(mean + gain @ innovation, (np.eye(len(mean)) - gain @ observation) @ covariance)


def make_arguments(rng, size):
    transition = np.eye(4) + np.diag([0.1, 0.1], k=2)
    return State(rng.normal(size=4), np.eye(4)), rng.normal(size=2), transition, np.eye(2, 4), 0.01


PROGRAMS = [Program("kalman_step", kalman_step, make_arguments, (1e-10, 1e-12))]
