"""The steps of a program as those of a native call: what gets an object, what a room, how views lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from tracejit.driver.host_program import released
from tracejit.ir.node import Shape, in_order
from tracejit.lower.abi import FINAL, MAIN, has_final, layout, panel_axes
from tracejit.lower.call_plan import (
    Allocation,
    Captured,
    Copying,
    Factor,
    KernelCall,
    MatrixProduct,
    Reshaping,
    Step,
    Viewing,
)
from tracejit.lower.launch_cost import launch_cost
from tracejit.lower.linking import NotNative
from tracejit.records import dataclass
from tracejit.runtime.interpreter_abi import product_loop
from tracejit.runtime.machine import machine
from tracejit.runtime.machine_code import LoadedKernel
from tracejit.runtime.vectorcall import Address
from tracejit.schedule.kernel import Gather, Kernel, Loop
from tracejit.schedule.steps import Allocate, Buffer, Copy, Launch, Multiply, Program, View, reads, writes

FEW = 16
"""Elements of constant shape that stand in the call's frame."""

MOST_STEPS = 500
"""Kernels and products in a native call: emitting one takes some milliseconds."""


@dataclass(eq=False, repr=False)
class Table:
    """Objects and addresses, each with a slot of its own."""

    entries: list[Any] = field(default_factory=list)
    _slots: dict[int, int] = field(default_factory=dict)

    def slot(self, value: Any) -> int:
        """The slot of an object."""
        if id(value) not in self._slots:
            self._slots[id(value)] = self.address(value)
        return self._slots[id(value)]

    def address(self, value: Any) -> int:
        """A new slot."""
        self.entries.append(value)
        return len(self.entries) - 1


def canonical(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The one object that nearly every array of a dtype has."""
    return np.dtype(dtype.type) if dtype.isnative else dtype


@dataclass(eq=False, repr=False)
class Steps:
    """Writes the steps.

    layouts: of the leaves.  scalars: buffers that are only ever a NumPy scalar; objects: those that are given out, or
    looked at by what is; kept: those that are needed to the end.
    """

    table: Table
    layouts: Mapping[int, str]
    scalars: set[Buffer]
    objects: set[Buffer]
    kept: set[Buffer]
    _rooms: dict[Buffer, int] = field(default_factory=dict)
    _free: dict[tuple[Any, ...], list[int]] = field(default_factory=dict)
    _dense: dict[Buffer, bool] = field(default_factory=dict)

    def steps(self, program: Program, kernels: Sequence[LoadedKernel]) -> Iterator[Step]:
        """All steps; then what is written back into arguments by copies."""
        loaded = iter(kernels)
        if sum(isinstance(step, Launch | Multiply) for step in program.steps) > MOST_STEPS:
            raise NotNative("its many steps")
        gone = released(program)
        for position, step in enumerate(program.steps):
            if isinstance(step, Allocate):
                yield self._allocation(step.target)
            elif isinstance(step, Launch):
                yield _kernel_call(self.table, step, next(loaded))
            elif isinstance(step, View):
                yield self._view(step)
            elif isinstance(step, Multiply):
                yield self._product(step)
            elif isinstance(step, Copy):
                # what is copied without need is overwritten before it is read
                yield self._copy(step.source, step.target)
            else:
                raise NotNative(f"a step of type {type(step).__name__}")
            for buffer in gone.get(position, ()):
                if buffer in self._rooms and buffer not in self.kept:
                    self._free[_size(buffer)].append(self._rooms[buffer])
        for leaf, buffer in program.writebacks:
            if buffer.name != f"a{leaf}":
                yield self._copy(buffer, Buffer(-1, "argument", buffer.dtype, buffer.shape, leaf))

    def _allocation(self, target: Buffer) -> Allocation:
        shape = texts(target.shape)
        self._dense[target] = True
        place, room = "object", 0
        if target in self.scalars or (target not in self.objects and _is_tiny(target.shape)):
            place = "stack"
        elif target not in self.objects:
            place, free = "room", self._free.setdefault(_size(target), [])
            room = self._rooms[target] = free.pop() if free else len(set(self._rooms.values()))
        return Allocation(
            target.name, self.table.slot(canonical(target.dtype)), target.dtype.itemsize, shape, place, room
        )

    def _is_dense(self, buffer: Buffer) -> bool:
        """Whether memory is known to lie in C order."""
        if buffer.kind == "argument":
            return self.layouts.get(buffer.leaf) == "C"
        return buffer.kind == "constant" or self._dense.get(buffer, False)

    def _view(self, step: View) -> Step:
        target, source, shape = step.target, step.source, texts(step.target.shape)
        if step.indices is None:
            if not self._is_dense(source):
                raise NotNative("a reshape that may copy")
            self._dense[target] = True
            return Reshaping(target.name, source.name, source.dtype.itemsize, shape)
        self._dense[target] = self._is_dense(source) and in_order(step.indices, target.shape, source.shape)
        starts = tuple(str(index.start) for index in step.indices)
        axes = tuple(-1 if index.axis is None else index.axis for index in step.indices)
        return Viewing(target.name, source.name, starts, axes, tuple(index.step for index in step.indices), shape)

    def _copy(self, source: Buffer, target: Buffer) -> Copying:
        if not (self._is_dense(source) and self._is_dense(target)):
            raise NotNative("a copy of memory that is not in C order")
        return Copying(source.name, target.name, target.dtype.itemsize, texts(target.shape))

    def _product(self, step: Multiply) -> MatrixProduct:
        left, right, target = step.left, step.right, step.target
        loop = product_loop(target.dtype) if left.dtype == right.dtype == target.dtype else None
        if loop is None:
            raise NotNative(f"a product of {left.dtype} and {right.dtype}")
        rows = () if len(left.shape) == 1 else left.shape[-2:-1]
        columns = () if len(right.shape) == 1 else right.shape[-1:]
        batch = target.shape[: len(target.shape) - len(rows) - len(columns)]
        return MatrixProduct(
            self.table.address(Address(loop)),
            _factor(left, batch, (bool(rows), True)),
            _factor(right, batch, (True, bool(columns))),
            _factor(target, batch, (bool(rows), bool(columns))),
            texts(batch),
            (str(rows[0] if rows else 1), str(left.shape[-1]), str(columns[0] if columns else 1)),
        )


def texts(shape: Shape) -> tuple[str, ...]:
    return tuple(map(str, shape))


def _size(buffer: Buffer) -> tuple[Any, ...]:
    """Equal for buffers of as many bytes."""
    return (buffer.dtype.itemsize, tuple(sorted(texts(buffer.shape))))


def _is_tiny(shape: Shape) -> bool:
    count = 1
    for length in shape:
        count *= length if isinstance(length, int) else FEW + 1
    return count <= FEW


def _factor(buffer: Buffer, batch: Shape, core: tuple[bool, bool]) -> Factor:
    """An operand of a product; `core`: which of the axes of a matrix it has."""
    first = len(buffer.shape) - sum(core)
    places = iter(range(first, len(buffer.shape)))
    own = [-1] * (len(batch) - first) + list(range(first)) + [next(places) if there else -1 for there in core]
    along = tuple(-1 if axis < 0 or buffer.shape[axis] == 1 else axis for axis in own)
    return Factor(buffer.name, along[:-2], (along[-2], along[-1]))


def constants(table: Table, program: Program) -> list[Captured]:
    """Arrays that the graph itself holds; there is nothing to guard."""
    read = dict.fromkeys(b for step in program.steps for b in reads(step) if b.kind == "constant")
    return [Captured(b.name, table.slot(np.array(b.data)), b.dtype.itemsize, ()) for b in read]


def fails_after_writing(program: Program, arguments: set[int]) -> bool:
    """Whether a kernel may meet an index out of bounds when an argument has been written to already."""
    written = False
    for step in program.steps:
        gathers = isinstance(step, Launch) and any(isinstance(line.body, Gather) for line in step.kernel.instructions)
        written |= any(buffer.kind == "argument" and buffer.leaf in arguments for buffer in writes(step))
        if written and gathers:
            return True
    return False


def _kernel_call(table: Table, step: Launch, loaded: LoadedKernel) -> KernelCall:
    kernel, code = step.kernel, loaded.keep_alive
    final = Address(code.address(FINAL + kernel.structure)) if has_final(kernel) else None
    table.slot(code)
    passed = [operand for operand in kernel.operands if operand.role != "scratch"]
    sharing, first, reduced = _sharing(kernel)
    return KernelCall(
        layout(kernel),
        table.address(Address(code.address(MAIN + kernel.structure))),
        None if final is None else table.address(final),
        tuple("" if buffer.kind == "partial" else buffer.name for buffer in step.buffers),
        tuple(operand.rank for operand in passed),
        tuple(map(str, step.extents)),
        tuple(map(str, step.integers)),
        tuple((text, np.dtype(dtype).kind) for text, dtype in zip(step.scalars, kernel.scalars, strict=True)),
        launch_cost(kernel, machine().vector).nanoseconds,
        any(isinstance(line.body, Loop) and line.body.axis is None for line in kernel.instructions),
        sharing,
        first,
        reduced,
        () if kernel.product is None else panel_axes(kernel),
    )


def _sharing(kernel: Kernel) -> tuple[str, int | None, tuple[int, ...]]:
    """What a unit of work is (see `KernelCall`)."""
    if kernel.form == "reduce_all":
        axes = kernel.stages[0].axes
        return "chunk", axes[0] if axes else None, axes
    if kernel.form == "panels":
        return "panels", kernel.outer[0], ()
    tiles = kernel.form == "reduce_columns" and len(kernel.outer) == 1
    return "tiles" if tiles else "each", kernel.outer[0], ()
