"""Small functions that every array compiler shows."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel


def go_fast(a):
    """A trace of hyperbolic tangents added to a matrix."""
    trace = 0.0
    for i in range(a.shape[0]):
        trace += np.tanh(a[i, i])
    return a + trace


def go_fast_whole(a):
    """The same without a loop."""
    return a + np.sum(np.tanh(np.diagonal(a)))


def compute(x, y, a, b, c):
    """Clipped and weighted integers."""
    return np.clip(x, 2, 10) * a + y * b + c


def spmv(starts, columns, values, x):
    """A sparse matrix in compressed rows times a vector, a row at a time."""
    result = np.empty(starts.shape[0] - 1)
    for i in range(starts.shape[0] - 1):
        columns_of_row = columns[starts[i] : starts[i + 1]]
        values_of_row = values[starts[i] : starts[i + 1]]
        result[i] = values_of_row @ x[columns_of_row]
    return result


def spmv_gathered(starts, columns, values, x):
    """The same as one gather and a sum by segments."""
    return np.add.reduceat(values * x[columns], starts[:-1])


def rosenbrock(x):
    """The test function of optimizers."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def saxpy_norm(a, x, y):
    """A scaled sum, normalized."""
    z = a * x + y
    return z / np.sqrt(z @ z)


def _sparse(rng, n):
    each = 4
    columns = rng.integers(0, n, n * each)
    return np.arange(0, n * each + 1, each), columns, rng.random(n * each), rng.random(n)


def _integers(rng, n):
    return rng.integers(0, 100, n), rng.integers(0, 100, n), 4, 3, 9


KERNELS = (
    Kernel("go_fast", go_fast, lambda rng, n: (rng.random((n, n)),), (3, 30, 300, 3000), numba=True),
    Kernel("go_fast_whole", go_fast_whole, lambda rng, n: (rng.random((n, n)),), (3, 30, 300, 3000)),
    Kernel("compute", compute, _integers, (10, 1000, 100_000, 10_000_000), numba=True),
    Kernel("spmv", spmv, _sparse, (3, 30, 300, 2000), numba=True),
    Kernel("spmv_gathered", spmv_gathered, _sparse, (3, 300, 30_000, 1_000_000)),
    Kernel("rosenbrock", rosenbrock, lambda rng, n: (rng.random(n),), (10, 1000, 100_000, 10_000_000), numba=True),
    Kernel(
        "saxpy_norm",
        saxpy_norm,
        lambda rng, n: (1.5, rng.random(n), rng.random(n)),
        (10, 1000, 100_000, 10_000_000),
        numba=True,
    ),
)
