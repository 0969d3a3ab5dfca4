"""Where the extremum of a whole array stands first, in one pass over memory.

place = none                                         # of each chunk of a `reduce_all` kernel
for block in chunk:
    here = max(x[block])                             # in vectors
    if place is none or here is better than best:
        best, place = here, block
place = first i in place where x[i] is best          # one block is read again, from the nearest cache

A NaN is better than all that is none, and ends the search, as True does among bools.  The partial result of a chunk is
the place, or -1 of one that does not count; of those the final function takes the first with the best element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from tracejit.lower.abi import accumulator_dtype
from tracejit.lower.chunks import block_loop, chunk_bounds, chunk_count, counts, end_early, partials
from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import I1, I64, register_type, word
from tracejit.lower.placement import placements
from tracejit.lower.reduction import Accumulator
from tracejit.lower.scalar_llvm import LlvmScalar
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import Instruction, Reduce
from tracejit.vecmath import language
from tracejit.vecmath.language import Scalar

_NONE = -1
"""The place of an extremum that is not known yet."""


def emit_chunks_positions(emitter: Emitter, begin: Any, end: Any) -> None:
    """Units of the kernel: the place of the extremum of each chunk."""
    kernel, nest, builder = emitter.kernel, emitter.nest, emitter.builder
    stage = kernel.stages[0]
    emitter.place(stage, placements(kernel)[0], 0, stores=False)
    search = _Search(emitter)
    with nest.loop(begin, end, parallel=False) as chunk:
        search.start()
        with builder.if_then(counts(emitter, chunk)):
            search.find_block(chunk_bounds(emitter, chunk))
            search.find_place()
            with builder.if_then(search.is_decided(), likely=False):
                end_early(emitter, builder.add(chunk, word(1), flags=("nsw",)))
        (operand,) = partials(kernel)
        builder.store(search.place(), nest.step_bytes(nest.base(operand), chunk, operand, 0))


def emit_final_position(emitter: Emitter) -> None:
    """The first place with the best of the elements at the places of the chunks."""
    kernel, nest, builder = emitter.kernel, emitter.nest, emitter.builder
    search = _Search(emitter)
    search.start()
    (operand,) = partials(kernel)
    with nest.loop(word(0), chunk_count(emitter), parallel=False) as chunk:
        found = builder.load(nest.step_bytes(nest.base(operand), chunk, operand, 0), typ=I64)
        known = builder.icmp_signed(">=", found, word(0))
        with builder.if_then(known), search.at(found) as value, builder.if_then(search.is_better(value)):
            search.take(value, found)
    emitter.define(search.line.number, LlvmScalar(builder, search.place(), np.dtype(np.int64)))


class _Search:
    """The best element so far, and where it stands: its block first, then its place."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter, self.nest, self.builder = emitter, emitter.nest, emitter.builder
        self.stage = emitter.kernel.stages[0]
        self.placement = placements(emitter.kernel)[0]
        (self.line,) = (line for line in self.stage.instructions if isinstance(line.body, Reduce))
        assert isinstance(self.line.body, Reduce)
        self.value = self.line.body.value
        self.extremum = OPS[self.line.body.op].position_of
        dtype = emitter.dtype(self.value)
        whole = Instruction(self.line.number, replace(self.line.body, op=self.extremum), dtype)
        self.block = Accumulator(emitter, whole, dtype, narrow=False)
        self.dtype = np.dtype(accumulator_dtype(self.extremum, dtype))
        self._best = self.nest.stack_slot(register_type(self.dtype))
        self._place, self._first, self._last = (self.nest.stack_slot(I64) for _ in range(3))

    def start(self) -> None:
        """Forget everything."""
        self.builder.store(word(_NONE), self._place)
        self.builder.store(self.block.identity(self.dtype).value, self._best)  # type: ignore[attr-defined]

    def place(self) -> Any:
        """Where the best is, as far as is known."""
        return self.builder.load(self._place, typ=I64)

    def best(self) -> Scalar:
        """The best element."""
        return LlvmScalar(self.builder, self.builder.load(self._best, typ=register_type(self.dtype)), self.dtype)

    def take(self, value: Scalar, place: Any) -> None:
        """There is a better one."""
        self.builder.store(value.value, self._best)  # type: ignore[attr-defined]
        self.builder.store(place, self._place)

    def is_better(self, value: Scalar) -> Any:
        """Whether a value takes the place of the best."""
        new, old = (language.cast(x, "uint8") if x.dtype.kind == "b" else x for x in (value, self.best()))
        better: Any = new > old if self.extremum == "max" else new < old
        if self.dtype.kind == "f":
            better = better | (language.isnan(new) & (old == old))
        return self.builder.or_(better.value, self.builder.icmp_signed("<", self.place(), word(0)))

    def is_decided(self) -> Any:
        """Whether no later element is better."""
        best: Any = self.best()
        if self.dtype.kind == "f":
            return language.isnan(best).value  # type: ignore[attr-defined]
        if self.dtype.kind == "b":
            return best.value if self.extremum == "max" else self.builder.not_(best.value)
        return I1(0)

    def find_block(self, bounds: tuple[Any, Any]) -> None:
        """The first block with the extremum of a chunk: the place where it begins, its ends on the last axis."""
        with ExitStack() as loops:
            row, ends = loops.enter_context(self._rows(bounds, self.is_decided))
            first, last = loops.enter_context(block_loop(self.emitter, *ends, self.is_decided))
            self.block.start()
            with self._elements(first, last):
                self.block.step(self._element())
            here = self.block.total()
            with self.builder.if_then(self.is_better(here)):
                self.take(here, self.builder.add(row, first, flags=("nsw",)))
                self.builder.store(first, self._first)
                self.builder.store(last, self._last)

    def find_place(self) -> None:
        """From the place where the block begins to that of the element."""
        builder, best = self.builder, self.best()
        first, last = (builder.load(slot, typ=I64) for slot in (self._first, self._last))
        begin = self.place()
        builder.store(builder.sub(last, word(1), flags=("nsw",)), self._last)
        with self._at_axes(self._axes_of(begin)[:-1]), self._elements(first, last) as i:
            value = self._element()
            hit: Any = value == best
            if self.dtype.kind == "f":
                hit = hit | (language.isnan(value) & language.isnan(best))
            here, known = builder.select(hit.value, i, last), builder.load(self._last, typ=I64)
            builder.store(builder.select(builder.icmp_signed("<", here, known), here, known), self._last)
        offset = builder.sub(builder.load(self._last, typ=I64), first, flags=("nsw",))
        builder.store(builder.add(begin, offset, flags=("nsw",)), self._place)

    @contextmanager
    def at(self, place: Any) -> Iterator[Scalar]:
        """The element at a place."""
        with self._at_axes(self._axes_of(place)):
            yield self._element()

    # ---- loops

    def _element(self) -> Scalar:
        return language.cast(self.emitter.value(self.value), self.dtype)

    def _open(self, begin: Any, end: Any, number: int, until: Callable[[], Any] | None = None) -> Any:
        """The loop over one of the axes of the stage."""
        vectors = number == len(self.stage.axes) - 1
        return self.nest.loop(begin, end, axis=self.stage.axes[number], parallel=vectors, until=until)

    def _enter(self, number: int) -> None:
        self.emitter.place(self.stage, self.placement, number + 1, stores=False)

    @contextmanager
    def _rows(self, bounds: tuple[Any, Any], until: Callable[[], Any]) -> Iterator[tuple[Any, tuple[Any, Any]]]:
        """The loops over all axes but the last; gives the place where a row begins, and the bounds of the last axis."""
        axes, builder, row = self.stage.axes, self.builder, word(0)
        with ExitStack() as loops:
            for number, axis in enumerate(axes[:-1]):
                begin, end = bounds if number == 0 else (word(0), self.nest.extent(axis))
                i = loops.enter_context(self._open(begin, end, number, until))
                self._enter(number)
                row = builder.mul(builder.add(row, i, flags=("nsw",)), self.nest.extent(axes[number + 1]))
            yield row, bounds if len(axes) == 1 else (word(0), self.nest.extent(axes[-1]))

    @contextmanager
    def _elements(self, first: Any, last: Any) -> Iterator[Any]:
        """The loop over the last axis."""
        number = len(self.stage.axes) - 1
        with self._open(first, last, number) as i:
            self._enter(number)
            yield i

    @contextmanager
    def _at_axes(self, values: list[Any]) -> Iterator[None]:
        """Loops of one iteration each, at a place on the first axes."""
        with ExitStack() as loops:
            for number, value in enumerate(values):
                loops.enter_context(self._open(value, self.builder.add(value, word(1), flags=("nsw",)), number))
                self._enter(number)
            yield

    def _axes_of(self, place: Any) -> list[Any]:
        """The place on each axis."""
        found: list[Any] = []
        for axis in reversed(self.stage.axes[1:]):
            extent = self.nest.extent(axis)
            found.insert(0, self.builder.urem(place, extent))
            place = self.builder.udiv(place, extent)
        return [place, *found]
