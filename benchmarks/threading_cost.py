"""`python -m benchmarks.threading_cost [CASE...]`: is the choice between one thread and several right?

Three tables: what a launch on several threads costs besides the work, by how long the threads have slept; chains,
transcendental functions, reductions and stencils of 1e2 to 1e7 elements on one thread, on all, and as the library
chooses, beside NumPy; kernels and matrix products in turn, where BLAS's threads still spin when a kernel starts.
Times are medians of interleaved rounds, in microseconds; native calls are off, so that every launch is chosen for.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

import tracejit as tj
from tracejit.driver import function as function_module
from tracejit.runtime import threads
from tracejit.runtime.machine import machine
from tracejit.runtime.machine_speeds import Speeds, speeds
from tracejit.runtime.thread_pool import start_pool

SIZES = (100, 1000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 10_000_000)

BUDGET = 0.04
"""Seconds for one case at one size, three rounds at the least."""

TOLERATED = 1.2
"""How much worse than the better of the two the choice may be."""


# ---- cases


@dataclass(frozen=True)
class Case:
    """A NumPy function, and how its arguments are made for so many elements."""

    name: str
    function: Callable[..., Any]
    make: Callable[[int], tuple[Any, ...]]


def chain(length: int) -> Callable[[Any, Any], Any]:
    """A chain of so many cheap ops."""
    steps = ("z * {c} + y", "np.maximum(z - {c}, y)")
    lines = [f"    z = {steps[k % 2].format(c=1 + k / 64)}" for k in range(length // 2)]
    namespace: dict[str, Any] = {"np": np}
    exec("\n".join(["def f(x, y):", "    z = x + y", *lines, "    return z"]), namespace)
    function: Callable[[Any, Any], Any] = namespace["f"]
    return function


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def jacobi(u: Any) -> Any:
    return 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])


def vectors(count: int, dtype: str = "float64") -> Callable[[int], tuple[Any, ...]]:
    return lambda n: tuple(np.random.default_rng(k).uniform(0.5, 1.5, n).astype(dtype) for k in range(count))


def rows(width: int, dtype: str = "float64") -> Callable[[int], tuple[Any, ...]]:
    return lambda n: (np.random.default_rng(0).random((max(1, n // width), width)).astype(dtype),)


def plate(n: int) -> tuple[Any, ...]:
    side = max(3, int(n**0.5))
    return (np.random.default_rng(0).random((side, side)),)


CASES = (
    Case("x + y", lambda x, y: x + y, vectors(2)),
    Case("x * 2 + 1, f32", lambda x: x * 2 + 1, vectors(1, "float32")),
    Case("chain of 5", chain(4), vectors(2)),
    Case("chain of 20", chain(18), vectors(2)),
    Case("x / (y + 1)", lambda x, y: x / (y + 1), vectors(2)),
    Case("exp", lambda x: np.exp(x), vectors(1)),
    Case("exp, f32", lambda x: np.exp(x), vectors(1, "float32")),
    Case("sin * exp", lambda x: np.sin(x) * np.exp(x), vectors(1)),
    Case("power", lambda x, y: x**y, vectors(2)),
    Case("sum", lambda x: x.sum(), vectors(1)),
    Case("sum, f32", lambda x: x.sum(), vectors(1, "float32")),
    Case("squared distance", lambda x, y: ((x - y) ** 2).sum(), vectors(2)),
    Case("max", lambda x: x.max(), vectors(1)),
    Case("mean of rows", lambda x: x.mean(axis=1), rows(256)),
    Case("sum of columns", lambda x: x.sum(axis=0), rows(256)),
    Case("softmax, f32", softmax, rows(256, "float32")),
    Case("Jacobi sweep", jacobi, plate),
    Case("x[i] * 2", lambda x, i: x[i] * 2, lambda n: (np.ones(n), np.random.default_rng(0).integers(0, n, n))),
)


# ---- measuring


@contextmanager
def threads_wanted(wanted: str) -> Iterator[None]:
    """Launches on "one" thread, on "all" where they are long enough to be asked about, or as "chosen"."""
    with ExitStack() as stack:
        if wanted == "one":
            stack.enter_context(tj.set_num_threads(1))
        elif wanted == "all":
            stack.enter_context(patch.object(threads, "speeds", lambda: Speeds(1e-6, 1.0)))
        yield


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def medians(calls: dict[str, Callable[[], Any]], budget: float = BUDGET) -> dict[str, float]:
    """Microseconds of each call, each in three calls in a row a round."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + budget
    while len(next(iter(samples.values()))) < 3 or time.perf_counter() < end:
        for name, call in calls.items():
            with threads_wanted(name):
                call()
                samples[name].append(statistics.median(seconds(call) for _ in range(3)))
    return {name: statistics.median(values) * 1e6 for name, values in samples.items()}


def overhead() -> None:
    """The first table."""
    x, f = np.random.default_rng(0).random(20_000), tj.jit(lambda x: np.sin(x) * np.exp(x))
    print(f"{machine()}\n{speeds()}\n\nslept  one thread  all threads  besides the work")
    for pause in (0, 100, 300, 1000):
        times = {}
        for wanted in ("one", "all"):
            with threads_wanted(wanted):
                f(x)
                samples = []
                for _ in range(60):
                    end = time.perf_counter() + pause * 1e-6
                    while time.perf_counter() < end:
                        pass
                    samples.append(seconds(lambda: f(x)))
                times[wanted] = statistics.median(samples) * 1e6
        besides = times["all"] - times["one"] / threads.get_num_threads()
        print(f"{pause:>5}  {times['one']:>10.1f}  {times['all']:>11.1f}  {besides:>16.1f}")


def choices(cases: list[Case]) -> None:
    """The second table."""
    print(f"\n{'case':<18}{'n':>9}{'numpy':>11}{'one':>11}{'all':>11}{'chosen':>11}  chosen/better  numpy/chosen")
    wrong, behind = [], []
    for case in cases:
        jitted = tj.jit(case.function)
        for n in SIZES:
            arguments = case.make(n)
            calls = dict.fromkeys(("one", "all", "chosen"), lambda: jitted(*arguments))  # noqa: B023 - called at once
            calls["numpy"] = lambda: case.function(*arguments)  # noqa: B023
            t = medians(calls)
            ratio, gain = t["chosen"] / min(t["one"], t["all"]), t["numpy"] / t["chosen"]
            wrong += [(case.name, n)] if ratio > TOLERATED else []
            behind += [(case.name, n)] if gain < 1 else []
            shown = "".join(f"{t[name]:>11.1f}" for name in ("numpy", "one", "all", "chosen"))
            print(f"{case.name:<18}{n:>9}{shown}{ratio:>15.2f}{gain:>14.2f}", flush=True)
    print(f"\nworse than the better of the two by more than {TOLERATED - 1:.0%}: {wrong}\nslower than NumPy: {behind}")


def alternation() -> None:
    """The third table."""
    rng = np.random.default_rng(0)
    a, b = rng.random((512, 784), np.float32), rng.random((784, 512), np.float32)
    product = np.empty((512, 512), np.float32)
    z = rng.standard_normal((512, 512), np.float32)
    gelu = tj.jit(lambda z: 0.5 * z * (1.0 + np.tanh(0.7978845608028654 * (z + 0.044715 * z * z * z))))

    def multiply() -> None:
        np.matmul(a, b, product)

    print("\nafter               one         all")
    orders: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "kernel, kernel": (lambda: gelu(z), lambda: gelu(z)),
        "product, kernel": (multiply, lambda: gelu(z)),
        "kernel, product": (lambda: gelu(z), multiply),
        "product, product": (multiply, multiply),
    }
    for name, (first, second) in orders.items():
        shown = ""
        for wanted in ("one", "all"):
            with threads_wanted(wanted):
                samples = []
                for _ in range(60):
                    first()
                    samples.append(seconds(second))
            shown += f"{statistics.median(samples) * 1e6:>12.0f}"
        print(f"{name:<16}{shown}")


def main(names: list[str]) -> int:
    """Entry point."""
    start_pool()
    with patch.object(function_module, "HOT_CALLS", sys.maxsize):
        overhead()
        choices([case for case in CASES if not names or case.name in names])
        alternation()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
