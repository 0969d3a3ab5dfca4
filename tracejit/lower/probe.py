"""Emitted code to measure a machine with: two functions that are called as kernels are.

`tj_spin` does arithmetic and nothing else, one step a unit; `tj_copy` copies blocks of memory, one a unit, to the
address in its first word from that in the second.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tracejit.lower.llvm_types import I1, I8, I64, POINTER, word
from tracejit.lower.thread_pool import MAIN

SPIN, COPY = "tj_spin", "tj_copy"

BLOCK = 4096
"""Bytes that a unit of `tj_copy` moves."""

_FACTOR = 6364136223846793005
"""Knuth's multiplier for linear congruences modulo 2**64 (The Art of Computer Programming 2, 3.3.4)."""


def emit_probe() -> Any:
    """A module with both functions."""
    module = ir.Module("tracejit_probe")
    _emit_spin(ir.Function(module, MAIN, SPIN))
    _emit_copy(ir.Function(module, MAIN, COPY))
    return module


def _emit_spin(function: Any) -> None:
    """A chain of products, each of which needs the one before; always 0, which no optimizer sees."""
    _, begin, end = function.args
    entry, body, after = (function.append_basic_block(name) for name in ("entry", "body", "after"))
    builder = ir.IRBuilder(entry)
    builder.cbranch(builder.icmp_signed("<", begin, end), body, after)
    builder.position_at_end(body)
    unit, value = builder.phi(I64), builder.phi(I64)
    following = builder.add(unit, word(1))
    product = builder.add(builder.mul(value, word(_FACTOR)), word(1))
    for phi, first, later in ((unit, begin, following), (value, word(1), product)):
        phi.add_incoming(first, entry)
        phi.add_incoming(later, body)
    builder.cbranch(builder.icmp_signed("<", following, end), body, after)
    builder.position_at_end(after)
    last = builder.phi(I64)
    last.add_incoming(word(1), entry)
    last.add_incoming(product, body)
    builder.ret(builder.and_(builder.xor(last, last), word(1)))


def _emit_copy(function: Any) -> None:
    words, begin, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    offset, size = builder.mul(begin, word(BLOCK)), builder.mul(builder.sub(end, begin), word(BLOCK))
    places = [builder.gep(words, [word(slot)], source_etype=I64) for slot in range(2)]
    target, source = (builder.gep(builder.load(place, typ=POINTER), [offset], source_etype=I8) for place in places)
    copy = function.module.declare_intrinsic("llvm.memcpy", [POINTER, POINTER, I64])
    builder.call(copy, [target, source, size, I1(0)])
    builder.ret(word(0))
