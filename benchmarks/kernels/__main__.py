"""`python -m benchmarks.kernels`: known NumPy kernels under tracejit, from tiny to large; writes KERNELS.md."""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks import THREADS
from benchmarks.__main__ import processor
from benchmarks.kernels import KERNELS
from benchmarks.kernels.kernel import Kernel
from benchmarks.lane import difference

PAGE = Path(__file__).parent.parent / "KERNELS.md"
SLOWER = 0.95
"""NumPy's time over ours below which a kernel counts as slower than NumPy."""
EVERY = 99
SHORTEST_SAMPLE = 1e-3
MOST_COPIES = 200
WARM_CALLS, WARM_SECONDS = 1100, 0.1
"""Calls before the first round, and how long they may take: a function that is called often gets its native entry."""


@dataclass
class Row:
    """A kernel at a size: seconds a call of each round, by who ran it; what was wrong, if anything."""

    kernel: Kernel
    size: int
    elements: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    error: str = ""

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name]) if self.seconds.get(name) else math.nan

    @property
    def gain(self) -> float:
        """The median of the rounds' ratios: NumPy's time over ours."""
        if self.error:
            return math.nan
        pairs = zip(self.seconds.get("numpy", []), self.seconds.get("tracejit", []), strict=True)
        return statistics.median([n / t for n, t in pairs] or [math.nan])

    @property
    def slow(self) -> bool:
        return not self.gain >= SLOWER


def results_of(kernel: Kernel, result: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """All that a call gives: its result, and the arguments' arrays if it writes to them."""
    returned = [] if result is None else list(result) if isinstance(result, tuple) else [result]
    return returned + ([a for a in arguments if isinstance(a, np.ndarray)] if kernel.mutates else [])


def outcome(kernel: Kernel, function: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """What a call on a copy of the arguments gives."""
    mine = copy.deepcopy(arguments)
    return results_of(kernel, function(*mine), mine)


def sample(kernel: Kernel, function: Callable[..., Any], arguments: tuple[Any, ...], repeats: int) -> float:
    """Seconds a call; a kernel that writes to its arguments has new ones for each."""
    calls = [copy.deepcopy(arguments) for _ in range(repeats)] if kernel.mutates else [arguments] * repeats
    start = time.perf_counter()
    for call in calls:
        function(*call)
    return (time.perf_counter() - start) / repeats


def runners(kernel: Kernel, with_numba: bool) -> dict[str, Callable[..., Any]]:
    """NumPy, tracejit, and Numba where it compiles the same source."""
    found = {"numpy": kernel.function, "tracejit": tj.jit(kernel.function)}
    if with_numba and kernel.numba:
        import numba

        found["numba"] = numba.njit(kernel.function)
    return found


def measure(kernel: Kernel, size: int, functions: dict[str, Callable[..., Any]], budget: float) -> Row:
    """Check each against NumPy, then rounds of a sample each."""
    arguments = kernel.make(np.random.default_rng(0), size)
    row = Row(kernel, size, sum(a.size for a in arguments if isinstance(a, np.ndarray)))
    expected = outcome(kernel, kernel.function, arguments)
    ready = {}
    for name, function in functions.items():
        try:
            wrong = difference(outcome(kernel, function, arguments), expected, kernel.tolerance)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}".splitlines()[0][:150]
        if not wrong:
            ready[name] = function
        elif name == "tracejit":
            row.error = wrong
    sample(kernel, kernel.function, arguments, 1)
    once = sample(kernel, kernel.function, arguments, 1)
    repeats = min(max(1, math.ceil(SHORTEST_SAMPLE / once)), MOST_COPIES)
    for function in ready.values():
        for _ in range(1 + math.ceil(min(WARM_CALLS, WARM_SECONDS / once) / repeats)):
            sample(kernel, function, arguments, repeats)
    end = time.perf_counter() + budget
    for number in range(25):
        if number >= (5 if once < 0.2 else 3) and time.perf_counter() > end:
            break
        for name, function in ready.items():
            row.seconds.setdefault(name, []).append(sample(kernel, function, arguments, repeats))
    return row


def duration(seconds: float) -> str:
    """Three digits with their unit."""
    if math.isnan(seconds):
        return "-"
    scales = ((1e6, "µs"), (1e3, "ms"), (1.0, "s"))
    value, unit = next((seconds * scale, unit) for scale, unit in scales if seconds * scale < 999.5)
    return f"{value:.3g} {unit}"


def line(row: Row) -> str:
    """One printed line."""
    times = "".join(f"{duration(row.median(name)):>11}" for name in ("numpy", "tracejit", "numba"))
    flag = row.error or ("SLOWER" if row.slow else "")
    return f"{row.kernel.name:<28}{row.size:>9}{row.elements:>10}{times}{row.gain:>8.2f} {flag}"


def page(rows: list[Row], sizes: int = EVERY) -> str:
    """The text of KERNELS.md."""
    apart = "" if sizes >= EVERY else f" Only the {sizes} smallest of each kernel's sizes were run."
    slow = [row for row in rows if row.slow]
    gains = [math.log(row.gain) for row in rows if not math.isnan(row.gain)]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "numba"))
    lines = [
        "# Known NumPy kernels",
        "",
        f"Written by `python -m benchmarks.kernels` on {time.strftime('%Y-%m-%d')}. {processor()}, {THREADS} threads, "
        f"{versions}. Medians a call, steady state; every result is checked against NumPy's. The sources are in "
        "`benchmarks/kernels/`, plain NumPy; `numba` is `njit` of the same source, where it compiles. The gain is the "
        f"median over the rounds of NumPy's time over tracejit's.{apart}",
        "",
        f"Geometric mean of the gain: {math.exp(sum(gains) / max(len(gains), 1)):.2f}. "
        f"Slower than NumPy (gain under {SLOWER}): {len(slow)} of {len(rows)}.",
        "",
        "| kernel | size | elements | numpy | tracejit | numba | gain |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        times = " | ".join(duration(row.median(name)) for name in ("numpy", "tracejit", "numba"))
        gain = row.error or (f"**{row.gain:.2f}**" if row.slow else f"{row.gain:.2f}")
        lines.append(f"| {row.kernel.name} | {row.size} | {row.elements} | {times} | {gain} |")
    lines += ["", "## Slower than NumPy", ""]
    worst = sorted(slow, key=lambda row: row.gain)
    lines += [f"- {row.kernel.name}, size {row.size}: {row.error or f'{row.gain:.2f}'}" for row in worst] or ["None."]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--only", metavar="atax,gemm", help="these kernels; KERNELS.md is then left alone")
    parser.add_argument("--sizes", type=int, default=EVERY, help="so many of each kernel's sizes, from the smallest")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds a kernel and size, compilation apart")
    parser.add_argument("--no-numba", action="store_true", help="without Numba")
    chosen = parser.parse_args(arguments)
    names = chosen.only.split(",") if chosen.only else [kernel.name for kernel in KERNELS]
    if missing := sorted(set(names) - {kernel.name for kernel in KERNELS}):
        raise SystemExit(f"no kernel {', '.join(missing)}")
    tj.set_num_threads(THREADS)
    print(f"{'kernel':<28}{'size':>9}{'elements':>10}{'numpy':>11}{'tracejit':>11}{'numba':>11}{'gain':>8}")
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kernel in KERNELS:
            functions = runners(kernel, not chosen.no_numba) if kernel.name in names else {}
            for size in kernel.sizes[: chosen.sizes] if functions else ():
                rows.append(measure(kernel, size, functions, chosen.budget))
                print(line(rows[-1]), flush=True)
    if chosen.only is None:
        PAGE.write_text(page(rows, chosen.sizes))
        print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
