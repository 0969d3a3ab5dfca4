"""Derivatives where they are easily got wrong: kinks, ties, poles, masks, infinities, and arguments that have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import tracejit as tj

Function = Callable[..., Any]
MODES = ("reverse", "jit", "forward", "tape")
modes = pytest.mark.parametrize("mode", MODES)
inf, nan = np.inf, np.nan


def slope(function: Function, point: float, mode: str, order: int = 1) -> float:
    """The derivative of a function of one number, in one way of taking it."""

    def forward(f: Function) -> Function:
        return lambda x: tj.jvp(f, (x,), (1.0,))[1]

    for _ in range(order):
        function = forward(function) if mode == "forward" else tj.grad(function)
    if mode == "tape":
        with tj.disable_jit():
            return float(function(point))
    return float(tj.jit(function)(point) if mode == "jit" else function(point))


def slopes(function: Function, points: tuple[float, ...], mode: str) -> list[float]:
    """The partial derivatives of a function of several numbers."""

    def along(position: int) -> Function:
        return lambda x: function(*points[:position], x, *points[position + 1 :])

    return [slope(along(n), points[n], mode) for n in range(len(points))]


# ---- what is not chosen has no say

MASKED: dict[str, tuple[Function, float, float]] = {
    "sqrt": (lambda x: np.where(x < 1, x, np.sqrt(x)), 0.0, 1.0),
    "sqrt of what is negative": (lambda x: np.where(x < 1, x * x, np.sqrt(x)), -3.0, -6.0),
    "log": (lambda x: np.where(x > 0, np.log(x), 2 * x), 0.0, 2.0),
    "x log(x)": (lambda x: np.where(x > 0, x * np.log(x), 0), 0.0, 0.0),
    "divide": (lambda x: np.where(x == 0, x, 1 / x), 0.0, 1.0),
    "sin(x)/x": (lambda x: np.where(x == 0, 1, np.sin(x) / x), 0.0, 0.0),
    "power": (lambda x: np.where(x < 1, 3 * x, x**-1.5), 0.0, 3.0),
    "overflow of exp": (lambda x: np.where(x < 700, np.exp(x), x), 1e4, 1.0),
    "overflow of a product": (lambda x: np.where(x > 1, x, np.exp(1 / (x * x)) * x), 2.0, 1.0),
    "arccos": (lambda x: np.where(np.abs(x) < 1, np.arccos(x), x), 1.0, 1.0),
    "a chain": (lambda x: np.where(x > 0, np.log(np.sqrt(np.log(x))), x), -1.0, 1.0),
    "in a sum": (lambda x: np.sum(np.where(np.array([True, True]), x, np.sqrt(x - 1))), 1.0, 2.0),
    "at both ends": (lambda x: np.where(x > 0, np.sqrt(np.where(x > 0, x, 1)), 0), 0.0, 0.0),
    "by minimum": (lambda x: np.minimum(np.exp(x), 5), 800.0, 0.0),
    "before a root": (lambda x: np.sqrt(np.maximum(x, 0)), -1.0, 0.0),
    "before a logarithm": (lambda x: np.log(np.fmax(x, 0)), -1.0, 0.0),
    "by clip": (lambda x: np.clip(x**3, -1, 1), 5.0, 0.0),
    "by an index": (lambda x: np.sqrt(np.stack([x, x + 1]))[1], 0.0, 0.5),
    "by max": (lambda x: np.max(np.stack([np.sqrt(x), x + 1])), 0.0, 1.0),
}


@modes
@pytest.mark.parametrize("name", MASKED)
def test_masked(name: str, mode: str) -> None:
    """No infinity or NaN of a side that `where` and its like leave out."""
    function, point, wanted = MASKED[name]
    with np.errstate(all="ignore"):
        assert slope(function, point, mode) == wanted


@modes
def test_masked_in_the_second_order(mode: str) -> None:
    with np.errstate(all="ignore"):
        assert slope(lambda x: np.where(x > 0, np.log(x), x * x), 0.0, mode, 2) == 2
        assert slope(lambda x: np.where(x < 1, x**3, np.sqrt(x - 1)), 1 / 3, mode, 2) == pytest.approx(2)


def test_masked_elements_of_arrays() -> None:
    """Elements whose mask is off keep the others clean, through reductions and broadcasting."""
    x = np.array([-1.0, 0.0, 4.0])
    weights = np.array([[1.0], [2.0]])

    def loss(x: Any) -> Any:
        return np.sum(weights * np.where(x > 0, np.sqrt(x), 0))

    with np.errstate(all="ignore"):
        for function in (tj.grad(loss), tj.jit(tj.grad(loss))):
            np.testing.assert_array_equal(function(x), [0, 0, 0.75])


# ---- kinks, ties, poles

KINKS: dict[str, tuple[Function, float, float]] = {
    "abs": (np.abs, 0.0, 0.0),
    "abs of -0": (np.abs, -0.0, 0.0),
    "fabs": (np.fabs, 0.0, 0.0),
    "relu shares the tie": (lambda x: np.maximum(x, 0), 0.0, 0.5),
    "copysign": (lambda x: np.copysign(x, -1.0), 2.0, -1.0),
    "sqrt": (np.sqrt, 0.0, inf),
    "cbrt": (np.cbrt, 0.0, inf),
    "log": (np.log, 0.0, inf),
    "arcsin": (np.arcsin, 1.0, inf),
    "arccosh": (np.arccosh, 1.0, inf),
    "arctanh": (np.arctanh, 1.0, inf),
    "reciprocal": (lambda x: 1 / x, 0.0, -inf),
    "arctan far out": (np.arctan, 1e200, 0.0),
    "arcsinh far out": (np.arcsinh, 1e200, 1e-200),
    "arccosh far out": (np.arccosh, 1e200, 1e-200),
    "arcsin near its end": (np.arcsin, 1 - 2.0**-50, 1 / np.sqrt(2.0**-50 * (2 - 2.0**-50))),
    "arccos near its end": (np.arccos, 1 - 2.0**-50, -1 / np.sqrt(2.0**-50 * (2 - 2.0**-50))),
    "arctanh near its end": (np.arctanh, 1 - 2.0**-50, 1 / (2.0**-50 * (2 - 2.0**-50))),
    "arccosh near its end": (np.arccosh, 1 + 2.0**-50, 1 / np.sqrt(2.0**-50 * (2 + 2.0**-50))),
    "tanh far out": (np.tanh, 800.0, 0.0),
    "tanh at infinity": (np.tanh, inf, 0.0),
    "erf far out": (special.erf, -40.0, 0.0),
    "expit far out": (special.expit, -1000.0, 0.0),
    "expit up": (special.expit, 1000.0, 0.0),
    "gelu at -inf": (lambda x: tj.gelu(x), -inf, 0.0),
    "gelu at inf": (lambda x: tj.gelu(x), inf, 1.0),
    "softplus far out": (lambda x: tj.softplus(x), 1e4, 1.0),
    "floor": (np.floor, 2.0, 0.0),
    "sign": (np.sign, 0.0, 0.0),
    "heaviside": (lambda x: np.heaviside(0.0, x), 0.5, 1.0),
    "remainder": (lambda x: np.remainder(x, 3.0), 7.5, 1.0),
    "remainder by the divisor": (lambda y: np.remainder(-7.5, y), 3.0, 3.0),
    "fmod by the divisor": (lambda y: np.fmod(-7.5, y), 3.0, 2.0),
    "remainder by an infinite divisor": (lambda y: np.remainder(7.5, y), inf, 0.0),
    "x**0": (lambda x: x**0, 0.0, 0.0),
    "x**0.0": (lambda x: x**0.0, 3.0, 0.0),
    "x**1": (lambda x: x**1.0, 0.0, 1.0),
    "x**2": (lambda x: x**2.0, 0.0, 0.0),
    "x**3 of what is negative": (lambda x: x**3.0, -2.0, 12.0),
    "x**-1": (lambda x: x**-1.0, 2.0, -0.25),
    "x**0.5": (lambda x: x**0.5, 0.0, inf),
    "0**y": (lambda y: np.power(0.0, y), 2.0, 0.0),
    "0**0 by y": (lambda y: np.power(0.0, y), 0.0, 0.0),
    "0**-1 by y": (lambda y: np.power(0.0, y), -1.0, -inf),
    "1**y": (lambda y: np.power(1.0, y), 5.0, 0.0),
    "inf**-1 by y": (lambda y: np.power(inf, y), -1.0, 0.0),
}


@modes
@pytest.mark.parametrize("name", KINKS)
def test_kinks_and_ends(name: str, mode: str) -> None:
    function, point, wanted = KINKS[name]
    with np.errstate(all="ignore"):
        assert slope(function, point, mode) == pytest.approx(wanted, rel=1e-14, abs=0)


PAIRS: dict[str, tuple[Function, tuple[float, float], list[float]]] = {
    "maximum": (np.maximum, (1.0, 2.0), [0, 1]),
    "maximum of equals": (np.maximum, (2.0, 2.0), [0.5, 0.5]),
    "minimum of equals": (np.minimum, (-2.0, -2.0), [0.5, 0.5]),
    "maximum of zeros": (np.maximum, (0.0, -0.0), [0.5, 0.5]),
    "maximum takes a NaN": (np.maximum, (nan, 1.0), [1, 0]),
    "minimum takes a NaN": (np.minimum, (1.0, nan), [0, 1]),
    "fmax leaves a NaN": (np.fmax, (nan, 1.0), [0, 1]),
    "fmin leaves a NaN": (np.fmin, (1.0, nan), [1, 0]),
    "fmax of equals": (np.fmax, (1.0, 1.0), [0.5, 0.5]),
    "fmin": (np.fmin, (1.0, 3.0), [1, 0]),
    "hypot at the origin": (np.hypot, (0.0, 0.0), [0, 0]),
    "hypot of tiny": (np.hypot, (3e-200, 4e-200), [0.6, 0.8]),
    "hypot of huge": (np.hypot, (3e200, 4e200), [0.6, 0.8]),
    "arctan2 of tiny": (np.arctan2, (3e-200, 4e-200), [4e-200 / 5e-200 / 5e-200, -3e-200 / 5e-200 / 5e-200]),
    "arctan2 behind": (np.arctan2, (0.0, -2.0), [-0.5, 0]),
    "logaddexp": (np.logaddexp, (0.0, 0.0), [0.5, 0.5]),
    "logaddexp of -inf": (np.logaddexp, (-inf, -inf), [0.5, 0.5]),
    "logaddexp of inf": (np.logaddexp, (inf, inf), [0.5, 0.5]),
    "logaddexp of one -inf": (np.logaddexp, (-inf, 3.0), [0, 1]),
    "logaddexp of one inf": (np.logaddexp, (inf, 3.0), [1, 0]),
    "logaddexp of both": (np.logaddexp, (-inf, inf), [0, 1]),
    "logaddexp far apart": (np.logaddexp, (1e4, -1e4), [1, 0]),
    "0**0": (np.power, (0.0, 0.0), [0, 0]),
    "0**2": (np.power, (0.0, 2.0), [0, 0]),
    "(-2)**3 by x": (lambda x, y: x ** np.rint(y), (-2.0, 3.0), [12, 0]),
    "divide by infinity": (np.divide, (3.0, inf), [0, 0]),
}


@modes
@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str, mode: str) -> None:
    function, points, wanted = PAIRS[name]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(slopes(function, points, mode), wanted, rtol=1e-14)


SECOND: dict[str, tuple[Function, float, int, float]] = {
    "x**2": (lambda x: x**2.0, 0.0, 2, 2.0),
    "x**2, third": (lambda x: x**2.0, 0.0, 3, 0.0),
    "x**3, third": (lambda x: x**3.0, 0.0, 3, 6.0),
    "x**x": (lambda x: x**x, 1.0, 2, 2.0),
    "square": (np.square, 0.0, 2, 2.0),
    "tanh": (np.tanh, 0.0, 2, 0.0),
    "tanh, third": (np.tanh, 0.0, 3, -2.0),
    "tanh, fifth": (np.tanh, 0.0, 5, 16.0),
    "tanh far out": (np.tanh, 800.0, 2, 0.0),
    "tanh far below": (np.tanh, -800.0, 3, 0.0),
    "logaddexp of equals": (lambda x: np.logaddexp(x, 3.0), 3.0, 2, 0.25),
    "logaddexp of -inf": (lambda x: np.logaddexp(x, -inf), -inf, 2, 0.0),
    "logaddexp of inf": (lambda x: np.logaddexp(x, 1.0), inf, 2, 0.0),
    "expit": (special.expit, 0.0, 3, -0.125),
    "expit far out": (special.expit, 900.0, 2, 0.0),
    "softplus": (lambda x: tj.softplus(x), 0.0, 2, 0.25),
    "gelu": (lambda x: tj.gelu(x), 0.0, 2, 2 / np.sqrt(2 * np.pi)),
    "erf far out": (special.erf, 1e200, 2, 0.0),
    "arctan far out": (np.arctan, 1e200, 2, 0.0),
    "hypot at the origin": (lambda x: np.hypot(x, 0.0), 0.0, 2, 0.0),
    "gammaln": (special.gammaln, 1.0, 2, np.pi**2 / 6),
    "x**y mixed at y = 0": (lambda y: tj.grad(lambda x: np.power(x, y))(4.0), 0.0, 1, 0.25),
    "maximum": (lambda x: np.maximum(x * x, 1.0), 3.0, 2, 2.0),
}


@modes
@pytest.mark.parametrize("name", SECOND)
def test_higher_orders(name: str, mode: str) -> None:
    function, point, order, wanted = SECOND[name]
    with np.errstate(all="ignore"):
        assert slope(function, point, mode, order) == pytest.approx(wanted, rel=1e-13, abs=1e-15)


# ---- reductions


def gradients(function: Function, x: Any) -> list[Any]:
    gradient = tj.grad(function)
    with tj.disable_jit():
        by_tape = gradient(x)
    return [gradient(x), tj.jit(gradient)(x), by_tape]


ARRAYS: dict[str, tuple[Function, list[Any], list[Any]]] = {
    "max with ties": (np.max, [1.0, 3.0, 3.0, 3.0], [0, 1 / 3, 1 / 3, 1 / 3]),
    "min with ties": (np.min, [1.0, 1.0, 3.0], [0.5, 0.5, 0]),
    "max of rows": (lambda x: np.sum(np.max(x, axis=1)), [[1.0, 2.0], [3.0, 3.0]], [[0, 1], [0.5, 0.5]]),
    "norm at 0": (np.linalg.norm, [0.0, 0.0], [0, 0]),
    "norm": (np.linalg.norm, [3.0, 4.0], [0.6, 0.8]),
    "prod with a zero": (np.prod, [2.0, 0.0, 3.0], [0, 6, 0]),
    "prod with zeros": (np.prod, [2.0, 0.0, 0.0], [0, 0, 0]),
    "sort with ties": (lambda x: np.sum(np.sort(x) * np.arange(4.0)), [2.0, 1.0, 2.0, 0.0], None),
    "sort": (lambda x: np.sum(np.sort(x) * np.arange(3.0)), [2.0, 1.0, 5.0], [1, 0, 2]),
    "logsumexp": (
        lambda x: np.max(x) + np.log(np.sum(np.exp(x - np.max(x)))),
        [2.0, 2.0, -inf],
        [0.5, 0.5, 0],
    ),
    "log of a sum of exponentials, pairwise": (
        lambda x: np.logaddexp(np.logaddexp(x[0], x[1]), x[2]),
        [-inf, -inf, 1.0],
        [0, 0, 1],
    ),
    "std": (np.std, [1.0, 3.0], [-0.5, 0.5]),
    "mean": (np.mean, [1.0, 3.0, 5.0, 8.0], [0.25] * 4),
    "flat": (lambda x: np.sum(np.floor(x)), [1.0, 2.5], [0, 0]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_reductions(name: str) -> None:
    function, x, wanted = ARRAYS[name]
    with np.errstate(all="ignore"):
        for found in gradients(function, np.array(x)):
            if wanted is None:  # which of two equals is first is the sort's; each position is taken once
                assert sorted(found) == [0, 1, 2, 3] and found[3] == 0 and found[1] == 1
            else:
                np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-15)


# ---- arguments and results without derivatives


def test_integer_arguments_are_refused() -> None:
    for argument in (3, np.arange(3), True, np.int32(2)):
        with pytest.raises(TypeError, match=r"differentiated by an argument of (dtype|type) \w+.*argnums"):
            tj.grad(np.sum)(argument)
    with pytest.raises(TypeError, match="int64"):
        tj.jit(tj.grad(np.sum))(np.arange(3))
    with pytest.raises(TypeError, match="int64"):
        tj.jvp(np.sin, (np.arange(3),), (np.arange(3),))


def test_complex_arguments_are_refused() -> None:
    for argument in (np.ones(2, complex), 1j):
        with pytest.raises(TypeError, match="complex"):
            tj.grad(lambda x: np.sum(np.abs(x)))(argument)


def test_integer_results() -> None:
    """A gradient of integers is refused; inside a function their derivative is zero."""
    with pytest.raises(TypeError, match="int64"):
        tj.grad(lambda x: np.sum(x > 0))(np.ones(3))
    x = np.array([1.5, 2.5])
    for found in gradients(lambda x: np.sum(x.astype(np.int64) * x), x):
        np.testing.assert_array_equal(found, [1, 2])
    for found in gradients(lambda x: np.sum((x > 2) * x), x):
        np.testing.assert_array_equal(found, [0, 1])


def test_unconnected_arguments() -> None:
    def second(x: Any, y: Any) -> Any:
        return np.sum(y * y)

    x, y = np.ones((2, 3)), np.arange(2.0)
    for transform in (tj.grad, lambda f, argnums: tj.jit(tj.grad(f, argnums=argnums))):
        found = transform(second, argnums=(0, 1))(x, y)
        np.testing.assert_array_equal(found[0], np.zeros((2, 3)))
        np.testing.assert_array_equal(found[1], 2 * y)
    nothing, something = tj.grad(second, argnums=(0, 1), unconnected="none")(x, y)
    assert nothing is None
    np.testing.assert_array_equal(something, 2 * y)
    np.testing.assert_array_equal(tj.grad(lambda x: 2.0)(y), [0, 0])


def test_stop_gradient() -> None:
    for found in gradients(lambda x: np.sum(x * tj.stop_gradient(x)), np.array([2.0, 3.0])):
        np.testing.assert_array_equal(found, [2, 3])
