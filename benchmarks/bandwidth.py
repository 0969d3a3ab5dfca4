"""`python -m benchmarks.bandwidth`: what memory gives here: the limits that W3 and its like are held against."""

from __future__ import annotations

import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import llvmlite.binding as llvm
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


_STREAMING_COPY = """
define void @copy(ptr %out, ptr %x, i64 %lines) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %from = getelementptr <8 x i64>, ptr %x, i64 %i
  %to = getelementptr <8 x i64>, ptr %out, i64 %i
  %line = load <8 x i64>, ptr %from, align 64
  store <8 x i64> %line, ptr %to, align 64, !nontemporal !0
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %lines
  br i1 %more, label %loop, label %done
done:
  fence seq_cst
  ret void
}
!0 = !{i32 1}
"""
"""Copies cache lines by non-temporal stores, which do not read first what they overwrite."""


def streaming_copy() -> tuple[Callable[[int, int, int], None], Any]:
    """The function above, of two addresses and a number of lines, and what keeps its code alive."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_STREAMING_COPY), machine)
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return prototype(engine.get_function_address("copy")), engine


def _aligned(size: int) -> Any:
    """An array of ones that begins with a cache line."""
    memory = np.ones(size + 8)
    return memory[-(memory.ctypes.data // 8) % 8 :][:size]


def streaming_rate(threads: int) -> float:
    """GB/s of copying by non-temporal stores."""
    (copy, engine), out, x = streaming_copy(), _aligned(SIZE), _aligned(SIZE)
    bounds = [SIZE // 8 * k // threads for k in range(threads + 1)]
    parts = [(out.ctypes.data + 64 * a, x.ctypes.data + 64 * a, b - a) for a, b in pairwise(bounds)]
    with ThreadPoolExecutor(threads) as pool:
        rate = gigabytes_a_second(lambda: list(pool.map(lambda part: copy(*part), parts)), 2 * x.nbytes)
    del engine
    return rate


def measured_rates() -> dict[str, float]:
    """GB/s of each way to move memory."""
    out, x, y = np.zeros(SIZE), np.ones(SIZE), np.ones(SIZE)
    rates = {
        "numpy copy, 1 thread": gigabytes_a_second(lambda: np.copyto(out, x), 2 * x.nbytes),
        "numpy sum, 1 thread": gigabytes_a_second(lambda: x.sum(), x.nbytes),
        "numpy copy, fresh output": gigabytes_a_second(lambda: x.copy(), 2 * x.nbytes),
    }
    for threads in sorted({1, THREADS}):
        rates[f"non-temporal copy, {threads} thread(s)"] = streaming_rate(threads)
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
        print(f"{name:<34}{rate:>8.1f} GB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
