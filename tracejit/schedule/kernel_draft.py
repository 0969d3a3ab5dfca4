"""A kernel under construction: its operands, axes, parameters and the lines of the block at hand."""

from __future__ import annotations

from typing import Any

from tracejit.ir.node import Index as IrIndex
from tracejit.ir.node import Indices, Node, Shape
from tracejit.ir.size import Dimension
from tracejit.records import dataclass
from tracejit.schedule import kernel as k
from tracejit.schedule.steps import Buffer

NEAR = 4
"""Places up to this one are part of a kernel; one further away may be what the user's code counts, and is passed to it.

So the iterations of an unrolled loop share kernels.
"""


@dataclass(frozen=True)
class Memory:
    """Where values live: the buffer of each node in memory, and which buffers are C-contiguous or unit-strided last."""

    buffers: dict[int, Buffer]
    layouts: dict[int, str]

    def layout(self, buffer: Buffer) -> str:
        return self.layouts.get(buffer.leaf, "C") if buffer.kind == "argument" else "C"


@dataclass(frozen=True)
class BuiltKernel:
    """A kernel with what the host passes to it."""

    kernel: k.Kernel
    buffers: tuple[Buffer, ...]
    extents: tuple[Dimension, ...]
    integers: tuple[Dimension, ...]
    scalars: tuple[str, ...]
    contiguous: tuple[bool, ...]
    scratch: frozenset[int]


class KernelDraft:
    """What every builder of kernels needs, whatever it builds them from."""

    def __init__(self, extents: Shape, memory: Memory, fastmath: bool) -> None:
        self.memory, self.fastmath = memory, fastmath
        self.extents: list[Dimension] = [*extents]
        self.operands: list[k.Operand] = []
        self.buffers: list[Buffer] = []
        self.operand_of: dict[Any, int] = {}
        self.integers: dict[Dimension, int] = {}
        self.scalars: dict[str, tuple[int, str]] = {}
        self.lines: list[k.Instruction] = []
        self.number = 0

    def _emit(self, body: k.Body, dtype: str = "") -> int:
        self.lines.append(k.Instruction(self.number, body, dtype))
        self.number += 1
        return self.number - 1

    def _built(self, form: str, outer: tuple[int, ...], stages: tuple[k.Stage, ...]) -> BuiltKernel:
        """All of it as a kernel."""
        scratch = frozenset(n for n, o in enumerate(self.operands) if o.role == "scratch")
        kernel = k.Kernel(
            form,
            len(self.extents),
            outer,
            stages,
            tuple(self.operands),
            len(self.integers),
            tuple(dtype for _, dtype in self.scalars.values()),
            self.fastmath,
        )
        return BuiltKernel(
            kernel,
            tuple(buffer for n, buffer in enumerate(self.buffers) if n not in scratch),
            tuple(self.extents),
            tuple(self.integers),
            tuple(self.scalars),
            tuple(self.memory.layout(buffer) == "C" for buffer in self.buffers),
            scratch,
        )

    # Values that need no other value

    def _scalar(self, node: Node) -> int:
        """A Python number of the host."""
        slot = self.scalars.setdefault(node["expression"], (len(self.scalars), node.dtype.name))[0]
        return self._emit(k.ScalarParameter(slot), node.dtype.name)

    def _iota(self, index: IrIndex) -> int:
        """start + step * position, as instructions."""
        if index.axis is None:
            return self._integer(index.start)
        position = self._emit(k.Position(index.axis), "int64")
        if index.step != 1:
            position = self._emit(k.Apply("multiply", (position, self._integer(index.step))), "int64")
        if index.start != 0:
            position = self._emit(k.Apply("add", (position, self._integer(index.start))), "int64")
        return position

    def _integer(self, value: Dimension) -> int:
        if isinstance(value, int):
            return self._emit(k.Literal(value.to_bytes(8, "little", signed=True)), "int64")
        return self._emit(k.IntegerValue(self.integers.setdefault(value, len(self.integers))), "int64")

    # Memory

    def _index(self, index: IrIndex) -> k.Index:
        start: int | k.Integer
        if isinstance(index.start, int) and abs(index.start) <= NEAR:
            start = index.start
        else:
            start = k.Integer(self.integers.setdefault(index.start, len(self.integers)))
        return k.Index(index.axis, index.step, start)

    def _load_from(self, node: Node, indices: Indices) -> int:
        """An element of a value in memory."""
        operand = self._operand(node, "in")
        return self._emit(k.Load(operand, tuple(map(self._index, indices))), node.dtype.name)

    def _store_to(self, node: Node, indices: Indices, value: int) -> None:
        """An element of a value that gets memory."""
        operand = self._operand(node, "out")
        self._emit(k.Store(operand, tuple(map(self._index, indices)), value))

    def _operand(self, node: Node, role: str) -> int:
        buffer = self.memory.buffers[id(node)]
        if buffer in self.operand_of:
            number = self.operand_of[buffer]
            held = self.operands[number]
            if held.role != role:
                self.operands[number] = k.Operand(held.dtype, held.rank, held.unit, "inout")
            return number
        rank = len(buffer.shape)
        layout = self.memory.layout(buffer)
        unit = tuple(axis == rank - 1 and layout != "any" for axis in range(rank))
        self.operand_of[buffer] = len(self.operands)
        self.operands.append(k.Operand(buffer.dtype.name, rank, unit, role))
        self.buffers.append(buffer)
        return len(self.operands) - 1
