"""`python -m benchmarks.bandwidth`: what memory gives here: the limits that W3 and its like are held against."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import THREADS

SIZE = 20_000_000
"""Elements of float64 an array: far beyond any cache."""


def gigabytes_a_second(call: Callable[[], Any], moved: int, rounds: int = 9) -> float:
    """The median rate of a call that moves so many bytes."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return moved / statistics.median(times) / 1e9


def numba_kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """Copy and triad on all threads, into given arrays."""
    import numba

    @numba.njit(parallel=True)
    def copy(out: Any, x: Any) -> None:
        for i in numba.prange(x.size):
            out[i] = x[i]

    @numba.njit(parallel=True)
    def triad(out: Any, x: Any, y: Any) -> None:
        for i in numba.prange(x.size):
            out[i] = 1.5 * x[i] - 0.5 * y[i] + 3.0

    return copy, triad


def measured_rates() -> dict[str, float]:
    """GB/s of each way to move memory."""
    out, x, y = np.zeros(SIZE), np.ones(SIZE), np.ones(SIZE)
    rates = {
        "numpy copy, 1 thread": gigabytes_a_second(lambda: np.copyto(out, x), 2 * x.nbytes),
        "numpy sum, 1 thread": gigabytes_a_second(lambda: x.sum(), x.nbytes),
        "numpy copy, fresh output": gigabytes_a_second(lambda: x.copy(), 2 * x.nbytes),
    }
    try:
        import numba
    except ImportError:
        numba = None
    if numba is not None:
        copy, triad = numba_kernels()
        for threads in sorted({1, min(THREADS, numba.config.NUMBA_NUM_THREADS)}):
            numba.set_num_threads(threads)
            rates[f"numba copy, {threads} thread(s)"] = gigabytes_a_second(lambda: copy(out, x), 2 * x.nbytes)
            rates[f"numba triad, {threads} thread(s)"] = gigabytes_a_second(lambda: triad(out, x, y), 3 * x.nbytes)
    return rates


def main() -> int:
    """Entry point."""
    for name, rate in measured_rates().items():
        print(f"{name:<28}{rate:>8.1f} GB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
