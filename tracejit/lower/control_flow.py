"""Loops and branches inside a kernel, as LLVM: blocks of code, and registers that have a value for each way in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.lower.llvm_types import I64, register_type, word
from tracejit.lower.loop_nest import Level
from tracejit.lower.scalar_llvm import LlvmScalar
from tracejit.lower.settled_loop import Settling, settling
from tracejit.schedule.kernel import Branch, Gather, Loop, walk
from tracejit.vecmath import language
from tracejit.vecmath.language import Scalar

if TYPE_CHECKING:
    from tracejit.lower.instructions import Emitter


class _Registers:
    """Values at the start of the current block, one for each way into it."""

    def __init__(self, emitter: Emitter, dtypes: Sequence[str]) -> None:
        self._emitter = emitter
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._phis = [emitter.builder.phi(register_type(dtype)) for dtype in self._dtypes]

    def come_from(self, block: Any, values: Sequence[Scalar]) -> None:
        """What the registers hold for who comes from a block."""
        for phi, value in zip(self._phis, values, strict=True):
            phi.add_incoming(value.value, block)  # type: ignore[attr-defined]

    def values(self) -> tuple[Scalar, ...]:
        """The registers."""
        builder = self._emitter.builder
        return tuple(LlvmScalar(builder, phi, dtype) for phi, dtype in zip(self._phis, self._dtypes, strict=True))


def emit_loop(emitter: Emitter, loop: Loop) -> tuple[Scalar, ...]:
    """A sequential loop; returns the last carries.

    again:      i, carries = registers; does it go on?
    iteration:  the body; back to `again`, unless it is known that nothing changes any more
    done:
    """
    nest, builder = emitter.nest, emitter.builder
    dtypes = [carry.dtype for carry in loop.carries]
    initial = [language.cast(emitter.value(n), dtype) for n, dtype in zip(loop.initial, dtypes, strict=True)]
    start = _counter_start(emitter, loop)
    before = builder.block
    again, iteration, done = (nest.function.append_basic_block(name) for name in ("again", "iteration", "done"))
    builder.branch(again)
    builder.position_at_end(again)
    counter = builder.phi(I64, name=f"i{loop.axis}")
    counter.add_incoming(start, before)
    registers = _Registers(emitter, dtypes)
    registers.come_from(before, initial)
    carries = registers.values()
    nest.levels.append(Level(again))
    for carry, value in zip(loop.carries, carries, strict=True):
        emitter.define(carry.number, value)
    builder.cbranch(_goes_on(emitter, loop, counter), iteration, done)
    with _level(emitter, iteration):
        if loop.axis is not None:
            nest.axis_values[loop.axis], nest.axis_level[loop.axis] = counter, len(nest.levels) - 1
        emitter.run(loop.body.instructions)
        following = [language.cast(emitter.value(n), d) for n, d in zip(loop.body.values, dtypes, strict=True)]
        settled = settling(emitter.kernel, loop)
        changed = None if settled is None else emit_changed(emitter, loop, settled)
        if loop.axis is not None:
            del nest.axis_values[loop.axis], nest.axis_level[loop.axis]
    counter.add_incoming(builder.add(counter, word(-1 if loop.reverse else 1)), builder.block)
    registers.come_from(builder.block, following)
    if changed is None:
        builder.branch(again)
    else:
        builder.cbranch(changed, again, done)
    nest.levels.pop()
    builder.position_at_end(done)
    return carries


def emit_changed(emitter: Emitter, loop: Loop, settled: Settling) -> Any:
    """Whether the iteration that was emitted just now may have changed a carry, an i1."""
    builder = emitter.builder
    changes = []
    for number, lets_through in settled.masks:
        mask: Any = emitter.value(number)
        changes.append(mask.value if lets_through else builder.not_(mask.value))
    for place in settled.compared:
        old, new = (_bits(emitter, n) for n in (loop.carries[place].number, loop.body.values[place]))
        changes.append(builder.icmp_unsigned("!=", old, new))
    return reduce(builder.or_, changes)


def _bits(emitter: Emitter, number: int) -> Any:
    """A value as an integer, of which -0.0 is not 0.0 and a NaN equals itself."""
    value: Any = emitter.value(number)
    if value.dtype.kind != "f":
        return value.value
    return emitter.builder.bitcast(value.value, register_type(np.dtype(f"u{value.dtype.itemsize}")))


def _counter_start(emitter: Emitter, loop: Loop) -> Any:
    if loop.axis is None or not loop.reverse:
        return word(0)
    return emitter.builder.sub(emitter.nest.extent(loop.axis), word(1), flags=("nsw",))


def _goes_on(emitter: Emitter, loop: Loop, counter: Any) -> Any:
    """Whether there is another iteration, found out in the block where we are."""
    builder = emitter.builder
    if loop.condition is None:
        assert loop.axis is not None
        if loop.reverse:
            return builder.icmp_signed(">=", counter, word(0))
        return builder.icmp_signed("<", counter, emitter.nest.extent(loop.axis))
    emitter.run(loop.condition.instructions)
    (number,) = loop.condition.values
    truth: Any = emitter.value(number)
    inside = [*loop.condition.instructions, *loop.body.instructions]
    if not any(isinstance(line.body, Gather) for line in walk(inside)):
        return truth.value
    # After an index out of bounds the carries mean nothing, and the condition might hold for ever.
    fine = builder.icmp_signed("==", builder.load(emitter.nest.error, typ=I64), word(0))
    return builder.and_(truth.value, fine)


def emit_branch(emitter: Emitter, branch: Branch) -> tuple[Scalar, ...]:
    """Only the selected block is done; returns its values."""
    nest, builder = emitter.nest, emitter.builder
    dtypes = [emitter.dtype(number) for number in branch.blocks[0].values]
    selector: Any = emitter.value(branch.selector)
    taken = [nest.function.append_basic_block(f"branch{k}") for k in range(len(branch.blocks))]
    merged = nest.function.append_basic_block("merged")
    # The last block is where all other selectors lead: that spares a test, and there are none.
    switch = builder.switch(selector.value, taken[-1])
    for place, block in enumerate(taken[:-1]):
        switch.add_case(selector.value.type(place), block)
    ways = []
    for block, start in zip(branch.blocks, taken, strict=True):
        with _level(emitter, start):
            emitter.run(block.instructions)
            values = [language.cast(emitter.value(n), d) for n, d in zip(block.values, dtypes, strict=True)]
        ways.append((builder.block, values))
        builder.branch(merged)
    builder.position_at_end(merged)
    registers = _Registers(emitter, dtypes)
    for end, values in ways:
        registers.come_from(end, values)
    return registers.values()


@contextmanager
def _level(emitter: Emitter, preamble: Any) -> Iterator[None]:
    """Emit a block of its own level: what is computed there is known there only."""
    nest, builder = emitter.nest, emitter.builder
    work = nest.function.append_basic_block("work")
    builder.position_at_end(preamble)
    builder.branch(work)
    builder.position_at_end(work)
    nest.levels.append(Level(preamble, nest.levels[-1].group))
    yield
    nest.levels.pop()
