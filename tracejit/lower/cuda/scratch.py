"""Scratch rows: in the shared memory of a block, or in a work array where they do not fit; one for each group."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tracejit.lower.cuda.body import Body
from tracejit.lower.cuda.kernel import Device, Extents, Work
from tracejit.schedule.kernel import Kernel

ALIGNED = 16
"""Bytes that the place of a row in shared memory is a multiple of."""


@dataclass(frozen=True)
class SharedBytes:
    """What `groups` groups need: for each scratch operand its axes and the size of an element."""

    rows: tuple[tuple[tuple[int, ...], int], ...]
    groups: int

    def __call__(self, extents: Extents) -> int:
        total = 0
        for axes, size in self.rows:
            total += -(-self.groups * math.prod(extents[axis] for axis in axes) * size // ALIGNED) * ALIGNED
        return total


@dataclass(frozen=True)
class WorkLength:
    """Elements of a scratch operand for every group of a grid."""

    axes: tuple[int, ...]
    groups: int
    grid: Callable[[Extents, Device], int]

    def __call__(self, extents: Extents, device: Device) -> int:
        return math.prod(extents[axis] for axis in self.axes) * self.groups * self.grid(extents, device)


def scratch_operands(kernel: Kernel) -> list[int]:
    """The operands that are scratch rows."""
    return [number for number, operand in enumerate(kernel.operands) if operand.role == "scratch"]


def shared_bytes(kernel: Kernel, groups: int) -> SharedBytes:
    """The dynamic shared memory of a kernel that has its scratch rows there."""
    held = [kernel.operands[number] for number in scratch_operands(kernel)]
    return SharedBytes(tuple((operand.scratch_axes, np.dtype(operand.dtype).itemsize) for operand in held), groups)


def work_arrays(kernel: Kernel, groups: int, grid: Callable[[Extents, Device], int]) -> tuple[Work, ...]:
    """The work arrays of a kernel that has its scratch rows there."""
    held = [kernel.operands[number] for number in scratch_operands(kernel)]
    return tuple(Work(operand.dtype, WorkLength(operand.scratch_axes, groups, grid)) for operand in held)


def place_scratch(body: Body, groups: int) -> None:
    """Lines that say where the scratch rows of a thread's `group` begin; the body's addresses count from there."""
    starts: dict[int, str] = {}
    passed: list[str] = []
    for slot, number in enumerate(scratch_operands(body.kernel)):
        operand, name = body.kernel.operands[number], body.names[number]
        length = " * ".join(f"n{axis}" for axis in operand.scratch_axes) or "1"
        size = np.dtype(operand.dtype).itemsize
        if body.variant.shared:
            memory = {"bool": "uint8", "float16": "uint16"}.get(operand.dtype, operand.dtype)
            body.text.line(f"{name} = cuda.shared.array(0, {memory}_dtype)")
            before = f"(({' + '.join(passed)}) >> {size.bit_length() - 1}) + " if passed else ""
            starts[number] = body.define_index(f"{before}group * ({length})", f"{name}_at")
            passed.append(f"(({groups * size} * {length} + {ALIGNED - 1}) & {-ALIGNED})")
        else:
            body.names[number] = f"work{slot}"
            row = f"cuda.blockIdx.x * {groups} + group"
            starts[number] = body.define_index(f"({row}) * {length}", f"{name}_at")
    body.scratch_place = lambda operand, place: f"{starts[operand]} + {place}"
