"""Before the last stage of a row its successor is fetched, so that it comes from memory while there is much to compute.

for i in range(n):                              for i in range(n):
    for j in range(m): total += x[i, j]             for j in range(m): total += x[i, j]
    for j in range(m): out[i, j] = ...    ->        prefetch x[i + 1]
                                                    for j in range(m): out[i, j] = ...

A processor fetches ahead by itself inside a row, but not from the end of one stage to the first of the next row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import I8, I32, POINTER, VOID, word
from tracejit.schedule.kernel import Kernel, Load, Stage

LINE = 64
"""Bytes of a cache line."""

MOST_BYTES = 1 << 14
"""Of a longer row the beginning is fetched; the nearest caches hold no more besides the row at hand."""


def last_long_stage(kernel: Kernel) -> int | None:
    """The stage before which the next row is fetched; None where a row has fewer than two stages of many elements."""
    long = [number for number, stage in enumerate(kernel.stages) if stage.axes]
    return long[-1] if len(long) > 1 else None


def emit_fetch(emitter: Emitter) -> None:
    """Ask for what the first stage reads of the next place on the last outer axis."""
    kernel = emitter.kernel
    stage = next(stage for stage in kernel.stages if stage.axes)
    loads = (line.body for line in stage.instructions if isinstance(line.body, Load))
    rows = {(body.operand, body.indices[:-1]): body for body in loads if _is_row(kernel, stage, body)}
    for body in rows.values():
        _fetch(emitter, stage, body)


def _is_row(kernel: Kernel, stage: Stage, body: Load) -> bool:
    """Whether a load goes along a row without gaps, each place on the last outer axis having a row of its own."""
    if len(stage.axes) != 1 or kernel.operands[body.operand].role != "in":
        return False
    last = body.indices[-1] if body.indices else None
    along = last is not None and last.axis == stage.axes[0] and last.step == 1
    if any(index.axis == stage.axes[0] for index in body.indices[:-1]):  # a diagonal
        return False
    return along and kernel.operands[body.operand].unit[-1] and _own_dimension(kernel, body) is not None


def _own_dimension(kernel: Kernel, body: Load) -> int | None:
    return next((d for d, index in enumerate(body.indices) if index.axis == kernel.outer[-1]), None)


def _fetch(emitter: Emitter, stage: Stage, body: Load) -> None:
    nest, builder, kernel = emitter.nest, emitter.builder, emitter.kernel
    dimension = _own_dimension(kernel, body)
    assert dimension is not None
    row = nest.address(body.operand, (*body.indices[:-1], None))
    start = nest.start(body.indices[-1])
    if start is not None:
        row = nest.step_bytes(row, start, body.operand, -1)
    following = nest.step_bytes(row, word(body.indices[dimension].step), body.operand, dimension)
    itemsize = np.dtype(kernel.operands[body.operand].dtype).itemsize
    size = builder.mul(nest.extent(stage.axes[0]), word(itemsize), flags=("nsw",))
    size = builder.select(builder.icmp_signed("<", size, word(MOST_BYTES)), size, word(MOST_BYTES))
    with nest.loop(word(0), size, step=LINE, parallel=False) as offset:
        prefetch(builder, builder.gep(following, [offset], source_etype=I8))


def prefetch(builder: Any, pointer: Any) -> None:
    """Ask for a cache line that is going to be read; where there is no memory, nothing happens."""
    name, arguments = "llvm.prefetch.p0", (POINTER, I32, I32, I32)
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, ir.FunctionType(VOID, arguments), name)
    builder.call(function, [pointer, I32(0), I32(3), I32(1)])  # to read, to keep, data
