"""Whole programs on Numba's simulator, which needs a process of its own; each group of cases has one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.device_cases import GROUPS

pytest.importorskip("numba.cuda")


@pytest.mark.parametrize("group", GROUPS)
def test_programs_in_the_simulator(group: str) -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-m", "tests.device_cases", group]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
