"""The GPU's benchmark: what it says without a GPU, and that it runs (in the simulator)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks import gpu
from benchmarks.workloads import by_name
from tests.conftest import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def test_without_a_gpu() -> None:
    done = run(TRACEJIT_CUDA_DRIVER="no_such_library.so")
    assert done.returncode == 1
    assert done.stdout.startswith(
        "No GPU was found, so nothing was measured.\nthere is no CUDA device: NVIDIA's driver"
    )
    assert "pip install 'tracejit[cuda]'" in done.stdout


def test_it_runs() -> None:
    pytest.importorskip("numba.cuda")
    page = gpu.PAGE.read_text()
    done = run("--workloads", "W3,W9b", "--scale", "1e-6", "--rounds", "2", NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 0, done.stderr
    assert "| W3 a*x + b*y + c, f64, 2e7 | " in done.stdout and "| W9b the same into a given array | " in done.stdout
    assert "Without a figure" not in done.stdout
    assert "times of Numba's simulator, which say nothing of a GPU" in done.stdout
    assert gpu.PAGE.read_text() == page, "only figures of a GPU are written"


def test_the_table() -> None:
    rows = [gpu.Row(by_name("W3"), {"tracejit": [1.0, 0.4, 0.48], "cupy": [2.0]}, {"jax": "ValueError: differs"})]
    text = gpu.table(rows, ["tracejit", "cupy", "jax"], 2000.0, 1.0)
    assert "| W3 a*x + b*y + c, f64, 2e7 | 0.480 | 50% | 2.000 |  |" in text  # 3 * 160 MB in 0.48 ms: 1000 GB/s
    assert "- W3, jax: ValueError: differs" in text
