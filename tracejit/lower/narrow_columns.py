"""Reductions of columns in a table of few of them: several of its rows side by side, as if they were one.

for i in range(n):                           for i in range(0, n, k):                # k rows are one stretch of memory
    for c in range(columns):        ->           for c in range(k * columns):
        totals[c] += x[i, c]                         totals[c] += x[i, c]
                                             for c in range(columns):
                                                 totals[c] += totals[c + columns] + ...

A row of a few elements fills no vector.  The rows must follow each other without a gap, which a call finds out.  What
is one number for each column, such as the mean in a variance, is laid out on the stack as often as there are rows.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from tracejit.lower.abi import layout
from tracejit.lower.columns import ColumnNest, emit_block, emit_stage, place_stages, placement_of, smaller
from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import I64, memory_type, word
from tracejit.lower.reduction import ColumnAccumulators
from tracejit.schedule.kernel import Apply, IntegerValue, Kernel, Literal, Load, Reduce, ScalarParameter
from tracejit.vecmath.language import Scalar

FEW = 64
"""Most columns of which several rows are done at once."""

PLACES = 256
"""Most elements that are done at once."""

LONG = 64
"""Rows that are worth it."""


def may_be_narrow(kernel: Kernel) -> bool:
    """Whether a kernel reduces columns of nothing but tables whose rows may follow each other without a gap."""
    if kernel.form != "reduce_columns" or len(kernel.stages[0].axes) != 1:
        return False
    bodies = [line.body for line in kernel.stages[0].instructions]
    plain = all(isinstance(body, Apply | Literal | ScalarParameter | IntegerValue | Reduce | Load) for body in bodies)
    loads = [body for body in bodies if isinstance(body, Load)]
    fine = all(_is_invariant(kernel, load) or _is_table(kernel, load) or _is_row(kernel, load) for load in loads)
    return plain and bool(_tables(kernel)) and fine


def is_narrow(kernel: Kernel, builder: Any, words: Any) -> Any:
    """The bool that decides at run time, from the parameter words."""
    slots = layout(kernel)

    def read(slot: int) -> Any:
        return builder.load(builder.gep(words, [word(slot)], source_etype=I64), typ=I64)

    columns, rows = read(slots.extents + kernel.outer[-1]), read(slots.extents + kernel.stages[0].axes[0])
    # Unsigned, so that none are too many as well.
    narrow = builder.icmp_unsigned("<", builder.sub(columns, word(1)), word(FEW))
    narrow = builder.and_(narrow, builder.icmp_signed(">=", rows, word(LONG)))
    for operand, dimension in sorted(_tables(kernel)):
        data = slots.data[operand]
        assert data is not None
        gapless = builder.mul(columns, word(np.dtype(kernel.operands[operand].dtype).itemsize))
        narrow = builder.and_(narrow, builder.icmp_signed("==", read(data + 1 + dimension), gapless))
    return narrow


def _tables(kernel: Kernel) -> set[tuple[int, int]]:
    """The operands that are read row by row, and which of their dimensions counts the rows."""
    stage = kernel.stages[0]
    loads = [line.body for line in stage.instructions if isinstance(line.body, Load)]
    return {
        (load.operand, dimension)
        for load in loads
        for dimension, index in enumerate(load.indices)
        if index.axis == stage.axes[0]
    }


def _is_table(kernel: Kernel, load: Load) -> bool:
    operand, axes = kernel.operands[load.operand], [index.axis for index in load.indices]
    along, across = kernel.stages[0].axes[0], kernel.outer[-1]
    once = axes.count(along) == 1 and axes.count(across) == 1 and axes[-1] == across and operand.unit[-1]
    ahead = all(index.step == 1 for index in load.indices if index.axis in (along, across))
    return once and ahead and operand.role == "in"


def _is_invariant(kernel: Kernel, load: Load) -> bool:
    return not {kernel.stages[0].axes[0], kernel.outer[-1]} & {index.axis for index in load.indices}


def _is_row(kernel: Kernel, load: Load) -> bool:
    """Whether it is one number for each column, such as the mean in a variance."""
    axes = [index.axis for index in load.indices]
    along, across = kernel.stages[0].axes[0], kernel.outer[-1]
    return across in axes and along not in axes and kernel.operands[load.operand].role == "in"


def emit_narrow_columns(emitter: Emitter, begin: Any, end: Any) -> None:
    """Such a kernel; with a single outer axis there is one unit."""
    kernel, nest = emitter.kernel, emitter.nest
    prefix, last = kernel.outer[:-1], kernel.outer[-1]
    with ExitStack() as loops:
        for depth, axis in enumerate(prefix):
            place_stages(emitter, kernel.stages, depth)
            bounds = (begin, end) if depth == 0 else (word(0), nest.extent(axis))
            loops.enter_context(nest.loop(*bounds, axis=axis))
        place_stages(emitter, kernel.stages, len(prefix))
        finished = _reduced(emitter, prefix)
        for stage in kernel.stages[1:]:
            finished |= emit_stage(emitter, stage, prefix, (word(0), nest.extent(last)), finished)


def _repeated_rows(emitter: Emitter, columns: Any, places: Any) -> dict[int, _Places]:
    """What is one number for each column, at each place of the rows that are done at once."""
    kernel, nest, builder = emitter.kernel, emitter.nest, emitter.builder
    lines = [x for x in kernel.stages[0].instructions if isinstance(x.body, Load) and _is_row(kernel, x.body)]
    rows = {line.number: _Places(emitter, line.dtype) for line in lines}
    if lines:
        with ExitStack() as loops:
            first = loops.enter_context(nest.loop(word(0), places, step=columns, parallel=False))
            column = loops.enter_context(nest.loop(word(0), columns, axis=kernel.outer[-1]))
            for line in lines:
                rows[line.number].write(builder.add(first, column, flags=("nsw",)), emitter.emit(line))
    return rows


class _Places:
    """One value for each place of the rows that are done at once, on the stack."""

    def __init__(self, emitter: Emitter, dtype: str) -> None:
        self._emitter, self._dtype = emitter, np.dtype(dtype)
        self._start = emitter.nest.stack_slot(memory_type(self._dtype), PLACES)

    def read(self, place: Any) -> Scalar:
        """The value at a place."""
        return self._emitter.load(self._at(place), self._dtype, self._dtype)

    def write(self, place: Any, value: Scalar) -> None:
        """Set it."""
        self._emitter.store_at(self._at(place), self._dtype, value)

    def _at(self, place: Any) -> Any:
        element = memory_type(self._dtype)
        return self._emitter.builder.gep(self._start, [place], inbounds=True, source_etype=element)


def _reduced(emitter: Emitter, prefix: tuple[int, ...]) -> dict[int, ColumnAccumulators]:
    """What the first stage reduces."""
    kernel, nest, builder = emitter.kernel, emitter.nest, emitter.builder
    assert isinstance(nest, ColumnNest)
    stage, last = kernel.stages[0], kernel.outer[-1]
    (along,) = stage.axes
    placement, dtypes = placement_of(kernel, stage, prefix), {i.number: i.dtype for i in kernel.instructions}
    accumulators = {
        line.number: ColumnAccumulators(emitter, line, dtypes[line.body.value], PLACES)
        for line in stage.instructions
        if isinstance(line.body, Reduce)
    }
    columns, length = nest.extent(last), nest.extent(along)
    rows = builder.udiv(word(PLACES), columns)
    places = builder.mul(rows, columns, flags=("nsw",))
    with nest.loop(word(0), places) as place:
        for accumulator in accumulators.values():
            accumulator.start(place)
    repeated = _repeated_rows(emitter, columns, places)
    sums = [accumulator for accumulator in accumulators.values() if accumulator.blocked]
    with ExitStack() as loops:
        bounds = (word(0), length)
        if sums:
            bounds = loops.enter_context(emit_block(emitter, bounds, (word(0), places), sums, False, rows))
        row = loops.enter_context(nest.loop(*bounds, step=rows, axis=along, parallel=False))
        emitter.place(stage, placement, len(prefix) + 1)
        left = builder.mul(builder.sub(length, row, flags=("nsw",)), columns, flags=("nsw",))
        place = loops.enter_context(nest.loop(word(0), smaller(emitter, places, left), axis=last))
        for number, values in repeated.items():
            emitter.define(number, values.read(place))
        emitter.place(stage, placement, len(prefix) + 2)
        for accumulator in accumulators.values():
            accumulator.step(place, emitter.value(accumulator.body.value))
    with nest.loop(columns, places, step=columns, parallel=False) as other, nest.loop(word(0), columns) as column:
        for accumulator in accumulators.values():
            accumulator.merge(column, builder.add(other, column, flags=("nsw",)))
    return accumulators
