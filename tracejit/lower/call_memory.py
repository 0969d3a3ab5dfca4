"""Native calls: where memory is and how it lies - arrays of the caller, views without objects, the call's own rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tracejit.lower import interpreter as py
from tracejit.lower import linking
from tracejit.lower.call_plan import Allocation, Viewing
from tracejit.lower.host_expression import Expressions
from tracejit.lower.llvm_types import I1, I64, POINTER, word

ALIGNMENT = 64
"""Rooms start at a multiple of this."""


class Geometry(Protocol):
    """How memory lies: lengths in elements, strides in bytes."""

    def length(self, axis: int) -> Any: ...
    def stride(self, axis: int) -> Any: ...


class Header(NamedTuple):
    """As the fields of an array object say."""

    builder: Any
    array: Any

    def length(self, axis: int) -> Any:
        return py.field(self.builder, py.field(self.builder, self.array, linking.DIMENSIONS), 8 * axis, I64)

    def stride(self, axis: int) -> Any:
        return py.field(self.builder, py.field(self.builder, self.array, linking.STRIDES), 8 * axis, I64)


class Known(NamedTuple):
    """As was computed before."""

    lengths: Sequence[Any]
    strides: Sequence[Any]

    def length(self, axis: int) -> Any:
        return self.lengths[axis]

    def stride(self, axis: int) -> Any:
        return self.strides[axis]


def in_order(builder: Any, lengths: Sequence[Any], itemsize: int) -> Known:
    """Memory in C order."""
    strides: list[Any] = []
    stride: Any = word(itemsize)
    for length in reversed(lengths):
        strides.insert(0, stride)
        stride = builder.mul(stride, length) if len(strides) < len(lengths) else stride
    return Known(lengths, strides)


def viewed(
    builder: Any, view: Viewing, source: Geometry, data: Any, starts: Sequence[Any], lengths: Sequence[Any]
) -> tuple[Known, Any]:
    """How a view lies, and where it begins, from its source."""
    strides: list[Any] = [word(0)] * len(lengths)
    for position, (text, start, axis, step) in enumerate(zip(view.starts, starts, view.axes, view.steps, strict=True)):
        if text != "0":
            data = builder.add(data, builder.mul(start, source.stride(position)))
        if axis >= 0:
            along = source.stride(position)
            along = along if step == 1 else builder.mul(along, word(step))
            strides[axis] = along if view.axes.index(axis) == position else builder.add(strides[axis], along)
    return Known(lengths, strides), data


class Rooms:
    """The memory that a call takes once and gives back at its end, cut into rooms."""

    def __init__(self, builder: Any, expressions: Expressions) -> None:
        self.builder, self.expressions = builder, expressions
        self.total: Any = word(0)
        self.offsets: dict[int, Any] = {}
        self.block: Any = None
        self._first: Any = None

    def reserve(self, step: Allocation, elements: Any) -> None:
        """Set a room aside, unless that has been done for an allocation before."""
        if step.room in self.offsets:
            return
        builder = self.builder
        self.offsets[step.room] = self.total
        size = builder.add(builder.mul(elements, word(step.itemsize)), word(ALIGNMENT - 1))
        self.total = builder.add(self.total, builder.and_(size, word(-ALIGNMENT)))

    def take(self) -> Any:
        """Get the memory, if any; a pointer that is null where there is none to be had."""
        builder = self.builder
        self.block = py.call(builder, "PyMem_RawMalloc", builder.add(self.total, word(ALIGNMENT)))
        first = builder.add(builder.ptrtoint(self.block, I64), word(ALIGNMENT - 1))
        self._first = builder.and_(first, word(-ALIGNMENT))
        return self.block

    def address(self, room: int) -> Any:
        return self.builder.add(self._first, self.offsets[room])

    def give_back(self) -> None:
        if self.block is not None:
            py.call(self.builder, "PyMem_RawFree", self.block)


def copy_bytes(builder: Any, target: Any, source: Any, size: Any) -> None:
    """Copy memory that may be the same; addresses as integers."""
    move = builder.function.module.declare_intrinsic("llvm.memmove", [POINTER, POINTER, I64])
    pointers = [builder.inttoptr(address, POINTER) for address in (target, source)]
    builder.call(move, [*pointers, size, I1(0)])
