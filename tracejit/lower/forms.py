"""The forms of kernel as loop nests: `map`, `reduce_all`, `reduce_columns`; `panels` has a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial, reduce
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir

from tracejit.lower.abi import decidable, finds_position, layout, may_end_early
from tracejit.lower.chunks import block_loop, chunk_bounds, chunk_count, counts, end_early, partials
from tracejit.lower.columns import (
    ColumnNest,
    TileNest,
    emit_columns,
    emit_short_rows,
    may_have_short_rows,
    rows_are_short,
)
from tracejit.lower.first_extremum import emit_chunks_positions, emit_final_position
from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import I64, word
from tracejit.lower.loop_nest import LoopNest
from tracejit.lower.narrow_columns import emit_narrow_columns, is_narrow, may_be_narrow
from tracejit.lower.next_row import emit_fetch, last_long_stage
from tracejit.lower.packing import packed
from tracejit.lower.panel_product import PanelNest, emit_panels
from tracejit.lower.placement import Placement, placements
from tracejit.lower.reduction import Accumulator, RunningTotal
from tracejit.lower.streaming import emit_streaming, fence, streaming
from tracejit.lower.sum_blocks import SumBlocks, emit_blocks, sum_blocks
from tracejit.lower.tileable_loop import tiled_loop
from tracejit.lower.tiled_loop import emit_tiles
from tracejit.schedule.kernel import Accumulate, Kernel, Reduce, Stage

_Form: TypeAlias = Callable[[Emitter, Any, Any], None]


def emit_main(kernel: Kernel, function: Any, cache_bytes: int) -> None:
    """The body of `i64 kernel(p, begin, end)`; `cache_bytes`: what the last-level cache holds."""
    if may_have_short_rows(kernel):
        _long_or_short_rows(kernel, function)
        return
    if may_be_narrow(kernel):
        wide, narrow = _variants(function, "_wide", "_narrow")
        _emit(emit_columns, ColumnNest, kernel, wide)
        _emit(emit_narrow_columns, ColumnNest, kernel, narrow)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        _choose(builder, is_narrow(kernel, builder, function.args[0]), narrow, wide)
        return
    forms: dict[str, tuple[_Form, type[LoopNest]]] = {
        "map": (partial(_map, cache_bytes=cache_bytes), LoopNest),
        "panels": (emit_panels, PanelNest),
        "reduce_all": (emit_chunks_positions if finds_position(kernel) else _chunks, LoopNest),
        "reduce_columns": (emit_columns, ColumnNest),
    }
    _emit(*forms[kernel.form], kernel, function)


def _emit(form: _Form, nest: type[LoopNest], kernel: Kernel, function: Any) -> None:
    emitter = Emitter(kernel, function, nest)
    form(emitter, *function.args[1:])
    emitter.nest.finish()


def _long_or_short_rows(kernel: Kernel, function: Any) -> None:
    """Two functions, of which a call takes one by the length of its rows."""
    long, short = _variants(function, "_long", "_short")
    _emit(_map, LoopNest, kernel, long)
    with_copies = packed(kernel)
    _emit(partial(emit_short_rows, copies=with_copies.copies), TileNest, with_copies.kernel, short)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    first = layout(kernel).extents
    words = [builder.gep(function.args[0], [word(first + k)], source_etype=I64) for k in range(kernel.axes)]
    extents = [builder.load(pointer, typ=I64) for pointer in words]
    _choose(builder, rows_are_short(with_copies.kernel, builder, extents), short, long)


def _variants(function: Any, *names: str) -> list[Any]:
    """Functions of the same type, for a kernel to choose from."""
    variants = [ir.Function(function.module, function.ftype, function.name + name) for name in names]
    for variant in variants:
        variant.linkage = "internal"
        for attribute in set(function.attributes):
            set.add(variant.attributes, attribute)
    return variants


def _choose(builder: Any, test: Any, one: Any, other: Any) -> None:
    """The rest of a kernel: what one of two variants returns."""
    arguments = builder.function.args
    with builder.if_then(test):
        builder.ret(builder.call(one, arguments))
    builder.ret(builder.call(other, arguments))


def emit_final(kernel: Kernel, function: Any) -> None:
    """The body of `i64 final(p)` of a `reduce_all` kernel: combine the partial results, run the epilogue."""
    emitter = Emitter(kernel, function)
    nest, first = emitter.nest, kernel.stages[0]
    plain = placements(kernel)
    emitter.place(first, plain[0], 0)
    if finds_position(kernel):
        emit_final_position(emitter)
    else:
        _combine_partials(emitter, first, plain[0])
    for stage, placement in zip(kernel.stages[1:], plain[1:], strict=True):
        _stage(emitter, stage, placement)
    nest.finish()


def _combine_partials(emitter: Emitter, stage: Stage, placement: Placement) -> None:
    """What the first stage reduces, from the partial results of its chunks."""
    kernel, nest = emitter.kernel, emitter.nest
    accumulators = _accumulators(emitter, stage, sum_blocks(kernel, stage, placement))
    for accumulator in accumulators.values():
        accumulator.start()
    with nest.loop(word(0), chunk_count(emitter), parallel=False) as chunk:
        for accumulator, operand in zip(accumulators.values(), partials(kernel), strict=True):
            pointer = nest.step_bytes(nest.base(operand), chunk, operand, 0)
            stored = np.dtype(kernel.operands[operand].dtype)
            accumulator.add_partial(emitter.load(pointer, stored, accumulator.dtype))
    for number, accumulator in accumulators.items():
        emitter.define(number, accumulator.result())


# ---- map


def _map(emitter: Emitter, begin: Any, end: Any, cache_bytes: int | None = None) -> None:
    kernel, nest = emitter.kernel, emitter.nest
    plain = placements(kernel)
    tiled = tiled_loop(kernel, plain[0])
    streamed = None if cache_bytes is None else streaming(kernel, plain[0], cache_bytes)
    with ExitStack() as loops:
        for depth, axis in enumerate(kernel.outer):
            _place_all(emitter, plain, depth)
            bounds = (begin, end) if depth == 0 else (word(0), nest.extent(axis))
            innermost = depth == len(kernel.outer) - 1
            if innermost and tiled is not None:
                emit_tiles(emitter, tiled, *bounds)
            elif innermost and streamed is not None:
                emit_streaming(emitter, plain[0], streamed, *bounds)
            else:
                loops.enter_context(nest.loop(*bounds, axis=axis))
        if tiled is None and streamed is None:
            before = last_long_stage(kernel)
            for number, (stage, placement) in enumerate(zip(kernel.stages, plain, strict=True)):
                if number == before:
                    emit_fetch(emitter)
                _stage(emitter, stage, placement)
    if streamed is not None:
        fence(emitter, streamed)


def _place_all(emitter: Emitter, by_stage: list[Placement], depth: int) -> None:
    for stage, placement in zip(emitter.kernel.stages, by_stage, strict=True):
        emitter.place(stage, placement, depth)


def _accumulators(emitter: Emitter, stage: Stage, sums: SumBlocks) -> dict[int, Accumulator]:
    dtypes = {i.number: i.dtype for i in emitter.kernel.instructions}
    return {
        i.number: Accumulator(emitter, i, dtypes[i.body.value], sums.narrow)
        for i in stage.instructions
        if isinstance(i.body, Reduce)
    }


def _stage(emitter: Emitter, stage: Stage, placement: Placement) -> None:
    """A stage inside the outer loops; what it reduces is defined for the later stages."""
    emitter.place(stage, placement, len(emitter.kernel.outer))
    sums = sum_blocks(emitter.kernel, stage, placement)
    accumulators = _accumulators(emitter, stage, sums)
    for accumulator in accumulators.values():
        accumulator.start()
    for line in stage.instructions:
        if isinstance(line.body, Accumulate):
            running = RunningTotal(emitter, line)
            running.start()
            emitter.running[line.number] = running.step
    bounds = (word(0), emitter.nest.extent(stage.axes[0])) if stage.axes else (word(0), word(1))
    _stage_loops(emitter, stage, placement, list(accumulators.values()), sums, bounds)
    for number, accumulator in accumulators.items():
        emitter.define(number, accumulator.result())


def _stage_loops(
    emitter: Emitter,
    stage: Stage,
    placement: Placement,
    accumulators: list[Accumulator],
    sums: SumBlocks,
    bounds: tuple[Any, Any],
) -> None:
    """The loops of a stage, the first of them over `bounds`; a blocked sum, or an early end, splits the innermost."""
    nest, depth, in_blocks = emitter.nest, len(emitter.kernel.outer), any(x.blocked for x in accumulators)
    until = partial(_all_decided, accumulators) if stage.axes and decidable(stage) else None
    with ExitStack() as loops:
        for number, axis in enumerate(stage.axes):
            begin, end = bounds if number == 0 else (word(0), nest.extent(axis))
            if number == len(stage.axes) - 1 and in_blocks:
                begin, end = loops.enter_context(emit_blocks(nest, begin, end, sums))
                loops.callback(_end_blocks, accumulators)
                for accumulator in accumulators:
                    accumulator.start_block()
            vectors = sums.vectors if number == len(stage.axes) - 1 and in_blocks else 0
            if until is not None and number == len(stage.axes) - 1:
                begin, end = loops.enter_context(block_loop(emitter, begin, end, until))
                loops.enter_context(nest.loop(begin, end, axis=axis))
            else:
                loops.enter_context(nest.loop(begin, end, axis=axis, vectors=vectors, parallel=not until, until=until))
            emitter.place(stage, placement, depth + number + 1)
        if not stage.axes:
            for accumulator in accumulators:
                accumulator.start_block()
            loops.callback(_end_blocks, accumulators)
        for accumulator in accumulators:
            accumulator.step(emitter.value(accumulator.body.value))


def _all_decided(accumulators: list[Accumulator]) -> Any:
    """The bool that no value changes any of them any more."""
    decided = [accumulator.decided() for accumulator in accumulators]
    return reduce(accumulators[0].emitter.builder.and_, decided)


def _end_blocks(accumulators: list[Accumulator]) -> None:
    for accumulator in accumulators:
        accumulator.end_block()


# ---- reduce_all


def _chunks(emitter: Emitter, begin: Any, end: Any) -> None:
    """Each chunk of the first stage into its partial results; what does not vary is stored by `final`."""
    kernel, nest, builder = emitter.kernel, emitter.nest, emitter.builder
    stage, placement = kernel.stages[0], placements(kernel)[0]
    emitter.place(stage, placement, 0, stores=False)
    sums = sum_blocks(kernel, stage, placement)
    accumulators = list(_accumulators(emitter, stage, sums).values())
    with nest.loop(begin, end, parallel=False) as chunk:
        for accumulator in accumulators:
            accumulator.start()
        bounds = chunk_bounds(emitter, chunk) if stage.axes else (word(0), word(1))
        if may_end_early(kernel):
            with builder.if_then(counts(emitter, chunk)):
                _stage_loops(emitter, stage, placement, accumulators, sums, bounds)
                with builder.if_then(_all_decided(accumulators), likely=False):
                    end_early(emitter, word(0))
        else:
            _stage_loops(emitter, stage, placement, accumulators, sums, bounds)
        for accumulator, operand in zip(accumulators, partials(kernel), strict=True):
            pointer = nest.step_bytes(nest.base(operand), chunk, operand, 0)
            emitter.store_at(pointer, np.dtype(kernel.operands[operand].dtype), accumulator.total())
