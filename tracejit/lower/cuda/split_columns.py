"""Columns that are few and long: blocks share a column, and leave parts that a second launch puts together.

launch 1: block (tile, chunk) reduces its chunk of the reduced axis for 32 columns      -> work[chunk, column]
launch 2: a thread for each column puts the chunks together in order, and does what follows
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tracejit.lower.cuda.accumulators import Accumulator, Group, accumulators, read_stored, started, step_all, stored
from tracejit.lower.cuda.body import Body
from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch, Variant, Work
from tracejit.lower.cuda.parameters import function, parameters, source
from tracejit.lower.cuda.spread import spread, unravel
from tracejit.lower.cuda.text import Text
from tracejit.lower.placement import Placement, placements
from tracejit.schedule.kernel import Instruction, Kernel, Reduce, Store, walk

STEPS = 8
"""Steps on the first reduced axis that a thread makes at least."""

WAVES = 4
"""Blocks for each multiprocessor that share the columns."""


@dataclass(frozen=True)
class Chunks:
    """The grid of the first launch: tiles of columns times chunks of the reduced axis."""

    outer: tuple[int, ...]
    axis: int
    group: Group

    def tiles(self, extents: Extents) -> int:
        """Tiles of columns."""
        return -(-math.prod(extents[axis] for axis in self.outer) // self.group.count)

    def count(self, extents: Extents, device: Device) -> int:
        """Chunks of the reduced axis."""
        wanted = WAVES * device.multiprocessors // max(1, self.tiles(extents))
        return max(1, min(wanted, -(-extents[self.axis] // (self.group.width * STEPS))))

    def __call__(self, extents: Extents, device: Device) -> int:
        return self.tiles(extents) * self.count(extents, device)


@dataclass(frozen=True)
class PartLength:
    """A part for each chunk and column."""

    chunks: Chunks

    def __call__(self, extents: Extents, device: Device) -> int:
        columns = math.prod(extents[axis] for axis in self.chunks.outer)
        return max(1, columns * self.chunks.count(extents, device))


@dataclass(frozen=True)
class ColumnThreads:
    """A thread for each column."""

    outer: tuple[int, ...]
    block: int

    def __call__(self, extents: Extents, device: Device) -> int:
        return -(-math.prod(extents[axis] for axis in self.outer) // self.block)


def can_split(kernel: Kernel) -> bool:
    """Does only the first stage reduce, and write nothing?"""
    first, *rest = kernel.stages
    stores = any(isinstance(line.body, Store) for line in walk(first.instructions))
    plain = not any(stage.axes or any(isinstance(x.body, Reduce) for x in stage.instructions) for stage in rest)
    scratch = any(operand.role == "scratch" for operand in kernel.operands)
    return kernel.form == "reduce_columns" and bool(first.axes) and plain and not stores and not scratch


def split_columns(kernel: Kernel, variant: Variant) -> CudaKernel:
    """A `reduce_columns` kernel in two launches."""
    group = Group(min(variant.row, variant.block), variant.block, side_by_side=True)
    chunks = Chunks(kernel.outer, kernel.stages[0].axes[0], group)
    first, second = Text(), Text()
    found = _parts(Body(kernel, variant, first), group)
    work = [Work(accumulator.dtype.name, PartLength(chunks)) for accumulator in found] + [Work("int64", Always(1))]
    words = parameters(kernel, work)
    second.helpers, second.helper_texts, second.tables = first.helpers, first.helper_texts, first.tables
    _together(Body(kernel, replace(variant, row=1), second))
    return CudaKernel(
        source=source(
            first,
            function("kernel_parts", kernel, words, first.lines, variant.index_bits),
            function("kernel_columns", kernel, words, second.lines, variant.index_bits),
        ),
        parameters=words,
        launches=(
            Launch("kernel_parts", "columns", variant.block, chunks, Always(0)),
            Launch("kernel_columns", "combine", variant.block, ColumnThreads(kernel.outer, variant.block), Always(0)),
        ),
        work=tuple(work),
        fma=kernel.fastmath,
        tables=tuple((name, *table) for name, table in first.tables.items()),
    )


def _parts(body: Body, group: Group) -> list[Accumulator]:
    """A block's chunk of its columns; threads beyond the last column do that once more, and store nothing."""
    kernel, text = body.kernel, body.text
    stage, placement = kernel.stages[0], placements(kernel)[0]
    axis = stage.axes[0]
    group.head(body)
    total = body.define_index(" * ".join(f"n{axis}" for axis in kernel.outer), "columns")
    shift = group.count.bit_length() - 1
    tiles = body.define_index(f"({total} + {group.count - 1}) >> {shift}", "tiles")
    block = body.define_index("cuda.blockIdx.x", "block")
    chunk = text.define(f"idiv({block}, {tiles})", "chunk")
    chunks = text.define(f"idiv({body.index('cuda.gridDim.x + 0')}, {tiles})", "chunks")
    own = body.define_index(f"({block} - {chunk} * {tiles}) * {group.count} + group", "own")
    text.line(f"active = {own} < {total}")
    column = text.define(f"select(active, {own}, {body.index(f'{total} - 1')})", "column")
    length = text.define(f"idiv({body.index(f'n{axis} + {chunks} - 1')}, {chunks})", "length")
    text.line(f"begin = {body.index(f'{chunk} * {length}')}")
    left = body.define_index(f"n{axis} - begin", "left")
    text.line(f"here = select({left} < {length}, {left}, {length})")
    unravel(body, column, kernel.outer)
    body.run([line for line in stage.instructions if _outside(line, placement, kernel)])
    found = started(body, stage)
    body.extents[axis], body.origins[axis] = "here", "begin"
    inside = [line for line in stage.instructions if not _outside(line, placement, kernel)]
    spread(body, stage.axes, inside, placement, "lane", str(group.width), None, step_all(found))
    group.combine(found, text)
    totals = [accumulator.total() for accumulator in found]
    with text.block("if active and lane == 0:"):
        for slot, value in enumerate(totals):
            place = body.index(f"{chunk} * {total} + {column}")
            text.line(f"work{slot}[{place}] = {stored(value.name, value.dtype)}")
    with text.block(f"if {block} == 0 and thread == 0:"):
        text.line(f"work{len(found)}[0] = int64({chunks})")
    return found


def _outside(line: Instruction, placement: Placement, kernel: Kernel) -> bool:
    """Does a line stand outside of the loops of the first stage?"""
    return not isinstance(line.body, Reduce) and placement.depth(line.number) <= len(kernel.outer)


def _together(body: Body) -> None:
    """What the parts of a column come to, and what follows."""
    kernel, text = body.kernel, body.text
    found = accumulators(body, kernel.stages[0])
    total = body.define_index(" * ".join(f"n{axis}" for axis in kernel.outer), "columns")
    column = body.define_index("cuda.grid(1)", "column")
    with body.level(), text.block(f"if {column} < {total}:"):
        unravel(body, column, kernel.outer)
        for accumulator in found:
            accumulator.start()
        chunk = text.fresh("chunk")
        with text.block(f"for {chunk} in range(work{len(found)}[0]):"):
            for slot, accumulator in enumerate(found):
                place = f"{chunk} * {total} + {column}"
                accumulator.add(read_stored(text, f"work{slot}[{place}]", accumulator.dtype))
        placement, lines = placements(kernel)[0], kernel.stages[0].instructions
        body.run([line for line in lines if _outside(line, placement, kernel)])
        for accumulator in found:
            body.define(accumulator.line.number, accumulator.result())
        for stage in kernel.stages[1:]:
            body.run(stage.instructions)
