"""The calls of `cuda_driver` for Numba's simulator: memory of the host, and nothing that happens later."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ALIGNMENT = 512
"""Addresses are multiples of this, as those of a GPU's driver are."""


class Simulator:
    """A device that is none, of compute capability 7.5."""

    simulated = True

    def __init__(self) -> None:
        self._memory: dict[int, Any] = {}
        self._times: dict[int, float] = {}
        self._handles = 1
        self._noted: list[Callable[[], None]] | None = None
        self._graphs: dict[int, list[Callable[[], None]]] = {}

    def count(self) -> int:
        """There is one."""
        return 1

    def name(self, ordinal: int) -> str:
        """What it is called."""
        return "Numba's CUDA simulator"

    def capability(self, ordinal: int) -> tuple[int, int]:
        """That of the oldest GPU that kernels are for."""
        return 7, 5

    def processors(self, ordinal: int) -> int:
        """As few as will do: each thread of a block is one of Python's."""
        return 2

    def shared_bytes(self, ordinal: int) -> int:
        """What every GPU allows a block."""
        return 48 << 10

    def activate(self, ordinal: int) -> None:
        """There is no other."""

    def free_and_total(self) -> tuple[int, int]:
        """Nobody counts it."""
        return 0, 0

    def synchronize(self) -> None:
        """Nothing is under way."""

    # ---- memory

    def allocate(self, size: int) -> int:
        """The address of so many new bytes, filled with what is no result of anything."""
        memory = np.full(size + ALIGNMENT, 0xA5, np.uint8)
        address = int(memory.ctypes.data) + -int(memory.ctypes.data) % ALIGNMENT
        self._memory[address] = memory
        return address

    def release(self, address: int) -> None:
        """Give memory back."""
        del self._memory[address]

    def bounds(self, address: int) -> tuple[int, int]:
        """Where the memory begins and ends that an address points into."""
        begin = max((start for start in self._memory if start <= address), default=0)
        if not begin:
            raise ValueError(f"no memory has the address {address:#x}")
        return begin, begin + self._memory[begin].nbytes - ALIGNMENT

    def upload(self, address: int, source: np.ndarray[Any, Any], stream: int) -> None:
        """A contiguous array into memory."""
        ctypes.memmove(address, source.ctypes.data, source.nbytes)

    def download(self, target: np.ndarray[Any, Any], address: int, stream: int) -> None:
        """Memory into a contiguous array."""
        ctypes.memmove(target.ctypes.data, address, target.nbytes)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Bytes from memory to memory."""
        self.do(lambda: ctypes.memmove(target, source, size))

    def clear(self, target: int, size: int, stream: int) -> None:
        """Zero bytes."""
        self.do(lambda: ctypes.memset(target, 0, size))

    # ---- graphs

    def do(self, work: Callable[[], Any]) -> None:
        """Work that is queued: done at once, or noted down."""
        if self._noted is None:
            work()
        else:
            self._noted.append(work)

    def begin_capture(self, stream: int) -> None:
        """Work is noted down and not done."""
        self._noted = []

    def end_capture(self, stream: int) -> int:
        """What was noted down."""
        graph = self._handle()
        self._graphs[graph], self._noted = self._noted or [], None
        return graph

    def launch_graph(self, graph: int, stream: int) -> None:
        """Do what was noted down."""
        for work in self._graphs[graph]:
            work()

    def drop_graph(self, graph: int) -> None:
        """Forget it."""
        del self._graphs[graph]

    # ---- streams and events

    def _handle(self) -> int:
        self._handles += 1
        return self._handles

    def new_stream(self) -> int:
        """A number."""
        return self._handle()

    def drop_stream(self, stream: int) -> None:
        """Nothing holds on to it."""

    def wait(self, stream: int) -> None:
        """All is done already."""

    def new_event(self, timed: bool = True) -> int:
        """A number."""
        return self._handle()

    def drop_event(self, event: int) -> None:
        """Its time is forgotten."""
        self._times.pop(event, None)

    def record(self, event: int, stream: int) -> None:
        """It happens now."""
        self._times[event] = time.perf_counter()

    def follow(self, stream: int, event: int) -> None:
        """It has happened."""

    def milliseconds(self, start: int, end: int) -> float:
        """Between two events."""
        return 1e3 * (self._times[end] - self._times[start])
