"""Factorizations, triangular solves and orthogonalization of the Polybench set, as NumPy users write them."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel

ROWS = (3, 10, 40, 120, 400)


def trisolv(L, x, b):
    """Forward substitution."""
    for i in range(x.shape[0]):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]


def cholesky(A):
    """The lower factor in the lower triangle, column after column."""
    for j in range(A.shape[0]):
        A[j, j] = np.sqrt(A[j, j] - A[j, :j] @ A[j, :j])
        A[j + 1 :, j] = (A[j + 1 :, j] - A[j + 1 :, :j] @ A[j, :j]) / A[j, j]


def cholesky_scalar(A):
    """The same with a dot product an element."""
    for i in range(A.shape[0]):
        for j in range(i):
            A[i, j] = (A[i, j] - np.dot(A[i, :j], A[j, :j])) / A[j, j]
        A[i, i] = np.sqrt(A[i, i] - np.dot(A[i, :i], A[i, :i]))


def lu(A):
    """LU without pivoting by rank-one updates."""
    for k in range(A.shape[0] - 1):
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])


def durbin(r):
    """The Yule-Walker equations by Levinson's recursion."""
    y = np.empty_like(r)
    alpha = -r[0]
    beta = 1.0
    y[0] = -r[0]
    for k in range(1, r.shape[0]):
        beta *= 1.0 - alpha * alpha
        alpha = -(r[k] + np.dot(np.flip(r[:k]), y[:k])) / beta
        y[:k] += alpha * np.flip(y[:k])
        y[k] = alpha
    return y


def gramschmidt(A):
    """QR by modified Gram-Schmidt; Q and R."""
    Q = np.zeros_like(A)
    R = np.zeros((A.shape[1], A.shape[1]))
    for k in range(A.shape[1]):
        R[k, k] = np.sqrt(np.dot(A[:, k], A[:, k]))
        Q[:, k] = A[:, k] / R[k, k]
        R[k, k + 1 :] = Q[:, k] @ A[:, k + 1 :]
        A[:, k + 1 :] -= np.outer(Q[:, k], R[k, k + 1 :])
    return Q, R


def _lower(rng, n):
    return np.tril(rng.random((n, n))) + 2.0 * np.eye(n) * n**0.5


def _definite(rng, n):
    A = rng.random((n, n))
    return A @ A.T + n * np.eye(n)


def _decaying(rng, n):
    return 0.4 * rng.random(n) / (1.0 + np.arange(n))


KERNELS = (
    Kernel("trisolv", trisolv, lambda rng, n: (_lower(rng, n), np.zeros(n), rng.random(n)), ROWS, mutates=True),
    Kernel("cholesky", cholesky, lambda rng, n: (_definite(rng, n),), ROWS, mutates=True),
    Kernel("cholesky_scalar", cholesky_scalar, lambda rng, n: (_definite(rng, n),), (3, 10, 40, 120), mutates=True),
    Kernel("lu", lu, lambda rng, n: (_definite(rng, n),), ROWS, mutates=True),
    Kernel("durbin", durbin, lambda rng, n: (_decaying(rng, n),), (10, 30, 100, 1000), numba=True),
    Kernel("gramschmidt", gramschmidt, lambda rng, n: (rng.random((n + 2, n)),), ROWS, mutates=True),
)
