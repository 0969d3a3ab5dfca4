"""Rolling z-score of a series, by windows and by running sums."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tests.programs import Program


def zscore_windows(series, window):
    view = sliding_window_view(series, window)
    return (series[window - 1 :] - view.mean(axis=1)) / view.std(axis=1, ddof=1)


def zscore_sums(series, window):
    total = np.cumsum(series)
    squares = np.cumsum(series * series)
    total = total[window:] - total[:-window]
    squares = squares[window:] - squares[:-window]
    mean = total / window
    variance = np.maximum(squares / window - mean**2, 1e-12)
    return (series[window:] - mean) / np.sqrt(variance)


def make_arguments(rng, size):
    return rng.normal(size=8 * size).cumsum(), 5


PROGRAMS = [
    Program("zscore_windows", zscore_windows, make_arguments, (1e-9, 1e-10)),
    Program("zscore_sums", zscore_sums, make_arguments, (1e-8, 1e-9)),
]
