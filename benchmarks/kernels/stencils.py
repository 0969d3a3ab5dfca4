"""Stencils of the Polybench set, and the weather model's."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel


def jacobi_1d(steps, A, B):
    """A three-point average, back and forth between two arrays."""
    for _ in range(steps):
        B[1:-1] = 0.33333 * (A[:-2] + A[1:-1] + A[2:])
        A[1:-1] = 0.33333 * (B[:-2] + B[1:-1] + B[2:])


def jacobi_2d(steps, A, B):
    """A five-point average, back and forth between two arrays."""
    for _ in range(steps):
        B[1:-1, 1:-1] = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
        A[1:-1, 1:-1] = 0.2 * (B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1])


def heat_3d(steps, A, B):
    """The heat equation in a box, back and forth between two arrays."""
    for _ in range(steps):
        for new, old in ((B, A), (A, B)):
            inner = old[1:-1, 1:-1, 1:-1]
            new[1:-1, 1:-1, 1:-1] = (
                0.125 * (old[2:, 1:-1, 1:-1] - 2.0 * inner + old[:-2, 1:-1, 1:-1])
                + 0.125 * (old[1:-1, 2:, 1:-1] - 2.0 * inner + old[1:-1, :-2, 1:-1])
                + 0.125 * (old[1:-1, 1:-1, 2:] - 2.0 * inner + old[1:-1, 1:-1, :-2])
                + inner
            )


def fdtd_2d(ex, ey, hz, source):
    """Maxwell's equations in the plane on Yee's grid; a row of `ey` is driven."""
    for t in range(source.shape[0]):
        ey[0, :] = source[t]
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])


def seidel_2d(steps, A):
    """Gauss-Seidel with nine points: each element takes its left and upper neighbours' new values."""
    for _ in range(steps):
        for i in range(1, A.shape[0] - 1):
            A[i, 1:-1] += A[i - 1, :-2] + A[i - 1, 1:-1] + A[i - 1, 2:] + A[i, 2:] + A[i + 1, :-2]
            A[i, 1:-1] += A[i + 1, 1:-1] + A[i + 1, 2:]
            for j in range(1, A.shape[1] - 1):
                A[i, j] = (A[i, j] + A[i, j - 1]) / 9.0


def adi(steps, u):
    """Alternating directions for the heat equation: tridiagonal solves of all columns, then of all rows."""
    n = u.shape[0]
    v, p, q = np.zeros_like(u), np.zeros_like(u), np.zeros_like(u)
    mul = n / steps
    a, b, d = -mul / 2.0, 1.0 + mul, 1.0 + mul
    for _ in range(steps):
        v[0, 1:-1] = 1.0
        p[1:-1, 0] = 0.0
        q[1:-1, 0] = v[0, 1:-1]
        for j in range(1, n - 1):
            p[1:-1, j] = -a / (a * p[1:-1, j - 1] + b)
            q[1:-1, j] = (-a * u[j, :-2] + (1.0 + 2.0 * a) * u[j, 1:-1] - a * u[j, 2:] - a * q[1:-1, j - 1]) / (
                a * p[1:-1, j - 1] + b
            )
        v[-1, 1:-1] = 1.0
        for j in range(n - 2, 0, -1):
            v[j, 1:-1] = p[1:-1, j] * v[j + 1, 1:-1] + q[1:-1, j]
        u[1:-1, 0] = 1.0
        p[1:-1, 0] = 0.0
        q[1:-1, 0] = u[1:-1, 0]
        for j in range(1, n - 1):
            p[1:-1, j] = -a / (a * p[1:-1, j - 1] + d)
            q[1:-1, j] = (-a * v[:-2, j] + (1.0 + 2.0 * a) * v[1:-1, j] - a * v[2:, j] - a * q[1:-1, j - 1]) / (
                a * p[1:-1, j - 1] + d
            )
        u[1:-1, -1] = 1.0
        for j in range(n - 2, 0, -1):
            u[1:-1, j] = p[1:-1, j] * u[1:-1, j + 1] + q[1:-1, j]


def horizontal_diffusion(field, coefficient):
    """Fourth-order diffusion of a weather model with a flux limiter; two points of halo around the plane."""
    laplacian = 4.0 * field[1:-1, 1:-1] - (field[2:, 1:-1] + field[:-2, 1:-1] + field[1:-1, 2:] + field[1:-1, :-2])
    flux = laplacian[1:, 1:-1] - laplacian[:-1, 1:-1]
    along_x = np.where(flux * (field[2:-1, 2:-2] - field[1:-2, 2:-2]) > 0, 0, flux)
    flux = laplacian[1:-1, 1:] - laplacian[1:-1, :-1]
    along_y = np.where(flux * (field[2:-2, 2:-1] - field[2:-2, 1:-2]) > 0, 0, flux)
    return field[2:-2, 2:-2] - coefficient * (along_x[1:] - along_x[:-1] + along_y[:, 1:] - along_y[:, :-1])


def vertical_advection(speed, wind, previous, tendency):
    """Implicit vertical advection of a weather model: a tridiagonal system in each column of the last axis."""
    levels = wind.shape[2]
    upper, right = np.empty_like(wind), np.empty_like(wind)
    for k in range(levels):
        below = -0.25 * speed[:, :, k] if k > 0 else 0.0
        above = 0.25 * speed[:, :, k + 1] if k < levels - 1 else 0.0
        centre = 3.0 - below - above
        column = 3.0 * previous[:, :, k] + tendency[:, :, k]
        if k > 0:
            column = column - below * (wind[:, :, k - 1] - wind[:, :, k])
            centre = centre - below * upper[:, :, k - 1]
            column = column - below * right[:, :, k - 1]
        if k < levels - 1:
            column = column - above * (wind[:, :, k + 1] - wind[:, :, k])
        upper[:, :, k] = above / centre
        right[:, :, k] = column / centre
    result = np.empty_like(wind)
    for k in range(levels - 1, -1, -1):
        value = right[:, :, k]
        if k < levels - 1:
            value = value - upper[:, :, k] * result[:, :, k + 1]
        result[:, :, k] = value
    return result


def _arrays(count, *shape):
    return lambda rng: tuple(rng.random(shape) for _ in range(count))


def _columns(rng, n):
    return tuple(rng.random((n, n, 24 + extra)) for extra in (1, 0, 0, 0))


KERNELS = (
    Kernel(
        "jacobi_1d",
        jacobi_1d,
        lambda rng, n: (10, rng.random(n), rng.random(n)),
        (10, 1000, 100_000, 10_000_000),
        mutates=True,
        numba=True,
    ),
    Kernel(
        "jacobi_2d",
        jacobi_2d,
        lambda rng, n: (10, *_arrays(2, n, n)(rng)),
        (4, 30, 300, 1500),
        mutates=True,
        numba=True,
    ),
    Kernel("heat_3d", heat_3d, lambda rng, n: (5, *_arrays(2, n, n, n)(rng)), (3, 10, 50, 150), mutates=True),
    Kernel(
        "fdtd_2d",
        fdtd_2d,
        lambda rng, n: (*_arrays(3, n, n + 2)(rng), rng.random(10)),
        (3, 30, 300, 1500),
        mutates=True,
        numba=True,
    ),
    Kernel("seidel_2d", seidel_2d, lambda rng, n: (2, rng.random((n, n))), (4, 10, 40, 100), mutates=True, numba=True),
    Kernel("adi", adi, lambda rng, n: (3, rng.random((n, n))), (4, 10, 40, 120), mutates=True, numba=True),
    Kernel(
        "horizontal_diffusion",
        horizontal_diffusion,
        lambda rng, n: (rng.random((n + 4, n + 4, 16)), rng.random((n, n, 16))),
        (1, 8, 80, 400),
        numba=True,
    ),
    Kernel("vertical_advection", vertical_advection, _columns, (1, 6, 60, 250)),
)
