"""Native calls: arguments that are written to share no memory with others.  The bounds of the arrays decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from tracejit.lower.call_memory import Geometry
from tracejit.lower.llvm_types import I64, word

FEW_PAIRS = 64
"""Pairs of arrays that are compared one by one in the code; of more, a loop compares the bounds from a table."""


class Span:
    """The addresses between which an array's elements are."""

    def __init__(self, builder: Any, data: Any, geometry: Geometry, rank: int, itemsize: int) -> None:
        low = high = data
        for axis in range(rank):
            reach = builder.mul(builder.sub(geometry.length(axis), word(1)), geometry.stride(axis))
            below = builder.icmp_signed("<", reach, word(0))
            low = builder.add(low, builder.select(below, reach, word(0)))
            high = builder.add(high, builder.select(below, word(0), reach))
        self.low, self.high = low, builder.add(high, word(itemsize))


def apart(builder: Any, written: Sequence[Span], others: Sequence[Span]) -> Any:
    """Whether no written array shares memory with another, as an i1."""
    count = len(written)
    if count * (count - 1) // 2 + count * len(others) > FEW_PAIRS:
        return _by_table(builder, written, others)
    result: Any = ir.Constant(ir.IntType(1), 1)
    for number, one in enumerate(written):
        for other in (*written[number + 1 :], *others):
            before = builder.icmp_unsigned("<=", one.high, other.low)
            after = builder.icmp_unsigned("<=", other.high, one.low)
            result = builder.and_(result, builder.or_(before, after))
    return result


def _by_table(builder: Any, written: Sequence[Span], others: Sequence[Span]) -> Any:
    """Each written array with all that stand after it in a table of bounds."""
    spans = [*written, *others]
    with builder.goto_entry_block():
        table = builder.alloca(I64, size=word(2 * len(spans)))
    for number, span in enumerate(spans):
        builder.store(span.low, _place(builder, table, word(2 * number)))
        builder.store(span.high, _place(builder, table, word(2 * number + 1)))
    before = builder.block
    outer, inner, following, done = (
        builder.append_basic_block(name) for name in ("written", "other", "following", "compared")
    )
    builder.branch(outer)

    builder.position_at_end(outer)
    one, fine = builder.phi(I64), builder.phi(ir.IntType(1))
    low, high = _bounds(builder, table, one)
    first = builder.add(one, word(1))
    builder.cbranch(builder.icmp_unsigned("<", first, word(len(spans))), inner, done)

    builder.position_at_end(inner)
    other, so_far = builder.phi(I64), builder.phi(ir.IntType(1))
    other_low, other_high = _bounds(builder, table, other)
    clear = builder.or_(builder.icmp_unsigned("<=", high, other_low), builder.icmp_unsigned("<=", other_high, low))
    now = builder.and_(so_far, clear)
    next_other = builder.add(other, word(1))
    builder.cbranch(builder.icmp_unsigned("<", next_other, word(len(spans))), inner, following)
    for phi, start, step in ((other, first, next_other), (so_far, fine, now)):
        phi.add_incoming(start, outer)
        phi.add_incoming(step, inner)

    builder.position_at_end(following)
    builder.cbranch(builder.icmp_unsigned("<", first, word(len(written))), outer, done)
    for phi, start, step in ((one, word(0), first), (fine, ir.Constant(ir.IntType(1), 1), now)):
        phi.add_incoming(start, before)
        phi.add_incoming(step, following)

    builder.position_at_end(done)
    result = builder.phi(ir.IntType(1))
    result.add_incoming(fine, outer)
    result.add_incoming(now, following)
    return result


def _bounds(builder: Any, table: Any, number: Any) -> tuple[Any, Any]:
    at = builder.mul(number, word(2))
    places = (_place(builder, table, at), _place(builder, table, builder.add(at, word(1))))
    low, high = (builder.load(place, typ=I64) for place in places)
    return low, high


def _place(builder: Any, table: Any, number: Any) -> Any:
    return builder.gep(table, [number], inbounds=True, source_etype=I64)
