"""What the machine can do at most, and how much of it each workload needs at least.

The bytes are those of the array arguments read once and of the results written once.  The arithmetic is counted by
hand as NumPy would do it: `+ - * /`, `sqrt`, comparisons and `max` as one operation an element, a transcendental
function as twenty, about what the shortest polynomials of full accuracy take.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.bandwidth import measured_rates
from benchmarks.workloads import Workload

TRANSCENDENTAL = 20
"""Operations that one exp, log, sin, cos, tanh or erf counts for."""

_T = TRANSCENDENTAL

_OPERATIONS: dict[str, Callable[..., float]] = {
    "W1": lambda x, y: x.size * (3 * _T + 5),
    "W2": lambda x, y: x.size * (3 * _T + 5),
    "W3": lambda x, *_: x.size * 4,
    "W4": lambda s, *_: s.size * (4 * _T + 23),
    "W5": lambda x: x.size * (_T + 4),
    "W6": lambda x, *_: x.size * 8,
    "W7a": lambda x, w, b: 2 * x.shape[0] * w.size + x.shape[0] * w.shape[1] * (_T + 9),
    "W7b": lambda x, onehot, w1, b1, w2, b2: 4 * x.shape[0] * w1.size + 6 * x.shape[0] * w2.size,
    "W8a": lambda x, y: x.size * 3,
    "W8b": lambda x: x.size * (_T + 7),
    "W9": lambda u: (u.shape[0] - 2) * (u.shape[1] - 2) * 4,
    "W9b": lambda new, u: (u.shape[0] - 2) * (u.shape[1] - 2) * 4,
    "W11": lambda a, b: a.shape[0] * b.shape[0] * 9,
    "W12": lambda cr, *_: cr.size * 1000,
    "W14": lambda x, w: 2 * x.shape[0] * x.shape[2] * x.shape[3] * w.size,
}
"""Operations of a workload by its arguments; W10 and W13 have too few to be limited by them."""


@dataclass(frozen=True)
class Limits:
    """The machine's limits, measured: bytes and operations a second."""

    rates: dict[str, float]
    gemm: dict[str, float]

    @property
    def bandwidth(self) -> float:
        """Bytes a second of the fastest way to move memory that was measured."""
        return max(self.rates.values()) * 1e9

    def peak(self, dtype: str) -> float:
        """Operations a second of a matrix product of that type."""
        return self.gemm[dtype] * 1e9


@dataclass(frozen=True)
class Work:
    """What a workload needs at least."""

    moved: float
    operations: float
    dtype: str

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.operations / self.moved

    def least_seconds(self, limits: Limits) -> float:
        """No run can be faster: the slower one of memory and arithmetic."""
        return max(self.moved / limits.bandwidth, self.operations / limits.peak(self.dtype))


def work_of(workload: Workload, scale: float) -> Work | None:
    """The least work of a workload; None where the cost of a call is all there is."""
    count = _OPERATIONS.get(workload.name)
    if count is None:
        return None
    arguments = workload.make(np.random.default_rng(0), scale)
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    moved = sum(a.nbytes for a in arrays)
    if not workload.mutates:
        result = workload.function(*arguments)
        moved += sum(np.asarray(r).nbytes for r in (result if isinstance(result, tuple) else (result,)))
    return Work(float(moved), float(count(*arguments)), str(arrays[0].dtype))


def measured_limits() -> Limits:
    """Memory and matrix products, on all threads."""
    return Limits(measured_rates(), {dtype: _gemm(dtype) for dtype in ("float32", "float64")})


def _gemm(dtype: str, n: int = 1536) -> float:
    """GFLOP/s of NumPy's matrix product."""
    rng = np.random.default_rng(0)
    a, b = rng.random((n, n)).astype(dtype), rng.random((n, n)).astype(dtype)
    out = np.empty_like(a)
    best = min(_seconds(lambda: np.matmul(a, b, out=out)) for _ in range(9))
    return 2.0 * n**3 / best / 1e9


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
