"""Instructions of a kernel as LLVM values, each at the depth of the deepest loop that it depends on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir

from tracejit.lower.control_flow import emit_branch, emit_loop
from tracejit.lower.llvm_types import DOUBLE, I64, register_type, word
from tracejit.lower.loop_nest import LoopNest
from tracejit.lower.placement import Placement
from tracejit.lower.scalar_llvm import LlvmScalar, load_value, store_value
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import (
    Accumulate,
    Apply,
    Branch,
    Gather,
    Index,
    Instruction,
    IntegerValue,
    Kernel,
    Literal,
    Load,
    Loop,
    Position,
    Reduce,
    Result,
    ScalarParameter,
    Stage,
    Store,
)
from tracejit.vecmath import language
from tracejit.vecmath.language import Scalar

FASTMATH = ("reassoc", "contract", "arcp", "nsz")
"""What `fastmath` allows on the arithmetic that the user wrote; NaN and infinities keep their meaning."""

_ARITHMETIC = frozenset({"fadd", "fsub", "fmul", "fdiv"})


class Emitter:
    """Emits a kernel's instructions into a loop nest."""

    def __init__(self, kernel: Kernel, function: Any, nest: type[LoopNest] = LoopNest) -> None:
        self.kernel = kernel
        self.nest = nest(kernel, function)
        self.builder = self.nest.builder
        self._by_number = {i.number: i for i in kernel.instructions}
        self._results: dict[int, tuple[Scalar, ...]] = {}
        self._redirected: dict[Store, Any] = {}
        self.running: dict[int, Callable[[Scalar], Scalar]] = {}

    # ---- values

    def value(self, number: int) -> Scalar:
        """An instruction's value: known in an open level, or else emitted (again) here."""
        for level in reversed(self.nest.levels):
            if number in level.values:
                return level.values[number]
        return self.emit(self._by_number[number])

    def define(self, number: int, value: Scalar) -> None:
        """Let `number` mean `value` for as long as the innermost level is open."""
        self.nest.levels[-1].values[number] = value

    def emit(self, instruction: Instruction) -> Scalar:
        """Emit an instruction in the current block."""
        value = self._body(instruction, np.dtype(instruction.dtype))
        self.define(instruction.number, value)
        return value

    def place(self, stage: Stage, placement: Placement, depth: int, stores: bool = True) -> None:
        """Emit the instructions of a stage that stand at `depth`, where we are; reductions are not emitted here."""
        for instruction in stage.instructions:
            if not isinstance(instruction.body, Reduce) and placement.depth(instruction.number) == depth:
                self._run(instruction, stores)

    def run(self, instructions: Sequence[Instruction]) -> None:
        """Emit the instructions of a block, in order."""
        for instruction in instructions:
            self._run(instruction)

    def _run(self, instruction: Instruction, stores: bool = True) -> None:
        match instruction.body:
            case Store():
                if stores:
                    self.store(instruction.body)
            case Loop():
                self._results[instruction.number] = emit_loop(self, instruction.body)
            case Branch():
                self._results[instruction.number] = emit_branch(self, instruction.body)
            case _:
                if not any(instruction.number in level.values for level in self.nest.levels):
                    self.emit(instruction)

    def leave(self, number: int, results: tuple[Scalar, ...]) -> None:
        """The results of a loop that was emitted in another way."""
        self._results[number] = results

    def dtype(self, number: int) -> str:
        """The dtype of an instruction's value."""
        return self._by_number[number].dtype

    def _body(self, instruction: Instruction, dtype: np.dtype[Any]) -> Scalar:
        nest, body = self.nest, instruction.body
        match body:
            case Load():
                return self.load(nest.address(body.operand, body.indices), self._operand_dtype(body.operand), dtype)
            case Gather():
                return self._gather(instruction.number, body, dtype)
            case Apply():
                return self._apply(body, dtype)
            case Literal():
                return self._literal(body.data, dtype)
            case ScalarParameter():
                return self._scalar_parameter(body.slot, dtype)
            case Position():
                return language.cast(LlvmScalar(self.builder, nest.axis_values[body.axis], np.dtype("i8")), dtype)
            case IntegerValue():
                return language.cast(LlvmScalar(self.builder, nest.integer(body.slot), np.dtype("i8")), dtype)
            case Result():
                return self._results[body.of][body.slot]
            case Accumulate():
                return self.running[instruction.number](self.value(body.value))
            case _:
                raise TypeError(f"instruction {instruction.number} has no value here: {body}")

    def _operand_dtype(self, operand: int) -> np.dtype[Any]:
        return np.dtype(self.kernel.operands[operand].dtype)

    def load(self, pointer: Any, stored: np.dtype[Any], dtype: np.dtype[Any]) -> Scalar:
        """An element at an address, as a value of `dtype`."""
        with self.nest.memory():
            value: Scalar = load_value(self.builder, pointer, stored)
        return language.cast(value, dtype)

    def store(self, body: Store) -> None:
        """Emit a store."""
        value = self.value(body.value)
        pointer = self._redirected.get(body) or self.nest.address(body.operand, body.indices)
        self.store_at(pointer, self._operand_dtype(body.operand), value)

    @contextmanager
    def redirected(self, places: Mapping[Store, Any]) -> Iterator[None]:
        """Stores that are emitted inside go to these addresses."""
        self._redirected = dict(places)
        yield
        self._redirected = {}

    def store_at(self, pointer: Any, stored: np.dtype[Any], value: Scalar) -> None:
        """Write an element at an address."""
        element: Any = language.cast(value, stored)
        with self.nest.memory():
            store_value(self.builder, pointer, element)

    # ---- the kinds of instruction

    def _apply(self, body: Apply, dtype: np.dtype[Any]) -> Scalar:
        arguments = [self.value(number) for number in body.args]
        if body.op == "cast":
            return language.cast(arguments[0], dtype)
        scalar = OPS[body.op].scalar
        assert scalar is not None, body.op
        arguments = [language.cast(x, "float32") if x.dtype == np.float16 else x for x in arguments]
        with self.nest.memory():  # a definition may read a constant table
            result = scalar(*arguments, **dict(body.params))
        if self.kernel.fastmath:
            self._relax(result, arguments)
        return language.cast(result, dtype)

    def _relax(self, result: Scalar, arguments: list[Scalar]) -> None:
        """Flag an op that is one instruction; what stands inside `exp` and its kin relies on exact rounding."""
        value: Any = getattr(result, "value", None)
        operands = {id(getattr(x, "value", None)) for x in arguments}
        if getattr(value, "opname", None) in _ARITHMETIC and all(id(x) in operands for x in value.operands):
            value.flags = [*value.flags, *(flag for flag in FASTMATH if flag not in value.flags)]

    def _literal(self, data: bytes, dtype: np.dtype[Any]) -> Scalar:
        if dtype.kind == "b":
            return LlvmScalar(self.builder, register_type(dtype)(int(data != b"\0")), dtype)
        if dtype.kind != "f":  # of a complex number the kernels know only the bits
            return LlvmScalar(self.builder, register_type(dtype)(int.from_bytes(data, sys.byteorder)), dtype)
        integer = np.frombuffer(data, f"u{dtype.itemsize}")[0]  # bits, so that NaNs keep their payload
        bits = register_type(np.dtype(f"i{dtype.itemsize}"))(int(integer))
        return LlvmScalar(self.builder, self.builder.bitcast(bits, register_type(dtype)), dtype)

    def _scalar_parameter(self, slot: int, dtype: np.dtype[Any]) -> Scalar:
        kind = np.dtype(self.kernel.scalars[slot]).kind
        position = self.nest.layout.scalars + slot
        if kind == "f":
            value = LlvmScalar(self.builder, self.nest.parameter(position, DOUBLE), np.dtype("f8"))
        elif kind == "b":
            truth = self.builder.icmp_unsigned("!=", self.nest.parameter(position), word(0))
            value = LlvmScalar(self.builder, truth, np.dtype("?"))
        else:
            value = LlvmScalar(self.builder, self.nest.parameter(position), np.dtype("u8" if kind == "u" else "i8"))
        return language.cast(value, dtype)

    def _gather(self, number: int, body: Gather, dtype: np.dtype[Any]) -> Scalar:
        """Read at computed positions: wrapped when negative; out of bounds sets the error and reads position 0."""
        builder, nest = self.builder, self.nest
        plain = tuple(x if isinstance(x, Index) else None for x in body.indices)
        pointer = nest.address(body.operand, plain)
        failed: Any = register_type(np.dtype("?"))(0)
        for dimension, index in enumerate(body.indices):
            if isinstance(index, Index):
                continue
            size = nest.size(body.operand, dimension)
            position = language.cast(self.value(index), "i8").value  # type: ignore[attr-defined]
            wrapped = builder.select(builder.icmp_signed("<", position, word(0)), builder.add(position, size), position)
            outside = builder.icmp_unsigned(">=", wrapped, size)
            failed = builder.or_(failed, outside)
            position = builder.select(outside, word(0), wrapped)
            pointer = nest.step_bytes(pointer, position, body.operand, dimension)
        code = builder.select(failed, word(number + 1), word(0))
        worst = builder.module.declare_intrinsic("llvm.umax", [I64], ir.FunctionType(I64, [I64, I64]))
        builder.store(builder.call(worst, [builder.load(nest.error, typ=I64), code]), nest.error)
        return self._checked_load(pointer, body, dtype)

    def _checked_load(self, pointer: Any, body: Gather, dtype: np.dtype[Any]) -> Scalar:
        """Load, but from a zeroed stack slot where a gathered dimension is empty: there is no position 0 to read."""
        nest, stored = self.nest, self._operand_dtype(body.operand)
        gathered = [d for d, x in enumerate(body.indices) if not isinstance(x, Index)]

        def spare() -> tuple[Any, Any]:
            slot = nest.stack_slot(I64)
            self.builder.store(word(0), slot)
            empty = [self.builder.icmp_signed("==", nest.size(body.operand, d), word(0)) for d in gathered]
            result = empty[0]
            for other in empty[1:]:
                result = self.builder.or_(result, other)
            return slot, result

        slot, empty = nest.remember(0, ("empty", body.operand, tuple(gathered)), spare)
        return self.load(self.builder.select(empty, slot, pointer), stored, dtype)
