"""Gram-Schmidt orthogonalization, column by column."""

import numpy as np

from tests.programs import Program


def gram_schmidt(matrix):
    q = np.zeros_like(matrix)
    for j in range(matrix.shape[1]):
        v = matrix[:, j].copy()
        for i in range(j):
            v -= np.dot(q[:, i], matrix[:, j]) * q[:, i]
        q[:, j] = v / np.linalg.norm(v)
    return q


def make_arguments(rng, size):
    return (rng.normal(size=(3 * size, 5)),)


PROGRAMS = [Program("gram_schmidt", gram_schmidt, make_arguments, (1e-9, 1e-11))]
