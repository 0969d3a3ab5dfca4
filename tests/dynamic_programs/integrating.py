"""Integrals and differential equations with step sizes chosen by the error."""

import numpy as np

from tests.dynamic_programs import DynamicProgram


def _slope(t, y, rate):
    return -rate * y + np.sin(t)


def adaptive_ode(y, rate):
    """Runge-Kutta of orders 2 and 3 (Bogacki and Shampine), steps accepted or tried again smaller."""
    t, h, end = 0.0, 0.4, 1.0
    accepted = rejected = 0
    while t < end:
        h = min(h, end - t)
        k1 = _slope(t, y, rate)
        k2 = _slope(t + h / 2, y + h / 2 * k1, rate)
        k3 = _slope(t + 3 * h / 4, y + 3 * h / 4 * k2, rate)
        better = y + h * (2 * k1 + 3 * k2 + 4 * k3) / 9
        k4 = _slope(t + h, better, rate)
        error = np.max(np.abs(h * (-5 * k1 / 72 + k2 / 12 + k3 / 9 - k4 / 8)))
        if error < 1e-3:
            t, y = t + h, better
            accepted += 1
            h = 1.5 * h
        else:
            rejected += 1
            h = 0.5 * h
    return y, accepted, rejected


def adaptive_ode_by_error(y):
    """The next step comes from the error itself, so time is data too."""
    t, h = np.float64(0.0), np.float64(0.2)
    while t < 1.0:
        h = np.minimum(h, 1.0 - t)
        euler = y - h * y * y
        heun = y - 0.5 * h * (y * y + euler * euler)
        error = np.abs(heun - euler).max() + 1e-15
        if error < 2e-2:
            t = t + h
            y = heun
        h = h * np.clip(0.9 * np.sqrt(2e-2 / error), 0.3, 2.0)
    return y.sum()


def _simpson(f, a, b):
    return (b - a) / 6 * (f(a) + 4 * f((a + b) / 2) + f(b))


def _adaptive(f, a, b, whole, tol, depth):
    middle = (a + b) / 2
    left, right = _simpson(f, a, middle), _simpson(f, middle, b)
    if depth == 0 or abs(left + right - whole) <= 15 * tol:
        return left + right + (left + right - whole) / 15
    return _adaptive(f, a, middle, left, tol / 2, depth - 1) + _adaptive(f, middle, b, right, tol / 2, depth - 1)


def adaptive_simpson(sharpness):
    def f(x):
        return 1 / (1 + sharpness * x * x)

    return _adaptive(f, 0.0, 1.0, _simpson(f, 0.0, 1.0), 1e-5, 6)


def series(x):
    """The exponential series until its terms no longer count."""
    term = total = np.ones_like(x)
    n = 0
    while np.any(np.abs(term) > 1e-6 * np.abs(total)):
        n += 1
        term = term * x / n
        total = total + term
    return total.sum()


PROGRAMS = [
    DynamicProgram(
        "adaptive_ode",
        adaptive_ode,
        lambda: [(np.array([1.0, 0.5]), 1.0), (np.array([1.0, 0.5]), 6.0), (np.array([2.0]), 1.0)],
        (1e-12, 1e-14),
    ),
    DynamicProgram(
        "adaptive_ode_by_error",
        adaptive_ode_by_error,
        lambda: [(np.array([1.0, 0.5]),), (np.array([3.0]),)],
        (1e-12, 0.0),
        gradient=(0,),
    ),
    DynamicProgram(
        "adaptive_simpson",
        adaptive_simpson,
        lambda: [(np.float64(1.0),), (np.float64(30.0),), (np.float64(2.0),)],
        (1e-13, 0.0),
        gradient=(0,),
    ),
    DynamicProgram(
        "series",
        series,
        lambda: [(np.array([0.1, 0.2]),), (np.array([1.5]),), (np.array([-1.0, 2.0, 0.0]),)],
        (1e-13, 0.0),
        gradient=(0,),
    ),
]
