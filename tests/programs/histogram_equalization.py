"""Histogram equalization of a grey image."""

import numpy as np

from tests.programs import Program


def equalize(image):
    histogram = np.bincount(image.ravel(), minlength=256)
    cdf = histogram.cumsum()
    lowest = cdf[cdf > 0][0]
    table = np.clip(np.round((cdf - lowest) / (cdf[-1] - lowest) * 255), 0, 255).astype(np.uint8)
    return table[image]


def make_arguments(rng, size):
    return (np.clip(rng.normal(100, 20, (size, size)), 0, 255).astype(np.uint8),)


PROGRAMS = [Program("histogram_equalization", equalize, make_arguments, (0.0, 0.0))]
