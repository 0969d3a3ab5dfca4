"""Loops, addresses and parameter words of one native function while it is being emitted.

A `LoopNest` keeps a stack of levels: level 0 is the function, and each open loop adds one.  Every level has a
*preamble*, a block that dominates all that is inside; what is invariant in the deeper loops (strides, row addresses)
is emitted there on demand, and the results are remembered for as long as the level is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir

from tracejit.lower.abi import OUT_OF_MEMORY, layout
from tracejit.lower.llvm_types import I8, I64, POINTER, VOID, access_group, memory_type, parallel_loop_id, word
from tracejit.schedule.kernel import Index, Integer, Kernel
from tracejit.vecmath.language import Scalar

T = TypeVar("T")


@dataclass
class Level:
    """One open loop (or the function itself)."""

    preamble: Any
    group: Any = None
    values: dict[int, Scalar] = field(default_factory=dict)
    remembered: dict[Any, Any] = field(default_factory=dict)


class LoopNest:
    """The function under construction: a builder, the open loops, and the kernel's parameters."""

    short_loops = False

    def __init__(self, kernel: Kernel, function: Any) -> None:
        self.kernel = kernel
        self.layout = layout(kernel)
        self.function = function
        self.module = function.module
        entry = self._entry = function.append_basic_block("entry")
        self.builder = ir.IRBuilder(entry)
        self.error = self.builder.alloca(I64, name="error")
        self.builder.store(word(0), self.error)
        self.levels = [Level(entry)]
        self.axis_values: dict[int, Any] = {}
        self.axis_level: dict[int, int] = {}
        self._scratch: dict[int, Any] = {}
        body = function.append_basic_block("body")
        self.builder.branch(body)
        self.builder.position_at_end(body)
        self._allocate_scratch()

    # ---- levels

    @contextmanager
    def at(self, level: int) -> Iterator[None]:
        """Emit into the preamble of a level, then go on where we were."""
        builder, preamble = self.builder, self.levels[level].preamble
        if builder.block is preamble:
            yield
            return
        block, anchor = builder.block, builder._anchor
        builder.position_before(preamble.terminator)
        yield
        builder._block, builder._anchor = block, anchor

    def remember(self, level: int, key: Any, make: Callable[[], T]) -> T:
        """`make()` emitted in the preamble of `level`, once while that level is open."""
        remembered = self.levels[level].remembered
        if key not in remembered:
            with self.at(level):
                remembered[key] = make()
        result: T = remembered[key]
        return result

    @contextmanager
    def loop(
        self,
        begin: Any,
        end: Any,
        step: Any = 1,
        axis: int | None = None,
        parallel: bool = True,
        flat: bool = False,
        vectors: int = 0,
        until: Callable[[], Any] | None = None,
    ) -> Iterator[Any]:
        """`for i in range(begin, end, step)`; `axis` names what i is, `parallel` that iterations are independent.

        flat: a few iterations, a constant number of them, are to be vectors without a loop.
        vectors: how many are computed at a time; 0: as many as is thought best.
        until: the bool that ends the loop after an iteration.
        """
        builder, before = self.builder, self.builder.block
        preamble = self.function.append_basic_block("loop")
        body = self.function.append_basic_block("body")
        exit_block = self.function.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", begin, end), preamble, exit_block)
        builder.position_at_end(preamble)
        i = builder.phi(I64, name="i" if axis is None else f"i{axis}")
        i.add_incoming(begin, before)
        builder.branch(body)
        builder.position_at_end(body)
        group = access_group(self.module) if parallel else None
        self.levels.append(Level(preamble, group))
        if axis is not None:
            self.axis_values[axis], self.axis_level[axis] = i, len(self.levels) - 1
        yield i
        if axis is not None:
            del self.axis_values[axis], self.axis_level[axis]
        self.levels.pop()
        following = builder.add(i, word(step) if isinstance(step, int) else step, flags=("nsw",))
        i.add_incoming(following, builder.block)
        more = builder.icmp_signed("<", following, end)
        if until is not None:
            more = builder.and_(more, builder.not_(until()))
        latch = builder.cbranch(more, preamble, exit_block)
        if parallel:
            blocks = self.function.blocks[self.function.blocks.index(preamble) :]
            vectors = 1 if self.short_loops else vectors
            latch.set_metadata("llvm.loop", parallel_loop_id(self.module, group, blocks, flat, vectors))
        builder.position_at_end(exit_block)

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Loads and stores emitted inside belong to the innermost loop's access group."""
        block = self.builder.block
        first = len(block.instructions)
        yield
        group = self.levels[-1].group
        if group is not None:
            for instruction in block.instructions[first:]:
                if instruction.opname in ("load", "store"):
                    instruction.set_metadata("llvm.access.group", group)

    def stack_slot(self, llvm_type: Any, count: int = 1) -> Any:
        """A stack slot of the function (an array if `count` > 1)."""
        builder, block, anchor = self.builder, self.builder.block, self.builder._anchor
        builder.position_at_start(self._entry)
        slot = builder.alloca(llvm_type, size=word(count) if count > 1 else None)
        slot.align = 64 if count > 1 else None
        builder._block, builder._anchor = block, anchor
        return slot

    # ---- parameters

    def parameter(self, slot: int, llvm_type: Any = I64) -> Any:
        """A parameter word, loaded in the function's preamble."""

        def load() -> Any:
            pointer = self.builder.gep(self.function.args[0], [word(slot)], inbounds=True, source_etype=I64)
            return self.builder.load(pointer, typ=llvm_type)

        return self.remember(0, ("parameter", slot, str(llvm_type)), load)

    def extent(self, axis: int) -> Any:
        """The extent of an axis."""
        return self.parameter(self.layout.extents + axis)

    def integer(self, slot: int) -> Any:
        """A run-time integer."""
        return self.parameter(self.layout.integers + slot)

    def size(self, operand: int, dimension: int) -> Any:
        """The size of a dimension of an operand that is gathered from."""
        slot = self.layout.sizes[operand]
        assert slot is not None
        return self.parameter(slot + dimension)

    def stride(self, operand: int, dimension: int) -> Any:
        """A byte stride; a constant where the kernel knows it."""
        declared = self.kernel.operands[operand]
        itemsize = np.dtype(declared.dtype).itemsize
        if self.is_unit(operand, dimension):
            return word(itemsize)
        slot = self.layout.data[operand]
        if slot is not None:
            return self._given_stride(slot + 1 + dimension, itemsize)

        return self.remember(0, ("stride", operand, dimension), lambda: self.scratch_stride(operand, dimension))

    def _given_stride(self, slot: int, itemsize: int) -> Any:
        """A stride among the parameters, of which LLVM shall not guess that it is 1.

        The vectorizer makes a loop for the stride 1, in bytes, and leaves all others to a scalar loop; a maximum with
        the least number there is keeps the stride from being a plain unknown, on which alone it does that.
        """
        if itemsize == 1:
            return self.parameter(slot)

        def bounded() -> Any:
            least, stride = word(-(1 << 62)), self.parameter(slot)
            return self.builder.select(self.builder.icmp_signed(">", stride, least), stride, least)

        return self.remember(0, ("stride", slot), bounded)

    def is_unit(self, operand: int, dimension: int) -> bool:
        """Whether neighbours along a dimension are known to be neighbours in memory."""
        return self.kernel.operands[operand].unit[dimension]

    # ---- scratch rows

    def scratch_stride(self, operand: int, dimension: int) -> Any:
        """A byte stride of a scratch operand, emitted here."""
        declared = self.kernel.operands[operand]
        stride = word(np.dtype(declared.dtype).itemsize)
        for axis in declared.scratch_axes[dimension + 1 :]:
            stride = self.builder.mul(stride, self.extent(axis), flags=("nsw",))
        return stride

    def _allocate_scratch(self) -> None:
        """Emit malloc for each scratch operand; return OUT_OF_MEMORY if one fails."""
        builder = self.builder
        for number, operand in enumerate(self.kernel.operands):
            if operand.role != "scratch":
                continue
            count = builder.mul(self.scratch_size(number), word(np.dtype(operand.dtype).itemsize), flags=("nsw",))
            row = builder.call(self.external("malloc", POINTER, I64), [builder.add(count, word(64))])
            self._scratch[number] = row
            missing = builder.icmp_unsigned("==", builder.ptrtoint(row, I64), word(0))
            with builder.if_then(missing, likely=False):
                for earlier in self._scratch.values():
                    builder.call(self.external("free", VOID, POINTER), [earlier])
                builder.ret(word(OUT_OF_MEMORY))
        self.levels[0].preamble = builder.block
        body = self.function.append_basic_block("work")
        builder.branch(body)
        builder.position_at_end(body)

    def scratch_size(self, operand: int) -> Any:
        """Elements of a scratch operand."""
        count = word(1)
        for axis in self.kernel.operands[operand].scratch_axes:
            count = self.builder.mul(count, self.extent(axis), flags=("nsw",))
        return count

    def finish(self) -> None:
        """Free the scratch rows and return the error slot."""
        for row in self._scratch.values():
            self.builder.call(self.external("free", VOID, POINTER), [row])
        self.builder.ret(self.builder.load(self.error, typ=I64))

    def external(self, name: str, result: Any, *arguments: Any) -> Any:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, arguments), name)

    # ---- addresses

    def base(self, operand: int) -> Any:
        """The address of an operand's first element."""
        slot = self.layout.data[operand]
        return self._scratch[operand] if slot is None else self.parameter(slot, POINTER)

    def step_bytes(self, pointer: Any, count: Any, operand: int, dimension: int, step: int = 1) -> Any:
        """The address `count * step` elements further along a dimension."""
        declared, builder = self.kernel.operands[operand], self.builder
        if self.is_unit(operand, dimension):
            count = count if step == 1 else builder.mul(count, word(step), flags=("nsw",))
            element = memory_type(np.dtype(declared.dtype))
            return builder.gep(pointer, [count], inbounds=True, source_etype=element)
        stride = self.stride(operand, dimension)
        if step != 1:
            key = ("stride", operand, dimension, step)
            stride = self.remember(0, key, lambda: builder.mul(stride, word(step), flags=("nsw",)))
        offset = builder.mul(count, stride, flags=("nsw",))
        return builder.gep(pointer, [offset], inbounds=True, source_etype=I8)

    def address(self, operand: int, indices: Sequence[Index | None]) -> Any:
        """The address of an element (a None counts as 0), each part emitted at the level where it is known."""
        pointer = self.remember(0, ("start", operand, tuple(indices)), lambda: self._start(operand, indices))
        known: tuple[Any, ...] = (operand, tuple(indices))
        for level in range(1, len(self.levels)):
            here = [(d, x) for d, x in enumerate(indices) if x is not None and self._level_of(x) == level]
            for dimension, index in here:
                assert index is not None and index.axis is not None
                known = (*known, dimension)
                previous = pointer
                pointer = self.remember(
                    level,
                    known,
                    lambda p=previous, i=index, d=dimension: self.step_bytes(  # type: ignore[misc]
                        p, self.place_on(i.axis, operand), operand, d, i.step
                    ),
                )
        return pointer

    def place_on(self, axis: int, operand: int) -> Any:
        """Where the loops stand on an axis, as the operand counts."""
        return self.axis_values[axis]

    def _level_of(self, index: Index) -> int:
        return 0 if index.axis is None else self.axis_level[index.axis]

    def start(self, index: Index | None) -> Any:
        """Where an index begins; None where that is at 0."""
        if index is None or index.start == 0:
            return None
        return self.integer(index.start.slot) if isinstance(index.start, Integer) else word(index.start)

    def _start(self, operand: int, indices: Sequence[Index | None]) -> Any:
        pointer = self.base(operand)
        for dimension, index in enumerate(indices):
            start = self.start(index)
            if start is not None:
                pointer = self.step_bytes(pointer, start, operand, dimension)
        return pointer
