"""The chunks of a `reduce_all` kernel (`abi.units`), and how one of them may be the last that counts.

A chunk that decides the result says in a parameter word that all threads see how many chunks count; whoever begins
one later looks there first.  What the result is does not depend on how soon they see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tracejit.lower.columns import smaller
from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import I64, word
from tracejit.schedule.kernel import CHUNK, Kernel

BLOCK = 4096
"""Elements after which a loop that may end early looks whether it has."""


def partials(kernel: Kernel) -> list[int]:
    """The operands that hold the partial results."""
    return [number for number, operand in enumerate(kernel.operands) if operand.role == "partial"]


def chunk_steps(emitter: Emitter) -> Any:
    """Steps of the first axis in one chunk."""
    axes, builder = emitter.kernel.stages[0].axes, emitter.builder

    def divide() -> Any:
        inner = word(1)
        for axis in axes[1:]:
            inner = builder.mul(inner, emitter.nest.extent(axis))
        inner = builder.select(builder.icmp_signed("<", inner, word(1)), word(1), inner)
        steps = builder.sdiv(word(CHUNK), inner)
        return builder.select(builder.icmp_signed("<", steps, word(1)), word(1), steps)

    return emitter.nest.remember(0, "steps of a chunk", divide)


def chunk_count(emitter: Emitter) -> Any:
    """How many chunks there are."""
    axes, builder = emitter.kernel.stages[0].axes, emitter.builder
    if not axes:
        return word(1)
    steps = chunk_steps(emitter)
    padded = builder.add(emitter.nest.extent(axes[0]), builder.sub(steps, word(1)))
    return builder.sdiv(padded, steps)


def chunk_bounds(emitter: Emitter, chunk: Any) -> tuple[Any, Any]:
    """Where a chunk begins and ends on the first axis."""
    builder = emitter.builder
    start = builder.mul(chunk, chunk_steps(emitter), flags=("nsw",))
    stop = builder.add(start, chunk_steps(emitter), flags=("nsw",))
    return start, smaller(emitter, stop, emitter.nest.extent(emitter.kernel.stages[0].axes[0]))


@contextmanager
def block_loop(emitter: Emitter, begin: Any, end: Any, until: Callable[[], Any]) -> Iterator[tuple[Any, Any]]:
    """The loop over blocks of [begin, end), until something is true after one; gives where a block begins and ends."""
    with emitter.nest.loop(begin, end, step=BLOCK, parallel=False, until=until) as first:
        yield first, smaller(emitter, emitter.builder.add(first, word(BLOCK), flags=("nsw",)), end)


# ---- the word that all threads see


def counts(emitter: Emitter, chunk: Any) -> Any:
    """Whether a chunk counts, as far as is known."""
    known = emitter.builder.load_atomic(_counted(emitter), "monotonic", 8)
    return emitter.builder.icmp_signed("<", chunk, known)


def end_early(emitter: Emitter, count: Any) -> None:
    """No more than so many chunks count."""
    emitter.builder.atomic_rmw("min", _counted(emitter), count, "monotonic")


def _counted(emitter: Emitter) -> Any:
    """The pointer to the word; llvmlite wants it typed for atomic access."""
    nest, builder = emitter.nest, emitter.builder
    assert nest.layout.counted is not None
    place = builder.gep(nest.function.args[0], [word(nest.layout.counted)], inbounds=True, source_etype=I64)
    return builder.inttoptr(builder.ptrtoint(place, I64), I64.as_pointer())
