"""Reductions side by side: a tile of the last outer axis in vector lanes, with an accumulator for each of its places.

for i in range(n):                          for tile in range(0, n, WIDTH):
    total = 0                                   for i in tile: totals[i] = 0
    for j in range(m):              ->          for j in range(m):
        total += x[i, j]                            for i in tile: totals[i] += x[i, j]
    out[i] = total                              for i in tile: out[i] = totals[i]

So run all `reduce_columns` kernels, and `map` kernels whose rows turn out to be short when they are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import memory_type, word
from tracejit.lower.loop_nest import LoopNest
from tracejit.lower.packing import reads_with_stride
from tracejit.lower.placement import Placement
from tracejit.lower.reduction import COLUMN_BLOCK, ColumnAccumulators, RunningTotals
from tracejit.schedule.kernel import NARROW_TILE, TILE, Accumulate, Index, Kernel, Reduce, Stage, blocks

WIDTH = 256
"""Most rows that run side by side: their accumulators stay in the nearest cache."""

ELEMENTS = 2048
"""Elements of the rows of a tile: what is loaded for one vector stays in the nearest cache for the next."""

SHORT = 32
"""Elements of a row up to which rows run side by side."""

SHORT_WITH_STRIDE = 7
"""The same where vectors have to be loaded element by element."""

FEWEST = 8
"""Places of the last outer axis that a vector is worth."""


class TileNest(LoopNest):
    """A nest whose scratch rows stand side by side, one for each place of the tile of the last outer axis.

    first: where the tile begins.
    """

    width = WIDTH

    def __init__(self, kernel: Kernel, function: Any) -> None:
        self.first: Any = word(0)
        super().__init__(kernel, function)

    def is_unit(self, operand: int, dimension: int) -> bool:
        return super().is_unit(operand, dimension) and self.kernel.operands[operand].role != "scratch"

    def scratch_size(self, operand: int) -> Any:
        return self.builder.mul(super().scratch_size(operand), word(self.width), flags=("nsw",))

    def scratch_stride(self, operand: int, dimension: int) -> Any:
        return self.builder.mul(super().scratch_stride(operand, dimension), word(self.width), flags=("nsw",))

    def address(self, operand: int, indices: Sequence[Index | None]) -> Any:
        pointer, declared = super().address(operand, indices), self.kernel.operands[operand]
        if declared.role != "scratch":
            return pointer

        def own_place() -> Any:
            place = self.builder.sub(self.axis_values[self.kernel.outer[-1]], self.first, flags=("nsw",))
            element = memory_type(np.dtype(declared.dtype))
            return self.builder.gep(pointer, [place], inbounds=True, source_etype=element)

        return self.remember(len(self.levels) - 1, ("own place", operand, tuple(indices)), own_place)


class ColumnNest(TileNest):
    """The same for `reduce_columns`, whose tiles are wide enough to read long stretches of memory."""

    width = TILE


def emit_columns(emitter: Emitter, begin: Any, end: Any) -> None:
    """A `reduce_columns` kernel; with a single outer axis, [begin, end) counts tiles (`abi.units`)."""
    nest, builder = emitter.nest, emitter.builder
    if len(emitter.kernel.outer) == 1:
        extent = nest.extent(emitter.kernel.outer[0])
        width = nest.remember(0, "tile width", lambda: emit_tile_width(builder, extent))
        begin = builder.mul(begin, width, flags=("nsw",))
        end = smaller(emitter, builder.mul(end, width, flags=("nsw",)), extent)
        _side_by_side(emitter, begin, end, width)
        return
    _side_by_side(emitter, begin, end, word(TILE))


def emit_tile_width(builder: Any, columns: Any) -> Any:
    """`abi.tile_width`."""
    lines = builder.mul(builder.lshr(builder.add(columns, word(127)), word(7)), word(64))
    wide = builder.select(builder.icmp_signed(">", lines, word(NARROW_TILE)), lines, word(NARROW_TILE))
    return builder.select(builder.icmp_signed("<", wide, word(TILE)), wide, word(TILE))


def emit_short_rows(emitter: Emitter, begin: Any, end: Any, copies: int = 0) -> None:
    """A `map` kernel over [begin, end) of its first outer axis, whose first `copies` stages come once a tile."""
    nest, builder = emitter.nest, emitter.builder
    length = word(1)
    for axes in {stage.axes for stage in emitter.kernel.stages}:
        here = word(1)
        for axis in axes:
            here = builder.mul(here, nest.extent(axis))
        length = builder.select(builder.icmp_unsigned(">", here, length), here, length)
    _side_by_side(emitter, begin, end, smaller(emitter, word(WIDTH), builder.udiv(word(ELEMENTS), length)), copies)


def _side_by_side(emitter: Emitter, begin: Any, end: Any, step: Any, copies: int = 0) -> None:
    """Tiles of `step` places; inside a tile each stage runs its rows."""
    kernel, nest = emitter.kernel, emitter.nest
    prefix, last = kernel.outer[:-1], kernel.outer[-1]
    bounds = {axis: (word(0), nest.extent(axis)) for axis in kernel.outer} | {kernel.outer[0]: (begin, end)}
    with ExitStack() as loops:
        if copies:
            tile = loops.enter_context(_tile(emitter, last, bounds[last], step))
            for stage in kernel.stages[:copies]:
                emit_stage(emitter, stage, (), tile, {})
        for depth, axis in enumerate(prefix):
            place_stages(emitter, kernel.stages[copies:], depth)
            loops.enter_context(nest.loop(*bounds[axis], axis=axis))
        place_stages(emitter, kernel.stages[copies:], len(prefix))
        if not copies:
            tile = loops.enter_context(_tile(emitter, last, bounds[last], step))
        finished: dict[int, ColumnAccumulators] = {}
        for stage in kernel.stages[copies:]:
            finished |= emit_stage(emitter, stage, prefix, tile, finished)


@contextmanager
def _tile(emitter: Emitter, axis: int, bounds: tuple[Any, Any], step: Any) -> Iterator[tuple[Any, Any]]:
    """The loop over tiles of an axis; gives where a tile begins and ends."""
    nest = emitter.nest
    assert isinstance(nest, TileNest)
    with nest.loop(*bounds, step=step, parallel=False) as first:
        stop = smaller(emitter, emitter.builder.add(first, step, flags=("nsw",)), bounds[1])
        nest.first = first
        yield first, stop


def placement_of(kernel: Kernel, stage: Stage, prefix: tuple[int, ...]) -> Placement:
    """Where the instructions of a stage stand: the loop over the tile is the innermost."""
    order = (*prefix, *stage.axes, kernel.outer[-1])
    return Placement(kernel, order, len(order))


def place_stages(emitter: Emitter, stages: Sequence[Stage], depth: int) -> None:
    """Emit what stands outside the loop over the tiles, at a depth."""
    for stage in stages:
        emitter.place(stage, placement_of(emitter.kernel, stage, emitter.kernel.outer[:-1]), depth)


def emit_stage(
    emitter: Emitter,
    stage: Stage,
    prefix: tuple[int, ...],
    tile: tuple[Any, Any],
    finished: dict[int, ColumnAccumulators],
) -> dict[int, ColumnAccumulators]:
    """One stage over one tile; `finished` holds what earlier stages reduced.  Returns what this one does."""
    kernel, nest, builder = emitter.kernel, emitter.nest, emitter.builder
    assert isinstance(nest, TileNest)
    placement, last, first = placement_of(kernel, stage, prefix), kernel.outer[-1], tile[0]
    dtypes = {i.number: i.dtype for i in kernel.instructions}
    accumulators = {
        i.number: ColumnAccumulators(emitter, i, dtypes[i.body.value], nest.width)
        for i in stage.instructions
        if isinstance(i.body, Reduce)
    }
    running = {
        i.number: RunningTotals(emitter, i, nest.width) for i in stage.instructions if isinstance(i.body, Accumulate)
    }
    emitter.running.update({number: totals.step for number, totals in running.items()})
    in_blocks = [accumulator for accumulator in accumulators.values() if accumulator.blocked]
    if accumulators or running:
        with nest.loop(*tile) as i:
            column = builder.sub(i, first, flags=("nsw",))
            for accumulator in accumulators.values():
                accumulator.start(column)
            for totals in running.values():
                totals.column = column
                totals.start()
    with ExitStack() as loops:
        for depth, axis in enumerate(stage.axes, len(prefix) + 1):
            bounds = (word(0), nest.extent(axis))
            if in_blocks and axis == stage.axes[-1]:
                bounds = loops.enter_context(emit_block(emitter, bounds, tile, in_blocks, len(stage.axes) > 1))
            loops.enter_context(nest.loop(*bounds, axis=axis, parallel=False))
            emitter.place(stage, placement, depth)
        i = loops.enter_context(nest.loop(*tile, axis=last))
        column = builder.sub(i, first, flags=("nsw",))
        for totals in running.values():
            totals.column = column
        for number, earlier in finished.items():
            emitter.define(number, earlier.result(column))
        emitter.place(stage, placement, len(prefix) + len(stage.axes) + 1)
        for accumulator in accumulators.values():
            accumulator.step(column, emitter.value(accumulator.body.value))
    return accumulators


@contextmanager
def emit_block(
    emitter: Emitter,
    bounds: tuple[Any, Any],
    tile: tuple[Any, Any],
    sums: list[ColumnAccumulators],
    nested: bool,
    rows: Any = None,
) -> Iterator[tuple[Any, Any]]:
    """The loop over blocks of a reduced axis; gives where one begins and ends.  All blocks but the last are folded.

    rows: how many places of the axis a step is of, if that is not one.
    """
    nest, builder = emitter.nest, emitter.builder
    step = word(COLUMN_BLOCK) if rows is None else builder.mul(rows, word(COLUMN_BLOCK), flags=("nsw",))
    with nest.loop(*bounds, step=step, parallel=False) as start:
        begin = tile[0]
        if not nested:
            begin = builder.select(builder.icmp_signed("==", start, bounds[0]), tile[1], begin)
        with nest.loop(begin, tile[1]) as i:
            for accumulator in sums:
                accumulator.fold(builder.sub(i, tile[0], flags=("nsw",)))
        yield start, smaller(emitter, builder.add(start, step, flags=("nsw",)), bounds[1])


def smaller(emitter: Emitter, a: Any, b: Any) -> Any:
    """The smaller of two words."""
    return emitter.builder.select(emitter.builder.icmp_signed("<", a, b), a, b)


# ---- rows that turn out to be short


def may_have_short_rows(kernel: Kernel) -> bool:
    """Whether a `map` kernel reduces rows, so that it is worth having the code for short ones too."""
    reduces = any(isinstance(line.body, Reduce | Accumulate) for line in kernel.instructions)
    return kernel.form == "map" and reduces and not any(blocks(line.body) for line in kernel.instructions)


def rows_are_short(kernel: Kernel, builder: Any, extents: list[Any]) -> Any:
    """The bool that decides at run time: every stage's row is short, and there are enough rows side by side."""
    limit = SHORT_WITH_STRIDE if reads_with_stride(kernel) else SHORT
    short = builder.icmp_signed(">=", extents[kernel.outer[-1]], word(FEWEST))
    for axes in sorted({stage.axes for stage in kernel.stages if stage.axes}):
        length = word(1)
        for axis in axes:
            length = builder.mul(length, extents[axis])
        short = builder.and_(short, builder.icmp_unsigned("<=", length, word(limit)))
    return short
