"""What all tests share: one fresh kernel cache a run, the hypothesis profile, and the path of child processes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
WORKER = "PYTEST_XDIST_WORKER"

if WORKER not in os.environ:
    os.environ["TRACEJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="tracejit-tests-")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

settings.register_profile(
    "tracejit", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("tracejit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: run the tests of tests/test_cuda_runtime_device.py on the GPU of this machine, too",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--device") == "cuda" and os.environ.get("NUMBA_ENABLE_CUDASIM"):
        # Simulated threads wait for each other by looking again and again.
        sys.setswitchinterval(1e-5)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The process that made the run's cache removes it, after its workers are done."""
    if WORKER not in os.environ:
        shutil.rmtree(os.environ["TRACEJIT_CACHE_DIR"], ignore_errors=True)
