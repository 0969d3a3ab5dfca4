"""Least-squares polynomial by normal equations."""

import numpy as np

from tests.programs import Program


def fit(x, y, degree=3):
    columns = np.stack([x**k for k in range(degree + 1)], axis=1)
    coefficients = np.linalg.solve(columns.T @ columns, columns.T @ y)
    predicted = columns @ coefficients
    residual = ((y - predicted) ** 2).sum()
    r2 = 1 - residual / ((y - y.mean()) ** 2).sum()
    return coefficients, r2


def make_arguments(rng, size):
    x = rng.uniform(-1, 1, 5 * size)
    return x, 1 + 2 * x - x**3 + 0.1 * rng.normal(size=5 * size)


PROGRAMS = [Program("polynomial_fit", fit, make_arguments, (1e-8, 1e-9))]
