"""How many blocks a launch has, as functions of a call's extents that can be kept and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tracejit.lower.cuda.kernel import Device, Extents

WAVES = 32
"""Blocks for each multiprocessor that a grid has at most; threads of a smaller grid go on to further elements."""


@dataclass(frozen=True)
class Elements:
    """A thread for `lanes` neighbours on the last of `axes`, until `most` blocks a multiprocessor are there."""

    axes: tuple[int, ...]
    lanes: int
    block: int
    most: int = WAVES

    def __call__(self, extents: Extents, device: Device) -> int:
        if not self.axes:
            return 1
        groups = -(-extents[self.axes[-1]] // self.lanes) * math.prod(extents[axis] for axis in self.axes[:-1])
        return min(-(-groups // self.block), self.most * device.multiprocessors)


@dataclass(frozen=True)
class Always:
    """So many blocks, and so many bytes of shared memory, whatever the extents are."""

    count: int

    def __call__(self, extents: Extents, device: Device | None = None) -> int:
        return self.count
