"""Memory of a device, recycled: the driver's own calls wait for the device, and these do not.

Blocks have sizes that are powers of two.  A block goes back to the bin of its stream when nothing refers to it any
more, though kernels that use it may still be queued: whoever gets it next queues after them on the same stream.  A
block that another stream uses as well notes that, and its own stream waits for that use before the block is lent again.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from tracejit.records import dataclass

LEAST = 512
"""Bytes of the smallest block; addresses are multiples of it."""


@dataclass(frozen=True)
class MemoryStats:
    """Bytes and counts of a device's allocator.

    in_use: lent to arrays; idle: kept for later; peak: the most that was in use; limit: of both together, None for as
    much as the device has; requests, driver_calls: arrays that asked for memory, and those for which the driver was
    asked.
    """

    in_use: int
    idle: int
    peak: int
    limit: int | None
    requests: int
    driver_calls: int


class Block:
    """Device memory that is lent; given back when nothing refers to it.

    stream: where it is used; others: further streams that have used it.
    """

    __slots__ = ("_allocator", "address", "others", "size", "stream")

    def __init__(self, allocator: DeviceAllocator, address: int, size: int, stream: int) -> None:
        self._allocator, self.address, self.size, self.stream = allocator, address, size, stream
        self.others: set[int] | None = None

    def used_by(self, stream: int) -> None:
        """Another stream uses the memory: after what its own has queued so far, and before it is lent again."""
        self._allocator.order(self.stream, stream)
        if self.others is None:
            self.others = set()
        self.others.add(stream)

    def __del__(self) -> None:
        self._allocator.take_back(self)


class DeviceAllocator:
    """The memory of one device.

    driver: what allocates and orders streams, its calls going to the device once `activate` is called.
    """

    def __init__(self, driver: Any, ordinal: int, limit: int | None = None) -> None:
        self._driver, self._ordinal, self.limit = driver, ordinal, limit
        self._idle: dict[tuple[int, int], list[int]] = defaultdict(list)
        # A block may be given back by the garbage collector in the middle of a call of this very thread.
        self._lock = threading.RLock()
        self.graph_streams: set[int] = set()
        """Streams whose memory captured graphs work on, whether it is lent or not."""
        self.capturing = False
        """While a graph is captured, streams wait for nothing outside of it."""
        self._in_use = self._kept = self._peak = self._requests = self._driver_calls = 0

    def allocate(self, size: int, stream: int) -> Block:
        """A block of at least so many bytes, for use on a stream.

        Raises MemoryError where the limit, or the device, does not allow it even with nothing idle.
        """
        rounded = max(LEAST, 1 << (size - 1).bit_length()) if size else LEAST
        with self._lock:
            self._requests += 1
            bin = self._idle[rounded, stream]
            if bin:
                address = bin.pop()
                self._kept -= rounded
            else:
                address = self._from_driver(rounded, size)
            self._in_use += rounded
            if self._in_use > self._peak:
                self._peak = self._in_use
        return Block(self, address, rounded, stream)

    def _from_driver(self, rounded: int, size: int) -> int:
        if self.limit is not None and self._in_use + self._kept + rounded > self.limit:
            self.trim()
            if self._in_use + rounded > self.limit:
                raise MemoryError(self._exhausted(rounded, size, f"its limit is {self.limit}"))
        self._driver.activate(self._ordinal)
        self._driver_calls += 1
        try:
            return int(self._driver.allocate(rounded))
        except MemoryError:
            self.trim()
        try:
            return int(self._driver.allocate(rounded))
        except MemoryError:
            free, total = self._driver.free_and_total()
            raise MemoryError(self._exhausted(rounded, size, f"{free} of {total} are free")) from None

    def _exhausted(self, rounded: int, size: int, why: str) -> str:
        return (
            f"no memory on cuda:{self._ordinal} for an array of {size} bytes (a block of {rounded}): "
            f"{self._in_use} bytes are in use, and {why}"
        )

    def take_back(self, block: Block) -> None:
        """A block that nothing refers to any more."""
        with self._lock:
            self._in_use -= block.size
            self._kept += block.size
            for other in block.others or ():
                self.order(other, block.stream)
            self._idle[block.size, block.stream].append(block.address)

    def order(self, first: int, second: int) -> None:
        """What is queued on the second stream from now on waits for what is queued on the first by now."""
        if self.capturing:
            return
        self._driver.activate(self._ordinal)
        event = self._driver.new_event(timed=False)
        self._driver.record(event, first)
        self._driver.follow(second, event)
        self._driver.drop_event(event)

    def trim(self) -> None:
        """Give all that is idle back to the driver, but for what graphs use; waits for the device."""
        with self._lock:
            self._driver.activate(self._ordinal)
            self._driver.synchronize()
            for (size, stream), addresses in self._idle.items():
                if stream in self.graph_streams:
                    continue
                for address in addresses:
                    self._driver.release(address)
                    self._kept -= size
                addresses.clear()

    def stats(self) -> MemoryStats:
        """How much is used now, and was."""
        with self._lock:
            return MemoryStats(self._in_use, self._kept, self._peak, self.limit, self._requests, self._driver_calls)
