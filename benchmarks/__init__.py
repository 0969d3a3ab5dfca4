"""Benchmarks: each workload defined once in plain NumPy, and run by each peer that is installed.

Importing this package sets the number of threads of everything that is imported after it, and keeps the process on as
many cores, so that all peers have the same machine.  `BENCH_THREADS` is 2 unless said otherwise.

`pip install '.[bench]' -c constraints.txt` brings the peers.  PyTensor 3.0.7 asks for an older Numba than tracejit is
measured with, and runs with the new one: `pip install --no-deps pytensor==3.0.7`, then `pip install setuptools cons
etuples logical-unification miniKanren`.  Dr.Jit needs LLVM's shared library (Debian: `libllvm15` or later).
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
