"""Cleaning a table with boolean masks, in place."""

import numpy as np

from tests.programs import Program


def clean(table, lowest, highest):
    table[np.isnan(table)] = 0.0
    table[table < lowest] = lowest
    over = table > highest
    table[over] = highest + np.log1p(table[over] - highest)
    return over.sum(), table.mean(axis=0)


def count_signs(values):
    return np.count_nonzero(values > 0), values[values > 0].sum(), np.nonzero(values < -1)[0]


def make_arguments(rng, size):
    table = rng.normal(0, 3, (size, 4))
    table[rng.random((size, 4)) < 0.1] = np.nan
    return table, -4.0, 3.0


def make_values(rng, size):
    return (rng.normal(size=5 * size),)


PROGRAMS = [
    Program("mask_clean", clean, make_arguments, mutates=True),
    Program("mask_counts", count_signs, make_values),
]
