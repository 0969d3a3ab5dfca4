"""Hand-written kernels for the tests of lowering and runtime."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.schedule.kernel import (
    Apply,
    Body,
    Gather,
    Index,
    Instruction,
    Kernel,
    Literal,
    Load,
    Operand,
    Reduce,
    ScalarParameter,
    Stage,
    Store,
)


class Lines:
    """Numbers instructions and cuts them into stages."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[Instruction] = []
        self.stages: list[Stage] = []

    def line(self, body: Body, dtype: str = "") -> int:
        self._open.append(Instruction(self._count, body, dtype))
        self._count += 1
        return self._count - 1

    def load(self, operand: int, indices: Any, dtype: str = "float64") -> int:
        return self.line(Load(operand, _indices(indices)), dtype)

    def store(self, operand: int, indices: Any, value: int) -> int:
        return self.line(Store(operand, _indices(indices), value))

    def apply(self, op: str, *args: int, dtype: str = "float64") -> int:
        return self.line(Apply(op, args), dtype)

    def reduce(self, op: str, value: int, dtype: str = "float64") -> int:
        return self.line(Reduce(op, value), dtype)

    def literal(self, number: Any, dtype: str = "float64") -> int:
        return self.line(Literal(np.array(number, dtype).tobytes()), dtype)

    def stage(self, *axes: int) -> None:
        self.stages.append(Stage(axes, tuple(self._open)))
        self._open = []


def _indices(indices: Any) -> tuple[Index, ...]:
    return tuple(x if isinstance(x, Index) else Index(x) for x in indices)


def operand(dtype: str, rank: int, role: str = "in", unit: bool = True, **more: Any) -> Operand:
    """An operand; `unit` says that its last stride is the item size."""
    return Operand(dtype, rank, tuple(unit and d == rank - 1 for d in range(rank)), role, **more)


def binary(op: str, dtype: str = "float64", rank: int = 1, unit: bool = True, result: str = "") -> Kernel:
    """out[i..] = op(x[i..], y[i..])"""
    lines, axes = Lines(), tuple(range(rank))
    x, y = lines.load(0, axes, dtype), lines.load(1, axes, dtype)
    lines.store(2, axes, lines.apply(op, x, y, dtype=result or dtype))
    lines.stage()
    operands = (operand(dtype, rank, unit=unit), operand(dtype, rank, unit=unit), operand(result or dtype, rank, "out"))
    return Kernel("map", rank, axes, tuple(lines.stages), operands)


def axpy(dtype: str = "float64") -> Kernel:
    """out[i] = a * x[i] + y[i]"""
    lines = Lines()
    a = lines.line(ScalarParameter(0), dtype)
    product = lines.apply("multiply", a, lines.load(0, (0,), dtype), dtype=dtype)
    lines.store(2, (0,), lines.apply("add", product, lines.load(1, (0,), dtype), dtype=dtype))
    lines.stage()
    operands = (operand(dtype, 1), operand(dtype, 1), operand(dtype, 1, "out"))
    return Kernel("map", 1, (0,), tuple(lines.stages), operands, scalars=(dtype,))


def softmax(dtype: str = "float64", shifted_op: str = "exp") -> Kernel:
    """Row softmax in three stages; the second leaves its exponentials in a scratch row."""
    lines = Lines()
    largest = lines.reduce("max", lines.load(0, (0, 1), dtype), dtype)
    lines.stage(1)
    shifted = lines.apply("subtract", lines.load(0, (0, 1), dtype), largest, dtype=dtype)
    power = lines.apply(shifted_op, shifted, dtype=dtype)
    lines.store(2, (1,), power)
    total = lines.reduce("sum", power, dtype)
    lines.stage(1)
    lines.store(1, (0, 1), lines.apply("divide", lines.load(2, (1,), dtype), total, dtype=dtype))
    lines.stage(1)
    operands = (operand(dtype, 2), operand(dtype, 2, "out"), operand(dtype, 1, "scratch", scratch_axes=(1,)))
    return Kernel("map", 2, (0,), tuple(lines.stages), operands)


def reduce_all(op: str, dtype: str = "float64", result: str = "", partial: str = "", rank: int = 1) -> Kernel:
    """out[()] = op.reduce(x)"""
    lines, axes = Lines(), tuple(range(rank))
    total = lines.reduce(op, lines.load(0, axes, dtype), result or dtype)
    lines.stage(*axes)
    lines.store(1, (), total)
    lines.stage()
    operands = (operand(dtype, rank), operand(result or dtype, 0, "out"), operand(partial or dtype, 1, "partial"))
    return Kernel("reduce_all", rank, (), tuple(lines.stages), operands)


def reduce_columns(op: str, dtype: str = "float64", rank: int = 2) -> Kernel:
    """out[.., c] = op.reduce(x[.., :, c]); `rank` 3 has a leading outer axis."""
    lines = Lines()
    axes = tuple(range(rank))
    kept = (*axes[:-2], axes[-1])
    total = lines.reduce(op, lines.load(0, axes, dtype), dtype)
    lines.stage(axes[-2])
    lines.store(1, kept, total)
    lines.stage()
    return Kernel(
        "reduce_columns", rank, kept, tuple(lines.stages), (operand(dtype, rank), operand(dtype, rank - 1, "out"))
    )


def take() -> Kernel:
    """out[i, j] = x[rows[i], j]"""
    lines = Lines()
    row = lines.load(1, (0,), "int64")
    value = lines.line(Gather(0, (row, Index(1))), "float64")
    lines.store(2, (0, 1), value)
    lines.stage()
    operands = (operand("float64", 2), operand("int64", 1), operand("float64", 2, "out"))
    return Kernel("map", 2, (0, 1), tuple(lines.stages), operands)
