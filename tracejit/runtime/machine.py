"""What this machine is: its processor, how many of its CPUs are ours, the sizes of its caches.

Read once a process from what the system says, in well under a millisecond; what has to be measured is in
`machine_speeds`.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
from functools import lru_cache
from pathlib import Path

from tracejit.records import dataclass
from tracejit.runtime.llvm_binding import llvm

DEFAULT_CACHES = {1: 32 << 10, 2: 512 << 10, 3: 8 << 20}
"""Bytes of the caches of a level, where the system does not say."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Machine:
    """A description.

    processor: its model.  cpus: those that this process may use.  affinity: their numbers, where they are known.
    caches: the bytes of the data cache of each level, the first level first, as one CPU sees them.
    vector: bytes of a vector register.
    """

    processor: str
    cpus: int
    affinity: tuple[int, ...]
    caches: tuple[int, ...]
    vector: int

    @property
    def own_cache(self) -> int:
        """Bytes of the largest cache that is a core's own, as the second level is."""
        return self.caches[min(1, len(self.caches) - 1)]

    @property
    def last_level_cache(self) -> int:
        """Bytes of the largest cache: what does not fit here comes from memory."""
        return self.caches[-1]


@lru_cache(maxsize=1)
def machine() -> Machine:
    """This machine."""
    affinity = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    caches = cache_sizes(Path(f"/sys/devices/system/cpu/cpu{affinity[0] if affinity else 0}/cache"))
    return Machine(_processor(), available_cpus(), affinity, caches, _vector_bytes())


def available_cpus() -> int:
    """CPUs that this process may use: its affinity mask, bounded by a container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(Path("/sys/fs/cgroup"))
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def cpu_quota(root: Path) -> float | None:
    """The cgroup's CPU quota in CPUs (version 2, then version 1); None without one."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (root / "cpu.max").read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period_us = int((root / "cpu" / "cpu.cfs_period_us").read_text())
        return quota_us / period_us if quota_us > 0 else None
    return None


def cache_sizes(root: Path) -> tuple[int, ...]:
    """The data caches that a directory of Linux's sysfs (`.../cpuN/cache`) lists, or the defaults."""
    found: dict[int, int] = {}
    for index in root.glob("index*"):
        with contextlib.suppress(OSError, ValueError):
            size = re.fullmatch(r"(\d+)([KMG]?)", (index / "size").read_text().strip())
            if size is not None and (index / "type").read_text().strip() != "Instruction":
                found[int((index / "level").read_text())] = int(size[1]) * _UNITS[size[2]]
    return tuple(size for _, size in sorted((found or DEFAULT_CACHES).items()))


def _processor() -> str:
    """The model's name, as Linux writes it; elsewhere what Python knows."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "CPU part")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _vector_bytes() -> int:
    """Of the widest vector registers that code is compiled for."""
    features = llvm().get_host_cpu_features()
    return next((size for name, size in (("avx512f", 64), ("avx", 32)) if features.get(name)), 16)
