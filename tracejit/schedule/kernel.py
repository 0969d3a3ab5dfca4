"""The scheduled kernel: a loop nest over typed scalar instructions, and nothing about any target.

A kernel loops over `outer` axes (the first of them is shared out among threads) and, inside them, runs its stages one
after the other.  A stage loops over its own inner axes, computes, stores, and may reduce over those inner axes; what it
reduced is a scalar that the later stages see.  Softmax over rows is one kernel of one outer axis and three stages.

An instruction is placed at the depth of the deepest loop that it depends on, so a value that varies only with the
outer axis is computed once a row.

A `Loop` or a `Branch` is one instruction with blocks of instructions inside.  The blocks may refer to all that stands
before them outside; what they compute is seen outside only through `Result`.  A value is placed as deep as its block.

Four forms, told apart by `Kernel.form`:

* `map`: at least one outer axis; parallel over the first outer axis.  Rows that are short when the kernel is called
  run side by side (see `lower.columns`).
* `reduce_all`: no outer axis, the first stage reduces over all its axes; parallel over fixed chunks of `CHUNK`
  elements of the stage's first axis (so the result does not depend on the number of threads), partial results in the
  operand of role `partial`, combined in order; later stages have no axes (the epilogue).
* `reduce_columns`: the stages' reductions run over `Stage.axes`, which vary slower in memory than the kept axes; the
  kept trailing axes are the last of `outer`, and accumulators are kept for a tile of the last outer axis at once.
* `panels`: one stage holds a `Product`; the stages before write its panel, those after read its tile.  The last outer
  axis is cut into tiles, and is an axis of the stages too; a unit is a place on the other outer axes, a tile and a
  block of the product's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias

from tracejit.records import dataclass

CHUNK = 1 << 16
"""Elements of the reduced axis that one unit of a `reduce_all` kernel covers."""

TILE = 2048
"""Most columns that one unit of a `reduce_columns` kernel covers when it has a single outer axis."""

NARROW_TILE = 512
"""Columns of a unit that are still long stretches of memory; of fewer than twice `TILE` there are two units."""


PANEL_WIDTH = (48, 128)
"""Columns in a panel: few enough to stay in cache, but not fewer than keep the arithmetic units busy."""

PANEL_ELEMENTS = 1 << 17
"""Elements of a panel where its width may be chosen freely: half of a second-level cache of 1 MiB, in float32."""

ENOUGH_PANELS, ROW_BLOCK = 32, 128
"""With fewer panels than this the rows are cut into blocks too, each of this many rows or more."""


@dataclass(frozen=True)
class Integer:
    """A run-time integer parameter: slot in `Kernel.integers`."""

    slot: int


@dataclass(frozen=True)
class Index:
    """Where to look along one dimension of an operand: `start + step * axis` (`axis` None: just `start`).

    `start` is a literal, or a run-time integer; it is never negative after evaluation, `step` may be.
    """

    axis: int | None
    step: int = 1
    start: int | Integer = 0


@dataclass(frozen=True)
class Operand:
    """An array that the kernel reads or writes.

    `unit` says for each dimension whether its stride is known to be the item size (a fact the vectorizer needs).
    Roles: `in`, `out`, `inout`; `partial` is the (chunks,) float64 work array of a `reduce_all` kernel, see lower;
    `scratch` is a row that the kernel allocates for itself (a thread), its shape the extents of `scratch_axes`.
    """

    dtype: str
    rank: int
    unit: tuple[bool, ...]
    role: str = "in"
    scratch_axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Load:
    """Read an element."""

    operand: int
    indices: tuple[Index, ...]


@dataclass(frozen=True)
class Gather:
    """Read an element at computed positions: `indices[d]` is an instruction number (int64) or a plain Index.

    Computed positions count from the end when negative; one out of bounds makes the kernel return an error.
    """

    operand: int
    indices: tuple[int | Index, ...]


@dataclass(frozen=True)
class Store:
    """Write an element; has no value."""

    operand: int
    indices: tuple[Index, ...]
    value: int


@dataclass(frozen=True)
class Apply:
    """An elementwise op of the table on earlier instructions; arguments already have the op's loop dtype."""

    op: str
    args: tuple[int, ...]
    params: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Literal:
    """A constant, as the bytes of one element of the instruction's dtype (so that -0.0, 0.0 and NaNs stay apart)."""

    data: bytes


@dataclass(frozen=True)
class ScalarParameter:
    """A run-time Python scalar: slot in `Kernel.scalars`."""

    slot: int


@dataclass(frozen=True)
class Position:
    """The value of a loop axis (int64)."""

    axis: int


@dataclass(frozen=True)
class IntegerValue:
    """A run-time integer parameter as an int64 value (a size that the program computes with)."""

    slot: int


@dataclass(frozen=True)
class Reduce:
    """Combine `value` over the axes of the stage it stands in, with the reduce op of the table named `op`."""

    op: str
    value: int


@dataclass(frozen=True)
class Accumulate:
    """The running total of `value` along the only axis of the stage it stands in, by the accumulate op named `op`."""

    op: str
    value: int


@dataclass(frozen=True)
class Product:
    """tile[i, columns] = sum over j of left[i, j] * panel[j, columns], for all rows i and columns of a tile at once.

    indices: where `left` is read, in terms of the outer axes and of the axes `rows` (i) and `depth` (j).
    panel, tile: scratch operands, whose last axes are those of the columns, the tiled axis first; the axes before
        these count the rows of the matrix that they are.
    """

    left: int
    indices: tuple[Index, ...]
    rows: int
    depth: int
    panel: int
    tile: int


@dataclass(frozen=True)
class Block:
    """Instructions done in order, and the numbers of those (inside or before the block) whose values leave it."""

    instructions: tuple[Instruction, ...]
    values: tuple[int, ...]


@dataclass(frozen=True)
class Carry:
    """A value that a Loop hands from one iteration to the next, as it is when an iteration begins."""


@dataclass(frozen=True)
class Loop:
    """Iterations one after the other, the carries in registers; its results are the last carries.

    axis: the counted axis, whose Position is the place of an iteration (`reverse`: from the last to the first); None
        where `condition` decides.
    carries: `Carry` instructions, to which body and condition refer; `initial` are the values that they begin with.
    condition: gives one bool before each iteration; None for a counted loop.
    body: gives the next value of each carry, and stores.
    """

    axis: int | None
    carries: tuple[Instruction, ...]
    initial: tuple[int, ...]
    condition: Block | None
    body: Block
    reverse: bool = False


@dataclass(frozen=True)
class Branch:
    """Only the selected block is done, and its values are the results.

    `selector` is a bool (blocks: where false, where true) or an int64, a place in `blocks`.
    """

    selector: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Result:
    """What a Loop or a Branch leaves behind."""

    of: int
    slot: int


Body: TypeAlias = (
    Load
    | Gather
    | Store
    | Apply
    | Literal
    | ScalarParameter
    | Position
    | IntegerValue
    | Reduce
    | Accumulate
    | Product
    | Carry
    | Loop
    | Branch
    | Result
)


@dataclass(frozen=True)
class Instruction:
    """A numbered, typed line of a kernel.  `dtype` is the value's ('' for a Store, a Product, a Loop and a Branch)."""

    number: int
    body: Body
    dtype: str


def blocks(body: Body) -> tuple[Block, ...]:
    """The blocks inside an instruction, in the order in which they run."""
    if isinstance(body, Loop):
        return (body.body,) if body.condition is None else (body.condition, body.body)
    return body.blocks if isinstance(body, Branch) else ()


def arguments(body: Body) -> tuple[int, ...]:
    """The instructions whose values an instruction reads, those that its blocks read left out."""
    match body:
        case Apply():
            return body.args
        case Store() | Reduce() | Accumulate():
            return (body.value,)
        case Gather():
            return tuple(x for x in body.indices if isinstance(x, int))
        case Loop():
            return body.initial
        case Branch():
            return (body.selector,)
        case Result():
            return (body.of,)
        case _:
            return ()


def walk(instructions: Iterable[Instruction]) -> Iterator[Instruction]:
    """Instructions and all that stand in their blocks; an instruction before what is inside it."""
    for instruction in instructions:
        yield instruction
        if isinstance(instruction.body, Loop):
            yield from instruction.body.carries
        for block in blocks(instruction.body):
            yield from walk(block.instructions)


def rewritten(instructions: Iterable[Instruction], rule: Callable[[Instruction], Body]) -> tuple[Instruction, ...]:
    """Every instruction with the body that `rule` gives it, those in blocks before the one that they are in."""

    def inside(block: Block) -> Block:
        return replace(block, instructions=rewritten(block.instructions, rule))

    changed = []
    for line in instructions:
        body = line.body
        if isinstance(body, Loop):
            condition = None if body.condition is None else inside(body.condition)
            body = replace(body, condition=condition, body=inside(body.body))
        elif isinstance(body, Branch):
            body = replace(body, blocks=tuple(map(inside, body.blocks)))
        changed.append(replace(line, body=rule(replace(line, body=body))))
    return tuple(changed)


@dataclass(frozen=True)
class Stage:
    """Instructions run inside loops over `axes` (in that order), themselves inside the kernel's outer loops."""

    axes: tuple[int, ...]
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Kernel:
    """A fused loop nest, generic in every size.

    Axes are numbered 0 .. axes-1, each with one run-time extent; two stages may loop over the same axis.
    """

    form: str
    axes: int
    outer: tuple[int, ...]
    stages: tuple[Stage, ...]
    operands: tuple[Operand, ...]
    integers: int = 0
    scalars: tuple[str, ...] = ()
    fastmath: bool = False

    @cached_property
    def structure(self) -> str:
        """A hash of everything that decides the machine code, but for target and versions."""
        import hashlib

        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]

    @cached_property
    def product(self) -> Product | None:
        """The product of a kernel of the form `panels`."""
        return next((line.body for line in self.instructions if isinstance(line.body, Product)), None)

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """All instructions, those in the blocks of others included."""
        return tuple(walk(line for stage in self.stages for line in stage.instructions))
