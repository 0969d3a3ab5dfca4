"""A process for each peer: it makes its own arguments, checks its own results and takes a sample when it is asked.

In one process the peers disturb each other: OpenMP's threads spin for a while after a parallel region, jax and BLAS
keep pools of their own, and what one frees another gets without page faults.  Apart, and with each process waiting
until its threads sleep before it answers, a sample is what a user of that peer alone would see.
"""

from __future__ import annotations

import importlib
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

SHORTEST_SAMPLE = 20e-3
"""Seconds: a sample repeats the call until it is at least this long."""

WARMED_BELOW = 50e-3
"""Seconds: calls shorter than this are made once untimed before a sample, since the process has slept."""

TICK = 12e-3
"""Seconds in which the system's clock of a process that runs on another CPU moves for certain.

Linux moves it at the scheduler's tick, of 10 ms at the most.  Looks a millisecond apart took a thread of OpenBLAS that
looks for work, as it does for a tenth of a second after a product, to be asleep, and the next peer had one CPU of two.
"""

SLOWEST_ANSWER = 90.0
"""Seconds after which a peer is given up on a workload: its process is ended and started anew."""


@dataclass
class Measurement:
    """What one peer did on one workload. Seconds."""

    workload: str
    peer: str
    first_call: float = 0.0
    samples: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples) if self.samples else float("nan")


class Worker:
    """The process of one peer, as the measuring process sees it."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self._process: Any = None
        self._connection: Connection | None = None

    def ask(self, command: str, *arguments: Any) -> Any:
        """Have a command carried out; raises RuntimeError if the process dies or takes too long."""
        if self._connection is None:
            self._start()
        connection = self._connection
        assert connection is not None
        try:
            connection.send((command, arguments))
            if connection.poll(SLOWEST_ANSWER):
                return connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join(5)
            code = self._process.exitcode
            self.end()
            raise RuntimeError(f"its process died (exit code {code})") from None
        self.end()
        raise RuntimeError(f"took longer than {SLOWEST_ANSWER:.0f} s")

    def _start(self) -> None:
        context = get_context("spawn")
        mine, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self.peer), daemon=True)
        self._process.start()
        theirs.close()
        self._connection = mine

    def end(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
        self._connection = self._process = None


# ---- in the peer's process


def serve(connection: Connection, peer: str) -> None:
    """Carry out commands until the other end is closed; caches are new, so that a first call is a first call."""
    lanes = importlib.import_module("benchmarks.lane")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="tracejit-bench-", ignore_cleanup_errors=True) as fresh:
        for name in ("TRACEJIT_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "HOME", "XDG_CACHE_HOME"):
            os.environ[name] = fresh
        lane = lanes.Lane(peer)
        while True:
            try:
                command, arguments = connection.recv()
            except EOFError:
                return
            answer = getattr(lane, command)(*arguments)
            settle()
            connection.send(answer)


def settle(longest: float = 0.5) -> float:
    """Sleep until no thread of this process runs any more, and return how long that took."""
    start = time.perf_counter()
    while time.perf_counter() - start < longest:
        before = time.process_time()
        time.sleep(TICK)
        if time.process_time() - before < TICK / 10:
            break
    return time.perf_counter() - start


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Seconds a call, over so many in a row."""
    rounds = range(repeats)
    start = time.perf_counter()
    for _ in rounds:
        call()
    return (time.perf_counter() - start) / repeats


def repeats_for(seconds: float) -> int:
    """How many calls make a sample."""
    return max(1, math.ceil(SHORTEST_SAMPLE / max(seconds, 1e-8)))
