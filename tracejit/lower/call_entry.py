"""Native calls: one emitted function that guards, allocates, runs the kernels and gives the results.

`PyObject* call(context, args, nargs, kwnames)` takes what CPython's vectorcall protocol hands over and returns a new
reference, NULL with an exception set, or MISS - then nothing has happened, and the portable way takes the call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir

from tracejit.lower import interpreter as py
from tracejit.lower import linking
from tracejit.lower.call_arguments import Checks
from tracejit.lower.call_dispatch import MISS
from tracejit.lower.call_plan import (
    Allocation,
    Argument,
    CallPlan,
    Constant,
    FreshArray,
    FreshScalar,
    KernelCall,
    Packed,
    Result,
)
from tracejit.lower.entry_point import UNLOCK_ITERATIONS, emit_launch, known_pool
from tracejit.lower.launch_cost import WORTH_ASKING
from tracejit.lower.linking import CALL, POOL_THREADS, POOL_WAKE, NotNative
from tracejit.lower.llvm_types import DOUBLE, I1, I32, I64, POINTER, word
from tracejit.lower.thread_pool import MAIN
from tracejit.schedule.kernel import CHUNK, TILE

"""The function's name in its module."""

SCALAR_BYTES = 16
"""Room for one element of any dtype."""


def emit_call(plan: CallPlan, small: int) -> Any:
    """A module with the function; arrays of `small` bytes and more are not for it (raises NotNative)."""
    module = ir.Module("tracejit_call")
    function = ir.Function(module, ir.FunctionType(POINTER, [POINTER, POINTER, I64, POINTER]), CALL)
    checks = Checks(plan, function)
    calls = [step for step in plan.steps if isinstance(step, KernelCall)]
    rooms = [_Room(checks.builder, step) for step in calls]
    checks.emit()
    launches = [_Launch(checks, step, room) for step, room in zip(calls, rooms, strict=True)]
    work = _Work(checks, {id(step): launch for step, launch in zip(calls, launches, strict=True)})
    work.sizes(small)
    work.run()
    return module


class _Room:
    """Stack memory of a kernel call: parameter words, partial results, the thread's state."""

    def __init__(self, builder: Any, step: KernelCall) -> None:
        self.words = builder.alloca(I64, size=word(max(1, step.layout.words)))
        self.partial = [builder.alloca(I64, size=word(SCALAR_BYTES // 8)) for name in step.buffers if not name]
        self.state = builder.alloca(POINTER)


class _Launch:
    """A kernel call: its numbers are computed with the checks, the rest when it is its turn."""

    def __init__(self, checks: Checks, step: KernelCall, room: _Room) -> None:
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

    def is_small(self) -> Iterator[Any]:
        """Longer work lets go of arrays that nobody holds, or wants a pool that there is not yet."""
        builder = self.builder
        if not self.checks.plan.held:
            if self.step.endless:
                raise NotNative("a loop that may go on for ever, on arrays that nobody holds")
            yield builder.icmp_unsigned("<", self.iterations, word(UNLOCK_ITERATIONS))
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

    def run(self, objects: dict[str, Any], data: dict[str, Any]) -> Any:
        """The kernel's code: 0 if all went well."""
        step, builder = self.step, self.builder
        partial = iter(self.room.partial)
        passed = [(d, s) for d, s in zip(step.layout.data, step.layout.sizes, strict=True) if d is not None]
        for (slot, sizes), name, rank in zip(passed, step.buffers, step.ranks, strict=True):
            self._put(slot, data[name] if name else builder.ptrtoint(next(partial), I64))
            for axis in range(rank if name else 0):
                self._put(slot + 1 + axis, self.checks.stride(objects[name], axis))
                if sizes is not None:
                    self._put(sizes + axis, self.checks.length(objects[name], axis))
        large: Any = I1(1) if step.endless else I1(0)
        if self.checks.plan.held:
            large = builder.or_(large, builder.icmp_unsigned(">=", self.iterations, word(UNLOCK_ITERATIONS)))
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
            return builder.sdiv(builder.add(extent, word(TILE - 1)), word(TILE))
        return extent


class _Work:
    """Everything after the checks: allocations, kernels, results.  Whoever leaves early gives back what is owned."""

    def __init__(self, checks: Checks, launches: dict[int, _Launch]) -> None:
        self.checks, self.launches = checks, launches
        self.builder = checks.builder
        self.plan = checks.plan
        self.objects, self.data = dict(checks.objects), dict(checks.data)
        self.shapes: dict[str, Any] = {}
        self.owned: list[Any] = []

    def sizes(self, small: int) -> None:
        """The last checks: nothing overflowed, and nothing is large."""
        expressions = self.checks.expressions
        conditions: list[Any] = []
        for step in self.plan.steps:
            if isinstance(step, KernelCall):
                conditions += self.launches[id(step)].is_small()
                continue
            lengths = self.shapes[step.name] = [expressions.integer(text) for text in step.shape]
            if any(not text.isdigit() for text in step.shape):
                elements = expressions.product(lengths)
                conditions.append(self.builder.icmp_unsigned("<", elements, word(small // step.itemsize)))
        self.checks.require(*conditions, self.builder.not_(expressions.overflowed))

    def run(self) -> None:
        """Steps in order, then the result."""
        for step in self.plan.steps:
            if isinstance(step, Allocation):
                self._scalar(step) if step.scalar else self._array(step)
            else:
                code = self.launches[id(step)].run(self.objects, self.data)
                self._leave_if(self.builder.icmp_signed("!=", code, word(0)), MISS)
        given: dict[str, int] = {}
        result = self._result(self.plan.result, given)
        if any(count > 1 for count in given.values()):
            raise NotNative("an array that is given out twice")
        for name, pointer in self._own_arrays():
            if name not in given:
                py.call(self.builder, "Py_DecRef", pointer)
        self.builder.ret(result)

    def _own_arrays(self) -> list[tuple[str, Any]]:
        arrays = [step for step in self.plan.steps if isinstance(step, Allocation) and not step.scalar]
        return [(step.name, self.objects[step.name]) for step in arrays]

    def _leave_if(self, condition: Any, value: int) -> None:
        """Give back what is owned, and return."""
        with self.builder.if_then(condition, likely=False):
            for pointer in self.owned:
                py.call(self.builder, "Py_DecRef", pointer)
            self.builder.ret(ir.Constant(I64, value).inttoptr(POINTER))

    def _made(self, pointer: Any) -> Any:
        """A new object, owned from now on; or its exception goes to the caller."""
        self._leave_if(py.is_null(self.builder, pointer), 0)
        self.owned.append(pointer)
        return pointer

    # ---- memory

    def _scalar(self, step: Allocation) -> None:
        """Stack memory for one element."""
        with self.builder.goto_entry_block():
            room = self.builder.alloca(I64, size=word(SCALAR_BYTES // 8))
        self.data[step.name] = self.builder.ptrtoint(room, I64)

    def _array(self, step: Allocation) -> None:
        builder, rank, null = self.builder, len(step.shape), ir.Constant(POINTER, None)
        with builder.goto_entry_block():
            lengths = builder.alloca(I64, size=word(max(1, rank)))
        for axis, length in enumerate(self.shapes[step.name]):
            builder.store(length, builder.gep(lengths, [word(axis)], inbounds=True, source_etype=I64))
        descriptor = self.checks.slot(step.descriptor)
        py.call(builder, "Py_IncRef", descriptor)  # the array takes it, even if it cannot be made
        array_type = py.known(builder, "PyArray_Type")
        made = [array_type, descriptor, I32(rank), lengths, null, null, I32(0), null]
        array = self.objects[step.name] = self._made(py.call(builder, "PyArray_NewFromDescr", *made))
        self.data[step.name] = py.field(builder, array, linking.DATA, I64)

    # ---- results

    def _result(self, result: Result, given: dict[str, int]) -> Any:
        """A new reference."""
        builder = self.builder
        if isinstance(result, FreshArray):
            if result.name not in self.objects:
                raise NotNative("an array without dimensions that is given out as a scalar too")
            given[result.name] = given.get(result.name, 0) + 1
            return self.objects[result.name]
        if isinstance(result, FreshScalar):
            element = builder.inttoptr(self.data[result.name], POINTER)
            descriptor = self.checks.slot(result.descriptor)
            null = ir.Constant(POINTER, None)
            return self._made(py.call(builder, "PyArray_Scalar", element, descriptor, null))
        if isinstance(result, Constant | Argument):
            known = self.checks.slot(result.slot) if isinstance(result, Constant) else self.objects[result.name]
            py.call(builder, "Py_IncRef", known)
            self.owned.append(known)
            return known
        return self._packed(result, given)

    def _packed(self, result: Packed, given: dict[str, int]) -> Any:
        kind = result.kind.capitalize()
        items = [self._result(item, given) for item in result.items]
        pack = self._made(py.call(self.builder, f"Py{kind}_New", word(len(items))))
        for position, item in enumerate(items):
            py.call(self.builder, f"Py{kind}_SetItem", pack, word(position), item)
        # the pack owns them now, and is given back with them
        self.owned = [pointer for pointer in self.owned if not any(pointer is item for item in items)]
        return pack
