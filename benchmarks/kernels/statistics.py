"""Statistics and dynamic programming of the Polybench set."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel


def correlation(data):
    """The correlation matrix of the columns."""
    deviation = data.std(axis=0)
    deviation[deviation <= 0.1] = 1.0
    scaled = (data - data.mean(axis=0)) / (np.sqrt(data.shape[0]) * deviation)
    return scaled.T @ scaled


def covariance(data):
    """The covariance matrix of the columns."""
    centered = data - data.mean(axis=0)
    return centered.T @ centered / (data.shape[0] - 1.0)


def floyd_warshall(path):
    """Shortest paths of all pairs."""
    for k in range(path.shape[0]):
        path[:] = np.minimum(path, path[:, k, None] + path[None, k, :])


def nussinov(bases):
    """How many pairs an RNA sequence can form, by interval lengths from short to long."""
    n = bases.shape[0]
    best = np.zeros((n, n), np.int64)
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            found = max(best[i, j - 1], best[i + 1, j])
            pair = 1 if i < j - 1 and bases[i] + bases[j] == 3 else 0
            found = max(found, best[i + 1, j - 1] + pair)
            for k in range(i + 1, j):
                found = max(found, best[i, k] + best[k + 1, j])
            best[i, j] = found
    return best


def _weights(rng, n):
    return rng.integers(1, 1000, (n, n))


KERNELS = (
    Kernel("correlation", correlation, lambda rng, n: (rng.random((n + 2, n)),), (3, 30, 300, 1500)),
    Kernel("covariance", covariance, lambda rng, n: (rng.random((n + 2, n)),), (3, 30, 300, 1500)),
    Kernel("floyd_warshall", floyd_warshall, lambda rng, n: (_weights(rng, n),), (3, 10, 40, 120, 400), mutates=True),
    Kernel("nussinov", nussinov, lambda rng, n: (rng.integers(0, 4, n),), (4, 8, 16, 40), numba=True),
)
