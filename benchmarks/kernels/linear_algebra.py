"""Matrix and vector products of the Polybench set."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel

VECTORS = (3, 30, 300, 3000)
PRODUCTS = (3, 20, 100, 500, 1200)


def atax(A, x):
    """A'Ax."""
    return (A @ x) @ A


def bicg(A, p, r):
    """The two products of the biconjugate gradient method."""
    return r @ A, A @ p


def mvt(x1, x2, y1, y2, A):
    """x1 += A y1, x2 += A' y2."""
    x1 += A @ y1
    x2 += y2 @ A


def gemm(alpha, beta, C, A, B):
    """C = alpha A B + beta C."""
    C[:] = alpha * A @ B + beta * C


def two_mm(alpha, beta, A, B, C, D):
    """D = alpha A B C + beta D."""
    D[:] = alpha * A @ B @ C + beta * D


def three_mm(A, B, C, D):
    """(A B)(C D)."""
    return A @ B @ C @ D


def gemver(alpha, beta, A, u1, v1, u2, v2, w, x, y, z):
    """Two rank-one updates, then two products with the updated matrix."""
    A += np.outer(u1, v1) + np.outer(u2, v2)
    x += beta * y @ A + z
    w += alpha * A @ x


def gesummv(alpha, beta, A, B, x):
    """(alpha A + beta B) x, by two products."""
    return alpha * A @ x + beta * B @ x


def syrk(alpha, beta, C, A):
    """The lower triangle of C = alpha A A' + beta C, a row at a time."""
    for i in range(A.shape[0]):
        C[i, : i + 1] *= beta
        for k in range(A.shape[1]):
            C[i, : i + 1] += alpha * A[i, k] * A[: i + 1, k]


def syrk_rows(alpha, beta, C, A):
    """The same by one product a row."""
    for i in range(A.shape[0]):
        C[i, : i + 1] = beta * C[i, : i + 1] + alpha * (A[: i + 1] @ A[i])


def syrk_whole(alpha, beta, C, A):
    """The same by one masked product."""
    C[:] = np.where(np.tri(A.shape[0], dtype=bool), alpha * (A @ A.T) + beta * C, C)


def syr2k(alpha, beta, C, A, B):
    """The lower triangle of C = alpha (A B' + B A') + beta C."""
    for i in range(A.shape[0]):
        C[i, : i + 1] *= beta
        for k in range(A.shape[1]):
            C[i, : i + 1] += alpha * (A[: i + 1, k] * B[i, k] + B[: i + 1, k] * A[i, k])


def symm(alpha, beta, C, A, B):
    """C = alpha S B + beta C, where A holds the lower triangle of the symmetric S."""
    S = np.tril(A) + np.tril(A, -1).T
    C[:] = alpha * (S @ B) + beta * C


def trmm(alpha, A, B):
    """B = alpha L' B, where A holds the unit lower triangle L below its diagonal."""
    for i in range(B.shape[0]):
        B[i] += A[i + 1 :, i] @ B[i + 1 :]
    B *= alpha


def doitgen(A, C4):
    """The last axis of a tensor through a matrix (multiresolution analysis)."""
    A[:] = A @ C4


def _square(count, n, rng):
    return tuple(rng.random((n, n)) for _ in range(count))


def _vectors(count, n, rng):
    return tuple(rng.random(n) for _ in range(count))


def _tall(rng, n):
    return rng.random((n, n + 2))


KERNELS = (
    Kernel("atax", atax, lambda rng, n: (_tall(rng, n), rng.random(n + 2)), VECTORS, numba=True),
    Kernel("bicg", bicg, lambda rng, n: (_tall(rng, n), rng.random(n + 2), rng.random(n)), VECTORS, numba=True),
    Kernel("mvt", mvt, lambda rng, n: (*_vectors(4, n, rng), *_square(1, n, rng)), VECTORS, mutates=True, numba=True),
    Kernel("gemm", gemm, lambda rng, n: (1.5, 1.2, *_square(3, n, rng)), PRODUCTS, mutates=True, numba=True),
    Kernel("2mm", two_mm, lambda rng, n: (1.5, 1.2, *_square(4, n, rng)), PRODUCTS, mutates=True, numba=True),
    Kernel("3mm", three_mm, lambda rng, n: _square(4, n, rng), PRODUCTS, numba=True),
    Kernel(
        "gemver",
        gemver,
        lambda rng, n: (1.5, 1.2, *_square(1, n, rng), *_vectors(8, n, rng)),
        VECTORS,
        mutates=True,
        numba=True,
    ),
    Kernel("gesummv", gesummv, lambda rng, n: (1.5, 1.2, *_square(2, n, rng), rng.random(n)), VECTORS, numba=True),
    Kernel("syrk", syrk, lambda rng, n: (1.5, 1.2, *_square(2, n, rng)), (3, 10, 30, 100), mutates=True, numba=True),
    Kernel("syrk_rows", syrk_rows, lambda rng, n: (1.5, 1.2, *_square(2, n, rng)), (3, 30, 300, 700), mutates=True),
    Kernel("syrk_whole", syrk_whole, lambda rng, n: (1.5, 1.2, *_square(2, n, rng)), PRODUCTS, mutates=True),
    Kernel("syr2k", syr2k, lambda rng, n: (1.5, 1.2, *_square(3, n, rng)), (3, 10, 30, 100), mutates=True, numba=True),
    Kernel("symm", symm, lambda rng, n: (1.5, 1.2, *_square(3, n, rng)), PRODUCTS, mutates=True),
    Kernel("trmm", trmm, lambda rng, n: (1.5, *_square(2, n, rng)), (3, 30, 300, 500), mutates=True),
    Kernel(
        "doitgen",
        doitgen,
        lambda rng, n: (rng.random((n, n, n + 1)), rng.random((n + 1, n + 1))),
        (2, 10, 50, 120),
        mutates=True,
    ),
)
