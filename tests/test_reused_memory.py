"""Results of kernels in the memory of what they read last, and where that would be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.schedule.steps import Allocate, walk


def _allocations(jitted: Any) -> int:
    return sum(isinstance(step, Allocate) for step in walk(jitted.roots[0].program))


def _chain(x: Any) -> Any:
    y = np.exp(x)
    y = y / np.sum(y)
    y = y * np.sqrt(np.max(y))
    return y - np.mean(y)


def _read_elsewhere(x: Any) -> Any:
    y = np.exp(x)
    return y[::-1] / np.sum(y) + y


def _needed_later(x: Any) -> Any:
    y = np.exp(x)
    z = y / np.sum(y)
    return z, np.sort(z) + y


def _both_results(x: Any) -> Any:
    y = np.exp(x)
    return y, y / np.sum(y)


def _viewed(x: Any) -> Any:
    y = np.exp(x)
    return (y / np.sum(y)).reshape(2, -1), y.reshape(-1, 2).T


def _through_numpy(x: Any) -> Any:
    y = np.exp(x)
    kept = np.nanargmax(y)
    y = y / np.sum(y)
    z = np.sort(y)
    return z / np.max(z), kept


def _in_a_loop(x: Any) -> Any:
    def step(carry: Any, row: Any) -> Any:
        total = np.sort(carry + row)
        scaled = total / np.sum(total)
        return scaled, scaled * 2

    return tj.scan(step, x, np.ones((4, 1)) * x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("length", [6, 40_000])
@pytest.mark.parametrize(
    "function", [_chain, _read_elsewhere, _needed_later, _both_results, _viewed, _through_numpy, _in_a_loop]
)
def test_values_are_those_without_reuse(
    function: Callable[[Any], Any], length: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).random(length).astype(dtype)
    jitted, before = tj.jit(function), x.copy()
    results = [jitted(x) for _ in range(3)]
    monkeypatch.setattr("tracejit.schedule.scheduler.reuse_memory", lambda program: program)
    plain = tj.jit(function)
    expected = plain(x)
    for result in results:
        pairs = zip(result, expected, strict=True) if isinstance(expected, tuple) else [(result, expected)]
        for got, wanted in pairs:
            np.testing.assert_array_equal(got, wanted)
    assert np.array_equal(x, before)
    assert _allocations(jitted) <= _allocations(plain)


def test_a_chain_needs_one_array() -> None:
    jitted = tj.jit(_chain)
    jitted(np.ones(50))
    large = [s.target for s in walk(jitted.roots[0].program) if isinstance(s, Allocate) and s.target.shape]
    assert len(large) == 1


def test_a_value_that_is_read_at_other_places_keeps_its_memory() -> None:
    jitted = tj.jit(_read_elsewhere)
    jitted(np.ones(50))
    large = [s.target for s in walk(jitted.roots[0].program) if isinstance(s, Allocate) and s.target.shape]
    assert len(large) == 2
