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

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracejit.lower.control_flow import emit_changed
from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import I64, word
from tracejit.lower.settled_loop import settling
from tracejit.lower.tile import Row, Tile
from tracejit.lower.tileable_loop import TiledLoop
from tracejit.lower.vector_registers import register_bytes, vector_bytes
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import Apply, Instruction, Kernel, Loop
from tracejit.vecmath.language import Scalar

WIDTH = 128
"""Elements in a tile whose rows are on the stack."""

MOST_UNROLLED = 512
"""Instructions, roughly, that the body may have once it is unrolled over a tile; more take long to compile."""


SETTLING_WORK = 64
"""Vector instructions, roughly, in an iteration of a tile whose loop may end early: the fewer elements, the sooner the
last of them ends, but there has to be enough to do while results are waited for."""


def emit_tiles(emitter: Emitter, tiled: TiledLoop, begin: Any, end: Any) -> None:
    """The last of the outer loops, from `begin` to `end`, with all that is in it."""
    builder, width = emitter.builder, _register_tile(emitter.kernel, tiled)
    if width:
        tiles = builder.sdiv(builder.sub(end, begin), word(width))
        middle = builder.add(begin, builder.mul(tiles, word(width), flags=("nsw",)), flags=("nsw",))
        with emitter.nest.loop(begin, middle, step=width, parallel=False) as first:
            _emit_tile(emitter, tiled, Tile(emitter, first, width))
        begin = middle
    with emitter.nest.loop(begin, end, step=WIDTH, parallel=False) as first:
        _emit_tile(emitter, tiled, Tile(emitter, first, WIDTH, end))


def _register_tile(kernel: Kernel, tiled: TiledLoop) -> int:
    """Elements in a tile whose rows are vector registers, a power of two; 0 where not even one vector of each fits."""
    sizes = [np.dtype(line.dtype).itemsize for line in (*tiled.loop.carries, *tiled.kept)]
    lanes = vector_bytes() // max(sizes, default=8)
    # A quarter of the registers is for what an iteration computes.
    fitting = min(WIDTH, register_bytes() * 3 // 4 // max(1, sum(sizes)))
    cost = sum(OPS[line.body.op].cost for line in tiled.loop.body.instructions if isinstance(line.body, Apply))
    fitting = min(fitting, lanes * (MOST_UNROLLED // max(1, cost)))
    if settling(kernel, tiled.loop) is not None:
        fitting = min(fitting, lanes * max(1, SETTLING_WORK // max(1, cost)))
    return 1 << (fitting.bit_length() - 1) if fitting >= lanes else 0


def _emit_tile(emitter: Emitter, tiled: TiledLoop, tile: Tile) -> None:
    loop = tiled.loop
    carries = [Row(tile, line.dtype) for line in loop.carries]
    kept = [Row(tile, line.dtype) for line in tiled.kept]
    with tile.elements() as column:
        _write(carries, column, [emitter.value(number) for number in loop.initial])
        _write(kept, column, [emitter.value(line.number) for line in tiled.kept])
    settled = settling(emitter.kernel, loop)
    changes = None if settled is None else _Any(emitter)
    with _iterations(emitter, loop, None if changes is None else changes.none):
        if changes is not None:
            changes.start()
        with tile.elements() as column:
            _define(emitter, (*loop.carries, *tiled.kept), (*carries, *kept), column)
            emitter.run(loop.body.instructions)
            if changes is not None and settled is not None:
                changes.add(emit_changed(emitter, loop, settled))
            _write(carries, column, [emitter.value(number) for number in loop.body.values])
    with tile.elements() as column:
        _define(emitter, tiled.kept, kept, column)
        emitter.leave(tiled.line.number, tuple(row.read(column) for row in carries))
        emitter.run(tiled.after)


class _Any:
    """Whether anything among the elements of a tile was true."""

    def __init__(self, emitter: Emitter) -> None:
        self._builder = emitter.builder
        # A word: the compiler keeps a vector of them where it computes vectors, which it would not of bools.
        self._slot = emitter.nest.stack_slot(I64)

    def start(self) -> None:
        """So far, nothing was."""
        self._builder.store(word(0), self._slot)

    def add(self, truth: Any) -> None:
        """One more element."""
        before = self._builder.load(self._slot, typ=I64)
        # Both are known to the vectorizer; the first keeps to masks, but has to select by a comparison.
        if truth.opname in ("icmp", "fcmp"):
            after = self._builder.select(truth, word(1), before)
        else:
            after = self._builder.or_(before, self._builder.zext(truth, I64))
        self._builder.store(after, self._slot)

    def none(self) -> Any:
        """Whether nothing was, an i1."""
        return self._builder.icmp_signed("==", self._builder.load(self._slot, typ=I64), word(0))


@contextmanager
def _iterations(emitter: Emitter, loop: Loop, until: Callable[[], Any] | None) -> Iterator[None]:
    """The sequential loop; it ends early once `until` gives true after an iteration."""
    nest, builder, axis = emitter.nest, emitter.builder, loop.axis
    assert axis is not None
    extent = nest.extent(axis)
    with nest.loop(word(0), extent, axis=axis, parallel=False, until=until) as i:
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
