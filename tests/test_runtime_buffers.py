"""Recycled output arrays."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tracejit.runtime.buffers import ALIGNMENT, SMALL, BufferPool, empty


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_block_returns_when_the_last_view_is_gone() -> None:
    pool = BufferPool(1 << 26)
    first = pool.empty((1000, 100), np.float64)
    address = _address(first)
    assert address % ALIGNMENT == 0 and first.flags.c_contiguous and first.flags.writeable
    view = first[10:].T
    del first
    assert _address(pool.empty((1000, 100), np.float64)) != address
    memory = memoryview(view.T)
    del view
    assert _address(pool.empty((1000, 100), np.float64)) != address
    del memory
    again = {_address(pool.empty((800, 125), "f8")) for _ in range(3)}
    assert len(again) == 1
    held = [pool.empty((1000, 100), np.float64) for _ in range(3)]
    assert address in {_address(x) for x in held}
    assert len({_address(x) for x in held}) == 3


def test_small_arrays_are_numpys() -> None:
    assert empty((3, 4), np.int32).base is None
    assert empty((SMALL,), np.uint8).base is not None
    assert empty((), np.float32).shape == ()


def test_idle_memory_is_bounded() -> None:
    pool = BufferPool(8 << 20)
    held = [pool.empty((1 << 20,), np.uint8) for _ in range(32)]
    assert pool.idle_bytes() == 0
    del held
    last = pool.empty((2 << 20,), np.uint8)
    assert pool.idle_bytes() <= 8 << 20
    assert last.size == 2 << 20
    del last
    pool.clear()
    assert pool.idle_bytes() == 0


def test_many_threads_never_share_a_block() -> None:
    pool = BufferPool(1 << 26)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            array = pool.empty((SMALL // 8,), np.int64)
            array[::512] = number
            if (array[::512] != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
