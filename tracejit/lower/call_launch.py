"""Native calls: the launch of a kernel - its parameter words, its units, its threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir

from tracejit.lower import interpreter as py
from tracejit.lower.abi import ALL
from tracejit.lower.call_arguments import Checks
from tracejit.lower.call_memory import Geometry
from tracejit.lower.call_plan import KernelCall
from tracejit.lower.columns import emit_tile_width
from tracejit.lower.entry_point import UNLOCK_ITERATIONS, emit_launch, known_pool
from tracejit.lower.launch_cost import WORTH_ASKING
from tracejit.lower.linking import POOL_THREADS, POOL_WAKE
from tracejit.lower.llvm_types import DOUBLE, I1, I64, POINTER, word
from tracejit.lower.panel_cuts import emit_panel_cuts
from tracejit.lower.thread_pool import MAIN
from tracejit.schedule.kernel import CHUNK

SCALAR_BYTES = 16
"""Room for one element of any dtype."""


class Frame:
    """Stack memory of a kernel call: parameter words, partial results, the thread's state."""

    def __init__(self, builder: Any, step: KernelCall) -> None:
        self.words = builder.alloca(I64, size=word(max(1, step.layout.words)))
        self.partial = [builder.alloca(I64, size=word(SCALAR_BYTES // 8)) for name in step.buffers if not name]
        self.state = builder.alloca(POINTER)


class Launch:
    """A kernel call: its numbers are computed with the checks, the rest when it is its turn."""

    def __init__(self, checks: Checks, step: KernelCall, room: Frame) -> None:
        self.checks, self.step, self.room = checks, step, room
        self.builder = checks.builder
        expressions = checks.expressions
        self.extents = [expressions.integer(text) for text in step.extents]
        self.iterations = expressions.product(self.extents)
        self.work = self._work()
        self.wake = py.field(self.builder, known_pool(self.builder), POOL_WAKE, DOUBLE)
        self.is_quick = self.builder.fcmp_ordered("<=", self.work, DOUBLE(WORTH_ASKING))
        self._put_all(step.layout.extents, self.extents)
        self._put_all(step.layout.integers, [expressions.integer(text) for text in step.integers])
        self._put_all(step.layout.scalars, [self._scalar(text, kind) for text, kind in step.scalars])
        if step.layout.counted is not None:
            self._put(step.layout.counted, word(ALL))

    def is_small(self) -> Iterator[Any]:
        """Longer work wants a pool that there is not yet."""
        builder = self.builder
        yield builder.or_(self.is_quick, builder.fcmp_ordered(">", self.wake, DOUBLE(0.0)))
        if self.step.sharing == "chunk":
            reduced = self.checks.expressions.product([self.extents[axis] for axis in self.step.reduced])
            yield builder.icmp_unsigned("<=", reduced, word(CHUNK))

    def _put_all(self, first: int, values: list[Any]) -> None:
        for position, value in enumerate(values):
            self._put(first + position, value)

    def _put(self, slot: int, value: Any) -> None:
        pointer = self.builder.gep(self.room.words, [word(slot)], inbounds=True, source_etype=I64)
        self.builder.store(value, pointer)

    def _scalar(self, text: str, kind: str) -> Any:
        """A number as the word that its kind of dtype asks for."""
        expressions = self.checks.expressions
        if kind == "b":
            return self.builder.zext(expressions.test(text), I64)
        value = expressions.number(text)
        if kind == "f":
            if value.type != DOUBLE:
                value = self.builder.sitofp(expressions.integer(text), DOUBLE)
            return self.builder.bitcast(value, I64)
        return expressions.integer(text)

    def run(self, memory: dict[str, tuple[Geometry, Any]]) -> Any:
        """The kernel's code: 0 if all went well; `memory`: how it lies and where, by name."""
        step, builder = self.step, self.builder
        partial = iter(self.room.partial)
        passed = [(d, s) for d, s in zip(step.layout.data, step.layout.sizes, strict=True) if d is not None]
        for (slot, sizes), name, rank in zip(passed, step.buffers, step.ranks, strict=True):
            if not name:
                self._put(slot, builder.ptrtoint(next(partial), I64))
                continue
            geometry, data = memory[name]
            self._put(slot, data)
            for axis in range(rank):
                self._put(slot + 1 + axis, geometry.stride(axis))
                if sizes is not None:
                    self._put(sizes + axis, geometry.length(axis))
        large: Any = builder.icmp_unsigned(">=", self.iterations, word(UNLOCK_ITERATIONS))
        large = I1(1) if step.endless else large
        with builder.if_then(large, likely=False):
            builder.store(py.call(builder, "PyEval_SaveThread"), self.room.state)
        code = self._native()
        with builder.if_then(large, likely=False):
            py.call(builder, "PyEval_RestoreThread", builder.load(self.room.state, typ=POINTER))
        return code

    def _native(self) -> Any:
        builder, step = self.builder, self.step
        main = self.checks.slot(step.main, MAIN.as_pointer())
        code = emit_launch(builder, main, self.room.words, self._units(), self._threads())
        if step.final is not None:
            final = ir.FunctionType(I64, [POINTER]).as_pointer()
            code = builder.or_(code, builder.call(self.checks.slot(step.final, final), [self.room.words]))
        return code

    def _work(self) -> Any:
        """The nanoseconds that it takes, as a double."""
        builder, total = self.builder, DOUBLE(0.0)
        for axes, amount in self.step.work:
            times = self.checks.expressions.product([self.extents[axis] for axis in axes])
            total = builder.fadd(total, builder.fmul(builder.sitofp(times, DOUBLE), DOUBLE(amount)))
        return total

    def _threads(self) -> Any:
        """As many as `threads.threads_for` says of work whose data are in cache."""
        builder = self.builder
        most = py.field(builder, known_pool(builder), POOL_THREADS, I64)
        wanted = builder.fdiv(self.work, self.wake)
        fewer = builder.fcmp_ordered("<", wanted, builder.sitofp(most, DOUBLE))
        several = builder.select(fewer, builder.fptosi(wanted, I64), most)
        return builder.select(self.is_quick, word(1), several)

    def _units(self) -> Any:
        """`abi.units` of work that is not large."""
        builder, step = self.builder, self.step
        if step.first is None:
            return word(1)
        extent = self.extents[step.first]
        if step.sharing == "chunk":
            return builder.zext(builder.icmp_signed(">", extent, word(0)), I64)
        if step.sharing == "tiles":
            width = emit_tile_width(builder, extent)
            return builder.sdiv(builder.add(extent, builder.sub(width, word(1))), width)
        if step.sharing == "panels":
            batch, *sizes = (self.checks.expressions.product([self.extents[a] for a in axes]) for axes in step.panels)
            cuts = emit_panel_cuts(builder, batch, *sizes)
            return builder.mul(batch, builder.mul(cuts.tiles, cuts.blocks))
        return extent
