"""NumPy calls that do not depend on each other, run at once on several threads.

For functions that work on one core without the interpreter's lock: sorting, quantiles, interpolation.  Those that BLAS
works for take all cores by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tracejit.runtime.threads import get_num_threads

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

FEWEST_ELEMENTS = 8192
"""Elements of all operands below which waking a thread costs more than it gains (sorting them takes 0.1 ms)."""


@cache
def _threads(process: int, count: int) -> ThreadPoolExecutor:
    """The threads besides the calling one; those of a process are not there in its forks."""
    futures: Any = import_module("concurrent.futures")  # takes six milliseconds, and few programs need it
    pool: ThreadPoolExecutor = futures.ThreadPoolExecutor(count, thread_name_prefix="tracejit")
    return pool


def together(elements: int, *calls: Callable[[], Any]) -> list[Any]:
    """The results of all calls; elements: of their operands.  Of several errors the first call's is raised."""
    threads = min(get_num_threads(), len(calls))
    if threads == 1 or elements < FEWEST_ELEMENTS:
        return [call() for call in calls]
    pool = _threads(os.getpid(), get_num_threads() - 1)
    # What NumPy does about division by zero and the like is in the context.
    waiting: list[Future[Any]] = [pool.submit(copy_context().run, call) for call in calls[1:]]
    try:
        first = calls[0]()
    finally:
        for future in waiting:
            future.exception()
    return [first, *(future.result() for future in waiting)]
