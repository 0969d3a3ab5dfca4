"""Ordinary NumPy programs give the same results compiled as they give in NumPy, in their arguments too."""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.programs import ALL, Program

SIZES = (9, 24)


def assert_same(actual: Any, expected: Any, tolerance: tuple[float, float], path: str) -> None:
    """Equal pytrees: same containers, dtypes and shapes, values within (rtol, atol), NaN equal to NaN."""
    if dataclasses.is_dataclass(expected):
        assert type(actual) is type(expected), f"{path}: {type(actual)}"
        for field in dataclasses.fields(expected):
            assert_same(getattr(actual, field.name), getattr(expected, field.name), tolerance, f"{path}.{field.name}")
    elif isinstance(expected, dict):
        assert type(actual) is type(expected) and list(actual) == list(expected), f"{path}: {actual!r}"
        for key in expected:
            assert_same(actual[key], expected[key], tolerance, f"{path}[{key!r}]")
    elif isinstance(expected, tuple | list):
        assert type(actual) is type(expected) and len(actual) == len(expected), f"{path}: {type(actual)}"
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert_same(a, e, tolerance, f"{path}[{i}]")
    elif isinstance(expected, np.ndarray | np.generic):
        assert_same_array(actual, expected, tolerance, path)
    else:
        assert type(actual) is type(expected), f"{path}: {type(actual)} is not {type(expected)}"
        assert actual == expected, path


def assert_same_array(actual: Any, expected: Any, tolerance: tuple[float, float], path: str) -> None:
    assert isinstance(actual, np.ndarray | np.generic), f"{path}: {type(actual)} in place of an array"
    assert isinstance(actual, np.ndarray) == isinstance(expected, np.ndarray), f"{path}: {type(actual)}"
    assert actual.dtype == expected.dtype, f"{path}: {actual.dtype} is not {expected.dtype}"
    assert actual.shape == expected.shape, f"{path}: {actual.shape} is not {expected.shape}"
    if expected.dtype.kind in "fc" and tolerance != (0.0, 0.0):
        np.testing.assert_allclose(actual, expected, *tolerance, equal_nan=True, err_msg=path)
    else:
        np.testing.assert_array_equal(actual, expected, err_msg=path)


def run(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The result and the arguments afterwards, of a call on copies."""
    mine = copy.deepcopy(arguments)
    with np.errstate(all="ignore"):
        return function(*mine), mine


def check(program: Program, function: Any, arguments: tuple[Any, ...], tolerance: tuple[float, float]) -> None:
    expected, expected_after = run(program.function, arguments)
    actual, actual_after = run(function, arguments)
    assert_same(actual, expected, tolerance, "result")
    assert_same(actual_after, expected_after, tolerance if program.mutates else (0.0, 0.0), "arguments")


@pytest.fixture(params=ALL, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    found: Program = request.param
    return found


def make(program: Program, size: int) -> tuple[Any, ...]:
    return program.make_arguments(np.random.default_rng(size), size)


def test_compiled_as_numpy(program: Program) -> None:
    """First call, second and third call; then a new size twice, and the first size again."""
    compiled = tj.jit(program.function)
    for size in (SIZES[0],) * 3 + (SIZES[1],) * 2 + (SIZES[0],):
        check(program, compiled, make(program, size), program.tolerance)


def test_disabled_is_numpy(program: Program) -> None:
    """With the compiler off the function is plain NumPy, to the bit."""
    compiled = tj.jit(program.function)
    with tj.disable_jit():
        check(program, compiled, make(program, SIZES[0]), (0.0, 0.0))


def test_programs_say_what_they_mutate(program: Program) -> None:
    arguments = make(program, SIZES[0])
    _, after = run(program.function, arguments)
    if program.mutates:
        with pytest.raises(AssertionError):
            assert_same(after, arguments, (0.0, 0.0), "arguments")
    else:
        assert_same(after, arguments, (0.0, 0.0), "arguments")


def test_registry() -> None:
    assert len({program.name for program in ALL}) == len(ALL) >= 26


def test_portable_entries() -> None:
    """The plain Python path beside the native entries gives the same results (its own process)."""
    arguments = ["-q", "-n", "0", "-k", "compiled_as_numpy", "tests/test_programs.py"]
    code = f"import pytest, sys; sys.exit(pytest.main({arguments}))"
    environment = {**os.environ, "TRACEJIT_PORTABLE": "1"}
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
