"""`python -m benchmarks.reductions`: reductions over every choice of axes, wide and narrow, beside NumPy and Numba.

Milliseconds, and how many times faster than NumPy; `GB/s` is what reading the input once at tracejit's time comes to.
The Numba loops are written by hand, parallel and with fastmath, and add up in the dtype of the array.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracejit as tj

SHORTEST_SAMPLE = 1e-3
"""Seconds: a sample repeats the call until it is at least this long."""


@dataclass(frozen=True)
class Case:
    """A reduction by its NumPy name, over some axes of an array of random numbers."""

    name: str
    shape: tuple[int, ...]
    axis: int | tuple[int, ...] | None
    dtype: str

    def function(self) -> Callable[[Any], Any]:
        reduction, axis = getattr(np, self.name), self.axis
        return lambda x: reduction(x, axis=axis)


_LAYOUTS: tuple[tuple[tuple[int, ...], int | tuple[int, ...] | None], ...] = (
    ((4_000_000,), None),
    ((4096, 1024), 1),
    ((1_000_000, 4), 1),
    ((1_000_000, 3), 1),
    ((100_000, 30), 1),
    ((4096, 1024), 0),
    ((1_000_000, 4), 0),
    ((1000, 4000), 0),
    ((4, 1_000_000), 0),
    ((64, 256, 256), 1),
    ((256, 1024, 16), 1),
    ((16, 512, 512), (0, 2)),
    ((16, 512, 512), (0, 1)),
    ((16, 512, 512), (1, 2)),
    ((4096, 32, 32), (0, 2)),
)


def cases() -> Iterator[Case]:
    """Everything that is measured."""
    for name in ("sum", "mean", "max", "var"):
        for shape, axis in _LAYOUTS:
            for dtype in ("float32", "float64"):
                yield Case(name, shape, axis, dtype)
    for name in ("argmax", "cumsum"):
        for shape, axis in _LAYOUTS[:11]:
            yield Case(name, shape, axis, "float64")
    for shape, axis in (((1000,), None), ((100, 100), None), ((100, 100), 1), ((100, 100), 0)):
        yield Case("argmax", shape, axis, "float64")
    for name in ("nansum", "nanmax", "any"):
        for shape, axis in (_LAYOUTS[0], _LAYOUTS[1], _LAYOUTS[5]):
            yield Case(name, shape, axis, "float32")


# ---- Numba's loops: the text of a function for each layout and each step

_STEPS = {"sum": ("0", "a + v"), "max": ("-np.inf", "max(a, v)")}
_LOOPS = {
    (1, (0,)): """
def f(x):
    a = x.dtype.type({start})
    for i in numba.prange(x.shape[0]):
        v = x[i]
        a = {step}
    return a
""",
    (2, (1,)): """
def f(x):
    out = np.empty(x.shape[0], x.dtype)
    for i in numba.prange(x.shape[0]):
        a = x.dtype.type({start})
        for j in range(x.shape[1]):
            v = x[i, j]
            a = {step}
        out[i] = a
    return out
""",
    (2, (0,)): """
def f(x):
    out = np.full(x.shape[1], {start}, x.dtype)
    for b in numba.prange((x.shape[1] + 511) // 512):
        for i in range(x.shape[0]):
            for j in range(512 * b, min(512 * b + 512, x.shape[1])):
                a, v = out[j], x[i, j]
                out[j] = {step}
    return out
""",
    (3, (1,)): """
def f(x):
    out = np.full((x.shape[0], x.shape[2]), {start}, x.dtype)
    for i in numba.prange(x.shape[0]):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                a, v = out[i, k], x[i, j, k]
                out[i, k] = {step}
    return out
""",
    (3, (0, 2)): """
def f(x):
    out = np.empty(x.shape[1], x.dtype)
    for j in numba.prange(x.shape[1]):
        a = x.dtype.type({start})
        for i in range(x.shape[0]):
            for k in range(x.shape[2]):
                v = x[i, j, k]
                a = {step}
        out[j] = a
    return out
""",
    (3, (0, 1)): """
def f(x):
    out = np.full(x.shape[2], {start}, x.dtype)
    for b in numba.prange((x.shape[2] + 511) // 512):
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                for k in range(512 * b, min(512 * b + 512, x.shape[2])):
                    a, v = out[k], x[i, j, k]
                    out[k] = {step}
    return out
""",
    (3, (1, 2)): """
def f(x):
    out = np.empty(x.shape[0], x.dtype)
    for i in numba.prange(x.shape[0]):
        a = x.dtype.type({start})
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                v = x[i, j, k]
                a = {step}
        out[i] = a
    return out
""",
}


def _numba_loop(case: Case) -> Callable[[Any], Any] | None:
    """The loop of a case, compiled once a layout and step; None where there is none."""
    if case.name not in _STEPS or not importlib.util.find_spec("numba"):
        return None
    axes = tuple(range(len(case.shape))) if case.axis is None else case.axis
    key = (len(case.shape), axes if isinstance(axes, tuple) else (axes,))
    if (case.name, key) not in _compiled:
        import numba

        start, step = _STEPS[case.name]
        namespace: dict[str, Any] = {"np": np, "numba": numba}
        exec(_LOOPS[key].format(start=start, step=step), namespace)
        _compiled[case.name, key] = numba.njit(parallel=True, fastmath={"reassoc", "nsz", "contract"})(namespace["f"])
    return _compiled[case.name, key]


_compiled: dict[Any, Callable[[Any], Any]] = {}


# ---- measuring


def _sample(call: Callable[[Any], Any], x: Any, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call(x)
    return 1e3 * (time.perf_counter() - start) / repeats


def measure(case: Case, rounds: int) -> dict[str, float]:
    """Median milliseconds of each peer, all measured in the same rounds."""
    x = np.random.default_rng(0).standard_normal(case.shape).astype(case.dtype)
    if case.name == "any":
        x = np.zeros(case.shape, bool)
    plain = case.function()
    calls: dict[str, Callable[[Any], Any]] = {"tracejit": tj.jit(plain), "numpy": plain}
    loop = _numba_loop(case)
    if loop is not None:
        calls["numba"] = loop
    expected, repeats = plain(x), {}
    for name, call in calls.items():
        call(x)
        np.testing.assert_allclose(call(x), expected, rtol=1e-3, atol=0.1)
        repeats[name] = max(1, int(1e3 * SHORTEST_SAMPLE / _sample(call, x, 1)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name].append(_sample(call, x, repeats[name]))
    return {name: statistics.median(values) for name, values in samples.items()} | {"bytes": x.nbytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="these functions: sum,max")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else None
    print(f"{'':42}{'tracejit':>10}{'numpy':>10}{'numba':>10}{'gain':>8}{'GB/s':>8}")
    for case in cases():
        if chosen is not None and case.name not in chosen:
            continue
        found = measure(case, options.rounds)
        mine = found["tracejit"]
        title = f"{case.name:8}{case.dtype:9}{'x'.join(map(str, case.shape)):16} axis {case.axis}"
        numba = f"{found['numba']:10.3f}" if "numba" in found else f"{'-':>10}"
        gain = f"{found['numpy'] / mine:7.1f}x{found['bytes'] / mine / 1e6:8.1f}"
        print(f"{title:42}{mine:10.3f}{found['numpy']:10.3f}{numba}{gain}")


if __name__ == "__main__":
    main()
