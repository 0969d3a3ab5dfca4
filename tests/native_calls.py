"""What the tests of native calls share: make a call hot, tell who took it, compare strictly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tracejit.runtime.vectorcall import NATIVE

ROOT = Path(__file__).resolve().parent.parent


def same(found: Any, wanted: Any) -> None:
    """Equal in values (bit for bit), types, dtypes, shapes and layouts."""
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        same(list(found.values()), list(wanted.values()))
    elif isinstance(wanted, (tuple, list)):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            same(a, b)
    elif isinstance(wanted, (np.ndarray, np.generic)):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-300)
    else:
        assert found == wanted


def heat(jitted: Any, *args: Any, **kwargs: Any) -> Any:
    """Call until emitted code takes the call; its result."""
    for _ in range(3):
        jitted(*args, **kwargs)
    before = native_calls(jitted)
    result = jitted(*args, **kwargs)
    assert native_calls(jitted) == before + NATIVE, "no emitted code took this call"
    return result


def native_calls(jitted: Any) -> int:
    return int(jitted.stats.native_calls[0])


def taken_natively(jitted: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether emitted code takes a call, which has to give what the function gives."""
    before = native_calls(jitted)
    same(jitted(*args, **kwargs), jitted.function(*args, **kwargs))
    return native_calls(jitted) > before


def run_python(*arguments: str, **environment: str) -> str:
    given_environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, *arguments], env=given_environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
