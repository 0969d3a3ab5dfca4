"""How many threads a launch gets, and the pool that they come from.

The pool is emitted code (`lower.thread_pool`), loaded when the first launch wants it; kernels' entries call it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from types import TracebackType

from tracejit.lower.thread_pool import LAUNCH, RESET, SYSTEM, emit_pool
from tracejit.runtime.machine import available_cpus
from tracejit.runtime.machine_code import LAUNCH_WORD, compile_host_module

PARALLEL_THRESHOLD = 30_000
"""Estimated nanoseconds of work above which a parallel call pays."""


def _default_threads() -> int:
    with contextlib.suppress(ValueError):
        chosen = int(os.environ.get("TRACEJIT_NUM_THREADS", ""))
        if chosen > 0:
            return chosen
    return available_cpus()


class _Setting:
    count: int | None = None


def get_num_threads() -> int:
    """Threads that one call may use."""
    if _Setting.count is None:
        _Setting.count = _default_threads()
    return _Setting.count


class set_num_threads:  # noqa: N801 - reads as a function, and works in a `with` statement too
    """Set how many threads one call may use; as a context manager, only for the block."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"the number of threads must be at least 1, not {count}")
        self._before = get_num_threads()
        _Setting.count = int(count)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _Setting.count = self._before


# ---- the pool


def threads_for_work() -> int:
    """Threads for a launch that is worth more than one; there is a pool from then on."""
    return get_num_threads() if LAUNCH_WORD.value or start_pool() else 1


_starting = threading.Lock()


def start_pool() -> bool:
    """Load the pool's code; False where the system has no POSIX threads."""
    with _starting:
        if not LAUNCH_WORD.value and os.name == "posix" and all(hasattr(ctypes.CDLL(None), name) for name in SYSTEM):
            code = compile_host_module(emit_pool(int(signal.SIG_SETMASK)))
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))  # workers sleep in it until the process ends
            reset = ctypes.CFUNCTYPE(None)(code.address(RESET))
            reset()
            os.register_at_fork(after_in_child=reset)
            LAUNCH_WORD.value = code.address(LAUNCH)
        return bool(LAUNCH_WORD.value)


if hasattr(os, "register_at_fork"):
    # no fork while the pool is half made
    os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release)
