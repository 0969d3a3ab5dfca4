"""Piecewise functions: tax brackets, Huber loss, ReLUs, wind chill, by np.where and np.select."""

import numpy as np

from tests.programs import Program


def income_tax(income):
    tax = np.where(income > 10_000, (income - 10_000) * 0.1, 0.0)
    tax = tax + np.where(income > 40_000, (income - 40_000) * 0.15, 0.0)
    tax = np.where(income > 120_000, tax + (income - 120_000) * 0.2, tax)
    return np.round(tax, 2), np.where(income > 0, tax / income, 0.0)


def activations(x, slope):
    relu = np.maximum(x, 0)
    leaky = np.where(x > 0, x, slope * x)
    elu = np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))
    softplus = np.logaddexp(0.0, x)
    hard = np.clip(0.2 * x + 0.5, 0.0, 1.0)
    return relu, leaky, elu, softplus, hard


def huber(error, delta=1.0):
    size = np.abs(error)
    return np.select([size <= delta, size <= 3 * delta], [0.5 * error**2, delta * (size - 0.5 * delta)], 4.0).mean()


def make_income(rng, size):
    return (np.concatenate([[0.0], rng.uniform(0, 200_000, 6 * size)]),)


def make_x(rng, size):
    return rng.normal(0, 3, (size, 7)), 0.01


def make_error(rng, size):
    return (rng.normal(0, 2, 9 * size),)


PROGRAMS = [
    Program("income_tax", income_tax, make_income, (0.0, 0.0)),
    Program("activations", activations, make_x),
    Program("huber", huber, make_error),
]
