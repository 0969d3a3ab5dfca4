"""Programs whose path depends on data give NumPy's results under jit, and known paths are neither traced nor compiled again."""

from __future__ import annotations

import copy
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
