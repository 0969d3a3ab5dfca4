"""`jit(donate=...)`: results in the memory of arguments that the caller gives up, and when they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.driver.function import HOT_CALLS


def _told(jitted: Any, *arguments: Any) -> str:
    """What `explain` says of donated arguments, and how calls are served."""
    lines = str(jitted.explain(*arguments)).splitlines()
    return "\n".join(line for line in lines if line.startswith(("donated", "served")))


def _adam(p: Any, m: Any, v: Any, g: Any, t: float) -> Any:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v


@pytest.mark.parametrize("donate", [("p", "m", "v"), (0, 1, 2), (0, "m", -3)])
@pytest.mark.parametrize("length", [1, 7, 100_000])
def test_each_result_takes_the_memory_that_it_is_nearest_to(donate: Any, length: int) -> None:
    random = np.random.default_rng(0)
    state, g = [random.random(length) for _ in range(3)], random.random(length)
    expected, step = [x.copy() for x in state], tj.jit(_adam, donate=donate)
    for t in (1.0, 2.0, 3.0):
        expected = tj.jit(_adam)(*expected, g, t)
        results = step(*state, g, t)
        for result, memory, wanted in zip(results, state, expected, strict=True):
            assert result is memory
            np.testing.assert_array_equal(result, wanted)


def test_hot_calls_keep_to_the_memory() -> None:
    jitted = tj.jit(lambda w, slope: w - 0.5 * slope, donate="w")
    w, slope = np.zeros(20), np.ones(20)
    for _ in range(HOT_CALLS + 10):
        assert jitted(w, slope) is w
    assert np.array_equal(w, np.full(20, -0.5 * (HOT_CALLS + 10)))
    told = _told(jitted, w, slope)
    assert "served by machine code: yes" in told and "w becomes leaf 0 of the result" in told
    both = np.ones(20)
    assert np.array_equal(jitted(both, both), np.full(20, 0.5)) and np.array_equal(both, np.ones(20))
    fixed = np.ones(20)
    fixed.setflags(write=False)
    with pytest.raises(ValueError, match="argument w of <lambda> is donated, but it is read-only"):
        jitted(fixed, slope)
    assert jitted(slope=slope, w=w) is w


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda x: np.exp(x - x.max(axis=1, keepdims=True)), [(6, 50)]),
        (lambda x: x / x.sum(axis=0), [(50, 6)]),
        (lambda x, y: np.tanh(x + y[:, None]), [(300, 200), (300,)]),
        (lambda x: np.where(x > 0.5, 1, x).astype(x.dtype), [(40,)]),
        (lambda x: (lambda y: (y, y.sum()))(x * 2), [(500,)]),
        (lambda x, w: x + np.tanh(x @ w), [(30, 20), (20, 20)]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "transposed", "every second"])
def test_results_in_place_are_right(function: Callable[..., Any], arguments: Any, dtype: Any, layout: str) -> None:
    random = np.random.default_rng(1)
    plain, jitted = tj.jit(function), tj.jit(function, donate=0)
    for _ in range(2):
        x, *others = (random.random(shape).astype(dtype) for shape in arguments)
        if layout == "transposed":
            x = x.T.copy().T
        elif layout == "every second":
            x = np.repeat(x, 2, axis=-1)[..., ::2]
        expected = plain(x.copy(), *others)
        result = jitted(x, *others)
        first = result[0] if isinstance(result, tuple) else result
        np.testing.assert_array_equal(first, expected[0] if isinstance(expected, tuple) else expected)
        if layout == "C":
            assert first is x


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x.sum(axis=0), "no result of its shape and dtype is computed from it"),
        (lambda x: x > 0, "no result of its shape and dtype is computed from it"),
        (lambda x: x[::-1] * 2, "no result of its shape and dtype is computed from it"),
        (lambda x: x + x[::-1], "its elements are needed after the result's are stored"),
        (lambda x: (x + 1, np.sort(x, axis=0)), "or are given to NumPy"),
        (lambda x: (x + 1, x), "no result of its shape and dtype is computed from it"),
        (lambda x: (x + 1, x[0]), "no result of its shape and dtype is computed from it"),
        (lambda x: x + 1 if x.sum() > 0 else x - 1, "the function has several segments"),
    ],
)
def test_what_cannot_be_in_place_has_memory_of_its_own(function: Callable[[Any], Any], reason: str) -> None:
    x = np.arange(12.0).reshape(4, 3)
    jitted = tj.jit(function, donate="x")
    for _ in range(2):
        got, wanted = jitted(x), function(x)
        for one, other in zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]:
            np.testing.assert_array_equal(one, other)
    assert np.array_equal(x, np.arange(12.0).reshape(4, 3))
    assert reason in str(jitted.explain(x))


def test_a_function_that_writes_to_it_does_as_ever() -> None:
    def write(x: Any) -> Any:
        x += 1
        return x * 2

    x = np.zeros(5)
    result = tj.jit(write, donate="x")(x)
    assert np.array_equal(x, np.ones(5)) and np.array_equal(result, np.full(5, 2.0))


def test_training_with_donated_parameters() -> None:
    def loss(parameters: Any, x: Any, y: Any) -> Any:
        hidden = np.tanh(x @ parameters["w"] + parameters["b"])
        return np.mean((hidden @ parameters["out"] - y) ** 2)

    def step(parameters: Any, x: Any, y: Any) -> Any:
        value, slopes = tj.value_and_grad(loss)(parameters, x, y)
        return value, {name: parameters[name] - 0.1 * slopes[name] for name in parameters}

    random = np.random.default_rng(2)
    plain = {"w": random.random((5, 8)), "b": np.zeros(8), "out": random.random((8, 2))}
    ours = {name: value.copy() for name, value in plain.items()}
    memory, x, y = dict(ours), random.random((30, 5)), random.random((30, 2))
    jitted, undonated = tj.jit(step, donate="parameters"), tj.jit(step)
    for _ in range(4):
        wanted, plain = undonated(plain, x, y)
        value, ours = jitted(ours, x, y)
        assert value == wanted
        for name in plain:
            assert ours[name] is memory[name]
            np.testing.assert_array_equal(ours[name], plain[name])
    assert "parameters (leaf 2) becomes leaf 3 of the result" in _told(jitted, ours, x, y)


def test_a_donating_function_inside_others_gives_nothing_away() -> None:
    """There it is a part of their graph."""
    inner = tj.jit(lambda x: x * x, donate=0)
    x = np.arange(3.0)
    assert np.array_equal(tj.grad(lambda x: np.sum(inner(x)))(x), 2 * x)
    assert np.array_equal(tj.jit(lambda x: inner(x) + 1)(x), x * x + 1)
    assert np.array_equal(tj.vmap(inner)(x), x * x)
    with tj.disable_jit():
        assert np.array_equal(inner(x), x * x)
    assert np.array_equal(x, np.arange(3.0))


def test_methods_and_keywords() -> None:
    class Model:
        rate = 0.5

        @tj.jit(donate="w")
        def step(self, w: Any, *, slope: Any) -> Any:
            return w - self.rate * slope

    w = np.ones(4)
    assert Model().step(w, slope=np.ones(4)) is w and np.array_equal(w, np.full(4, 0.5))
    slope = np.ones(4)
    assert tj.jit(lambda w, *, slope: slope * w, donate="slope")(w, slope=slope) is slope


@pytest.mark.parametrize("wrong", ["y", ("x", "y"), 2, (0, -3), True, 1.5, "args"])
def test_what_is_no_parameter_is_refused(wrong: Any) -> None:
    def f(x: Any, n: int, *args: Any) -> Any:
        return x * n

    given = (wrong,) if wrong == 1.5 else wrong
    with pytest.raises(ValueError, match=r"donate \[.*\] are no parameters of f\(x: "):
        tj.jit(f, donate=given)
    with pytest.raises(ValueError, match=r"\['n'\] of f\(x: .* are static"):
        tj.jit(f, donate=("x", "n"), static_argnames="n")
