"""Output arrays, recycled: a fresh large block of memory costs a page fault every 4 KiB.

Small arrays come from NumPy.  Large ones are views of blocks that a pool remembers; a block that only the pool refers
to any more is free, whoever the last user was - the reference count is the owner, there is nothing to give back.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tracejit.runtime.interpreter_abi import FREE_THREADED

SMALL = 256 << 10
"""Arrays of fewer bytes come from NumPy's allocator."""

ALIGNMENT = 64
"""Blocks start at a multiple of this: a cache line, and the widest vector register."""

_COUNTED = sys.implementation.name == "cpython" and not FREE_THREADED
"""Does the reference count tell who uses a block?  Elsewhere every array comes from NumPy."""


def _default_limit() -> int:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return min(1 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
    return 256 << 20


_probe = [np.empty(1)]
_FREE = sys.getrefcount(_probe[0]) if _COUNTED else 0
"""The reference count of something that only a list refers to, as this interpreter counts."""

Block: TypeAlias = "tuple[int, np.ndarray[Any, Any]]"
"""Where the first aligned byte is, and the memory."""


def _is_free(blocks: list[Block], position: int) -> bool:
    """Does nobody but the list refer to the block?  NumPy makes the block the base of every view, at any remove."""
    return sys.getrefcount(blocks[position][1]) == _FREE


class BufferPool:
    """Blocks by size class; at most `idle_limit` bytes are kept that nobody uses."""

    def __init__(self, idle_limit: int | None = None) -> None:
        self.idle_limit = _default_limit() if idle_limit is None else idle_limit
        self._blocks: dict[int, list[Block]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
        """An uninitialized array in C order."""
        wanted = np.dtype(dtype)
        size = math.prod(shape) * wanted.itemsize
        if size < SMALL or not _COUNTED:
            return np.empty(shape, wanted)
        with self._lock:
            block = self._block(_size_class(size))
            return np.ndarray(shape, wanted, block[1], block[0])

    def idle_bytes(self) -> int:
        """Bytes of blocks that nobody uses."""
        with self._lock:
            return self._idle_bytes()

    def clear(self) -> None:
        """Let go of every block."""
        with self._lock:
            self._blocks.clear()
            self._bytes = 0

    def _block(self, size: int) -> Block:
        """A free block of a size class, or a new one; the lock is held."""
        blocks = self._blocks.setdefault(size, [])
        for position in range(len(blocks) - 1, -1, -1):
            if _is_free(blocks, position):
                found = blocks[position]
                if self._bytes > self.idle_limit:
                    self._drop_idle(found)
                return found
        memory = np.empty(size + ALIGNMENT, np.uint8)
        block = (-memory.__array_interface__["data"][0] % ALIGNMENT, memory)
        blocks.append(block)
        self._bytes += size
        if self._bytes > self.idle_limit:
            self._drop_idle(block)
        return block

    def _idle_bytes(self) -> int:
        return sum(
            size
            for size, blocks in self._blocks.items()
            for position in range(len(blocks))
            if _is_free(blocks, position)
        )

    def _drop_idle(self, keep: Block) -> None:
        """Let idle blocks go, the largest first, until they are within the limit; `keep` is about to be used."""
        excess = self._idle_bytes() - self.idle_limit
        for size in sorted(self._blocks, reverse=True):
            blocks = self._blocks[size]
            for position in range(len(blocks) - 1, -1, -1):
                if excess > 0 and _is_free(blocks, position) and blocks[position] is not keep:
                    del blocks[position]
                    self._bytes -= size
                    excess -= size


def _size_class(size: int) -> int:
    """The size rounded up, by at most an eighth."""
    step = 1 << max(12, size.bit_length() - 4)
    return -(-size // step) * step


_POOL = BufferPool()


def empty(shape: Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialized array in C order, its memory recycled if it is large."""
    return _POOL.empty(shape, dtype)


def copy_around(target: np.ndarray[Any, Any], source: np.ndarray[Any, Any], box: Sequence[tuple[int, int]]) -> None:
    """Copy what lies outside of a box, which somebody is about to write; box: for each axis its start and stop.

    A small array is copied whole: that is one call of NumPy, in place of two for each axis.
    """
    if target.nbytes < SMALL:
        np.copyto(target, source)
        return
    inside: tuple[slice, ...] = ()
    for start, stop in box:
        for outside in (slice(0, start), slice(stop, None)):
            target[(*inside, outside)] = source[(*inside, outside)]
        inside = (*inside, slice(start, stop))
