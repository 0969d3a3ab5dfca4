"""Kernels of the form `panels`: tile by tile a panel is written, multiplied, and what follows is done to the tile.

for unit in units:                       # a place in the stack, and a tile of the columns
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
from tracejit.lower.llvm_types import I8, I32, I64, POINTER, word
from tracejit.lower.loop_nest import LoopNest
from tracejit.lower.placement import Placement, placements
from tracejit.lower.register_tile import registers, tile_product, vector_length
from tracejit.schedule.kernel import PANEL_ELEMENTS, PANEL_WIDTH, Index, Kernel, Product, Stage

LINE = 64
"""Bytes of a cache line, and of the widest vector."""


class PanelNest(LoopNest):
    """A nest whose scratch operands have rows of whole vectors, and count columns from where the tile begins.

    first: where the tile begins on the tiled axis.
    """

    short_loops = True

    def __init__(self, kernel: Kernel, function: Any) -> None:
        assert kernel.product is not None
        self.product: Product = kernel.product
        self.tiled = kernel.outer[-1]
        self.first: Any = word(0)
        super().__init__(kernel, function)

    def steps(self) -> Any:
        """Places on the tiled axis that a tile spans: `abi.panel_steps`, of the kernel's extents."""
        return self.remember(0, "steps of a tile", self._steps)

    def _steps(self) -> Any:
        builder, (least, most) = self.builder, PANEL_WIDTH
        _, (tiled,), inner, (depth,) = panel_axes(self.kernel)
        one = word(1)
        width = builder.sdiv(word(PANEL_ELEMENTS), self._larger(one, self.extent(depth)))
        width = self.smaller(self._larger(width, word(least)), word(most))
        steps = self._larger(one, builder.sdiv(width, self._larger(one, self._product(inner))))
        tiles = self._larger(one, self._quotient(self.extent(tiled), steps))
        return self._larger(one, self._quotient(self.extent(tiled), tiles))

    def tiles(self) -> Any:
        """How many tiles the tiled axis is cut into."""
        return self.remember(0, "tiles", lambda: self._quotient(self.extent(self.tiled), self.steps()))

    def vectors(self) -> Any:
        """Vectors in a row of a panel, at least two."""
        length = vector_length(np.dtype(self.kernel.operands[self.product.tile].dtype))
        _, _, inner, _ = panel_axes(self.kernel)

        def count() -> Any:
            columns = self.builder.mul(self.steps(), self._product(inner))
            return self._larger(word(2), self._quotient(columns, word(length)))

        return self.remember(0, "vectors of a row", count)

    def scratch_size(self, operand: int) -> Any:
        """Whole vectors, and for the tile whole register tiles."""
        declared = self.kernel.operands[operand]
        length = vector_length(np.dtype(declared.dtype))
        rows = self._product(declared.scratch_axes[: self._columns(operand)])
        if operand == self.product.tile:
            rows = self.builder.add(rows, word(registers().rows))
        return self.builder.mul(self.builder.mul(rows, self.vectors()), word(length))

    def scratch_stride(self, operand: int, dimension: int) -> Any:
        """Between rows the pitch of a row, inside them no gap."""
        declared, place = self.kernel.operands[operand], self._columns(operand)
        if dimension >= place:
            return super().scratch_stride(operand, dimension)
        rows = self._product(declared.scratch_axes[dimension + 1 : place])
        return self.builder.mul(rows, self.builder.mul(self.vectors(), word(registers().size)))

    def place_on(self, axis: int, operand: int) -> Any:
        """Scratch operands have the columns of the tile alone."""
        value = super().place_on(axis, operand)
        if axis != self.tiled or self.kernel.operands[operand].role != "scratch":
            return value
        return self.builder.sub(value, self.first, flags=("nsw",))

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

    def _quotient(self, a: Any, b: Any) -> Any:
        """a / b, rounded up."""
        return self.builder.sdiv(self.builder.add(a, self.builder.sub(b, word(1))), b)

    def _larger(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def smaller(self, a: Any, b: Any) -> Any:
        """The smaller of two integers."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)


def emit_panels(emitter: Emitter, begin: Any, end: Any) -> None:
    """The units from `begin` to `end`."""
    nest, builder, kernel = emitter.nest, emitter.builder, emitter.kernel
    assert isinstance(nest, PanelNest)
    _clear(emitter)
    with nest.loop(begin, end, parallel=False) as unit:
        with nest.at(len(nest.levels) - 1):
            rest = builder.sdiv(unit, nest.tiles())
            nest.first = builder.mul(builder.srem(unit, nest.tiles()), nest.steps())
            stop = nest.smaller(builder.add(nest.first, nest.steps()), nest.extent(nest.tiled))
            for axis in reversed(kernel.outer[:-1]):
                nest.axis_values[axis] = builder.srem(rest, nest.extent(axis))
                nest.axis_level[axis] = len(nest.levels) - 1
                rest = builder.sdiv(rest, nest.extent(axis))
        for stage, placement in zip(kernel.stages, placements(kernel), strict=True):
            product = next((line.body for line in stage.instructions if isinstance(line.body, Product)), None)
            if product is None:
                _stage(emitter, stage, placement, (nest.first, stop))
            else:
                _multiply(emitter, product)


def _clear(emitter: Emitter) -> None:
    """Zero the panel: what stands past its columns is multiplied too, and must not be slow (as subnormals are)."""
    nest, builder, product = emitter.nest, emitter.builder, emitter.kernel.product
    assert product is not None
    size = builder.mul(
        nest.scratch_size(product.panel), word(np.dtype(emitter.kernel.operands[product.panel].dtype).itemsize)
    )
    builder.call(nest.external("memset", POINTER, POINTER, I32, I64), [nest.base(product.panel), I32(0), size])


def _stage(emitter: Emitter, stage: Stage, placement: Placement, tile: tuple[Any, Any]) -> None:
    """The loops of a stage, that over the tiled axis inside the tile."""
    nest, prefix = emitter.nest, len(emitter.kernel.outer) - 1
    for depth in range(prefix + 1):
        emitter.place(stage, placement, depth)
    with ExitStack() as loops:
        for number, axis in enumerate(stage.axes):
            bounds = tile if axis == emitter.kernel.outer[-1] else (word(0), nest.extent(axis))
            loops.enter_context(nest.loop(*bounds, axis=axis))
            emitter.place(stage, placement, prefix + number + 1)


def _multiply(emitter: Emitter, product: Product) -> None:
    nest, builder = emitter.nest, emitter.builder
    assert isinstance(nest, PanelNest)
    dtype = np.dtype(emitter.kernel.operands[product.tile].dtype)
    own = (product.rows, product.depth)
    start = [Index(None, 1, index.start) if index.axis in own else index for index in product.indices]
    left = nest.address(product.left, start)
    strides = [_stride(nest, product, axis) for axis in own]
    function = tile_product(nest.module, dtype)
    panel, tile = nest.base(product.panel), nest.base(product.tile)
    extents = [nest.extent(axis) for axis in own]
    builder.call(function, [left, *strides, panel, tile, *extents, nest.vectors()])


def _stride(nest: LoopNest, product: Product, axis: int) -> Any:
    """Bytes from one row of `left` to the next, or from one number of a row to the next."""
    total = word(0)
    for dimension, index in enumerate(product.indices):
        if index.axis == axis:
            step = nest.builder.mul(nest.stride(product.left, dimension), word(index.step))
            total = nest.builder.add(total, step)
    return total
