"""Kernels of the form `panels`: tile by tile a panel is written, multiplied, and what follows is done to the tile.

for unit in units:                       # a place in the stack, a tile of the columns, and a block of the rows
    panel[j, columns] = ...              # the stages before the product, each with loops of its own
    tile = left @ panel
    out[i, columns] = f(tile[i, columns])
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from tracejit.lower.abi import panel_axes
from tracejit.lower.instructions import Emitter
from tracejit.lower.integers import larger, quotient, smaller
from tracejit.lower.llvm_types import I8, I32, I64, POINTER, word
from tracejit.lower.loop_nest import LoopNest
from tracejit.lower.panel_cuts import PanelCuts, emit_panel_cuts
from tracejit.lower.placement import Placement, placements
from tracejit.lower.register_tile import registers, tile_product, vector_length
from tracejit.schedule.kernel import Index, Kernel, Product, Stage

LINE = 64
"""Bytes of a cache line, and of the widest vector."""


class PanelNest(LoopNest):
    """A nest whose scratch operands have rows of whole vectors, and count columns from where the tile begins.

    first, first_row: where the tile begins on the tiled axis, and on that of the rows.
    """

    short_loops = True

    def __init__(self, kernel: Kernel, function: Any) -> None:
        assert kernel.product is not None
        self.product: Product = kernel.product
        self.tiled = kernel.outer[-1]
        self.first: Any = word(0)
        self.first_row: Any = word(0)
        super().__init__(kernel, function)

    def cuts(self) -> PanelCuts:
        """The units, of the kernel's extents."""

        def emitted() -> PanelCuts:
            return emit_panel_cuts(self.builder, *map(self._product, panel_axes(self.kernel)))

        return self.remember(0, "cuts", emitted)

    def columns(self) -> Any:
        """Columns in a tile."""
        inner = panel_axes(self.kernel)[2]
        return self.remember(0, "columns", lambda: self.builder.mul(self.cuts().steps, self._product(inner)))

    def vectors(self) -> Any:
        """Vectors in a row of a panel."""
        length = vector_length(np.dtype(self.kernel.operands[self.product.tile].dtype))

        def count() -> Any:
            return larger(self.builder, word(1), quotient(self.builder, self.columns(), word(length)))

        return self.remember(0, "vectors of a row", count)

    def scratch_size(self, operand: int) -> Any:
        """Whole vectors, and for the tile whole register tiles."""
        declared = self.kernel.operands[operand]
        length = vector_length(np.dtype(declared.dtype))
        if operand == self.product.tile:
            rows = self.builder.add(self.cuts().rows, word(registers().rows))
        else:
            rows = self._product(declared.scratch_axes[: self._columns(operand)])
        return self.builder.mul(self.builder.mul(rows, self.vectors()), word(length))

    def scratch_stride(self, operand: int, dimension: int) -> Any:
        """Between rows the pitch of a row, inside them no gap."""
        declared, place = self.kernel.operands[operand], self._columns(operand)
        if dimension >= place:
            return super().scratch_stride(operand, dimension)
        rows = self._product(declared.scratch_axes[dimension + 1 : place])
        return self.builder.mul(rows, self.builder.mul(self.vectors(), word(registers().size)))

    def place_on(self, axis: int, operand: int) -> Any:
        """Scratch operands have the columns of the tile alone, and the tile the rows of the block."""
        value = super().place_on(axis, operand)
        if axis == self.tiled and self.kernel.operands[operand].role == "scratch":
            return self.builder.sub(value, self.first, flags=("nsw",))
        if axis == self.product.rows and operand == self.product.tile:
            return self.builder.sub(value, self.first_row, flags=("nsw",))
        return value

    def base(self, operand: int) -> Any:
        """Scratch begins at a cache line, so that no vector lies across two."""
        start = super().base(operand)
        if self.kernel.operands[operand].role != "scratch":
            return start

        def aligned() -> Any:
            past = self.builder.and_(self.builder.neg(self.builder.ptrtoint(start, I64)), word(LINE - 1))
            return self.builder.gep(start, [past], inbounds=True, source_etype=I8)

        return self.remember(0, ("aligned", operand), aligned)

    def _columns(self, operand: int) -> int:
        """Where the columns begin among the axes of a scratch operand."""
        return self.kernel.operands[operand].scratch_axes.index(self.tiled)

    def _product(self, axes: tuple[int, ...]) -> Any:
        count = word(1)
        for axis in axes:
            count = self.builder.mul(count, self.extent(axis), flags=("nsw",))
        return count


def emit_panels(emitter: Emitter, begin: Any, end: Any) -> None:
    """The units from `begin` to `end`; blocks of rows that follow one another share a panel."""
    nest, builder, kernel = emitter.nest, emitter.builder, emitter.kernel
    assert isinstance(nest, PanelNest)
    _clear(emitter)
    made = nest.stack_slot(I64)
    builder.store(word(-1), made)
    with nest.loop(begin, end, parallel=False) as unit:
        with nest.at(len(nest.levels) - 1):
            cuts = nest.cuts()
            panel = builder.sdiv(unit, cuts.blocks)
            nest.first_row = builder.mul(builder.srem(unit, cuts.blocks), cuts.rows)
            last_row = smaller(builder, builder.add(nest.first_row, cuts.rows), nest.extent(nest.product.rows))
            rest = builder.sdiv(panel, cuts.tiles)
            nest.first = builder.mul(builder.srem(panel, cuts.tiles), cuts.steps)
            stop = smaller(builder, builder.add(nest.first, cuts.steps), nest.extent(nest.tiled))
            is_new = builder.icmp_signed("!=", panel, builder.load(made, typ=I64))
            within = {nest.tiled: (nest.first, stop), nest.product.rows: (nest.first_row, last_row)}
            for axis in reversed(kernel.outer[:-1]):
                nest.axis_values[axis] = builder.srem(rest, nest.extent(axis))
                nest.axis_level[axis] = len(nest.levels) - 1
                rest = builder.sdiv(rest, nest.extent(axis))
        stages = list(zip(kernel.stages, placements(kernel), strict=True))
        number = next(n for n, stage in enumerate(kernel.stages) if _multiplies(stage))
        with builder.if_then(is_new):
            for stage, placement in stages[:number]:
                _stage(emitter, stage, placement, within)
            builder.store(panel, made)
        _multiply(emitter, nest.product, last_row)
        for stage, placement in stages[number + 1 :]:
            _stage(emitter, stage, placement, within)


def _multiplies(stage: Stage) -> bool:
    return any(isinstance(line.body, Product) for line in stage.instructions)


def _clear(emitter: Emitter) -> None:
    """Zero the panel if it is wider than its columns: what stands there is multiplied too, and subnormals are slow."""
    nest, builder, product = emitter.nest, emitter.builder, emitter.kernel.product
    assert product is not None and isinstance(nest, PanelNest)
    dtype = np.dtype(emitter.kernel.operands[product.panel].dtype)
    size = builder.mul(nest.scratch_size(product.panel), word(dtype.itemsize))
    whole = builder.mul(nest.vectors(), word(vector_length(dtype)))
    with builder.if_then(builder.icmp_signed("!=", nest.columns(), whole)):
        builder.call(nest.external("memset", POINTER, POINTER, I32, I64), [nest.base(product.panel), I32(0), size])


def _stage(emitter: Emitter, stage: Stage, placement: Placement, within: dict[int, tuple[Any, Any]]) -> None:
    """The loops of a stage; `within`: where those over the columns and the rows begin and end."""
    nest, prefix = emitter.nest, len(emitter.kernel.outer) - 1
    for depth in range(prefix + 1):
        emitter.place(stage, placement, depth)
    with ExitStack() as loops:
        for number, axis in enumerate(stage.axes):
            loops.enter_context(nest.loop(*within.get(axis, (word(0), nest.extent(axis))), axis=axis))
            emitter.place(stage, placement, prefix + number + 1)


def _multiply(emitter: Emitter, product: Product, last_row: Any) -> None:
    nest, builder = emitter.nest, emitter.builder
    assert isinstance(nest, PanelNest)
    dtype = np.dtype(emitter.kernel.operands[product.tile].dtype)
    own = (product.rows, product.depth)
    start = [Index(None, 1, index.start) if index.axis in own else index for index in product.indices]
    left = nest.address(product.left, start)
    strides = [_stride(nest, product, axis) for axis in own]
    first = builder.gep(left, [builder.mul(nest.first_row, strides[0])], inbounds=True, source_etype=I8)
    function = tile_product(nest.module, dtype)
    panel, tile = nest.base(product.panel), nest.base(product.tile)
    extents = [builder.sub(last_row, nest.first_row), nest.extent(product.depth)]
    builder.call(function, [first, *strides, panel, tile, *extents, nest.vectors()])


def _stride(nest: LoopNest, product: Product, axis: int) -> Any:
    """Bytes from one row of `left` to the next, or from one number of a row to the next."""
    total = word(0)
    for dimension, index in enumerate(product.indices):
        if index.axis == axis:
            step = nest.builder.mul(nest.stride(product.left, dimension), word(index.step))
            total = nest.builder.add(total, step)
    return total
