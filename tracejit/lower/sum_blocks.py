"""How long the blocks are in which a row is added up, and in which dtype the elements of one meet.

Inside a block the compiler has leave to reassociate, so a vector loop keeps a sum in each lane of a few registers.
The more lanes there are, the longer a block may be before it is less accurate than NumPy's pairwise sum, in which up
to 16 numbers are added one after the other.  The elements at the end of a row that do not fill these registers are a
block of their own: added to a large total one by one, each would be rounded to that.  Blocks of float32 add up in
float32 and their totals in float64, if the loop is sure to be one of vectors; else it would be one long chain, and
adds up in float64 throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.lower.llvm_types import I64, word
from tracejit.lower.loop_nest import LoopNest
from tracejit.lower.placement import Placement
from tracejit.lower.vector_registers import vector_bytes
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import Apply, Gather, Instruction, Kernel, Load, Stage, Store, blocks

CHAIN = 16
"""Additions one after the other, in one lane of a block."""

SHORTEST = 128
"""Elements of a block that is worth ending: a few vectors in each of a few registers."""

LIGHT = 8
"""Instructions an element up to which several vectors at a time pay, since each waits for the last addition."""

REGISTERS = 4
"""Vectors at a time in a light loop."""

HEAVY = 100
"""Instructions an element from which on it does not matter how fast they are added up."""


@dataclass(frozen=True)
class SumBlocks:
    """How the sums of a stage are cut.

    length: most elements of a block, a multiple of `lanes`.
    lanes: elements that the vector loop takes at a time, at most.
    vectors: how many that are in registers, 0 if it is for the compiler to say.
    narrow: float32 adds up in float32 inside a block.
    """

    length: int
    lanes: int
    vectors: int
    narrow: bool


def sum_blocks(kernel: Kernel, stage: Stage, placement: Placement) -> SumBlocks:
    """The blocks of the innermost loop of a stage."""
    depth = len(kernel.outer) + len(stage.axes)
    lines = [line for line in stage.instructions if placement.depth(line.number) == depth]
    cost = sum(OPS[line.body.op].cost for line in lines if isinstance(line.body, Apply))
    widest = max((_itemsize(kernel, line) for line in lines), default=8)
    lanes = REGISTERS * vector_bytes() // widest
    narrow = bool(stage.axes) and cost < HEAVY and all(_in_vectors(kernel, line, stage.axes[-1]) for line in lines)
    if narrow and cost <= LIGHT:
        return SumBlocks(CHAIN * lanes, lanes, REGISTERS, narrow)
    return SumBlocks(max(SHORTEST, lanes), lanes, 0, narrow)


@contextmanager
def emit_blocks(nest: LoopNest, begin: Any, end: Any, sums: SumBlocks) -> Iterator[tuple[Any, Any]]:
    """The loop over the blocks of a row; gives where one begins and ends.

    A row of few elements is cut into shorter blocks, for a block's total is rounded once more than that of the row.
    """
    builder = nest.builder
    count = builder.sub(end, begin, flags=("nsw",))
    whole = builder.and_(count, word(-sums.lanes))
    part = builder.and_(builder.add(builder.lshr(whole, word(2)), word(sums.lanes - 1)), word(-sums.lanes))
    length = _larger(builder, _smaller(builder, part, word(sums.length)), word(max(SHORTEST, sums.lanes)))
    parts = builder.udiv(builder.add(whole, builder.sub(length, word(1)), flags=("nsw",)), length)
    rest = builder.zext(builder.icmp_signed(">", count, whole), I64)
    with nest.loop(word(0), builder.add(parts, rest, flags=("nsw",)), parallel=False) as number:
        first = _smaller(builder, builder.mul(number, length, flags=("nsw",)), whole)
        last = _smaller(builder, builder.add(first, length, flags=("nsw",)), whole)
        last = builder.select(builder.icmp_signed("<", first, whole), last, count)
        yield builder.add(begin, first, flags=("nsw",)), builder.add(begin, last, flags=("nsw",))


def _smaller(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed(">", a, b), a, b)


def _in_vectors(kernel: Kernel, line: Instruction, axis: int) -> bool:
    """Whether an instruction keeps no loop over an axis from being one of vectors."""
    body = line.body
    if isinstance(body, Gather) or blocks(body):
        return False
    if not isinstance(body, Load | Store):
        return True
    along = [dimension for dimension, index in enumerate(body.indices) if index.axis == axis]
    unit = kernel.operands[body.operand].unit
    return all(unit[dimension] and abs(body.indices[dimension].step) == 1 for dimension in along)


def _itemsize(kernel: Kernel, line: Instruction) -> int:
    moved = kernel.operands[line.body.operand].dtype if isinstance(line.body, Load | Store) else line.dtype
    return max((np.dtype(name).itemsize for name in (moved, line.dtype) if name), default=1)
