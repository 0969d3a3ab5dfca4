"""What kernels on a GPU report: a launch that can fail has a word of its own, looked at when values are read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

WORDS = 1024
"""Launches that can report at the same time; further ones share words, and the last to share says what happened."""


class DeviceErrors:
    """The words of one GPU."""

    def __init__(self, home: Any) -> None:
        self._home = home
        self._block: Any = None
        self._reports: dict[int, Callable[[int], None]] = {}
        self._next = 0
        self.pending = False

    @property
    def none(self) -> int:
        """The address for a launch that cannot fail."""
        return self._address(0)

    def word(self, report: Callable[[int], None]) -> int:
        """The address for a launch that can; `report` raises what the number means that it leaves there."""
        self._next = self._next % (WORDS - 1) + 1
        self._reports[self._next] = report
        return self._address(self._next)

    def _address(self, number: int) -> int:
        if self._block is None:
            self._home.driver.activate(self._home.ordinal)
            self._block = self._home.memory.allocate(8 * WORDS, self._home.stream)
            self._home.driver.clear(self._block.address, 8 * WORDS, self._home.stream)
            self._home.driver.wait(self._home.stream)
        address: int = self._block.address
        return address + 8 * number

    def check(self) -> None:
        """Raise what a launch has reported; all work queued before has been waited for."""
        if not self.pending:
            return
        self.pending = False
        words = np.empty(WORDS, np.int64)
        home = self._home
        home.driver.download(words, self._block.address, home.stream)
        if words.any():
            home.driver.clear(self._block.address, 8 * WORDS, home.stream)
            number = int(np.flatnonzero(words)[0])
            self._reports[number](int(words[number]))
