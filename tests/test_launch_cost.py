"""What a launch is reckoned to cost, and how many threads that gives it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests import kernels
from tests.loops import N, argument, launches, loop, op, typed
from tracejit.lower.launch_cost import CACHE_BYTE, INSTRUCTION, WHILE, WORTH_ASKING, launch_cost
from tracejit.ops.table import OPS
from tracejit.runtime import machine_speeds, threads
from tracejit.runtime.disk_cache import DiskCache
from tracejit.runtime.kernel_cache import KernelCache
from tracejit.runtime.machine import machine
from tracejit.runtime.machine_speeds import Speeds, measure, speeds
from tracejit.runtime.thread_pool import start_pool
from tracejit.runtime.threads import threads_for
from tracejit.schedule.kernel import Kernel

pytestmark = pytest.mark.skipif(not start_pool(), reason="needs POSIX threads")


# ---- the cost of a kernel


def amounts(terms: Any) -> dict[tuple[int, ...], float]:
    return {term.axes: term.amount for term in terms}


def unary(name: str, dtype: str = "float64") -> Kernel:
    (step,) = launches([op(name, argument(0, dtype, N))])
    return step.kernel


@pytest.mark.parametrize(("dtype", "size"), [("float64", 8), ("float32", 4)])
def test_elementwise_work_is_of_vectors(dtype: str, size: int) -> None:
    for vector in (16, 32, 64):
        cost = launch_cost(unary("sin", dtype), vector)
        assert amounts(cost.traffic) == {(0,): 2 * size}
        expected = INSTRUCTION * OPS["sin"].cost * size / vector + CACHE_BYTE * 2 * size
        assert amounts(cost.nanoseconds)[0,] == pytest.approx(expected, rel=0.01)


def test_what_varies_with_rows_is_done_once_a_row() -> None:
    """Softmax: its row values are scalar and cheap beside the elements."""
    cost = amounts(launch_cost(kernels.softmax(), 64).nanoseconds)
    assert set(cost) == {(0,), (0, 1)}
    assert cost[0, 1] > INSTRUCTION * OPS["exp"].cost * 8 / 64


def test_gathers_are_not_vectorized() -> None:
    assert sum(amounts(launch_cost(kernels.take(), 64).nanoseconds).values()) >= INSTRUCTION * OPS["gather"].cost


def test_loops_multiply() -> None:
    x = argument(0, "f8", N)
    counted = loop(lambda i, c: [op("sin", c)], [x], length=N)
    endless = loop(lambda i, c: [op("multiply", c, 2.0)], [x], condition=lambda c: op("less", c, 5.0))
    (step,) = launches(counted)
    assert max(map(len, amounts(launch_cost(step.kernel, 64).nanoseconds))) == 2
    for step in launches(endless):
        assert amounts(launch_cost(step.kernel, 64).nanoseconds)[0,] > WHILE * INSTRUCTION / 8
    assert typed("f8", N).shape == (N,)


# ---- the number of threads


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Speeds:
    found = Speeds(wake=10_000.0, memory_byte=0.05)
    monkeypatch.setattr(threads, "speeds", lambda: found)
    return found


def test_each_thread_is_worth_waking(known: Speeds) -> None:
    with tj.set_num_threads(8):
        wanted = {19e3: 1, 21e3: 2, 35e3: 3, 79e3: 7, 1e9: 8}
        assert {work: threads_for(work, 0.0) for work in wanted} == wanted
        assert threads_for(0.0, float(machine().own_cache)) == 1
        assert threads_for(0.0, 1e9) == 8
    with tj.set_num_threads(1):
        assert threads_for(1e12, 1e12) == 1


def test_speeds_are_measured_once_and_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_speeds, "KERNELS", KernelCache(DiskCache(tmp_path)))
    speeds.cache_clear()
    try:
        first = speeds()
        assert 3e3 <= first.wake <= 15e3 and 0.005 <= first.memory_byte <= 0.2
        speeds.cache_clear()
        monkeypatch.setattr(machine_speeds, "measure", lambda here: pytest.fail("measured again"))
        assert speeds() == first
    finally:
        speeds.cache_clear()
    assert measure(machine()).wake > 0


def test_small_work_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays that one thread is done with at once never make a process measure its machine."""
    monkeypatch.setattr(threads, "speeds", lambda: pytest.fail("asked"))
    f = tj.jit(lambda x: np.exp(x) + x.sum())
    np.testing.assert_allclose(f(np.ones(500)), np.e + 500)
    assert machine_speeds._WAKE[0] * 3 > WORTH_ASKING
