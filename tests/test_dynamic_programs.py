"""Programs whose path depends on data give NumPy's results under jit; known paths are not traced or compiled again."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.dynamic_programs import ALL, DynamicProgram
from tests.test_programs import assert_same

BOUNDED = [program for program in ALL if program.bounded]
DIFFERENTIABLE = [(program, position) for program in ALL for position in program.gradient]


def outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    """What a call gives, and its arguments afterwards; an exception as its type and text."""
    mine = copy.deepcopy(arguments)
    with np.errstate(all="ignore"):
        try:
            return function(*mine), mine
        except Exception as error:
            return (type(error), str(error).splitlines()[0]), mine


def check(program: DynamicProgram, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    expected, expected_after = outcome(program.function, arguments)
    actual, actual_after = outcome(function, arguments)
    assert_same(actual, expected, program.tolerance, f"{program.name}{arguments}")
    assert_same(actual_after, expected_after, program.tolerance, f"{program.name}: arguments")


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.name)
def test_as_numpy(program: DynamicProgram) -> None:
    """Each call in turn, the first again after each, then all in reverse."""
    compiled = tj.jit(program.function)
    calls = program.inputs()
    for arguments in calls:
        check(program, compiled, arguments)
        check(program, compiled, calls[0])
    for arguments in reversed(calls):
        check(program, compiled, arguments)


@pytest.mark.parametrize("program", BOUNDED, ids=lambda program: program.name)
def test_known_paths_are_replayed(program: DynamicProgram) -> None:
    """Once each input was seen, no call traces or compiles; those that raise may be traced to raise as Python does."""
    compiled = tj.jit(program.function)
    calls = [arguments for arguments in program.inputs() if not _raises(program.function, arguments)]
    for arguments in calls:
        outcome(compiled, arguments)
    traces, kernels = compiled.stats.traces, compiled.stats.kernels_compiled
    for arguments in calls * 2:
        check(program, compiled, arguments)
    assert compiled.plain_reason is None
    assert (compiled.stats.traces, compiled.stats.kernels_compiled) == (traces, kernels)


def _raises(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    result, _ = outcome(function, arguments)
    return isinstance(result, tuple) and bool(result) and isinstance(result[0], type)


# Derivatives


def scalar(program: DynamicProgram, arguments: tuple[Any, ...], position: int) -> Callable[[Any], Any]:
    """The program's first float result, summed, as a function of one argument alone."""

    def value(x: Any) -> Any:
        result = program.function(*arguments[:position], x, *arguments[position + 1 :])
        return np.sum(result[0] if isinstance(result, tuple) else result)

    return value


def central(function: Callable[[Any], Any], x: Any) -> Any:
    """Central differences of a scalar function."""
    x = np.asarray(x, float)
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        h = 1e-6 * max(1.0, abs(float(x[place])))
        low, high = x.copy(), x.copy()
        low[place] -= h
        high[place] += h
        found[place] = (float(function(high[()])) - float(function(low[()]))) / (2 * h)
    return found


@pytest.mark.parametrize(("program", "position"), DIFFERENTIABLE, ids=lambda item: getattr(item, "name", str(item)))
def test_gradients(program: DynamicProgram, position: int) -> None:
    """tj.grad, jit of it, and grad amid other code under jit; each input twice."""
    for arguments in program.inputs():
        value = scalar(program, arguments, position)
        gradient = tj.grad(value)
        compiled = tj.jit(gradient)

        @tj.jit
        def amid(x: Any, gradient: Any = gradient) -> Any:
            doubled = x * 2
            if np.sum(doubled) > 1e9:
                return doubled
            return gradient(doubled / 2) * 3 + doubled

        x = arguments[position]
        expected = central(value, x)
        for _ in range(2):
            np.testing.assert_allclose(gradient(x), expected, rtol=2e-5, atol=1e-7)
            np.testing.assert_allclose(compiled(x), gradient(x), rtol=1e-12)
            np.testing.assert_allclose(amid(x), 3 * gradient(x) + 2 * x, rtol=1e-12)


def test_second_derivative_through_a_loop() -> None:
    def root(a: Any) -> Any:
        x = a
        while abs(x * x - a) > 1e-12:
            x = (x + a / x) / 2
        return x

    for a in (2.0, 3.0, 2.0):
        assert tj.grad(root)(a) == pytest.approx(0.5 * a**-0.5, rel=1e-9)
        assert tj.grad(tj.grad(root))(a) == pytest.approx(-0.25 * a**-1.5, rel=1e-5)


def test_gradients_of_known_paths_are_replayed() -> None:
    def loss(w: Any) -> Any:
        steps = 0
        while (w**2).sum() > 1 and steps < 20:
            w = w * 0.7
            steps += 1
        return (w**3).sum()

    gradient = tj.jit(tj.grad(loss))
    starts = [np.array([2.0, 1.0]), np.array([0.1, 0.2]), np.array([5.0, -3.0])]
    for start in starts * 2:
        gradient(start)
    traces, kernels = gradient.stats.traces, gradient.stats.kernels_compiled
    for start in starts:
        np.testing.assert_allclose(gradient(start), central(loss, start), rtol=1e-6)
    assert (gradient.stats.traces, gradient.stats.kernels_compiled) == (traces, kernels)


def test_print_is_not_doubled_by_derivatives(capsys: pytest.CaptureFixture[str]) -> None:
    def loss(x: Any) -> Any:
        print("x", x.sum())
        if x.sum() > 100:
            print("large")
        return (x * x).sum()

    gradient, compiled, value = tj.grad(loss), tj.jit(tj.grad(loss)), tj.jit(tj.value_and_grad(loss))
    for function in (gradient, compiled, value):
        for _ in range(3):
            function(np.ones(2))
            assert capsys.readouterr().out == "x 2.0\n"
        function(np.full(2, 99.0))
        assert capsys.readouterr().out == "x 198.0\nlarge\n"


# Many branches


def test_past_the_bound_results_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracejit.driver.function.MAX_BRANCHES", 16)

    @tj.jit
    def halvings(x):
        count = 0
        while x.sum() > 1:
            x = x / 2
            count += 1
        return x, count

    for size in (3.0, 1e9, 7.0, 1e12, 1e9):
        expected, compiled = halvings.function(np.array([size])), halvings(np.array([size]))
        np.testing.assert_array_equal(compiled[0], expected[0])
        assert compiled[1] == expected[1]
    kernels = halvings.stats.kernels_compiled
    halvings(np.array([1e15]))
    assert halvings.stats.kernels_compiled == kernels
    assert "more than" in str(halvings.explain(np.array([3.0]))) and "traced at each call" in "".join(halvings.reasons)


def test_a_loop_is_one_compiled_segment() -> None:
    """What each iteration does is compiled once, and the leaves of a run do not grow with the iterations."""

    @tj.jit
    def grow(x, limit):
        while x.sum() < limit:
            x = x * 1.5 + 0.5
        return x

    for limit in (10.0, 1e5, 1e20):
        np.testing.assert_array_equal(grow(np.ones(3), limit), grow.function(np.ones(3), limit))
    segments = grow.explain(np.ones(3), 1e20).segments
    assert len(segments) > 90
    assert len({id(segment.function) for segment in segments}) <= 5
    assert grow.stats.kernels_compiled + grow.stats.cache_hits <= 10


def test_dead_values_are_let_go() -> None:
    """A long loop over large arrays holds a few of them, not one for each iteration."""

    @tj.jit
    def relax(x):
        for _ in range(30):
            x = x * 0.5
            if x[0] < 0:
                break
        return x

    x = np.ones(1 << 17)
    relax(x)
    tracemalloc.start()
    relax(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * x.nbytes


# What is around the loop


class Damped:
    """A method whose behaviour hangs on an attribute."""

    def __init__(self) -> None:
        self.limit, self.rate = 4.0, 0.5

    @tj.jit
    def run(self, x):
        while x.max() > self.limit:
            x = x * self.rate
        return x


LIMIT = 3.0


@tj.jit
def below_limit(x):
    while x.max() > LIMIT:
        x = x / 2
    return x


def test_changed_attributes_are_seen() -> None:
    damped = Damped()
    x = np.array([9.0, 1.0])
    for limit, rate in ((4.0, 0.5), (1.0, 0.5), (1.0, 0.25), (4.0, 0.5)):
        damped.limit, damped.rate = limit, rate
        for _ in range(2):
            np.testing.assert_array_equal(damped.run(x), Damped.run.function(damped, x))


def test_changed_module_constants_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([9.0, 1.0])
    for limit in (3.0, 1.0, 5.0):
        monkeypatch.setattr("tests.test_dynamic_programs.LIMIT", limit)
        np.testing.assert_array_equal(below_limit(x), below_limit.function(x))


def test_a_changed_closure_and_default_are_seen() -> None:
    factor = 2.0

    def grow(x, times=3):
        for _ in range(times):
            if x.sum() > 5:
                break
            x = x * factor
        return x

    compiled = tj.jit(grow)
    x = np.ones(2)
    for value, times in ((2.0, 3), (3.0, 1), (2.0, 2)):
        factor = value
        grow.__defaults__ = (times,)
        np.testing.assert_array_equal(compiled(x), grow(x))


def test_numbers_are_computed_anew_at_each_call() -> None:
    """float(), int() and item() of other values are no other branches."""

    @tj.jit
    def summary(x):
        total = float(x.sum())
        return total, int(x[0]), x.max().item(), [total / 2] if total > 0 else []

    for start in (1.0, 2.5, -7.0, 4.0, 9.0, -3.0):
        x = np.array([start, 0.5])
        assert_same(summary(x), summary.function(x), (0.0, 0.0), "summary")
    assert summary.stats.traces == 2


def test_what_traced_values_are() -> None:
    """isinstance, type and np.isscalar answer as for the plain values."""

    @tj.jit
    def kinds(x, a, n):
        return (
            isinstance(x, np.ndarray),
            isinstance(x[0], np.floating),
            isinstance(a, float),
            isinstance(n, (int, np.integer)),
            isinstance(n, bool),
            type(x) is np.ndarray,
            type(x[0]).__name__,
            np.isscalar(a),
            np.isscalar(x),
        )

    assert kinds(np.ones(2), 2.0, 3) == kinds.function(np.ones(2), 2.0, 3)


def test_outcomes_that_are_equal_are_not_always_the_same() -> None:
    @tj.jit
    def sign(x):
        return np.copysign(1.0, complex(x[0]).real), f"{x[0]}"

    for value in (0.0, -0.0, np.nan, 0.0, np.nan):
        assert str(sign(np.array([value]))) == str(sign.function(np.array([value])))


def test_text_that_a_call_returns_is_no_constant() -> None:
    @tj.jit
    def shown(x):
        return np.array2string(x)

    for x in (np.ones(2), np.zeros(2), np.ones(2)):
        assert shown(x) == np.array2string(x)


# Random numbers


def test_generators_made_inside() -> None:
    @tj.jit
    def noise(x, seed):
        rng = np.random.default_rng(seed)
        return x + rng.normal(size=2), rng.integers(10)

    for seed in (1, 2, 1, 3):
        assert_same(noise(np.ones(2), seed), noise.function(np.ones(2), seed), (0.0, 0.0), "noise")
    assert noise.stats.traces == 1


def test_a_new_generator_each_call_is_traced_once() -> None:
    @tj.jit
    def walk(x, rng):
        while x.sum() < 3:
            x = x + rng.random(2)
        return x

    for seed in (1, 1, 1):
        x = np.zeros(2)
        expected = walk.function(x, np.random.default_rng(seed))
        np.testing.assert_array_equal(walk(x, np.random.default_rng(seed)), expected)
    assert walk.stats.traces == 1


def test_generators_in_closures_and_attributes_are_drawn_from_each_call() -> None:
    mine = np.random.default_rng(4)

    @tj.jit
    def drawn(x):
        return x + mine.random(2)

    class Noisy:
        def __init__(self) -> None:
            self.rng = np.random.default_rng(4)

        @tj.jit
        def drawn(self, x):
            return x + self.rng.random(2)

    noisy, theirs = Noisy(), np.random.default_rng(4)
    for _ in range(3):
        expected = theirs.random(2)
        np.testing.assert_array_equal(drawn(np.zeros(2)), expected)
        np.testing.assert_array_equal(noisy.drawn(np.zeros(2)), expected)


def test_shuffle_in_place() -> None:
    @tj.jit
    def mixed(x, rng):
        rng.shuffle(x)
        return x * 2

    for _ in range(3):
        x, y = np.arange(5.0), np.arange(5.0)
        np.random.default_rng(3).shuffle(y)
        np.testing.assert_array_equal(mixed(x, np.random.default_rng(3)), 2 * y)
        np.testing.assert_array_equal(x, y)


# Long expressions of Python numbers


def test_numbers_made_of_numbers_stay_small() -> None:
    @tj.jit
    def logistic(x, rate):
        for _ in range(200):
            x = rate * x * (1 - x)
        return x

    for _ in range(3):
        assert logistic(0.3, 3.7) == logistic.function(0.3, 3.7)
    assert len(logistic.sources()) < 30_000


def test_explain_runs_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    @tj.jit
    def bump(x):
        x += 1
        print("once")
        return x

    x = np.zeros(2)
    bump.explain(x)
    assert capsys.readouterr().out == "once\n"
    np.testing.assert_array_equal(x, 1.0)


def test_results_of_breaks_are_let_go_when_nothing_holds_them() -> None:
    def halved(x, rounds):
        for _ in range(rounds):
            x = x[x > 0.0] * 0.5 + 0.1
            x = np.where(x > 3.0, np.tanh(x) * np.exp(-x * x), x)
        return x

    compiled = tj.jit(halved)
    x = np.abs(np.random.default_rng(0).random(400_000)) + 0.1
    for _ in range(2):
        np.testing.assert_allclose(compiled(x, 12), halved(x, 12), rtol=1e-14)
    assert compiled.stats.plain_calls == 0
    tracemalloc.start()
    halved(x, 12)
    plain = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    compiled(x, 12)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < plain + 3 * x.nbytes


def test_a_branch_after_results_that_are_gone() -> None:
    def function(x, limits):
        total = 0.0
        for number in range(3):
            kept = x[x > limits[number]]
            kept[0] = 1.0
            count = kept.shape[0]
            total = total + np.sum(np.exp(-kept) * np.tanh(kept))
            del kept
            if total > 2.0 + number:
                total = total * count
        return total

    compiled = tj.jit(function)
    x = np.linspace(0, 1, 40)
    for limits in (
        [0.1, 0.2, 0.3],
        [0.9, 0.2, 0.3],
        [0.9, 0.9, 0.1],
        [0.9, 0.9, 0.9],
        [0.1, 0.2, 0.3],
        [0.5, 0.1, 0.9],
    ):
        given = np.array(limits)
        assert compiled(x, given) == pytest.approx(function(x, given), rel=1e-13)


def test_results_of_calls_by_their_structure() -> None:
    """A named tuple, a tuple of arrays, and a list of arrays and numbers lead the same way each time."""
    compiled = tj.jit(several_results)
    for seed in (0, 1, 2):
        x = np.random.default_rng(seed).random((3, 3)) + np.eye(3)
        for found, expected in zip(compiled(x), several_results(x), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert compiled.stats.traces == 1


def several_results(x: Any) -> Any:
    sign, logarithm = np.linalg.slogdet(x)
    counts, edges = np.histogram(x, bins=4)
    return sign * np.exp(logarithm), counts * 2, edges[1:] - edges[:-1]


def test_functions_given_to_numpy_that_read_traced_values() -> None:
    """Such a function holds the values of one call: later calls need functions of their own."""

    def scaled(x: Any, k: int) -> Any:
        by_array = np.apply_along_axis(lambda row: row * x[0, 0], 1, x)
        return by_array + np.apply_along_axis(lambda row: row.sum() + k, 1, x)[:, None]

    compiled = tj.jit(scaled)
    for seed in (0, 1, 2):
        x = np.random.default_rng(seed).random((3, 4))
        np.testing.assert_allclose(compiled(x, seed), scaled(x, seed), rtol=1e-14)
    assert "reads traced values" in str(compiled.plain_reason)
