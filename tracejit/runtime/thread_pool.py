"""The pool of threads in this process: its code loaded when the first launch wants it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from tracejit.lower.linking import LAUNCH, PLACING, RESET, SYSTEM
from tracejit.runtime.disk_cache import key_of
from tracejit.runtime.kernel_cache import KERNELS, environment
from tracejit.runtime.machine_code import POOL, MachineCode, host_object

_starting = threading.Lock()


def start_pool() -> bool:
    """Make sure of the pool; False where the system has no POSIX threads."""
    if not POOL.launch:
        with _starting:
            if not POOL.launch and os.name == "posix" and _has(SYSTEM):
                code = MachineCode(_object_code())
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))  # workers sleep in it until the process ends
                reset = ctypes.CFUNCTYPE(None)(code.address(RESET))
                reset()
                os.register_at_fork(after_in_child=reset)
                POOL.launch = code.address(LAUNCH)
    return bool(POOL.launch)


if hasattr(os, "register_at_fork"):
    # no fork while the pool is half made
    os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release)


def _has(functions: Iterable[str]) -> bool:
    """Whether the C library of this process has them all."""
    library = ctypes.CDLL(None)
    return all(hasattr(library, name) for name in functions)


def _object_code() -> bytes:
    """From the disk, or compiled."""

    def compiled() -> bytes:
        import signal

        # a process that finds the code on disk does without what emits it
        emitters: Any = import_module("tracejit.lower.thread_pool")
        return host_object(emitters.emit_pool(int(signal.SIG_SETMASK), _has(PLACING)))

    return KERNELS.disk.kept(key_of(f"pool|{environment()}"), compiled)
