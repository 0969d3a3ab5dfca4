"""Native calls: one emitted function that guards, allocates, runs the steps and gives the results.

`PyObject* call(context, args, nargs, kwnames)` takes what CPython's vectorcall protocol hands over and returns a new
reference, NULL with an exception set, or MISS - then nothing has happened, and the portable way takes the call.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tracejit.lower import interpreter as py
from tracejit.lower import linking
from tracejit.lower.abi import OUT_OF_MEMORY
from tracejit.lower.call_arguments import Checks
from tracejit.lower.call_dispatch import MISS
from tracejit.lower.call_launch import SCALAR_BYTES, Frame, Launch
from tracejit.lower.call_memory import Rooms, copy_bytes, in_order, viewed
from tracejit.lower.call_plan import (
    Allocation,
    CallPlan,
    Copying,
    KernelCall,
    MatrixProduct,
    Reshaping,
    Step,
    Viewing,
)
from tracejit.lower.call_product import LOOP, Product
from tracejit.lower.call_results import Results, new_array
from tracejit.lower.linking import CALL, NotNative
from tracejit.lower.llvm_types import I64, POINTER, word


def emit_call(plan: CallPlan, small: int) -> Any:
    """A module with the function; arrays of `small` bytes and more are not for it (raises NotNative)."""
    module = ir.Module("tracejit_call")
    function = ir.Function(module, ir.FunctionType(POINTER, [POINTER, POINTER, I64, POINTER]), CALL)
    checks = Checks(plan, function)
    frames = {id(step): Frame(checks.builder, step) for step in plan.steps if isinstance(step, KernelCall)}
    checks.emit()
    work = _Work(checks, frames)
    work.sizes(small)
    work.run()
    return module


class _Work:
    """Everything after the checks.  Whoever leaves early gives back what is owned."""

    def __init__(self, checks: Checks, frames: dict[int, Frame]) -> None:
        self.checks, self.builder, self.plan = checks, checks.builder, checks.plan
        self.frames = frames
        self.objects, self.memory = dict(checks.objects), dict(checks.memory)
        self.numbers: dict[int, Any] = {}
        self.rooms = Rooms(self.builder, checks.expressions)
        self.owned: list[Any] = []

    # ---- sizes

    def sizes(self, small: int) -> None:
        """The last checks: nothing overflowed, and nothing is large; `numbers`: what each step needs, by identity."""
        conditions: list[Any] = []
        for step in self.plan.steps:
            self.numbers[id(step)] = self._numbers(step)
            if isinstance(step, KernelCall):
                conditions += self.numbers[id(step)].is_small()
            elif isinstance(step, Allocation) and step.place != "stack":
                elements = self.checks.expressions.product(self.numbers[id(step)])
                if any(not text.isdigit() for text in step.shape):
                    conditions.append(self.builder.icmp_unsigned("<", elements, word(small // step.itemsize)))
                if step.place == "room":
                    self.rooms.reserve(step, elements)
        self.checks.require(*conditions, self.builder.not_(self.checks.expressions.overflowed))

    def _numbers(self, step: Step) -> Any:
        expressions = self.checks.expressions
        if isinstance(step, KernelCall):
            return Launch(self.checks, step, self.frames[id(step)])
        if isinstance(step, MatrixProduct):
            return Product(self.builder, expressions, step)
        lengths = [expressions.integer(text) for text in step.shape]
        if isinstance(step, Copying):
            return expressions.product([*lengths, word(step.itemsize)])
        return ([expressions.integer(text) for text in step.starts], lengths) if isinstance(step, Viewing) else lengths

    # ---- steps

    def run(self) -> None:
        """Steps in order, then the result."""
        for name in self.plan.borrowed:
            py.call(self.builder, "Py_IncRef", self.objects[name])
        if self.rooms.offsets:
            self._leave_if(py.is_null(self.builder, self.rooms.take()), MISS)
        for step in self.plan.steps:
            self._step(step, self.numbers[id(step)])
        results = Results(self.checks, self.objects, self.memory, self.owned, self._made, self._leave_if)
        result = results.result(self.plan.result)
        if any(count > 1 for count in results.given.values()):
            raise NotNative("an array that is given out twice")
        arrays = [step.name for step in self.plan.steps if isinstance(step, Allocation) and step.place == "object"]
        self._give_back([self.objects[name] for name in arrays if name not in results.given])
        self.builder.ret(result)

    def _step(self, step: Step, numbers: Any) -> None:
        builder, memory = self.builder, self.memory
        if isinstance(step, Allocation):
            memory[step.name] = in_order(builder, numbers, step.itemsize), self._place(step, numbers)
        elif isinstance(step, Viewing):
            memory[step.name] = viewed(builder, step, *memory[step.source], *numbers)
        elif isinstance(step, Reshaping):
            memory[step.name] = in_order(builder, numbers, step.itemsize), memory[step.source][1]
        elif isinstance(step, Copying):
            copy_bytes(builder, memory[step.target][1], memory[step.source][1], numbers)
        elif isinstance(step, MatrixProduct):
            numbers.run(self.checks.slot(step.function, LOOP.as_pointer()), memory)
        else:
            self._leave_if_failed(step, numbers.run(memory))

    def _place(self, step: Allocation, lengths: list[Any]) -> Any:
        """The address of new memory."""
        builder = self.builder
        if step.place == "room":
            return self.rooms.address(step.room)
        if step.place == "stack":
            elements = 1
            for text in step.shape:
                elements *= int(text)
            with builder.goto_entry_block():
                room = builder.alloca(I64, size=word(max(SCALAR_BYTES, elements * step.itemsize + 7) // 8))
            return builder.ptrtoint(room, I64)
        array = self.objects[step.name] = self._made(new_array(self.checks, step.descriptor, lengths, None, None))
        return py.field(builder, array, linking.DATA, I64)

    # ---- ownership

    def _leave_if_failed(self, step: KernelCall, code: Any) -> None:
        """A row that could not be allocated is an error here and now: arguments may have been written to before."""
        builder = self.builder
        if None in step.layout.data:
            with builder.if_then(builder.icmp_signed("==", code, word(OUT_OF_MEMORY)), likely=False):
                py.call(builder, "PyErr_NoMemory")
                self._give_back(self.owned)
                builder.ret(ir.Constant(POINTER, None))
        self._leave_if(builder.icmp_signed("!=", code, word(0)), MISS)

    def _leave_if(self, condition: Any, value: int) -> None:
        """Give back what is owned, and return."""
        with self.builder.if_then(condition, likely=False):
            self._give_back(self.owned)
            self.builder.ret(ir.Constant(I64, value).inttoptr(POINTER))

    def _give_back(self, objects: list[Any]) -> None:
        for pointer in (*objects, *(self.objects[name] for name in self.plan.borrowed)):
            py.call(self.builder, "Py_DecRef", pointer)
        self.rooms.give_back()

    def _made(self, pointer: Any) -> Any:
        """A new object, owned from now on; or its exception goes to the caller."""
        self._leave_if(py.is_null(self.builder, pointer), 0)
        self.owned.append(pointer)
        return pointer
