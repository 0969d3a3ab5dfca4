"""Pairwise distances of many kinds."""

import numpy as np

from tests.programs import Program


def distances(a, b):
    difference = a[:, None, :] - b[None, :, :]
    return {
        "euclidean": np.sqrt((difference**2).sum(-1)),
        "city": np.abs(difference).sum(-1),
        "chebyshev": np.abs(difference).max(-1),
    }


def rbf_kernel(a, b, width=1.5):
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    return np.exp(-np.maximum(squared, 0.0) / (2 * width**2))


def make_arguments(rng, size):
    return rng.normal(size=(size, 3)), rng.normal(size=(size + 3, 3))


PROGRAMS = [
    Program("pairwise_distances", distances, make_arguments),
    Program("rbf_kernel", rbf_kernel, make_arguments),
]
