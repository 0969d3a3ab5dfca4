"""A sequential loop over many elements, a tile of elements at a time, so that its body is vectorized.

for i in range(n):                     for tile in range(0, n, WIDTH):
    c = a(i)                               for i in tile: row[i] = a(i)
    for t in range(T):         ->          for t in range(T):
        c = f(c, x[t, i])                      for i in tile: row[i] = f(row[i], x[t, i])
    out[i] = c                             for i in tile: out[i] = row[i]

A row of a few vectors, of a length known beforehand, is no memory: the loops over the tile are unrolled once they are
vectorized, and then the rows are registers.  So whole tiles are that short (`_register_tile`).  The rest at the end,
and all of a loop whose rows would not fit, goes in tiles whose rows are on the stack and stay in the nearest cache.  A
body that branches, or loops again, keeps its carries in scalar registers instead (see `control_flow`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import word
from tracejit.lower.tile import Row, Tile
from tracejit.lower.tileable_loop import TiledLoop
from tracejit.lower.vector_registers import register_bytes, vector_bytes
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import Apply, Instruction, Loop
from tracejit.vecmath.language import Scalar

WIDTH = 128
"""Elements in a tile whose rows are on the stack."""

MOST_UNROLLED = 512
"""Instructions, roughly, that the body may have once it is unrolled over a tile; more take long to compile."""


def emit_tiles(emitter: Emitter, tiled: TiledLoop, begin: Any, end: Any) -> None:
    """The last of the outer loops, from `begin` to `end`, with all that is in it."""
    builder, width = emitter.builder, _register_tile(tiled)
    if width:
        tiles = builder.sdiv(builder.sub(end, begin), word(width))
        middle = builder.add(begin, builder.mul(tiles, word(width), flags=("nsw",)), flags=("nsw",))
        with emitter.nest.loop(begin, middle, step=width, parallel=False) as first:
            _emit_tile(emitter, tiled, Tile(emitter, first, width))
        begin = middle
    with emitter.nest.loop(begin, end, step=WIDTH, parallel=False) as first:
        _emit_tile(emitter, tiled, Tile(emitter, first, WIDTH, end))


def _register_tile(tiled: TiledLoop) -> int:
    """Elements in a tile whose rows are vector registers, a power of two; 0 where not even one vector of each fits."""
    sizes = [np.dtype(line.dtype).itemsize for line in (*tiled.loop.carries, *tiled.kept)]
    lanes = vector_bytes() // max(sizes, default=8)
    # A quarter of the registers is for what an iteration computes.
    fitting = min(WIDTH, register_bytes() * 3 // 4 // max(1, sum(sizes)))
    cost = sum(OPS[line.body.op].cost for line in tiled.loop.body.instructions if isinstance(line.body, Apply))
    fitting = min(fitting, lanes * (MOST_UNROLLED // max(1, cost)))
    return 1 << (fitting.bit_length() - 1) if fitting >= lanes else 0


def _emit_tile(emitter: Emitter, tiled: TiledLoop, tile: Tile) -> None:
    loop = tiled.loop
    carries = [Row(tile, line.dtype) for line in loop.carries]
    kept = [Row(tile, line.dtype) for line in tiled.kept]
    with tile.elements() as column:
        _write(carries, column, [emitter.value(number) for number in loop.initial])
        _write(kept, column, [emitter.value(line.number) for line in tiled.kept])
    with _iterations(emitter, loop), tile.elements() as column:
        _define(emitter, (*loop.carries, *tiled.kept), (*carries, *kept), column)
        emitter.run(loop.body.instructions)
        _write(carries, column, [emitter.value(number) for number in loop.body.values])
    with tile.elements() as column:
        _define(emitter, tiled.kept, kept, column)
        emitter.leave(tiled.line.number, tuple(row.read(column) for row in carries))
        emitter.run(tiled.after)


@contextmanager
def _iterations(emitter: Emitter, loop: Loop) -> Iterator[None]:
    """The sequential loop."""
    nest, builder, axis = emitter.nest, emitter.builder, loop.axis
    assert axis is not None
    extent = nest.extent(axis)
    with nest.loop(word(0), extent, axis=axis, parallel=False) as i:
        if loop.reverse:
            with nest.at(len(nest.levels) - 1):
                last = builder.sub(extent, word(1), flags=("nsw",))
                nest.axis_values[axis] = builder.sub(last, i, flags=("nsw",))
        yield


def _define(emitter: Emitter, lines: Sequence[Instruction], rows: Sequence[Row], column: Any) -> None:
    for line, row in zip(lines, rows, strict=True):
        emitter.define(line.number, row.read(column))


def _write(rows: Sequence[Row], column: Any, values: Sequence[Scalar]) -> None:
    """All rows at once: every value was computed from the old ones."""
    for row, value in zip(rows, values, strict=True):
        row.write(column, value)
