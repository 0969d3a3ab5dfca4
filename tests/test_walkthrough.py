"""docs/walkthrough.py runs, and its chapters show what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LANDMARKS = (
    "exp: e to the x.",
    "graph(x0: f64[n0, n1], x1: f64[n1]):",
    "guard: n1 == n2",
    "--- fold_views",
    "--- narrow_broadcasts",
    "--- simplify",
    "launch a 'map' kernel of 3 stage(s)",
    "def kernel(x0,",
    "LLVM IR:",
    "assembly:",
    "return MISS",
    "a second size: 0 new traces, 0 new kernels",
    "is float32[n,n] contiguous",
    "segment 0 ends with bool()",
    "if it is False:",
    "loop 50 times(",
    "has the partial derivatives ('cos(x)',)",
    "grad(distance)(",
    "the same bits under jit: True",
)


def test_walkthrough_shows_each_stage() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "docs.walkthrough"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    position = 0
    for landmark in LANDMARKS:
        found = run.stdout.find(landmark, position)
        assert found >= 0, f"{landmark!r} is not printed, or not in its place"
        position = found
