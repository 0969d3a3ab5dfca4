"""Products of matrices that are written as sums: tiles of both operands go through shared memory.

for row, column: out[row, column] = f(sum over d of left[row, d] * right[d, column])

A block has a tile of the rows and the last two outer axes' columns, and goes through the depth by `DEPTH`; a thread has
`SIDE` by `SIDE` elements in registers.  Each chunk of the depth is added up by itself, then to the total.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tracejit.lower.cuda.accumulators import Accumulator
from tracejit.lower.cuda.body import Body
from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch, Variant
from tracejit.lower.cuda.parameters import function, parameters, source
from tracejit.lower.cuda.spread import unravel
from tracejit.lower.cuda.text import Text, TextScalar, cast, literal
from tracejit.schedule.kernel import Apply, Index, Instruction, Kernel, Load, Reduce

DEPTH = 16
"""Places of the depth whose numbers are in shared memory at a time."""

SIDE = 4
"""Rows and columns of the product that a thread has in registers."""

ACROSS = 16
"""Threads next to each other along the columns."""


@dataclass(frozen=True)
class Factors:
    """A product of matrices: the loads of its operands, the line that multiplies, the one that adds up."""

    left: Instruction
    right: Instruction
    multiply: Instruction
    reduce: Instruction


def factors(kernel: Kernel) -> Factors | None:
    """The product that a kernel is, of operands of which one has the rows and not the columns, and one the reverse."""
    if kernel.form != "map" or len(kernel.outer) < 2 or len(kernel.stages[0].axes) != 1:
        return None
    if any(stage.axes for stage in kernel.stages[1:]) or any(x.role == "scratch" for x in kernel.operands):
        return None
    lines = kernel.stages[0].instructions
    kinds = tuple(type(line.body) for line in lines)
    if kinds != (Load, Load, Apply, Reduce):
        return None
    first, second, multiply, reduce = lines
    (depth,), (row, column) = kernel.stages[0].axes, kernel.outer[-2:]
    by_place = {(row in _axes(line), column in _axes(line)): line for line in (first, second) if depth in _axes(line)}
    if set(by_place) != {(True, False), (False, True)}:
        return None
    pairs = (("multiply", "sum"), ("logical_and", "any"))
    orders = ((first.number, second.number), (second.number, first.number))
    ways = [(Apply(op, args), Reduce(total, multiply.number)) for op, total in pairs for args in orders]
    if (multiply.body, reduce.body) not in ways:
        return None
    return Factors(by_place[True, False], by_place[False, True], multiply, reduce)


def _axes(line: Instruction) -> set[int | None]:
    assert isinstance(line.body, Load)
    return {index.axis for index in line.body.indices}


@dataclass(frozen=True)
class ProductGrid:
    """A block for each tile of the product."""

    outer: tuple[int, ...]
    rows: int

    def __call__(self, extents: Extents, device: Device) -> int:
        *batch, row, column = (extents[axis] for axis in self.outer)
        return math.prod(batch) * -(-row // self.rows) * -(-column // (ACROSS * SIDE))


def product(kernel: Kernel, variant: Variant, found: Factors) -> CudaKernel:
    """A kernel that is a product of matrices and what is done with each of its elements."""
    text = Text()
    writer = _Product(Body(kernel, variant, text), found)
    writer.write()
    words = parameters(kernel)
    grid = ProductGrid(kernel.outer, writer.rows)
    return CudaKernel(
        source=source(text, function("kernel_product", kernel, words, text.lines, variant.index_bits)),
        parameters=words,
        launches=(Launch("kernel_product", "product", variant.block, grid, Always(0)),),
        fma=kernel.fastmath,
        tables=tuple((name, *table) for name, table in text.tables.items()),
    )


class _Product:
    """Writes the function of a product."""

    def __init__(self, body: Body, found: Factors) -> None:
        self.body, self.found = body, found
        self.kernel, self.text = body.kernel, body.text
        *self.batch, self.row, self.column = self.kernel.outer
        (self.depth,) = self.kernel.stages[0].axes
        self.rows = body.variant.block // ACROSS * SIDE
        self.columns = ACROSS * SIDE
        self.accumulator = Accumulator(body, found.reduce)

    def write(self) -> None:
        """All of it; a block has one tile."""
        body, text = self.body, self.text
        text.line(f"thread = {body.index('cuda.threadIdx.x')}")
        text.line(f"tx = {body.index(f'thread & {ACROSS - 1}')}")
        text.line(f"ty = {body.index(f'thread >> {ACROSS.bit_length() - 1}')}")
        over, down = (self._tiles(axis, size) for axis, size in ((self.column, self.columns), (self.row, self.rows)))
        block = body.define_index("cuda.blockIdx.x", "block")
        rest = text.define(f"idiv({block}, {over})", "rest")
        text.line(f"first_column = {body.index(f'({block} - {rest} * {over}) * {self.columns}')}")
        batch = text.define(f"idiv({rest}, {down})", "rest")
        text.line(f"first_row = {body.index(f'({rest} - {batch} * {down}) * {self.rows}')}")
        unravel(body, batch, self.batch)
        totals = [self._zeros() for _ in range(SIDE)]
        chunk = text.define(f"int{body.variant.index_bits}(0)", "chunk")
        with text.block(f"while {chunk} < n{self.depth}:"):
            left = self._fill(self.found.left, chunk, self.row, self.rows, "first_row")
            right = self._fill(self.found.right, chunk, self.column, self.columns, "first_column")
            text.line("cuda.syncthreads()")
            parts = self._chunk(left, right)
            for mine, theirs in zip(totals, parts, strict=True):
                for total, part in zip(mine, theirs, strict=True):
                    self._add(total, part)
            text.line("cuda.syncthreads()")
            text.line(f"{chunk} = {body.index(f'{chunk} + {DEPTH}')}")
        self._finish(totals)

    def _tiles(self, axis: int, size: int) -> str:
        return self.body.define_index(f"(n{axis} + {size - 1}) >> {size.bit_length() - 1}", "tiles")

    def _zeros(self) -> list[TextScalar]:
        dtype = self.accumulator.dtype
        return [TextScalar(self.text, self.text.define(literal(0, dtype), "sum"), dtype) for _ in range(SIDE)]

    def _add(self, total: TextScalar, value: TextScalar) -> None:
        assert self.accumulator.op.scalar is not None
        result = self.accumulator.op.scalar(total, cast(value, total.dtype))
        assert isinstance(result, TextScalar)
        self.text.line(f"{total.name} = {result.name}")

    def _fill(self, line: Instruction, chunk: str, axis: int, size: int, first: str) -> str:
        """An operand's tile in shared memory, by depth and then by place; zeros past the depth."""
        body, text, load = self.body, self.text, line.body
        assert isinstance(load, Load)
        memory = np.dtype({"bool": "uint8", "float16": "uint16"}.get(self._stored(line), self._stored(line)))
        name = text.fresh("tile")
        text.lines.insert(0, f"    {name} = cuda.shared.array({DEPTH * size}, {memory.name}_dtype)")
        along_depth = self._depth_is_dense(load)
        counter = text.fresh("k")
        with body.level(), text.block(f"for {counter} in range({DEPTH * size // body.variant.block}):"):
            number = body.define_index(f"thread + {counter} * {body.variant.block}", "number")
            split = DEPTH if along_depth else size
            high = body.define_index(f"{number} >> {split.bit_length() - 1}", "high")
            low = body.define_index(f"{number} & {split - 1}", "low")
            step, place = (low, high) if along_depth else (high, low)
            value = text.define(literal(0, memory), "found")
            at = body.define_index(f"{chunk} + {step}", "at")
            where = body.define_index(f"{first} + {place}", "at")
            with text.block(f"if {at} < n{self.depth} and {where} < n{axis}:"):
                axes = {**body.axes, self.depth: at, axis: where}
                text.line(f"{value} = {body.element(load.operand, [body.place(x, axes) for x in load.indices])}")
            text.line(f"{name}[uint32({step} * {size} + {place})] = {value}")
        return name

    def _stored(self, line: Instruction) -> str:
        assert isinstance(line.body, Load)
        return self.kernel.operands[line.body.operand].dtype

    def _depth_is_dense(self, load: Load) -> bool:
        operand = self.kernel.operands[load.operand]
        return any(index == Index(self.depth) and unit for index, unit in zip(load.indices, operand.unit, strict=True))

    def _chunk(self, left: str, right: str) -> list[list[TextScalar]]:
        """What the places of the depth in shared memory add up to."""
        body, text, multiply = self.body, self.text, self.found.multiply
        sums = [self._zeros() for _ in range(SIDE)]
        step = text.fresh("k")
        with body.level(), text.block(f"for {step} in range({DEPTH}):"):
            near = [f"{left}[uint32({step} * {self.rows} + ty * {SIDE} + {k})]" for k in range(SIDE)]
            far = [f"{right}[uint32({step} * {self.columns} + tx + {k * ACROSS})]" for k in range(SIDE)]
            rows = [self._read(self.found.left, element) for element in near]
            columns = [self._read(self.found.right, element) for element in far]
            for row, mine in zip(rows, sums, strict=True):
                for column, total in zip(columns, mine, strict=True):
                    with body.level():
                        body.define(self.found.left.number, row)
                        body.define(self.found.right.number, column)
                        self._add(total, body.value(multiply.number))
        return sums

    def _read(self, line: Instruction, element: str) -> TextScalar:
        assert isinstance(line.body, Load)
        return self.body.loaded(element, line.body.operand, np.dtype(line.dtype))

    def _finish(self, totals: list[list[TextScalar]]) -> None:
        """What follows, for each element."""
        body, text = self.body, self.text
        for i, mine in enumerate(totals):
            row = body.define_index(f"first_row + ty * {SIDE} + {i}", "row")
            for j, total in enumerate(mine):
                column = body.define_index(f"first_column + tx + {j * ACROSS}", "column")
                with body.level(), text.block(f"if {row} < n{self.row} and {column} < n{self.column}:"):
                    body.stand(self.row, row)
                    body.stand(self.column, column)
                    self.accumulator.names = [total.name]
                    self.accumulator.compensated = False
                    body.define(self.found.reduce.number, self.accumulator.result())
                    for stage in self.kernel.stages[1:]:
                        body.run(stage.instructions)
