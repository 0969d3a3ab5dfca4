"""Which kernels run their loop over a tile of elements at a time (`tiled_loop` emits it); no LLVM is needed to tell."""

from __future__ import annotations

from tracejit.lower.placement import Placement
from tracejit.records import dataclass
from tracejit.schedule.kernel import (
    Instruction,
    IntegerValue,
    Kernel,
    Literal,
    Load,
    Loop,
    Position,
    ScalarParameter,
    Store,
    arguments,
    blocks,
    walk,
)

MOST_ROWS = 64
"""Rows that are kept on the stack; with more of them the nearest cache would not do."""


@dataclass(frozen=True)
class TiledLoop:
    """A kernel's only stage, cut: what comes before the loop, the loop, what comes after; and what needs a row."""

    before: tuple[Instruction, ...]
    line: Instruction
    after: tuple[Instruction, ...]
    kept: tuple[Instruction, ...]

    @property
    def loop(self) -> Loop:
        assert isinstance(self.line.body, Loop)
        return self.line.body


def tiled_loop(kernel: Kernel, placement: Placement) -> TiledLoop | None:
    """The loop of a kernel that runs in tiles, if it has one."""
    if len(kernel.stages) != 1 or kernel.stages[0].axes or not _has_elements(kernel):
        return None
    depth = len(kernel.outer)
    lines = [line for line in kernel.stages[0].instructions if placement.depth(line.number) == depth]
    control = [place for place, line in enumerate(lines) if blocks(line.body)]
    if len(control) != 1:
        return None
    before, line, after = lines[: control[0]], lines[control[0]], lines[control[0] + 1 :]
    loop = line.body
    if not isinstance(loop, Loop) or loop.axis is None or any(blocks(inner.body) for inner in loop.body.instructions):
        return None
    used = {x for inner in (*walk([line]), *after) for x in arguments(inner.body)} | {*loop.body.values}
    kept = tuple(inner for inner in before if inner.number in used and not _read_again(kernel, inner))
    return TiledLoop(tuple(before), line, tuple(after), kept) if len(loop.carries) + len(kept) <= MOST_ROWS else None


def _has_elements(kernel: Kernel) -> bool:
    """Whether anything varies along the last outer axis; the kernel of scalars has one too, of length one."""
    accesses = (line.body for line in kernel.instructions if isinstance(line.body, Load | Store))
    return any(index.axis == kernel.outer[-1] for body in accesses for index in body.indices)


def _read_again(kernel: Kernel, line: Instruction) -> bool:
    """Whether a value is had as cheaply from where it comes from as from a row."""
    if isinstance(line.body, Load):
        return kernel.operands[line.body.operand].role == "in"
    return isinstance(line.body, Literal | ScalarParameter | IntegerValue | Position)
