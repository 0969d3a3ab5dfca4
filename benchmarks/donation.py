"""`python -m benchmarks.donation`: a step of Adam with results in new memory, and in that of donated arguments."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tracejit as tj

ELEMENTS = 20_000_000
"""About how many elements a sample goes through."""


def adam(p: Any, m: Any, v: Any, g: Any) -> Any:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p - 0.01 * m / (np.sqrt(v) + 1e-8), m, v


def _stepping(step: Callable[..., Any], state: Any, g: Any, repeats: int) -> Callable[[], float]:
    """A sample: milliseconds a step, each on what the one before gave."""

    def sample() -> float:
        nonlocal state
        start = time.perf_counter()
        for _ in range(repeats):
            state = step(*state, g)
        return 1e3 * (time.perf_counter() - start) / repeats

    return sample


def main() -> None:
    print(f"{'elements':>10}{'new, ms':>12}{'donated, ms':>12}{'gain':>8}")
    for length in (10_000, 100_000, 1_000_000, 10_000_000):
        arrays = [np.random.default_rng(0).random(length) for _ in range(4)]
        repeats = max(1, ELEMENTS // (4 * length))
        samples = [
            _stepping(step, [x.copy() for x in arrays[:3]], arrays[3], repeats)
            for step in (tj.jit(adam), tj.jit(adam, donate=("p", "m", "v")))
        ]
        rounds = [[sample() for sample in samples] for _ in range(9)][2:]
        new, donated = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{length:10}{new:12.3f}{donated:12.3f}{new / donated:7.2f}x")


if __name__ == "__main__":
    main()
