"""Calls by emitted code leak nothing: reference counts, traced memory, and CPython's debug allocator."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.native_calls import NATIVE, heat, run_python
from tracejit.driver import function as function_module

X, TABLE = np.linspace(-1, 1, 8), np.linspace(2, 3, 8)
SETTING = 2.0


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is a hot one."""
    monkeypatch.setattr(function_module, "HOT_CALLS", 1)


CALLS = 1_000_000 if NATIVE else 20_000


def leaks(call: Callable[[], Any], watched: list[Any], calls: int) -> tuple[list[int], int]:
    """By how much reference counts and traced memory grow in so many calls."""
    for _ in range(200):
        call()
    gc.collect()
    before = [sys.getrefcount(value) for value in watched]
    for _ in range(calls):
        call()
    after = [sys.getrefcount(value) for value in watched]
    tracemalloc.start()
    for _ in range(200):
        call()
    gc.collect()
    start = tracemalloc.get_traced_memory()[0]
    for _ in range(2000):
        call()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - start
    tracemalloc.stop()
    return [b - a for a, b in zip(before, after, strict=True)], grown


def assert_no_leak(call: Callable[[], Any], watched: list[Any], calls: int = CALLS) -> None:
    counts, grown = leaks(call, watched, calls)
    assert all(abs(count) < 50 for count in counts), counts
    assert grown < 20_000, grown


def test_a_million_calls_leak_nothing() -> None:
    jitted = tj.jit(lambda x, k: (x * k + 1, None, x.sum()))
    number = 12345.5
    heat(jitted, X, number)
    assert_no_leak(lambda: jitted(X, number), [X, number, None, X.dtype, np.ndarray, np.float64, jitted])


@pytest.mark.parametrize("kind", ["misses", "raises", "keywords", "items", "writes", "disabled", "cells"])
def test_no_other_way_leaks(kind: str) -> None:
    good, bad, key = np.array([1, 2]), np.array([1, 20]), "how"
    take = tj.jit(lambda x, i: x[i] * SETTING)
    add = tj.jit(lambda x, y=0.0: x + y)
    items = tj.jit(lambda pair: [pair[0] + pair[1][0], pair[0]])
    scale = 2.0
    write = tj.jit(lambda x, y: x.__iadd__(y * scale))
    memory, bundle = np.zeros(8), (X, [TABLE])

    def raising() -> None:
        with pytest.raises(IndexError):
            take(X, bad)

    def disabled() -> None:
        with tj.disable_jit():
            add(X, 1.0)

    heat(take, X, good)
    heat(add, X, y=2.5)
    heat(items, bundle)
    call: Callable[[], Any] = {
        "misses": lambda: add(X[:1]),
        "raises": raising,
        "keywords": lambda: add(X, y=2.5),
        "items": lambda: items(bundle),
        "writes": lambda: write(memory, X),
        "disabled": disabled,
        "cells": lambda: take(X, good),
    }[kind]
    watched = [X, TABLE, good, bad, key, None, X.dtype, bundle, memory, take, add, items]
    assert_no_leak(call, watched, 3000)


@pytest.mark.parametrize("kind", ["fine", "raises"])
def test_launches_on_several_threads_leak_nothing(kind: str) -> None:
    x, places = np.linspace(-1, 1, 3000), np.arange(3000)
    take = tj.jit(lambda x, i: np.exp(np.sin(x[i]) * x[i]))
    call: Callable[[], Any] = lambda: take(x, places)  # noqa: E731 - one of two

    def raising() -> None:
        with pytest.raises(IndexError):
            take(x, bad)
        take(x, places)

    bad = places.copy()
    bad[2500] = 3000
    with tj.set_num_threads(3):
        heat(take, x, places)
        assert_no_leak(call if kind == "fine" else raising, [x, places, bad, None, x.dtype, take], 10_000)


CHILD = """
import numpy as np, tracejit as tj
from tracejit.driver import function
function.HOT_CALLS = 1
f = tj.jit(lambda x, i, k=1.0: (x[i] * k, x.sum(), [x]))
x, good, bad = np.arange(8.0), np.array([1, 2]), np.array([1, 20])
for n in range(20_000):
    f(x, good, k=float(n))
    f(x, good)
    if n % 100 == 0:
        try:
            f(x, bad)
        except IndexError:
            pass
        else:
            raise SystemExit("no error")
        f(np.arange(3.0 + n % 7), good)
        if n % 1000 == 0:
            f.clear()
tj.set_num_threads(3)
g = tj.jit(lambda x, i: np.exp(np.sin(x[i]) * x[i]))
x, good = np.linspace(0, 1, 3000), np.arange(3000)
bad = good + 1
for n in range(5000):
    g(x, good)
    if n % 10 == 0:
        try:
            g(x, bad)
        except IndexError:
            pass
        else:
            raise SystemExit("no error")
print(f.stats.native_calls[0])
"""


def test_a_debug_allocator_finds_nothing() -> None:
    count = int(run_python("-X", "dev", "-W", "ignore", "-c", CHILD, PYTHONMALLOC="debug"))
    assert count > 30_000 if NATIVE else count == 0
