"""Kernels for a GPU, run in Numba's simulator: a process of its own, since the simulator takes Numba's place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUITE = "tests/cuda_simulated_suite.py"


@pytest.mark.parametrize("part", ["test_elementwise_op", "not test_elementwise_op"])
def test_in_the_simulator(part: str, tmp_path: Path) -> None:
    settings = {"NUMBA_ENABLE_CUDASIM": "1", "TRACEJIT_PORTABLE": "1", "TRACEJIT_CACHE_DIR": os.fspath(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "tests.cuda_simulated"]
    done = subprocess.run(
        [*command, SUITE, "-k", part],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
