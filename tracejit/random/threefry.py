"""Threefry-2x32: random words as a function of a key and a counter.

The words of an element depend on the key and on the element's position alone, so that any number of threads, and any
device, gives the same ones.  J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011; twenty rounds, as there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.trace.indexing import arange_from
from tracejit.trace.number import as_dimension
from tracejit.trace.state import current

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
"""By how many bits the second word is rotated: four rounds of the one row, then four of the other."""

PARITY = 0x1BD11BDA
"""What the third word of the key schedule is made with."""

ROUNDS = 20


def threefry(key: Any, first: Any, second: Any) -> tuple[Any, Any]:
    """The two words of each counter (first, second); key: two words.  All are uint32."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY))
    x, y = first + schedule[0], second + schedule[1]
    for four in range(ROUNDS // 4):
        for rotation in ROTATIONS[four % 2]:
            x = x + y
            y = ((y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))) ^ x
        x = x + schedule[(four + 1) % 3]
        y = y + schedule[(four + 2) % 3] + np.uint32(four + 1)
    return x, y


def words(key: Any, count: Any, purpose: int = 0) -> tuple[Any, Any]:
    """Two words for each of `count` elements, by position; inside a trace.

    purpose: other purposes take other words of the same key.
    """
    length = as_dimension(count)
    if length is None:
        raise TypeError(f"the shape of random numbers is made of integers, not {count!r}")
    position: Any = arange_from(current(), 0, 1, length, np.int64)
    low = (position & 0xFFFFFFFF).astype(np.uint32)
    high = (position >> 32).astype(np.uint32) ^ np.uint32(purpose)
    return threefry(key, low, high)
