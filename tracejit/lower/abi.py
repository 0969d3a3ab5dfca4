"""How a compiled kernel is called: the stated order of its parameters, its units of work, its partial results.

Every kernel becomes `i64 tj_kernel_<structure>(i64* p, i64 begin, i64 end)`; a `reduce_all` kernel has
`i64 tj_final_<structure>(i64* p)` besides.  `p` holds 8-byte words:

1. for each operand in order, scratch operands excepted: the data address, then its byte strides, then - if the
   operand is read by a Gather - its sizes;
2. the extent of each axis;
3. the integers;
4. the scalars, each as the bits of an int64, of a float64, or of a bool as 0 or 1, by the kind of its dtype;
5. where `may_end_early`: the number of units that count, which all threads see; whoever calls sets it to `ALL`.

They return 0, or an error: `OUT_OF_MEMORY`, or 1 + the number of a Gather instruction that went out of bounds.

[begin, end) counts *units*, which are independent of each other: see `units`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracejit.ops.table import OPS
from tracejit.records import dataclass
from tracejit.schedule.kernel import (
    CHUNK,
    ENOUGH_PANELS,
    NARROW_TILE,
    PANEL_ELEMENTS,
    PANEL_WIDTH,
    ROW_BLOCK,
    TILE,
    Apply,
    Gather,
    IntegerValue,
    Kernel,
    Literal,
    Load,
    Position,
    Reduce,
    ScalarParameter,
    Stage,
)

OUT_OF_MEMORY = -1
"""What a kernel returns when its scratch rows cannot be allocated."""

ALL = (1 << 63) - 1
"""More units than there ever are."""

ENTRY = "tj_entry_"
MAIN = "tj_kernel_"
FINAL = "tj_final_"


@dataclass(frozen=True)
class Layout:
    """Where the words of `p` are: for each operand the slot of its data and, where passed, of its first size.

    counted: the slot of the number of units that count, if there is one.
    """

    data: tuple[int | None, ...]
    sizes: tuple[int | None, ...]
    extents: int
    integers: int
    scalars: int
    words: int
    counted: int | None = None


def layout(kernel: Kernel) -> Layout:
    """The slots of a kernel's parameter words."""
    gathered = {i.body.operand for i in kernel.instructions if isinstance(i.body, Gather)}
    data: list[int | None] = []
    sizes: list[int | None] = []
    slot = 0
    for number, operand in enumerate(kernel.operands):
        if operand.role == "scratch":
            data.append(None)
            sizes.append(None)
            continue
        data.append(slot)
        slot += 1 + operand.rank
        sizes.append(slot if number in gathered else None)
        slot += operand.rank if number in gathered else 0
    integers = slot + kernel.axes
    scalars = integers + kernel.integers
    words = scalars + len(kernel.scalars)
    counted = words if may_end_early(kernel) else None
    return Layout(tuple(data), tuple(sizes), slot, integers, scalars, words + (counted is not None), counted)


def may_end_early(kernel: Kernel) -> bool:
    """Whether some unit of a `reduce_all` kernel may turn out to be the last that counts."""
    return kernel.form == "reduce_all" and (finds_position(kernel) or decidable(kernel.stages[0]))


def finds_position(kernel: Kernel) -> bool:
    """Whether a `reduce_all` kernel looks for the place of an extremum; it then reduces nothing else."""
    return any(isinstance(line.body, Reduce) and bool(OPS[line.body.op].position_of) for line in kernel.instructions)


def decidable(stage: Stage) -> bool:
    """Whether a stage has nothing left to do once what it reduces is decided."""
    reduces = [line.body for line in stage.instructions if isinstance(line.body, Reduce)]
    others = [line.body for line in stage.instructions if not isinstance(line.body, Reduce)]
    plain = all(isinstance(body, Load | Apply | Literal | ScalarParameter | Position | IntegerValue) for body in others)
    return bool(reduces) and plain and all(OPS[body.op].decided is not None for body in reduces)


def has_final(kernel: Kernel) -> bool:
    """Does the kernel have a second function, that combines partial results?"""
    return kernel.form == "reduce_all"


def units(kernel: Kernel, extents: Sequence[int]) -> int:
    """Independent units of work of a kernel at the given extents; it never depends on the number of threads.

    `map`: values of the first outer axis.  `reduce_all`: chunks of about `CHUNK` elements, whole steps of the first
    stage's first axis.  `reduce_columns`: values of the first outer axis, or tiles of the only one (`tile_width`).
    `panels`: see `panel_units`.
    """
    if kernel.form == "reduce_all":
        axes = kernel.stages[0].axes
        if not axes:
            return 1
        inner = 1
        for axis in axes[1:]:
            inner *= extents[axis]
        steps = max(1, CHUNK // max(1, inner))
        return -(-extents[axes[0]] // steps)
    if kernel.form == "panels":
        return panel_units(*(math.prod(extents[axis] for axis in axes) for axes in panel_axes(kernel)))
    if kernel.form == "reduce_columns" and len(kernel.outer) == 1:
        return -(-extents[kernel.outer[0]] // tile_width(extents[kernel.outer[0]]))
    return extents[kernel.outer[0]]


def tile_width(columns: int) -> int:
    """Columns in a unit of a `reduce_columns` kernel of one outer axis: half of them, in whole cache lines."""
    return min(max((columns + 127) // 128 * 64, NARROW_TILE), TILE)


def panel_axes(kernel: Kernel) -> tuple[tuple[int, ...], ...]:
    """Of a `panels` kernel: the outer axes before the tiled one, that, those inside it, those of the depth and rows."""
    product = kernel.product
    assert product is not None
    columns = kernel.operands[product.tile].scratch_axes[1:]
    return kernel.outer[:-1], columns[:1], columns[1:], (product.depth,), (product.rows,)


def panel_units(batch: int, tiled: int, inner: int, depth: int, rows: int) -> int:
    """Units of a `panels` kernel: places on the outer axes times tiles of the tiled one times blocks of rows."""
    panels = batch * -(-tiled // max(1, panel_steps(tiled, inner, depth)))
    return panels * -(-rows // panel_rows(panels, rows))


def panel_rows(panels: int, rows: int) -> int:
    """Rows of a block, given the number of panels: all where that makes units enough.

    Each block makes its panels anew, so that blocks have many rows.
    """
    blocks = 1 if panels >= ENOUGH_PANELS else max(1, rows // ROW_BLOCK)
    return max(8, -(-rows // (8 * blocks)) * 8)


def panel_steps(tiled: int, inner: int, depth: int) -> int:
    """How many places on the tiled axis a panel spans: as wide as cache allows, and all panels nearly as wide."""
    least, most = PANEL_WIDTH
    width = min(max(PANEL_ELEMENTS // max(1, depth), least), most)
    steps = max(1, width // max(1, inner))
    tiles = -(-tiled // steps)
    return -(-tiled // max(1, tiles))


def accumulator_dtype(op: str, dtype: str) -> str:
    """The dtype that a reduction by `op` of values of `dtype` accumulates in, and of its partial results."""
    if OPS[op].position_of:
        return "int64"
    if dtype == "float16":
        return "float64" if OPS[op].compensated else "float32"
    return "float64" if dtype == "float32" and OPS[op].compensated else dtype


def partial_dtypes(kernel: Kernel) -> tuple[str, ...]:
    """The dtypes of a `reduce_all` kernel's partial operands: one for each Reduce of the first stage, in order."""
    if kernel.form != "reduce_all":
        return ()
    dtypes = {i.number: i.dtype for i in kernel.instructions}
    reduces = (i.body for i in kernel.stages[0].instructions if isinstance(i.body, Reduce))
    return tuple(accumulator_dtype(body.op, dtypes[body.value]) for body in reduces)
