"""Keys: where random numbers come from.  A key gives the same numbers each time; split it for others."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.driver import Jitted
from tracejit.random.threefry import threefry, words
from tracejit.trace.state import ACTIVE


def compiled(function: Any) -> Any:
    """The function itself inside a trace, compiled outside of one."""
    jitted = Jitted(function, (), fullgraph=False, fastmath=False)

    def call(*args: Any) -> Any:
        return function(*args) if ACTIVE.trace is not None else jitted(*args)

    return call


def key(seed: int) -> np.ndarray[Any, Any]:
    """The key of a seed, an integer of at most 64 bits.

    >>> import tracejit as tj
    >>> tj.random.key(7)
    array([0, 7], dtype=uint32)
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
        raise ValueError(f"a seed is an integer from 0 to 2**64 - 1, not {seed!r}")
    return np.array([int(seed) >> 32, int(seed) & 0xFFFFFFFF], np.uint32)


SPLITTING, FOLDING = 1 << 31, 1 << 30
"""The purposes of words that become keys, so that no key is made of words that are numbers too."""


def _split(key: Any, count: Any) -> Any:
    first, second = words(key, count, SPLITTING)
    return np.stack([first, second], axis=1)


def _fold(key: Any, number: Any) -> Any:
    number = np.asarray(number) if not hasattr(number, "astype") else number
    wide = number.astype(np.uint64)
    high = (wide >> np.uint64(32)).astype(np.uint32) ^ np.uint32(FOLDING)
    first, second = threefry(key, wide.astype(np.uint32), high)
    return np.stack([first, second])


_split_compiled, _fold_compiled = compiled(_split), compiled(_fold)


def split(key: Any, count: int = 2) -> Any:
    """Keys of shape (count, 2), unrelated to each other and to the one they come from.

    >>> import tracejit as tj
    >>> tj.random.split(tj.random.key(0)).shape
    (2, 2)
    """
    return _split_compiled(checked(key), count)


def fold_in(key: Any, number: Any) -> Any:
    """The key of a number, the step of a loop say; other numbers give unrelated keys."""
    return _fold_compiled(checked(key), number)


def checked(key: Any) -> Any:
    """A key, or an error that says what one is."""
    if getattr(key, "dtype", None) != np.uint32 or getattr(key, "ndim", None) != 1:
        raise TypeError(
            f"a key is an array of two uint32, as tracejit.random.key(seed) makes it, not {type(key).__name__}"
        )
    return key
