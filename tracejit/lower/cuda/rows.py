"""Kernels that go through rows: a group of threads has a row, and does the stages of it one after the other.

Rows follow each other along the last outer axis.  Where what is reduced varies slowest in memory (`reduce_columns`),
threads that are neighbours are on neighbouring rows, and a row's threads are far apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tracejit.lower.cuda.accumulators import Group, started, step_all
from tracejit.lower.cuda.body import Body
from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch, Variant
from tracejit.lower.cuda.parameters import function, parameters, source
from tracejit.lower.cuda.scratch import place_scratch, scratch_operands, shared_bytes, work_arrays
from tracejit.lower.cuda.spread import Vectors, spread, unravel, vectors
from tracejit.lower.cuda.text import Text
from tracejit.lower.placement import Placement, placements
from tracejit.schedule.kernel import Gather, Instruction, Kernel, Load, Reduce, Stage, Store, blocks, walk

WAVES = 16
"""Blocks for each multiprocessor that a grid has at most."""


@dataclass(frozen=True)
class RowGrid:
    """A block for `groups` rows, until there are enough blocks."""

    axes: tuple[int, ...]
    groups: int

    def __call__(self, extents: Extents, device: Device) -> int:
        rows = math.prod(extents[axis] for axis in self.axes)
        return min(-(-rows // self.groups), WAVES * device.multiprocessors)


def rows(kernel: Kernel, variant: Variant) -> CudaKernel:
    """A kernel of the form `map` or `reduce_columns`."""
    form = "columns" if kernel.form == "reduce_columns" else "rows"
    group = row_group(kernel, variant)
    grid = RowGrid(kernel.outer, group.count)
    text = Text()
    writer = _Rows(Body(kernel, variant, text), group)
    writer.write()
    has_scratch = bool(scratch_operands(kernel))
    work = () if variant.shared else work_arrays(kernel, group.count, grid)
    words = parameters(kernel, work)
    shared = shared_bytes(kernel, group.count) if has_scratch and variant.shared else Always(0)
    name = f"kernel_{form}"
    return CudaKernel(
        source=source(text, function(name, kernel, words, text.lines, variant.index_bits)),
        parameters=words,
        launches=(Launch(name, form, variant.block, grid, shared),),
        work=work,
        aligned=tuple(sorted(row_vectors(kernel))) if variant.vector else (),
        fma=kernel.fastmath,
        tables=tuple((name, *table) for name, table in text.tables.items()),
    )


def row_group(kernel: Kernel, variant: Variant) -> Group:
    """The threads that share a row."""
    width = min(variant.row, variant.block) if cooperative(kernel) else 1
    width = variant.block if width > 32 else width
    return Group(width, variant.block, kernel.form == "reduce_columns" and width < variant.block)


def cooperative(kernel: Kernel) -> bool:
    """May several threads share a row?  Not where a loop or a branch writes once a row."""
    for stage, placement in zip(kernel.stages, placements(kernel), strict=True):
        for line in stage.instructions:
            stores = any(isinstance(inner.body, Store) for inner in walk((line,)))
            if blocks(line.body) and stores and placement.depth(line.number) <= len(kernel.outer):
                return False
    return True


def row_vectors(kernel: Kernel) -> frozenset[int]:
    """The operands that are read or written by vectors along a stage's axis."""
    plans = [_plan(kernel, stage) for stage in kernel.stages]
    return frozenset().union(*(plan.operands for plan in plans if plan is not None))


def _plan(kernel: Kernel, stage: Stage) -> Vectors | None:
    if not stage.axes or kernel.form == "reduce_columns":
        return None
    return vectors(kernel, stage.axes[-1], stage.instructions)


class _Rows:
    """Writes the function of a kernel of rows."""

    def __init__(self, body: Body, group: Group) -> None:
        self.body, self.group = body, group
        self.kernel, self.text = body.kernel, body.text
        self.written = {line.body.operand for line in self.kernel.instructions if isinstance(line.body, Store)}
        self.read = {line.body.operand for line in self.kernel.instructions if isinstance(line.body, Load | Gather)}

    def write(self) -> None:
        """All of it."""
        body, text, group = self.body, self.text, self.group
        group.head(body)
        place_scratch(body, group.count)
        total = body.define_index(" * ".join(f"n{axis}" for axis in self.kernel.outer), "rows")
        base = body.define_index(f"cuda.blockIdx.x * {group.count}", "base")
        with body.level(), text.block(f"while {base} < {total}:"):
            row = base if group.count == 1 else body.define_index(f"{base} + group", "row")
            if group.count == 1 or not group.side_by_side or group.width == 1:
                with text.block(f"if {row} < {total}:") if group.count > 1 else body.level():
                    self._row(row, "")
            else:  # all threads of a block wait together: those beyond the last row do it once more, and store nothing
                text.line(f"active = {row} < {total}")
                with text.block(f"if {row} >= {total}:"):
                    text.line(f"{row} = {body.index(f'{total} - 1')}")
                self._row(row, "active")
            if group.width > 32 or (group.side_by_side and group.width > 1):
                text.line("cuda.syncthreads()")
            text.line(f"{base} = {body.index(f'{base} + cuda.gridDim.x * {group.count}')}")

    def _row(self, row: str, active: str) -> None:
        unravel(self.body, row, self.kernel.outer)
        passed: list[Stage] = []
        for stage, placement in zip(self.kernel.stages, placements(self.kernel), strict=True):
            if any(self._meet(earlier, stage) for earlier in passed):
                self.group.wait(self.text)
                passed = []
            self._stage(stage, placement, active)
            passed.append(stage)

    def _stage(self, stage: Stage, placement: Placement, active: str) -> None:
        body, text, group, depth = self.body, self.text, self.group, len(self.kernel.outer)
        once = [line for line in stage.instructions if _depth(line, placement, stage) <= depth]
        inside = [line for line in stage.instructions if _depth(line, placement, stage) > depth]
        self._once(once, active)
        found = started(body, stage)
        if stage.axes:
            body.store_guard = active
            plan = _plan(self.kernel, stage) if body.variant.vector else None
            spread(body, stage.axes, inside, placement, "lane", str(group.width), plan, step_all(found))
            body.store_guard = ""
            group.combine(found, text)
        else:
            step_all(found)()
        for accumulator in found:
            body.define(accumulator.line.number, accumulator.result())

    def _once(self, lines: Sequence[Instruction], active: str) -> None:
        """What is done once a row: every thread computes it, the first stores it."""
        guards = [active] if active else []
        if self.group.width > 1:
            guards.append("lane == 0")
            stored = {line.body.operand for line in lines if isinstance(line.body, Store)}
            if stored & self.read:
                self.body.run([line for line in lines if not isinstance(line.body, Store)])
                self.group.wait(self.text)
        self.body.store_guard = " and ".join(guards)
        self.body.run(lines)
        self.body.store_guard = ""

    def _meet(self, first: Stage, second: Stage) -> bool:
        """May a thread need, in the second stage, what another wrote or has still to read in the first?"""
        if first.axes and first.axes == second.axes and self._alike(first, second):
            return False
        return bool(self.written & _touched(first) & _touched(second))

    def _alike(self, first: Stage, second: Stage) -> bool:
        """Is every element that both touch touched by the same thread?"""
        plans = [_plan(self.kernel, stage) if self.body.variant.vector else None for stage in (first, second)]
        if len({plan.lanes if plan is not None else 1 for plan in plans}) > 1:
            return False
        places: dict[int, set[object]] = {}
        for stage in (first, second):
            for line in walk(stage.instructions):
                if isinstance(line.body, Load | Store | Gather) and line.body.operand in self.written:
                    places.setdefault(line.body.operand, set()).add(line.body.indices)
        return all(len(indices) == 1 for indices in places.values())


def _touched(stage: Stage) -> set[int]:
    return {line.body.operand for line in walk(stage.instructions) if isinstance(line.body, Load | Store | Gather)}


def _depth(line: Instruction, placement: Placement, stage: Stage) -> int:
    """How deep a line stands; what stands outside of a stage's loops has to be known before."""
    return 0 if isinstance(line.body, Reduce) else placement.depth(line.number)
