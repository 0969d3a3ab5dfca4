"""Kernels of the form `panels`: a block writes the panel of a tile of columns, multiplies, and does what follows.

A thread has a tile of `ROWS` by `COLUMNS` numbers of the product in registers, its columns apart by as many as threads
lie side by side, so that neighbours read neighbouring numbers of the panel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tracejit.lower.abi import panel_axes
from tracejit.lower.cuda.body import Body
from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch, NoCudaKernel, Variant, Work
from tracejit.lower.cuda.parameters import function, parameters, source
from tracejit.lower.cuda.scratch import ALIGNED
from tracejit.lower.cuda.spread import spread, unravel
from tracejit.lower.cuda.text import Text, literal
from tracejit.lower.placement import placements
from tracejit.schedule.kernel import Kernel, Product

WIDTH = 64
"""Columns of a tile, about."""

ROWS = COLUMNS = 4
"""Rows and columns of the product that a thread has in registers."""

WAVES = 4
"""Blocks for each multiprocessor that a grid has at most."""


@dataclass(frozen=True)
class Tiles:
    """The axes of a `panels` kernel: of the stack, the tiled one, those inside it, of the depth, of the rows."""

    batch: tuple[int, ...]
    tiled: int
    inner: tuple[int, ...]
    depth: int
    rows: int

    def steps(self, extents: Extents) -> int:
        """Places of the tiled axis in a tile."""
        return max(1, WIDTH // max(1, math.prod(extents[axis] for axis in self.inner)))

    def width(self, extents: Extents) -> int:
        """Columns of a tile."""
        return self.steps(extents) * math.prod(extents[axis] for axis in self.inner)

    def __call__(self, extents: Extents, device: Device) -> int:
        """The grid."""
        batch = math.prod(extents[axis] for axis in self.batch)
        return min(batch * -(-extents[self.tiled] // self.steps(extents)), WAVES * device.multiprocessors)


@dataclass(frozen=True)
class PanelBytes:
    """Shared memory for a panel and a tile."""

    tiles: Tiles
    size: int

    def __call__(self, extents: Extents) -> int:
        rows = (extents[self.tiles.depth], extents[self.tiles.rows])
        return sum(-(-r * self.tiles.width(extents) * self.size // ALIGNED) * ALIGNED for r in rows)


@dataclass(frozen=True)
class PanelLength:
    """Elements of a work array with a panel, or a tile, for every block."""

    tiles: Tiles
    rows: int

    def __call__(self, extents: Extents, device: Device) -> int:
        return extents[self.rows] * self.tiles.width(extents) * self.tiles(extents, device)


def panels(kernel: Kernel, variant: Variant) -> CudaKernel:
    """A kernel of the form `panels`."""
    product = kernel.product
    assert product is not None
    scratch = [n for n, operand in enumerate(kernel.operands) if operand.role == "scratch"]
    if set(scratch) != {product.panel, product.tile}:
        raise NoCudaKernel("a product by panels has scratch rows besides its panel and its tile")
    tiles, dtype = _tiles(kernel), kernel.operands[product.tile].dtype
    text = Text()
    _Panels(Body(kernel, variant, text), tiles, product).write()
    lengths = (PanelLength(tiles, tiles.depth), PanelLength(tiles, product.rows))
    work = () if variant.shared else tuple(Work(dtype, length) for length in lengths)
    words = parameters(kernel, work)
    shared = panel_bytes(kernel) if variant.shared else Always(0)
    return CudaKernel(
        source=source(text, function("kernel_panels", kernel, words, text.lines, variant.index_bits)),
        parameters=words,
        launches=(Launch("kernel_panels", "panels", variant.block, tiles, shared),),
        work=work,
        fma=kernel.fastmath,
        tables=tuple((name, *table) for name, table in text.tables.items()),
    )


def panel_bytes(kernel: Kernel) -> PanelBytes:
    """The shared memory that a block takes for its panel and tile."""
    assert kernel.product is not None
    return PanelBytes(_tiles(kernel), np.dtype(kernel.operands[kernel.product.tile].dtype).itemsize)


def _tiles(kernel: Kernel) -> Tiles:
    batch, (tiled,), inner, (depth,), (rows,) = panel_axes(kernel)
    return Tiles(batch, tiled, inner, depth, rows)


class _Panels:
    """Writes the function of a kernel of panels."""

    def __init__(self, body: Body, tiles: Tiles, product: Product) -> None:
        self.body, self.tiles, self.product = body, tiles, product
        self.kernel, self.text = body.kernel, body.text
        self.dtype = np.dtype(self.kernel.operands[product.tile].dtype)

    def write(self) -> None:
        """All of it."""
        body, text, tiles = self.body, self.text, self.tiles
        text.line(f"thread = {body.index('cuda.threadIdx.x')}")
        inner = " * ".join(f"n{axis}" for axis in tiles.inner)
        inside = text.define(f"int{body.variant.index_bits}({inner or 1})", "inside")
        text.line(f"steps = int{body.variant.index_bits}(1)")
        with text.block(f"if 0 < {inside} and {inside} <= {WIDTH}:"):
            text.line(f"steps = {body.index(f'idiv(int{body.variant.index_bits}({WIDTH}), {inside})')}")
        text.line(f"width = {body.index(f'steps * {inside}')}")
        self._scratch()
        over = body.define_index(f"idiv({body.index(f'n{tiles.tiled} + steps - 1')}, steps)", "over")
        units = body.define_index(" * ".join([over, *(f"n{axis}" for axis in tiles.batch)]), "units")
        unit = body.define_index("cuda.blockIdx.x", "unit")
        with body.level(), text.block(f"while {unit} < {units}:"):
            rest = text.define(f"idiv({unit}, {over})", "rest")
            text.line(f"begin = {body.index(f'({unit} - {rest} * {over}) * steps')}")
            left = body.define_index(f"n{tiles.tiled} - begin", "left")
            text.line(f"here = select({left} < steps, {left}, steps)")
            unravel(body, rest, tiles.batch)
            body.extents[tiles.tiled], body.origins[tiles.tiled] = "here", "begin"
            body.scratch_extents[tiles.tiled] = "steps"
            self._stages()
            text.line("cuda.syncthreads()")
            text.line(f"{unit} = {body.index(f'{unit} + cuda.gridDim.x')}")

    def _scratch(self) -> None:
        """Where the panel and the tile of this block begin."""
        body, text, product, size = self.body, self.text, self.product, self.dtype.itemsize
        starts = {}
        for slot, (operand, rows) in enumerate(((product.panel, self.tiles.depth), (product.tile, self.tiles.rows))):
            name = body.names[operand]
            if not body.variant.shared:
                body.names[operand] = f"work{slot}"
                starts[operand] = body.define_index(f"cuda.blockIdx.x * n{rows} * width", "after")
                continue
            text.line(f"{name} = cuda.shared.array(0, {self.dtype.name}_dtype)")
            panel = f"(n{self.tiles.depth} * width * {size} + {ALIGNED - 1}) & {-ALIGNED}"
            starts[operand] = "0" if slot == 0 else body.define_index(f"({panel}) >> {size.bit_length() - 1}", "after")
        body.scratch_place = lambda operand, place: f"{starts[operand]} + {place}"

    def _stages(self) -> None:
        body, depth = self.body, len(self.kernel.outer) - 1
        for stage, placement in zip(self.kernel.stages, placements(self.kernel), strict=True):
            if any(isinstance(line.body, Product) for line in stage.instructions):
                self.text.line("cuda.syncthreads()")
                self._multiply()
                self.text.line("cuda.syncthreads()")
                continue
            body.run([line for line in stage.instructions if placement.depth(line.number) <= depth])
            lines = [line for line in stage.instructions if placement.depth(line.number) > depth]
            spread(body, stage.axes, lines, placement, "thread", str(body.variant.block), None)

    def _multiply(self) -> None:
        """The product: every thread takes tiles of registers, one after the other."""
        body, text, product = self.body, self.text, self.product
        rows, depth = f"n{product.rows}", f"n{product.depth}"
        across = body.define_index(f"(width + {COLUMNS - 1}) >> {COLUMNS.bit_length() - 1}", "across")
        count = body.define_index(f"(({rows} + {ROWS - 1}) >> {ROWS.bit_length() - 1}) * {across}", "count")
        item = text.define(body.index("thread + 0"), "item")
        with body.level(), text.block(f"while {item} < {count}:"):
            down = text.define(f"idiv({item}, {across})", "down")
            first = body.define_index(f"{item} - {down} * {across}", "column")
            columns = [body.define_index(f"{first} + {k} * {across}", "column") for k in range(COLUMNS)]
            places = [body.define_index(f"{down} * {ROWS} + {k}", "row") for k in range(ROWS)]
            held = [[text.define(literal(0, self.dtype), "sum") for _ in columns] for _ in places]
            near = [text.define(_at_most(body, place, rows), "row") for place in places]
            within = [text.define(_at_most(body, place, "width"), "column") for place in columns]
            step = text.fresh("at")
            with text.block(f"for {step} in range({depth}):"):
                panel = [self._scratch_element(product.panel, step, column) for column in within]
                right = [text.define(element, "right") for element in panel]
                for row, sums in zip(near, held, strict=True):
                    left = text.define(self._left(row, step), "left")
                    for number, name in zip(right, sums, strict=True):
                        text.line(f"{name} = fma({left}, {number}, {name})")
            for row, sums in zip(places, held, strict=True):
                for column, name in zip(columns, sums, strict=True):
                    with text.block(f"if {row} < {rows} and {column} < width:"):
                        text.line(f"{self._scratch_element(product.tile, row, column)} = {name}")
            text.line(f"{item} = {body.index(f'{item} + {body.variant.block}')}")

    def _scratch_element(self, operand: int, row: str, column: str) -> str:
        """An element of the panel or the tile, as matrices whose rows have the width of a tile."""
        return self.body.element_at(operand, self.body.scratch_place(operand, f"{row} * width + {column}"))

    def _left(self, row: str, step: str) -> str:
        """An element of the left operand."""
        body, product = self.body, self.product
        axes = {**body.axes, product.rows: row, product.depth: step}
        return body.element(product.left, [body.place(index, axes) for index in product.indices])


def _at_most(body: Body, place: str, end: str) -> str:
    """A place, or the last one for those beyond: what they compute is thrown away."""
    return f"select({place} < {end}, {place}, {body.index(f'{end} - 1')})"
