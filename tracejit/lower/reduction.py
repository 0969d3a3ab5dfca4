"""Accumulators: how a reduction adds up, exactly enough and always in the same order.

Sums of float64 and of float32 run in blocks of the innermost axis (`sum_blocks`).  Inside a block the compiler may
reassociate (and so vectorize, with several accumulators); the totals of the blocks are added one after the other, those
of float64 with the rounding error of each addition kept (two-sum), those of float32 in float64, which need no such
care.  Sums of float16 are in float64 throughout.  The order depends on sizes alone, so any number of threads gives the
same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.lower.abi import accumulator_dtype
from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import memory_type, register_type, word
from tracejit.lower.scalar_llvm import LlvmScalar, store_value
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import Accumulate, Instruction, Reduce
from tracejit.vecmath import language
from tracejit.vecmath.language import Scalar

COLUMN_BLOCK = 8
"""Steps of a column that are added up one after the other; a pairwise sum of NumPy is no more accurate than that."""

_REASSOCIABLE = frozenset({"fadd", "fmul"})

_NUMBERS = ("nnan", "nsz")
"""Flags of a step on what is known to be no NaN; which of two zeros is the larger, NumPy leaves open too."""


class Combiner:
    """The combining step of one Reduce or Accumulate instruction, in the dtype that it accumulates in."""

    def __init__(self, emitter: Emitter, instruction: Instruction, value_dtype: str) -> None:
        assert isinstance(instruction.body, Reduce | Accumulate)
        self.emitter = emitter
        self.body = instruction.body
        self.result_dtype = np.dtype(instruction.dtype)
        self.op = OPS[self.body.op]
        self.dtype = np.dtype(accumulator_dtype(self.op.name, value_dtype))
        self.compensated = self.op.compensated and value_dtype == "float64"
        self.blocked = self.op.compensated and value_dtype in ("float32", "float64")
        self.block_dtype = np.dtype(value_dtype) if self.blocked else self.dtype

    def identity(self, dtype: np.dtype[Any]) -> Scalar:
        """The neutral element."""
        assert self.op.identity is not None
        return self.constant(self.op.identity(dtype), dtype)

    def constant(self, number: Any, dtype: np.dtype[Any]) -> Scalar:
        """A number of a dtype."""
        return LlvmScalar(self.emitter.builder, register_type(dtype)(_plain(number, dtype)), dtype)

    def combine(self, accumulator: Scalar, value: Scalar, free: bool) -> Scalar:
        """One step; `free` lets the compiler reorder the steps."""
        assert self.op.scalar is not None
        result = self.op.scalar(accumulator, language.cast(value, accumulator.dtype))
        instruction: Any = getattr(result, "value", None)
        if free and getattr(instruction, "opname", None) in _REASSOCIABLE:
            instruction.flags = [*instruction.flags, "reassoc"]
        return result

    def finished(self, total: Scalar) -> Scalar:
        """An accumulated value as the instruction's dtype; to float16 by way of float32, as NumPy's sums go."""
        if self.result_dtype == np.float16:
            total = language.cast(total, "float32")
        return language.cast(total, self.result_dtype)

    def slot(self, dtype: np.dtype[Any], count: int = 1) -> Any:
        """A stack slot for accumulators."""
        return self.emitter.nest.stack_slot(register_type(dtype), count)

    def get(self, slot: Any, dtype: np.dtype[Any]) -> Scalar:
        """The value in a slot."""
        value = self.emitter.builder.load(slot, typ=register_type(dtype))
        return LlvmScalar(self.emitter.builder, value, dtype)

    def put(self, slot: Any, value: Scalar) -> None:
        """Set a slot."""
        self.emitter.builder.store(value.value, slot)  # type: ignore[attr-defined]


def _plain(number: Any, dtype: np.dtype[Any]) -> Any:
    return float(number) if dtype.kind == "f" else int(number)


class Accumulator(Combiner):
    """A running total: `start`, then any number of `step`s or of blocks of steps, then `result`.

    narrow: blocks of float32 add up in float32.
    """

    def __init__(self, emitter: Emitter, instruction: Instruction, value_dtype: str, narrow: bool) -> None:
        super().__init__(emitter, instruction, value_dtype)
        if not (narrow or self.compensated):
            self.blocked, self.block_dtype = False, self.dtype
        self._total = self.slot(self.dtype)
        # As wide as the values: so the compiler keeps a vector of them, which it may not of bools.
        self._bits = np.dtype(f"i{self.dtype.itemsize}")
        self._nan = self.slot(self._bits) if self.op.of_numbers is not None and self.dtype.kind == "f" else None
        self._lost = self.slot(self.dtype)
        self._block = self.slot(self.block_dtype)

    def start(self) -> None:
        """Forget everything."""
        self.put(self._total, self._identity())
        if self._nan is not None:
            self.put(self._nan, self.constant(0, self._bits))
        if self.compensated:
            self.put(self._lost, self.identity(self.dtype))

    def _identity(self) -> Scalar:
        """The neutral element: of an op that skips NaN, among numbers."""
        identity = OPS[self.op.skips_nan].identity if self.op.skips_nan else self.op.identity
        assert identity is not None
        return self.constant(identity(self.dtype), self.dtype)

    def _hidden_infinity(self) -> Scalar:
        """The neutral element among numbers, which LLVM does not see through.

        Of the constant it would make a step that is done for numbers only, and then not know it for a reduction.
        """
        nest, builder = self.emitter.nest, self.emitter.builder
        infinite = register_type(self.dtype)

        def divide() -> Any:
            zero = builder.uitofp(builder.lshr(nest.extent(0), word(63)), infinite)  # no extent is negative
            return builder.fdiv(infinite(-1.0 if self.op.skips_nan == "max" else 1.0), zero)

        key = ("hidden infinity", self.op.name, self.dtype.name)
        return LlvmScalar(builder, nest.remember(0, key, divide), self.dtype)

    def start_block(self) -> None:
        """Begin a block of steps."""
        if self.blocked:
            self.put(self._block, self.identity(self.block_dtype))

    def step(self, value: Scalar) -> None:
        """Take in one value."""
        if self._nan is not None:
            self._step_of_numbers(language.cast(value, self.dtype))
            return
        slot, dtype = (self._block, self.block_dtype) if self.blocked else (self._total, self.dtype)
        self.put(slot, self.combine(self.get(slot, dtype), value, free=True))

    def _step_of_numbers(self, value: Scalar) -> None:
        """The cheaper step, and whether there ever was a NaN: then the total, whatever it is, does not count.

        Where NaN is skipped: whether there ever was a number.
        """
        assert self.op.of_numbers is not None
        nan, seen = language.isnan(value), self.constant(-1, self._bits)
        found = language.select(nan, 0, seen) if self.op.skips_nan else language.select(nan, seen, 0)
        if self.op.skips_nan:
            value = language.select(nan, self._hidden_infinity(), value)
        result = self.op.of_numbers(self.get(self._total, self.dtype), value)
        for instruction in (result.value, result.value.operands[0]):  # type: ignore[attr-defined]
            instruction.flags = [*instruction.flags, *_NUMBERS]
        self.put(self._total, result)
        self.put(self._nan, self.get(self._nan, self._bits) | found)

    def end_block(self) -> None:
        """Add the block to the total."""
        if self.blocked:
            self.add(language.cast(self.get(self._block, self.block_dtype), self.dtype))

    def add(self, part: Scalar) -> None:
        """Take in the total of a part, keeping the rounding error where that is promised."""
        total = self.get(self._total, self.dtype)
        if not self.compensated:
            self.put(self._total, self.combine(total, part, free=False))
            return
        together, lost = two_sum(total, part, self.get(self._lost, self.dtype))
        self.put(self._lost, lost)
        self.put(self._total, together)

    def add_partial(self, part: Scalar) -> None:
        """Take in a partial result."""
        if self.blocked:
            self.add(part)
        else:
            self.step(part)

    def total(self) -> Scalar:
        """All that was taken in, in the accumulator's dtype."""
        total = self.get(self._total, self.dtype)
        if self._nan is not None:
            seen = self.get(self._nan, self._bits) != 0
            values = (total, float("nan")) if self.op.skips_nan else (float("nan"), total)
            return language.select(seen, *values)
        return compensate(total, self.get(self._lost, self.dtype)) if self.compensated else total

    def result(self) -> Scalar:
        """The value of the Reduce instruction."""
        return self.finished(self.total())

    def decided(self) -> Any:
        """The bool that no further value changes the total."""
        total: Any = self.get(self._total, self.dtype)
        return total.value if self.op.decided else self.emitter.builder.not_(total.value)


class ColumnAccumulators(Combiner):
    """One accumulator for each place of a tile, in rows on the stack.

    A blocked sum is added up in blocks of `COLUMN_BLOCK` steps, each `fold`ed into the total before the next begins.
    """

    def __init__(self, emitter: Emitter, instruction: Instruction, value_dtype: str, width: int) -> None:
        super().__init__(emitter, instruction, value_dtype)
        self._dtypes = {"block": self.block_dtype}
        if self.blocked:
            self._dtypes["total"] = self.dtype
        if self.compensated:
            self._dtypes["lost"] = self.dtype
        self._rows = {name: emitter.nest.stack_slot(memory_type(dtype), width) for name, dtype in self._dtypes.items()}

    def start(self, column: Any) -> None:
        """Forget a column."""
        for name, dtype in self._dtypes.items():
            self._write(name, column, self.identity(dtype))

    def step(self, column: Any, value: Scalar) -> None:
        """Take in one value of a column."""
        self._write("block", column, self.combine(self._read("block", column), value, free=False))

    def fold(self, column: Any) -> None:
        """Add the block of a column to its total."""
        total, lost = self._together(column)
        self._write("total", column, total)
        if self.compensated:
            self._write("lost", column, lost)
        self._write("block", column, self.identity(self.block_dtype))

    def merge(self, column: Any, other: Any) -> None:
        """Take in all that another column has."""
        if not self.blocked:
            self._write(
                "block", column, self.combine(self._read("block", column), self._read("block", other), free=False)
            )
            return
        (total, lost), (part, lost_of_it) = self._together(column), self._together(other)
        if self.compensated:
            together, lost = two_sum(total, part, lost + lost_of_it)
            self._write("lost", column, lost)
        else:
            together = total + part
        self._write("total", column, together)
        self._write("block", column, self.identity(self.block_dtype))

    def result(self, column: Any) -> Scalar:
        """The value of the Reduce instruction for a column."""
        if not self.blocked:
            return self.finished(self._read("block", column))
        total, lost = self._together(column)
        return self.finished(compensate(total, lost) if self.compensated else total)

    def _together(self, column: Any) -> tuple[Scalar, Scalar]:
        """The total with the block, and what is lost of it (of float32 nothing that matters)."""
        block, total = language.cast(self._read("block", column), self.dtype), self._read("total", column)
        if not self.compensated:
            return total + block, block
        return two_sum(total, block, self._read("lost", column))

    def _at(self, name: str, column: Any) -> Any:
        element = memory_type(self._dtypes[name])
        return self.emitter.builder.gep(self._rows[name], [column], inbounds=True, source_etype=element)

    def _read(self, name: str, column: Any) -> Scalar:
        return self.emitter.load(self._at(name, column), self._dtypes[name], self._dtypes[name])

    def _write(self, name: str, column: Any, value: Any) -> None:
        with self.emitter.nest.memory():
            store_value(self.emitter.builder, self._at(name, column), value)


class RunningTotal(Combiner):
    """The totals of an Accumulate instruction along a row, one after the other, as NumPy rounds them."""

    def __init__(self, emitter: Emitter, instruction: Instruction) -> None:
        super().__init__(emitter, instruction, instruction.dtype)
        self.dtype = self.result_dtype
        self._total = self.slot(self.dtype)

    def start(self) -> None:
        """Begin a row."""
        self.put(self._total, self.identity(self.dtype))

    def step(self, value: Scalar) -> Scalar:
        """Take in one value; the total up to it."""
        total = self.rounded(self.get(self._total, self.dtype), value)
        self.put(self._total, total)
        return total

    def rounded(self, total: Scalar, value: Scalar) -> Scalar:
        """One step, rounded to the dtype of the totals."""
        work = np.dtype(np.float32) if self.dtype == np.float16 else self.dtype
        step = self.combine(language.cast(total, work), language.cast(value, work), free=False)
        return language.cast(step, self.dtype)


class RunningTotals(RunningTotal):
    """The same for each place of a tile, in a row on the stack; `column` is the place at hand."""

    def __init__(self, emitter: Emitter, instruction: Instruction, width: int) -> None:
        super().__init__(emitter, instruction)
        self._row = emitter.nest.stack_slot(memory_type(self.dtype), width)
        self.column: Any = None

    def start(self) -> None:
        self._write(self.identity(self.dtype))

    def step(self, value: Scalar) -> Scalar:
        total = self.rounded(self.emitter.load(self._at(), self.dtype, self.dtype), value)
        self._write(total)
        return total

    def _at(self) -> Any:
        element = memory_type(self.dtype)
        return self.emitter.builder.gep(self._row, [self.column], inbounds=True, source_etype=element)

    def _write(self, value: Any) -> None:
        with self.emitter.nest.memory():
            store_value(self.emitter.builder, self._at(), value)


def two_sum(total: Scalar, part: Scalar, lost: Scalar) -> tuple[Scalar, Scalar]:
    """total + part, and `lost` with the rounding error of that addition; infinities and NaN lose nothing.

    D. E. Knuth, "The Art of Computer Programming", volume 2, section 4.2.2, theorem B.
    """
    together = total + part
    from_part = together - total
    error = (total - (together - from_part)) + (part - from_part)
    return together, lost + language.select(abs(together) < float("inf"), error, 0.0)


def compensate(total: Scalar, lost: Scalar) -> Scalar:
    """The sum; one of negative zeros stays one."""
    return language.select(lost == 0, total, total + lost)
