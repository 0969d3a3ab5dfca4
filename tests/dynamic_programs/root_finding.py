"""Roots and fixed points: loops until an error is small enough."""

import numpy as np

from tests.dynamic_programs import DynamicProgram


def newton_sqrt(a, tol=1e-10):
    x = a
    err = x * x - a
    while abs(err) > tol:
        x = x - err / (2 * x)
        err = x * x - a
    return x


def newton_sqrt_array(a):
    x = np.maximum(a, 1.0)
    while np.max(np.abs(x * x - a)) > 1e-9:
        x = 0.5 * (x + a / x)
    return x.sum()


def bisection(c):
    low, high = 0.0, 2.0
    for _ in range(12):
        middle = (low + high) / 2
        if middle**3 + middle < c:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def bisection_of_arrays(c):
    low, high = np.zeros(1), np.full(1, 2.0)
    while (high - low)[0] > 1e-2:
        middle = 0.5 * (low + high)
        if (middle * middle)[0] < c:
            low = middle
        else:
            high = middle
    return low, high


def secant(c):
    a, b = np.float64(0.5), np.float64(2.0)
    fa, fb = a**3 - c, b**3 - c
    count = 0
    while count < 50:
        if abs(fb) < 1e-9:
            break
        count += 1
        a, b, fa = b, b - fb * (b - a) / (fb - fa), fb
        fb = b**3 - c
    return b, count


def newton_in_one_variable_of_a_guess(a, guess):
    """The guess is a Python number, so is what becomes of it."""
    x = guess
    steps = 0
    while abs(x * x - a) > 1e-8 and steps < 30:
        x = (x + a / x) / 2
        steps += 1
    return x, steps


def power_iteration(matrix):
    v = np.ones(matrix.shape[0])
    eigenvalue = 0.0
    for _ in range(40):
        w = matrix @ v
        previous, eigenvalue = eigenvalue, np.linalg.norm(w)
        v = w / eigenvalue
        if abs(eigenvalue - previous) < 1e-3:
            break
    return eigenvalue


def cosine_fixed_point(x):
    while True:
        following = np.cos(x)
        if np.abs(following - x) < 1e-3:
            return following
        x = following


def _numbers(*values):
    return lambda: [(np.float64(value),) for value in values]


def _matrices():
    rng = np.random.default_rng(3)
    made = []
    for size in (3, 5):
        half = rng.normal(size=(size, size))
        made.append((half @ half.T + 4 * np.eye(size),))
    return made


PROGRAMS = [
    DynamicProgram("newton_sqrt", newton_sqrt, _numbers(2.0, 3.0, 100.0, 0.25, 1.5), gradient=(0,)),
    DynamicProgram("newton_sqrt_float", newton_sqrt, lambda: [(2.0,), (3.0,), (1e4,), (1.5,)], gradient=(0,)),
    DynamicProgram(
        "newton_sqrt_array",
        newton_sqrt_array,
        lambda: [(np.array([2.0, 5.0, 9.0]),), (np.array([0.5, 0.1]),), (np.linspace(1, 50, 7),)],
        (1e-14, 0.0),
        gradient=(0,),
    ),
    DynamicProgram("bisection", bisection, _numbers(1.0, 3.0, 7.5)),
    DynamicProgram("bisection_of_arrays", bisection_of_arrays, _numbers(2.0, 3.0, 0.1)),
    DynamicProgram("secant", secant, _numbers(2.0, 3.0, 0.7)),
    DynamicProgram(
        "newton_of_a_guess",
        newton_in_one_variable_of_a_guess,
        lambda: [(np.float64(2.0), 1.0), (np.float64(2.0), 5.0), (2.0, 0.1), (3.0, 50.0)],
        gradient=(0,),
    ),
    DynamicProgram("power_iteration", power_iteration, _matrices, (1e-12, 0.0), gradient=(0,)),
    DynamicProgram("cosine_fixed_point", cosine_fixed_point, _numbers(0.5, 1.0, 0.74), (1e-14, 0.0), gradient=(0,)),
]
