"""Results that no cache holds are written past it, by non-temporal stores, a few whole cache lines at a time.

for i in range(n):                 for s in range(first, last, WIDTH):        (first: where a line begins)
    out[i] = f(x[i])      ->           prefetch x[s + AHEAD : ...]
                                       row = f(x[s : s + WIDTH])              (vector registers)
                                       out[s : s + WIDTH] = row               (non-temporal)
                                   for i in range(first), range(last, n):
                                       out[i] = f(x[i])

An ordinary store of a line that is not in the cache first reads it from memory: `a*x + b*y + c` moves four arrays in
place of three.  Whether it pays is known at run time: where the results are small, `first` and `last` are 0.  Such
stores are not ordered with others, so a fence ends the kernel.  The prefetches are for processors whose own stop at the
end of a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import I8, I32, I64, word
from tracejit.lower.next_row import LINE, prefetch
from tracejit.lower.placement import Placement
from tracejit.lower.tile import Row, Tile
from tracejit.lower.vector_registers import vector_bytes
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import Apply, Gather, Kernel, Load, Store, blocks

AHEAD = 1024
"""Bytes from what is being read to what is fetched meanwhile."""

MOST_STORES = 4
"""Results of one kernel that are written this way: the processor gathers lines in a few buffers."""

MOST_COST = 6
"""Scalar instructions an element up to which a kernel waits for memory alone.  The second loop takes as long to compile
as the first, so longer kernels do without."""


@dataclass(frozen=True)
class Streaming:
    """The stores of a kernel that go past a cache of `cache_bytes` when they are more than half of that."""

    stores: tuple[Store, ...]
    cache_bytes: int


def streaming(kernel: Kernel, placement: Placement, cache_bytes: int) -> Streaming | None:
    """How a kernel's results go past the cache: all that its innermost loop writes is new memory, side by side."""
    if len(kernel.stages) != 1 or kernel.stages[0].axes:
        return None
    lines = kernel.stages[0].instructions
    stores = {line.number: line.body for line in lines if isinstance(line.body, Store)}
    operands = {store.operand for store in stores.values()}
    read = {line.body.operand for line in lines if isinstance(line.body, Load | Gather)}
    inner = [line for line in lines if placement.depth(line.number) == len(kernel.outer)]
    cost = sum(OPS[line.body.op].cost for line in inner if isinstance(line.body, Apply))
    if cost > MOST_COST or len(stores) > MOST_STORES or operands & read or len(operands) != len(stores):
        return None
    if any(blocks(line.body) or isinstance(line.body, Gather) for line in lines):
        return None
    inside = {line.number for line in inner}
    if not stores.keys() <= inside or not all(_is_row(kernel, store) for store in stores.values()):
        return None
    return Streaming(tuple(stores.values()), cache_bytes)


def _is_row(kernel: Kernel, body: Store | Load) -> bool:
    """Whether neighbours along the innermost axis are neighbours in memory."""
    operand, last = kernel.operands[body.operand], kernel.outer[-1]
    if not operand.rank or not operand.unit[-1] or (isinstance(body, Store) and operand.role != "out"):
        return False
    index = body.indices[-1]
    return index.axis == last and index.step == 1 and all(other.axis != last for other in body.indices[:-1])


def emit_streaming(emitter: Emitter, placement: Placement, plan: Streaming, begin: Any, end: Any) -> None:
    """The innermost loop, from `begin` to `end`, with all that is in it."""
    nest, builder, kernel = emitter.nest, emitter.builder, emitter.kernel
    stage, depth = kernel.stages[0], len(kernel.outer)
    starts = {store: _start_of_row(emitter, store) for store in plan.stores}
    first, last, width = _whole_lines(emitter, plan, starts, begin, end)
    with nest.loop(first, last, step=width, parallel=False) as s:
        _prefetch(emitter, s, width)
        tile = Tile(emitter, s, width)
        rows = {store: Row(tile, kernel.operands[store.operand].dtype) for store in plan.stores}
        with tile.elements() as column, emitter.redirected({store: row.at(column) for store, row in rows.items()}):
            emitter.place(stage, placement, depth)
        for store, row in rows.items():
            place = nest.step_bytes(starts[store], s, store.operand, -1)
            _write_past_cache(emitter, row, place, width * np.dtype(kernel.operands[store.operand].dtype).itemsize)
    with nest.loop(word(0), word(2), parallel=False) as part:
        before = builder.icmp_signed("==", part, word(0))
        bounds = builder.select(before, begin, last), builder.select(before, first, end)
        with nest.loop(*bounds, axis=kernel.outer[-1]):
            emitter.place(stage, placement, depth)


def fence(emitter: Emitter, plan: Streaming) -> None:
    """Who learns that the kernel has ended sees all that it wrote."""
    with emitter.builder.if_then(_beyond_cache(emitter, plan)):
        emitter.builder.fence("seq_cst")


def _itemsize(emitter: Emitter, body: Store | Load) -> int:
    return np.dtype(emitter.kernel.operands[body.operand].dtype).itemsize


def _start_of_row(emitter: Emitter, body: Store | Load) -> Any:
    """The address of element 0 along the innermost axis."""
    nest = emitter.nest
    pointer = nest.address(body.operand, (*body.indices[:-1], None))
    start = nest.start(body.indices[-1])
    return pointer if start is None else nest.step_bytes(pointer, start, body.operand, -1)


def _beyond_cache(emitter: Emitter, plan: Streaming) -> Any:
    """Whether the results are too large for the cache; and none of them is to replace what the kernel reads."""
    nest, builder, kernel = emitter.nest, emitter.builder, emitter.kernel

    def compare() -> Any:
        total = word(sum(_itemsize(emitter, store) for store in plan.stores))
        for axis in kernel.outer:
            total = builder.mul(total, nest.extent(axis))
        result = builder.icmp_signed(">", total, word(plan.cache_bytes // 2))
        for number, operand in enumerate(kernel.operands):
            if operand.role == "in" and operand.rank:
                for store in plan.stores:
                    apart = builder.icmp_unsigned("!=", nest.base(number), nest.base(store.operand))
                    result = builder.and_(result, apart)
        return result

    return nest.remember(0, "beyond cache", compare)


def _whole_lines(
    emitter: Emitter, plan: Streaming, starts: dict[Store, Any], begin: Any, end: Any
) -> tuple[Any, Any, int]:
    """First and last of the elements that are streamed, so that all results are whole lines; and how many at once."""
    nest, builder = emitter.nest, emitter.builder
    sizes = [_itemsize(emitter, store) for store in plan.stores]
    width = max(4 * vector_bytes() // max(sizes), LINE // min(sizes))
    addresses = [
        builder.ptrtoint(nest.step_bytes(pointer, begin, store.operand, -1), I64) for store, pointer in starts.items()
    ]
    past = builder.and_(builder.neg(addresses[sizes.index(min(sizes))]), word(LINE - 1))
    head = builder.lshr(past, word(min(sizes).bit_length() - 1))
    count = builder.sub(builder.sub(end, begin), head)
    streams = builder.and_(_beyond_cache(emitter, plan), builder.icmp_signed(">", count, word(0)))
    for address, size in zip(addresses, sizes, strict=True):
        following = builder.and_(builder.add(address, builder.mul(head, word(size))), word(LINE - 1))
        streams = builder.and_(streams, builder.icmp_signed("==", following, word(0)))
    first = builder.select(streams, builder.add(begin, head), begin)
    whole = builder.select(streams, builder.and_(count, word(-width)), word(0))
    return first, builder.add(first, whole), width


def _prefetch(emitter: Emitter, s: Any, width: int) -> None:
    """Ask for what a later tile reads."""
    nest, builder, kernel = emitter.nest, emitter.builder, emitter.kernel
    loads = (line.body for line in kernel.instructions if isinstance(line.body, Load))
    # Of several places in one row, as a stencil has them, one brings the lines of all.
    rows = {(body.operand, body.indices[:-1]): body for body in loads if _is_row(kernel, body)}
    for body in rows.values():
        pointer = nest.step_bytes(_start_of_row(emitter, body), s, body.operand, -1)
        for offset in range(AHEAD, AHEAD + width * _itemsize(emitter, body), LINE):
            prefetch(builder, builder.gep(pointer, [word(offset)], source_etype=I8))


def _write_past_cache(emitter: Emitter, row: Row, place: Any, size: int) -> None:
    """Copy a row, cache line by cache line."""
    builder = emitter.builder
    line = ir.VectorType(I64, LINE // 8)
    marker = builder.module.add_metadata([ir.Constant(I32, 1)])
    for number in range(size // LINE):
        source, target = (builder.gep(p, [word(number)], inbounds=True, source_etype=line) for p in (row.start, place))
        value = builder.load(source, typ=line, align=LINE)
        builder.store(value, target, align=LINE).set_metadata("nontemporal", marker)
