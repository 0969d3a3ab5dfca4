"""Threads for kernels that let go of the GIL.

A worker sleeps on its own lock.  A call takes the workers that are idle right now, hands each the same `_Call`, and
works itself; everybody draws contiguous ranges of units from the call until none is left, so a worker that wakes
late (or a core that is busy elsewhere) costs little.  A call never waits for another call's workers: with none idle
it runs alone.  Nothing spins.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any

from tracejit.runtime.machine import available_cpus

PARALLEL_THRESHOLD = 100_000
"""Estimated nanoseconds of work above which a parallel call pays: waking a worker takes 11 microseconds, a whole
parallel call of two threads costs 25 to 35 more than a serial one (measured on two shared cores)."""

RANGES_PER_THREAD = 4
"""Into how many ranges a thread's share is cut, so that the last one to finish is not waited for long."""

Entry = Callable[..., "int | None"]


# ---- how many threads


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


# ---- one parallel call


def _next(ranges: deque[tuple[int, int]]) -> tuple[int, int] | None:
    try:
        return ranges.popleft()
    except IndexError:
        return None


class _Call:
    """A kernel call that several threads work on."""

    def __init__(self, entry: Entry, arguments: Sequence[Any], ranges: deque[tuple[int, int]]) -> None:
        self._entry = entry
        self._arguments = arguments
        self._ranges = ranges
        self.code: int | None = None
        self.failure: BaseException | None = None

    def work(self) -> None:
        """Run ranges until none is left; an error makes everybody stop at their next range."""
        entry, arguments, ranges = self._entry, self._arguments, self._ranges
        try:
            while (bounds := _next(ranges)) is not None:
                code = entry(*arguments, *bounds, 0)
                if code is not None:
                    self.code = code
                    ranges.clear()
        except BaseException as failure:  # noqa: BLE001 - the calling thread raises it
            self.failure = failure
            ranges.clear()

    def forget_arguments(self) -> None:
        """Drop the arrays: a worker that wakes too late may still hold the call."""
        self._arguments = ()


class _Worker:
    """A sleeping thread with room for one call."""

    def __init__(self, idle: deque[_Worker]) -> None:
        self._idle = idle
        self._wake = threading.Lock()
        self._wake.acquire()
        self._done = threading.Lock()
        self._done.acquire()
        self._call: _Call | None = None
        self._ticket = threading.Lock()
        threading.Thread(target=self._run, name="tracejit-worker", daemon=True).start()

    def start(self, call: _Call) -> None:
        """Wake the thread to work on a call; it does so if it is the first to take the ticket."""
        self._call, self._ticket = call, threading.Lock()
        self._wake.release()

    def join(self) -> None:
        """Wait until it has no range left; if it is not even awake yet, let it go back to sleep by itself."""
        if not self._ticket.acquire(blocking=False):
            self._done.acquire()
            self._idle.append(self)

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            call, self._call = self._call, None
            assert call is not None
            if self._ticket.acquire(blocking=False):
                call.work()
                del call
                self._done.release()
            else:
                del call
                self._idle.append(self)


class _Pool:
    """The workers of this process; a fork leaves them behind, so the child begins with a new pool."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.idle: deque[_Worker] = deque()
        self._count = 0

    def take(self, count: int) -> list[_Worker]:
        """Up to `count` idle workers; new ones are started while the pool is smaller than that."""
        if self._count < count:
            with self._lock:
                while self._count < count:
                    self.idle.append(_Worker(self.idle))
                    self._count += 1
        taken: list[_Worker] = []
        with contextlib.suppress(IndexError):
            while len(taken) < count:
                taken.append(self.idle.pop())
        return taken


_pool = _Pool()


def _restart() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart)


def run_parallel(
    entry: Entry, arguments: Sequence[Any], units: int, mode_final: bool, threads: int | None = None
) -> int | None:
    """Run all units of a kernel, and its final function if wanted; None, or the kernel's error code."""
    wanted = min(threads or get_num_threads(), units)
    if wanted <= 1:
        return entry(*arguments, 0, units, 2 if mode_final else 0)
    call = _Call(entry, arguments, _ranges(units, wanted))
    workers = _pool.take(wanted - 1)
    for worker in workers:
        worker.start(call)
    call.work()
    for worker in workers:
        worker.join()
    call.forget_arguments()
    if call.failure is not None:
        raise call.failure
    if call.code is not None:
        return call.code
    return entry(*arguments, 0, 0, 1) if mode_final else None


def _ranges(units: int, threads: int) -> deque[tuple[int, int]]:
    pieces = min(units, threads * RANGES_PER_THREAD)
    bounds = [units * piece // pieces for piece in range(pieces + 1)]
    return deque(pairwise(bounds))
