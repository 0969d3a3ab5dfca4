"""How many threads a launch gets."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType

from tracejit.runtime.machine import available_cpus, machine
from tracejit.runtime.machine_code import POOL
from tracejit.runtime.machine_speeds import speeds
from tracejit.runtime.thread_pool import start_pool


def _default_threads() -> int:
    with contextlib.suppress(ValueError):
        chosen = int(os.environ.get("TRACEJIT_NUM_THREADS", ""))
        if chosen > 0:
            return chosen
    return available_cpus()


def get_num_threads() -> int:
    """Threads that one call may use."""
    if not POOL.threads:
        POOL.threads = _default_threads()
    return int(POOL.threads)


class set_num_threads:  # noqa: N801 - reads as a function, and works in a `with` statement too
    """Set how many threads one call may use; as a context manager, only for the block."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"the number of threads must be at least 1, not {count}")
        self._before = get_num_threads()
        POOL.threads = int(count)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        POOL.threads = self._before


def threads_for(nanoseconds: float, traffic: float) -> int:
    """Threads for a launch of so much work (see `lower.launch_cost`): each has to be worth waking.

    On n threads a launch takes work / n + wake; n is the largest number for which no thread has less to do than that.
    """
    most = get_num_threads()
    if most == 1 or not start_pool():
        return 1
    known, work = speeds(), nanoseconds
    if traffic > machine().own_cache:
        work = max(work, known.memory_byte * traffic)
    return max(1, min(most, int(work / known.wake)))
