"""NumPy calls that do not depend on each other go on at the same time, with the values and errors of one by one."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.together import FEWEST_ELEMENTS, together
from tracejit.schedule.steps import Program, Together, walk

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal(20000), RNG.standard_normal(30000)


def program(jitted: Any) -> Program:
    return jitted.roots[0].program  # type: ignore[no-any-return]


def groups(jitted: Any) -> list[list[str]]:
    return [[c.call.name for c in step.calls] for step in walk(program(jitted)) if isinstance(step, Together)]


def checked(function: Any, *arguments: Any) -> Any:
    jitted = tj.jit(function)
    expected = function(*map(np.copy, arguments))
    for _ in range(3):
        found = jitted(*map(np.copy, arguments))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    return jitted


def test_independent_calls_are_one_step() -> None:
    def f(x: Any, y: Any) -> Any:
        a = np.sort(x * 2)
        b = np.median(y + 1)
        return a, b, np.argsort(y)

    jitted = checked(f, X, Y)
    (names,) = groups(jitted)
    assert sorted(names) == ["np.argsort", "np.median", "np.sort"]
    assert "at the same time" in str(jitted.explain(X, Y))


def test_a_call_that_needs_another_waits_for_it() -> None:
    def f(x: Any) -> Any:
        a = np.sort(x)
        return a, np.argsort(np.sin(a))

    assert groups(checked(f, X)) == []


def test_what_is_written_between_stays_between() -> None:
    def f(x: Any, y: Any) -> Any:
        a = np.sort(x)
        y[:100] = a[:100]
        b = np.sort(y)
        y += 1
        return a, b, np.argsort(y), y

    checked(f, X, Y)


def test_views_are_followed_to_their_memory() -> None:
    def f(x: Any) -> Any:
        top = x[: x.shape[0] // 2]
        a = np.sort(x[::2])
        top *= -1
        return a, np.sort(top), x

    checked(f, X)


def test_loops_have_groups_of_their_own() -> None:
    def f(x: Any, y: Any) -> Any:
        def body(i: Any, carry: Any) -> Any:
            return np.sort(carry[0]) * 0.5, np.sort(carry[1])[::-1] + 1

        return tj.fori_loop(0, 3, body, (x, y))

    checked(f, X, Y)


def test_they_run_on_two_threads() -> None:
    barrier = threading.Barrier(2, timeout=20)

    def wait() -> int:
        barrier.wait()
        return threading.get_ident()

    with tj.set_num_threads(2):
        first, second = together(FEWEST_ELEMENTS, wait, wait)
        assert first != second
        few = together(FEWEST_ELEMENTS - 1, threading.get_ident, threading.get_ident)
    with tj.set_num_threads(1):
        serial = together(FEWEST_ELEMENTS, threading.get_ident, threading.get_ident)
    assert set(few) == set(serial) == {threading.get_ident()}


def test_the_first_error_is_raised_when_all_are_done() -> None:
    done = []

    def fails(name: str) -> None:
        time.sleep(0.01)
        done.append(name)
        raise ValueError(name)

    with tj.set_num_threads(2), pytest.raises(ValueError, match="first"):
        together(FEWEST_ELEMENTS, lambda: fails("first"), lambda: fails("second"))
    assert sorted(done) == ["first", "second"]
    with tj.set_num_threads(2), pytest.raises(ValueError, match="second"):
        together(FEWEST_ELEMENTS, lambda: 1, lambda: fails("second"))


def test_how_numpy_treats_errors_goes_along() -> None:
    with tj.set_num_threads(2), np.errstate(divide="raise"):
        assert together(FEWEST_ELEMENTS, np.geterr, np.geterr)[1]["divide"] == "raise"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_has_threads_of_its_own() -> None:
    with tj.set_num_threads(2):
        together(FEWEST_ELEMENTS, os.getpid, os.getpid)
        child = os.fork()
        if child == 0:
            right = together(FEWEST_ELEMENTS, os.getpid, os.getpid) == [os.getpid()] * 2
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
