"""What a known kernel is: a NumPy function, its arguments by size, and the sizes to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kernel:
    """One kernel.

    make: `(rng, size) -> arguments`, the size being the kernel's own parameter (rows, points, ...).
    sizes: from about ten elements to ten million, or to what NumPy does in a second or two.
    mutates: the results are in the arguments, which are made anew for each call.
    numba: whether a plain `njit` compiles the same source.
    """

    name: str
    function: Callable[..., Any]
    make: Callable[[np.random.Generator, int], tuple[Any, ...]]
    sizes: tuple[int, ...]
    mutates: bool = False
    numba: bool = False
    tolerance: float = 1e-9
