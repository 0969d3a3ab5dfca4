"""How fast this machine is, where a decision depends on it: measured once, kept on disk.

Measured when a launch first might be worth several threads, in a few milliseconds; a process that computes small
arrays only never does.  No result depends on it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from tracejit.records import dataclass
from tracejit.runtime.disk_cache import key_of
from tracejit.runtime.kernel_cache import KERNELS
from tracejit.runtime.machine import Machine, machine
from tracejit.runtime.machine_code import POOL, compile_host_module
from tracejit.runtime.thread_pool import start_pool

_VERSION = 2
"""Changes with what is measured."""

_STEPS, _ROUNDS = 40_000, 20
"""Steps of arithmetic in a probe (some 100 microseconds), and how often it is timed."""

_WAKE, _MEMORY_BYTE = (3_000.0, 15_000.0), (0.005, 0.2)
"""What is believed: a value beyond these comes from a machine that was busy with something else."""


@dataclass(frozen=True)
class Speeds:
    """wake: nanoseconds that a launch on all CPUs takes besides its share of the work.

    memory_byte: nanoseconds that one thread takes for a byte, read or written, that is not in its own caches.
    """

    wake: float
    memory_byte: float


@lru_cache(maxsize=1)
def speeds() -> Speeds:
    """Those of this machine, from the disk if it has been measured before.  There has to be a pool."""
    import json

    here = machine()
    key = key_of(f"speeds {_VERSION} {here!r}")
    found = Speeds(**json.loads(KERNELS.disk.kept(key, lambda: json.dumps(asdict(measure(here))).encode())))
    POOL.wake = found.wake
    return found


def measure(here: Machine) -> Speeds:
    """Measure: a few milliseconds.  Between two launches workers sleep for as long as one thread takes for a probe."""
    start_pool()
    probe: Any = import_module("tracejit.lower.probe")  # needed once a machine
    code = compile_host_module(probe.emit_probe())
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)
    launch = kind(POOL.launch)
    spin, copy = code.address(probe.SPIN), code.address(probe.COPY)
    alone, together = _times(lambda: launch(spin, None, _STEPS, 1), lambda: launch(spin, None, _STEPS, here.cpus))
    size = 2 * here.own_cache // probe.BLOCK * probe.BLOCK
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    words = np.array([target.ctypes.data, source.ctypes.data])
    (copied,) = _times(lambda: launch(copy, words.ctypes.data, size // probe.BLOCK, 1))
    return Speeds(_believed(together - alone / here.cpus, _WAKE), _believed(copied / (2 * size), _MEMORY_BYTE))


def _times(*calls: Callable[[], int]) -> tuple[float, ...]:
    """Nanoseconds of calls that take turns: the least of each, as others may be busy too."""
    samples: list[list[int]] = [[] for _ in calls]
    for _ in range(_ROUNDS):
        for call, times in zip(calls, samples, strict=True):
            start = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - start)
    return tuple(min(times) for times in samples)


def _believed(value: float, bounds: tuple[float, float]) -> float:
    return round(min(max(value, bounds[0]), bounds[1]), 4)
