"""Moving average by cumulative sums; exponential moving average by a plain loop."""

import numpy as np

from tests.programs import Program


def moving_average(series, window):
    total = np.cumsum(np.insert(series, 0, 0.0))
    return (total[window:] - total[:-window]) / window


def exponential_average(series, alpha):
    out = np.empty(len(series))
    out[0] = series[0]
    for i in range(1, len(series)):
        out[i] = alpha * series[i] + (1 - alpha) * out[i - 1]
    return out


def make_arguments(rng, size):
    return rng.normal(size=10 * size), 7


def make_short(rng, size):
    return rng.normal(size=size), 0.3


PROGRAMS = [
    Program("moving_average", moving_average, make_arguments, (1e-10, 1e-12)),
    Program("exponential_average", exponential_average, make_short, (0.0, 0.0)),
]
