"""Benchmarks: each workload defined once in plain NumPy, and run by each peer that is installed.

Importing this package sets the number of threads of everything that is imported after it, and keeps the process on as
many cores, so that all peers have the same machine.  `BENCH_THREADS` is 2 unless said otherwise.
"""

from __future__ import annotations

import os

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
"""Threads that each peer may use."""

for _name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR"):
    os.environ[f"{_name}_NUM_THREADS"] = str(THREADS)
os.environ["NUMEXPR_MAX_THREADS"] = str(THREADS)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
