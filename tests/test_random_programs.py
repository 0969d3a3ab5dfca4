"""Random NumPy programs: compiled, they give NumPy's results and leave NumPy's values in the arguments.

A program is generated statement by statement while NumPy runs it, so that shapes fit.  All values are small multiples
of powers of two, on which every statement is exact: results are compared to the bit, in any order of summation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import tracejit as tj
from tests.comparing import assert_bit_equal
from tracejit.passes import PIPELINE

LIMIT = 200.0
"""Values beyond it are clipped, so that float32 stays exact."""

bounded = settings(
    max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def make_arguments(rows: int, columns: int, seed: int, layout: str) -> tuple[Any, ...]:
    """x, y, z, k, m, s: two float64 matrices, a float64 row, an int64 matrix, a float32 column, a Python float."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int, dtype: Any = np.float64) -> np.ndarray:
        return (rng.integers(-32, 32, shape) / (4 if np.dtype(dtype).kind == "f" else 1)).astype(dtype)

    x, y = draw(rows, columns), draw(rows, columns)
    if layout == "fortran":
        x, y = np.asfortranarray(x), draw(columns, rows).T
    elif layout == "strided":
        x, y = draw(2 * rows, columns)[::2], draw(rows, columns)[::-1, ::-1]
    elif layout == "shared":
        whole = draw(rows + 1, columns)
        x, y = whole[1:], whole[:-1]
    return x, y, draw(columns), draw(rows, columns, dtype=np.int64), draw(rows, 1, dtype=np.float32), 1.5


KEYS = (
    "[1:]",
    "[:-1]",
    "[::-1]",
    "[::2]",
    "[1:-1]",
    "[-2::-2]",
    "[0]",
    "[-1]",
    "[..., 1:]",
    "[..., ::-1]",
    "[..., :2]",
    "[None]",
    "[..., None]",
    "[:, 0]",
    "[1:, ::-1]",
    "[1:-1, 1:-1]",
    "[:, None]",
    "[2:2]",
)
PURE = (
    "{a} + {b}",
    "{a} - {b}",
    "{a} * {b}",
    "{a} * 0.5",
    "s - {a}",
    "{a} + 2",
    "-{a}",
    "np.abs({a})",
    "np.maximum({a}, {b})",
    "np.minimum({a}, 1)",
    "np.floor({a} / 2)",
    "np.remainder({a}, 4)",
    "np.square({a})",
    "np.where({a} > {b}, {a}, {c})",
    "np.where({a} > 0, s, {b})",
    "({a} < {b}) & ({c} != 0)",
    "np.clip({a}, -2, 3)",
    "np.sign({a}) * {b}",
    "{a}.astype(np.float32)",
    "{a}.astype(np.int64)",
    "np.sum({a}, axis={axis}, keepdims={keep})",
    "{a}.sum(axis={axis})",
    "np.max({a}, axis={axis}, keepdims={keep})",
    "np.min({a}, axis={axis})",
    "{a}.sum()",
    "np.any({a} > 1, axis={axis}, keepdims={keep})",
    "{a} - np.max({a}, axis={axis}, keepdims=True)",
    "np.concatenate([{a}, {b}], axis={axis})",
    "np.concatenate([{a}[1:], {a}[:1]])",
    "np.stack([{a}, {a} + 1], axis={axis})",
    "np.zeros_like({a})",
    "np.full({a}.shape, s)",
    "np.empty(0)",
    "np.copy({a})",
    "np.roll({a}, 1, axis={axis})",
    "np.diff({a}, axis={axis})",
    "np.cumsum({a}, axis={axis})",
    "np.repeat({a}, 2, axis={axis})",
    "np.pad({a}, 1)",
    "{a}[np.array([0, -1, 0])]",
    "np.outer({a}, {b})[:3, :3]",
    "{a} * np.arange({a}.shape[-1])",
)
VIEWS = (
    *(f"{{a}}{key}" for key in KEYS),
    "{a}.T",
    "np.transpose({a})",
    "{a}.reshape(-1)",
    "{a}.reshape({a}.shape[::-1])",
    "{a}.ravel()",
    "np.swapaxes({a}, 0, -1)",
    "np.flip({a}, {axis})",
    "np.expand_dims({a}, {axis})",
    "np.broadcast_to({a}, (2, *{a}.shape))",
    "{a}",
)
WRITES = (
    *(f"{{a}}{key} += {{b}}" for key in KEYS),
    *(f"{{a}}{key} = {{b}}" for key in KEYS),
    "{a} += {b}",
    "{a} *= 0.5",
    "{a} -= {a}[::-1]",
    "{a}[1:] += {a}[:-1]",
    "{a}[:-1] = {a}[1:]",
    "{a}[...] = {b}",
    "{a}[{a} > 1] = 1",
    "{a}[{a} < {b}] -= 1",
    "{a}.fill(s)",
    "np.add({a}, {b}, out={a})",
    "np.maximum({a}, 0, out={a})",
    "np.multiply({a}, 2, out={b})",
)


@dataclass
class Generated:
    """A program as source, and the arguments that it was generated on."""

    lines: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)

    @property
    def source(self) -> str:
        body = "\n".join(f"    {line}" for line in [*self.lines, f"return {', '.join(self.returned)},"])
        return f"def program(x, y, z, k, m, s):\n{body}\n"

    def function(self) -> Callable[..., Any]:
        namespace: dict[str, Any] = {"np": np}
        exec(compile(self.source, "<program>", "exec"), namespace)
        return namespace["program"]


def tame(value: Any) -> bool:
    """Small, exact values of a dtype that is worth going on with."""
    return bool(value.dtype.kind in "biuf" and value.size <= 400 and value.ndim <= 4)


@st.composite
def programs(draw: Any, layout: str, statements: int = 40) -> Generated:
    """A program whose every statement NumPy accepts."""
    values = dict(zip("xyzkms", make_arguments(5, 6, 0, layout), strict=True))
    program = Generated()
    names = list("xyzkm")
    for number in range(draw(st.integers(statements // 3, statements))):
        kind = draw(st.sampled_from((PURE, PURE, VIEWS, WRITES)))
        operands = {
            "a": draw(st.sampled_from(names)),
            "b": draw(st.sampled_from(names)),
            "c": draw(st.sampled_from(names)),
            "axis": draw(st.sampled_from((0, -1, 1))),
            "keep": draw(st.booleans()),
        }
        text = draw(st.sampled_from(kind)).format(**operands)
        line = text if kind is WRITES else f"v{number} = {text}"
        line = attempt(line, values, operands["a"] if kind is WRITES else f"v{number}")
        if line:
            program.lines.extend(line)
            names += [f"v{number}"] if kind is not WRITES else []
    program.returned = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4)) + names[-1:]
    return program


def attempt(line: str, values: dict[str, Any], target: str) -> list[str]:
    """Run a line on copies; if NumPy takes it, run it on the values, with clipping where they have grown too large."""
    trial = copy.deepcopy(values)
    lines = [line]
    try:
        with np.errstate(all="ignore"):
            exec(line, {"np": np}, trial)
            if not isinstance(trial[target], np.ndarray | np.generic) or not tame(trial[target]):
                return []
            large = [n for n, v in trial.items() if n != "s" and v.size and np.max(np.abs(v.astype(float))) > LIMIT]
            lines += [f"np.clip({n}, -8, 8, out={n})" for n in large if isinstance(trial[n], np.ndarray)]
            for extra in lines[1:]:
                exec(extra, {"np": np}, trial)
        # The values alias where the copies do not, and so may refuse what these took.
        for text in lines:
            with np.errstate(all="ignore"):
                exec(text, {"np": np}, values)
    except Exception:
        return []
    return lines


def run(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, type[Exception] | None]:
    try:
        with np.errstate(all="ignore"):
            return function(*arguments), None
    except (ValueError, IndexError, TypeError) as error:
        return None, type(error)


def check(program: Generated, layout: str, repeats: int = 2) -> None:
    """Some calls with one size, one with another, and the first again."""
    note(program.source)
    plain = program.function()
    jitted = tj.jit(program.function())
    for rows, columns, seed in ((5, 6, 0), (5, 6, 1), (7, 4, 2))[:repeats] + ((5, 6, 3),):
        mine, theirs = (make_arguments(rows, columns, seed, layout) for _ in range(2))
        wanted, raised = run(plain, theirs)
        got, error = run(jitted, mine)
        assert error is raised, f"{error} in place of {raised} for {rows} x {columns}"
        for number, (a, b) in enumerate(zip(mine[:-1], theirs[:-1], strict=True)):
            assert_bit_equal(a, b, f"argument {'xyzkm'[number]}, {rows} x {columns}, seed {seed}", zero_signs=False)
        if raised is None:
            for number, (a, b) in enumerate(zip(got, wanted, strict=True)):
                assert_bit_equal(a, b, f"result {number}, {rows} x {columns}, seed {seed}", zero_signs=False)


@pytest.mark.parametrize("layout", ["contiguous", "fortran", "strided", "shared"])
def test_random_programs(layout: str) -> None:
    @bounded
    @given(programs(layout))
    def compiled_as_numpy(program: Generated) -> None:
        check(program, layout, repeats=3)

    compiled_as_numpy()


PASSES = sorted({function.__name__ for function in PIPELINE})


@pytest.mark.parametrize("alone", [*PASSES, "none"])
def test_each_pass_alone(alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pass needs another one to be right, and none at all is right too."""
    monkeypatch.setenv("TRACEJIT_PASSES_OFF", ",".join(name for name in PASSES if name != alone))

    @settings(bounded, max_examples=5)
    @given(programs("contiguous", statements=20))
    def kept(program: Generated) -> None:
        check(program, "contiguous", repeats=1)

    kept()
