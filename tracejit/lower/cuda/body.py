"""Instructions of a kernel as lines of Python, for the one place of the loops at which a thread stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracejit.lower.cuda.control_flow import write_branch, write_loop
from tracejit.lower.cuda.kernel import NoCudaKernel, Variant
from tracejit.lower.cuda.parameters import operand_names
from tracejit.lower.cuda.text import Text, TextScalar, cast, literal
from tracejit.ops.table import OPS, Op
from tracejit.schedule.kernel import (
    Apply,
    Branch,
    Gather,
    Index,
    Instruction,
    Integer,
    IntegerValue,
    Kernel,
    Literal,
    Load,
    Loop,
    Position,
    Reduce,
    Result,
    ScalarParameter,
    Store,
)
from tracejit.vecmath.language import Scalar

_HALF = np.dtype(np.float16)
_BOOL = np.dtype(bool)


class Body:
    """Writes a kernel's instructions into a text.

    axes: the place on each axis, as an expression; in `local_axes` counted from where the loops begin.
    extents, origins: of an axis whose loops go through a part of it only: how many places, and where they begin.
    scratch_extents: how many places of an axis a scratch operand has, where that is not all.
    store_guard: a condition on the threads that store; empty for all.
    levels: what is known: values by instruction number, those of an inner block in a level of their own.
    """

    def __init__(self, kernel: Kernel, variant: Variant, text: Text) -> None:
        self.kernel, self.variant, self.text = kernel, variant, text
        self.names = operand_names(kernel)
        self.axes: dict[int, str] = {}
        self.local_axes: dict[int, str] = {}
        self.extents: dict[int, str] = {}
        self.origins: dict[int, str] = {}
        self.scratch_extents: dict[int, str] = {}
        self.levels: list[dict[int, TextScalar]] = [{}]
        self.stored: dict[Store, list[str]] = {}
        self._by_number = {line.number: line for line in kernel.instructions}
        self._results: dict[int, tuple[TextScalar, ...]] = {}
        self.store_guard = ""
        self.scratch_place: Callable[[int, str], str] = lambda operand, place: place

    # ---- indices

    def index(self, expression: str) -> str:
        """An integer expression in the width of indices."""
        bits = self.variant.index_bits
        if expression.isidentifier() or (bits == 64 and "cuda." not in expression):
            return expression
        return f"int{bits}({expression})"

    def define_index(self, expression: str, prefix: str) -> str:
        """A name for an index."""
        return self.text.define(self.index(expression), prefix)

    def extent(self, axis: int) -> str:
        """How many places the loops over an axis go through."""
        return self.extents.get(axis, f"n{axis}")

    def stand(self, axis: int, place: str) -> None:
        """The loops stand at a place of an axis, counted from where they begin."""
        origin = self.origins.get(axis)
        self.axes[axis] = place if origin is None else f"{place} + {origin}"
        self.local_axes[axis] = place

    def places(self, operand: int, indices: Sequence[Index]) -> list[str]:
        """Where an operand is looked at; scratch holds only what the loops go through."""
        scratch = self.kernel.operands[operand].role == "scratch"
        return [self.place(index, self.local_axes if scratch else self.axes) for index in indices]

    def place(self, index: Index, axes: dict[int, str]) -> str:
        """`start + step * axis`, without what adds nothing."""
        start = f"im{index.start.slot}" if isinstance(index.start, Integer) else str(index.start)
        if index.axis is None:
            return start
        axis = axes[index.axis]
        moved = axis if abs(index.step) == 1 else f"{abs(index.step)} * {_factor(axis)}"
        if index.step < 0:
            return f"{start} - {_factor(moved)}"
        return moved if start == "0" else f"{moved} + {start}"

    def offset(self, operand: int, places: Sequence[str]) -> str:
        """Where an element is, counted in elements from the operand's address."""
        declared, name = self.kernel.operands[operand], self.names[operand]
        terms = []
        for dimension, place in enumerate(places):
            if place == "0":
                continue
            if declared.role == "scratch":
                strides = [
                    self.scratch_extents.get(axis, f"n{axis}") for axis in declared.scratch_axes[dimension + 1 :]
                ]
            else:
                strides = [] if declared.unit[dimension] else [f"{name}_s{dimension}"]
            terms.append(" * ".join([_factor(place), *strides]) if strides else place)
        total = " + ".join(terms) or "0"
        return self.scratch_place(operand, total) if declared.role == "scratch" else total

    def element(self, operand: int, places: Sequence[str]) -> str:
        """An element as Python reads and writes it; unsigned places are not wrapped by arrays in shared memory."""
        return self.element_at(operand, self.offset(operand, places))

    def element_at(self, operand: int, place: str) -> str:
        """The same, counted in elements."""
        if self.kernel.operands[operand].role == "scratch" and self.variant.shared:
            return f"{self.names[operand]}[uint32({place})]"
        return f"{self.names[operand]}[{place if place.isdigit() else self.index(place)}]"

    # ---- values

    def value(self, number: int) -> TextScalar:
        """An instruction's value: known, or else written (again) here."""
        for level in reversed(self.levels):
            if number in level:
                return level[number]
        return self.emit(self._by_number[number])

    def define(self, number: int, value: TextScalar) -> None:
        """Let a number mean a value for as long as the innermost level is open."""
        self.levels[-1][number] = value

    def knows(self, number: int) -> bool:
        """Is the value of an instruction known here?"""
        return any(number in level for level in self.levels)

    def dtype(self, number: int) -> str:
        """The dtype of an instruction's value."""
        return self._by_number[number].dtype

    def emit(self, line: Instruction) -> TextScalar:
        """Write an instruction that has a value."""
        value = self._value(line, np.dtype(line.dtype))
        self.define(line.number, value)
        return value

    @contextmanager
    def level(self) -> Iterator[None]:
        """What is written inside is known inside only."""
        self.levels.append({})
        yield
        self.levels.pop()

    def run(self, lines: Sequence[Instruction]) -> None:
        """Write instructions in order, reductions excepted."""
        for line in lines:
            match line.body:
                case Reduce():
                    pass
                case Store():
                    self.store(line.body)
                case Loop():
                    self._results[line.number] = write_loop(self, line.body)
                case Branch():
                    self._results[line.number] = write_branch(self, line.body)
                case _ if not self.knows(line.number):
                    self.emit(line)

    def _value(self, line: Instruction, dtype: np.dtype[Any]) -> TextScalar:
        body = line.body
        match body:
            case Load():
                return self.loaded(
                    self.element(body.operand, self.places(body.operand, body.indices)), body.operand, dtype
                )
            case Gather():
                return self._gather(line.number, body, dtype)
            case Apply():
                return self._apply(body, dtype)
            case Literal():
                return self._literal(body.data, dtype)
            case ScalarParameter():
                return self._scalar(body.slot, dtype)
            case Position():
                return cast(self.text.value(f"int64({self.axes[body.axis]})", "int64"), dtype)
            case IntegerValue():
                return cast(TextScalar(self.text, f"m{body.slot}", "int64"), dtype)
            case Result():
                return self._results[body.of][body.slot]
            case _:
                raise NoCudaKernel(
                    f"instruction {line.number}, {type(body).__name__}, has no value in the form {self.kernel.form!r}"
                )

    def loaded(self, element: str, operand: int, dtype: np.dtype[Any]) -> TextScalar:
        """An element of memory as a value."""
        stored = np.dtype(self.kernel.operands[operand].dtype)
        if stored == _BOOL:
            return cast(self.text.value(f"{element} != uint8(0)", _BOOL), dtype)
        known = element.isidentifier()
        return cast(TextScalar(self.text, element, stored) if known else self.text.value(element, stored), dtype)

    def store(self, body: Store) -> None:
        """Write an element, or keep it for a vector of them."""
        stored = self.memory_text(self.value(body.value), body.operand)
        if body in self.stored:
            self.stored[body].append(stored if stored.isidentifier() else self.text.define(stored))
        else:
            self.guarded(f"{self.element(body.operand, self.places(body.operand, body.indices))} = {stored}")

    def guarded(self, line: str) -> None:
        """A line that writes to memory, for those threads that are to do it."""
        if not self.store_guard:
            self.text.line(line)
            return
        with self.text.block(f"if {self.store_guard}:"):
            self.text.line(line)

    def memory_text(self, value: TextScalar, operand: int) -> str:
        """A value in the form that memory has it."""
        stored = np.dtype(self.kernel.operands[operand].dtype)
        value = cast(value, stored)
        return f"uint8({value.name})" if stored == _BOOL else value.name

    def _apply(self, body: Apply, dtype: np.dtype[Any]) -> TextScalar:
        arguments = [self.value(number) for number in body.args]
        if body.op == "cast":
            return cast(arguments[0], dtype)
        op = OPS[body.op]
        if op.scalar is None:
            raise NoCudaKernel(f"op {op.name!r} has no scalar definition")
        widened: list[Scalar] = [cast(x, "float32") if x.dtype == _HALF else x for x in arguments]
        name = _of_libdevice(op, widened[0].dtype)
        if name:
            return cast(self.text.value(f"{name}({', '.join(map(_name, widened))})", widened[0].dtype), dtype)
        result = op.scalar(*widened, **dict(body.params))
        assert isinstance(result, TextScalar)
        return cast(result, dtype)

    def _literal(self, data: bytes, dtype: np.dtype[Any]) -> TextScalar:
        number = np.frombuffer(data, dtype)[0]
        if dtype.kind == "c":
            return TextScalar(self.text, f"{dtype.name}(complex({number.real}, {number.imag}))", dtype)
        if dtype.kind == "f" and np.isnan(number) and dtype != _HALF:
            bits = literal(int(number.view(f"i{dtype.itemsize}")), np.dtype(f"i{dtype.itemsize}"))
            return self.text.value(f"from_bits({bits})", dtype)
        if dtype == _HALF:
            return TextScalar(self.text, f"uint16({int(number.view(np.uint16))})", dtype)
        return TextScalar(self.text, literal(number.item(), dtype), dtype)

    def _scalar(self, slot: int, dtype: np.dtype[Any]) -> TextScalar:
        kind = np.dtype(self.kernel.scalars[slot]).kind
        if kind == "b":
            return cast(self.text.value(f"s{slot} != int64(0)", _BOOL), dtype)
        word = {"f": "float64", "u": "uint64", "i": "int64"}[kind]
        return cast(TextScalar(self.text, f"s{slot}", word), dtype)

    def _gather(self, number: int, body: Gather, dtype: np.dtype[Any]) -> TextScalar:
        """Read at computed positions, wrapped when negative; one out of bounds is reported and reads nothing."""
        text, name = self.text, self.names[body.operand]
        places, outside = [], []
        for dimension, index in enumerate(body.indices):
            if isinstance(index, Index):
                places.append(self.place(index, self.axes))
                continue
            size = f"int64({name}_n{dimension})"
            place = cast(self.value(index), "int64").name
            wrapped = text.define(f"select({place} < int64(0), {place} + {size}, {place})", "place")
            outside.append(f"{wrapped} < int64(0) or {wrapped} >= {size}")
            places.append(f"int32({wrapped})" if self.variant.index_bits == 32 else wrapped)
        stored = np.dtype(self.kernel.operands[body.operand].dtype)
        zero = "complex64(0)" if stored == np.complex64 else "complex128(0)" if stored.kind == "c" else ""
        memory = np.dtype({"bool": "uint8", "float16": "uint16"}.get(stored.name, stored.name))
        found = text.define(zero or literal(0, memory), "found")
        with text.block(f"if {' or '.join(outside)}:"):
            text.line(f"atomic_max(error, 0, int64({number + 1}))")
        with text.block("else:"):
            text.line(f"{found} = {self.element(body.operand, places)}")
        return self.loaded(found, body.operand, dtype)


def _of_libdevice(op: Op, dtype: np.dtype[Any]) -> str:
    """The function of libdevice that keeps an op's promise for a dtype; empty if there is none."""
    if op.libdevice is None or dtype.kind != "f":
        return ""
    name, single, double = op.libdevice
    return f"libdevice_{name}" if (single if dtype.itemsize == 4 else double) <= op.ulp else ""


def _name(scalar: Scalar) -> str:
    assert isinstance(scalar, TextScalar)
    return scalar.name


def _factor(expression: str) -> str:
    return expression if expression.isidentifier() or expression.isdigit() else f"({expression})"
