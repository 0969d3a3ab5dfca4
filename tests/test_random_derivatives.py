"""Random smooth programs differentiated: forwards against differences, reverse against forwards, jitted against eager.

The programs are those of test_random_programs.py with real values and statements that have derivatives; views and
writes are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import tracejit as tj
from tests.test_random_programs import PASSES, VIEWS, WRITES, Generated, attempt

SMOOTH = (
    "np.sin({a})",
    "np.tanh({a}) + {b}",
    "np.exp(-{a} * {a})",
    "np.sqrt(1 + {a} * {b}**2 * {a})",
    "np.log1p(np.square({a}))",
    "np.arctan2({a}, 2 + np.cos({b}))",
    "np.hypot({a}, 1 + {b})",
    "np.logaddexp({a}, {b})",
    "{a} + {b}",
    "s - {a}",
    "{a} * {b}",
    "{a} / (2 + np.sin({b}))",
    "(1 + {a} * {a}) ** (0.3 * np.tanh({b}))",
    "{a} ** 3 - {b} ** 2",
    "np.maximum({a}, {b})",
    "np.minimum({a}, 0.3)",
    "np.abs({a})",
    "np.clip({a}, -0.7, 1.1)",
    "np.where({a} > {b}, np.sin({a}), {c})",
    "np.where({a} > 0, np.sqrt({a}), {b})",
    "np.sum({a}, axis={axis}, keepdims={keep})",
    "np.mean({a}, axis={axis})",
    "np.max({a}, axis={axis}, keepdims={keep})",
    "np.prod(np.cos({a}), axis={axis})",
    "np.var({a}, axis={axis}, keepdims={keep})",
    "{a} - np.max({a}, axis={axis}, keepdims=True)",
    "np.concatenate([{a}, {b}], axis={axis})",
    "np.stack([{a}, {a} * 2], axis={axis})",
    "np.roll({a}, 1, axis={axis})",
    "np.diff({a}, axis={axis})",
    "np.cumsum({a}, axis={axis})",
    "np.repeat({a}, 2, axis={axis})",
    "np.pad({a}, 1)",
    "np.copy({a})",
    "{a}[np.array([0, -1, 0])]",
    "np.outer({a}, {b})[:3, :3]",
    "{a} @ {b}",
    "{a} @ {b}.T",
    "np.sort({a}, axis={axis})",
    "{a} * np.arange({a}.shape[-1])",
    "{a}.astype(np.int64) * {b}",
)
SMOOTH_WRITES = tuple(text for text in WRITES if "fill" not in text and "out=" not in text)

thorough = settings(
    max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)

Arguments = tuple[Any, Any, Any]


def make_arguments(rows: int, columns: int, seed: int, layout: str = "contiguous") -> Arguments:
    """Two matrices and a row."""
    rng = np.random.default_rng(seed)
    x, y, z = (rng.uniform(-1.5, 1.5, shape) for shape in ((rows, columns), (rows, columns), (columns,)))
    if layout == "fortran":
        x, y = np.asfortranarray(x), rng.uniform(-1.5, 1.5, (columns, rows)).T
    return x, y, z


@st.composite
def programs(draw: Any, statements: int = 16) -> Generated:
    """A program whose every statement NumPy accepts, with float64 results."""
    values = dict(zip("xyz", make_arguments(5, 6, 0), strict=True)) | {"s": 1.5}
    program, names = Generated(), list("xyz")
    for number in range(draw(st.integers(statements // 4, statements))):
        kind = draw(st.sampled_from((SMOOTH, SMOOTH, VIEWS, SMOOTH_WRITES)))
        operands = {letter: draw(st.sampled_from(names)) for letter in "abc"}
        operands |= {"axis": draw(st.sampled_from((0, -1, 1))), "keep": draw(st.booleans())}
        text = draw(st.sampled_from(kind)).format(**operands)
        writes = kind is SMOOTH_WRITES
        lines = attempt(text if writes else f"v{number} = {text}", values, operands["a"] if writes else f"v{number}")
        program.lines.extend(lines)
        names += [f"v{number}"] if lines and not writes else []
    program.returned = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)) + names[-1:]
    return program


def scalar(program: Generated, seed: int) -> Callable[..., Any]:
    """A weighted sum of all that the program returns."""
    function = program.function()

    def loss(x: Any, y: Any, z: Any) -> Any:
        # The arguments are copied: the program may write to them, and they are taken again.
        results = function(x.copy(), y.copy(), z.copy(), None, None, 1.5)
        weights = np.random.default_rng(seed)
        return sum(np.sum(result * weights.uniform(0.5, 1.5, result.shape)) for result in results)

    return loss


def along(loss: Callable[..., Any], arguments: Arguments, direction: Arguments, step: float) -> float:
    """The directional derivative by differences of fourth order."""

    def at(t: float) -> float:
        with np.errstate(all="ignore"):
            return float(loss(*(a + t * d for a, d in zip(arguments, direction, strict=True))))

    return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)


def dot(a: Any, b: Any) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(a, b, strict=True)))


def check(program: Generated, layout: str, seed: int) -> None:
    """All ways of differentiating give one derivative; near a kink the differences do not settle, and are left out."""
    note(program.source)
    loss = scalar(program, seed)
    arguments, direction = make_arguments(5, 6, seed, layout), make_arguments(5, 6, seed + 100, layout)

    def both(x: Any, y: Any, z: Any, *direction: Any) -> Any:
        value, tangent = tj.jvp(loss, (x, y, z), direction)
        return value, tangent, tj.grad(loss, argnums=(0, 1, 2))(x, y, z)

    with np.errstate(all="ignore"):
        value, tangent, gradient = tj.jit(both)(*arguments, *direction)
        with tj.disable_jit():
            eager = both(*arguments, *direction)
        expected = loss(*arguments)
    size = 1e-10 * max(1.0, abs(expected), *(float(np.max(np.abs(g))) for g in gradient))
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=size)
    np.testing.assert_allclose(eager[1], tangent, rtol=1e-8, atol=10 * size)
    for jitted, taped in zip(gradient, eager[2], strict=True):
        np.testing.assert_allclose(jitted, taped, rtol=1e-8, atol=10 * size)
    np.testing.assert_allclose(dot(gradient, direction), tangent, rtol=1e-8, atol=100 * size)
    coarse, fine = (along(loss, arguments, direction, step) for step in (2e-5, 1e-5))
    if abs(coarse - fine) < 1e-6 * max(abs(fine), 1e5 * size):
        np.testing.assert_allclose(tangent, fine, rtol=1e-5, atol=1e6 * size)


@pytest.mark.parametrize("layout", ["contiguous", "fortran"])
def test_random_programs_are_differentiated(layout: str) -> None:
    @thorough
    @given(programs(), st.integers(0, 3))
    def one_derivative(program: Generated, seed: int) -> None:
        check(program, layout, seed)

    one_derivative()


def test_without_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer is not what makes derivatives right."""
    monkeypatch.setenv("TRACEJIT_PASSES_OFF", ",".join(PASSES))

    @settings(thorough, max_examples=10)
    @given(programs(statements=10), st.integers(0, 3))
    def one_derivative(program: Generated, seed: int) -> None:
        check(program, "contiguous", seed)

    one_derivative()
