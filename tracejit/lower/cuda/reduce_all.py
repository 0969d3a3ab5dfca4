"""Full reductions, in two launches: every block leaves what it reduced in work arrays, one block puts those together.

Which elements a thread takes, and in what order totals are put together, depends on the sizes and the device alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracejit.lower.cuda.accumulators import Accumulator, Group, read_stored, started, step_all, stored
from tracejit.lower.cuda.body import Body
from tracejit.lower.cuda.grids import Always, Elements
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch, Variant, Work
from tracejit.lower.cuda.parameters import function, parameters, source
from tracejit.lower.cuda.spread import Vectors, spread, vectors
from tracejit.lower.cuda.text import Text
from tracejit.lower.placement import placements
from tracejit.schedule.kernel import Instruction, Kernel, Reduce, Store, walk

WAVES = 8
"""Blocks for each multiprocessor that a grid has at most: each leaves one partial result."""


@dataclass(frozen=True)
class Blocks:
    """A partial result for each block of a grid."""

    grid: Elements

    def __call__(self, extents: Extents, device: Device) -> int:
        return max(1, self.grid(extents, device))


def reduce_all(kernel: Kernel, variant: Variant) -> CudaKernel:
    """A kernel of the form `reduce_all`."""
    stage = kernel.stages[0]
    plan = whole_vectors(kernel) if variant.vector else None
    grid = Elements(stage.axes, plan.lanes if plan is not None else 1, variant.block, WAVES)
    group = Group(variant.block, variant.block)
    first, second = Text(), Text()
    found = _partial(Body(kernel, variant, first), group, plan)
    work = [Work(accumulator.dtype.name, Blocks(grid)) for accumulator in found for _ in accumulator.names[:1]]
    work.append(Work("int64", Always(1)))
    words = parameters(kernel, work)
    second.helpers, second.helper_texts, second.tables = first.helpers, first.helper_texts, first.tables
    _combine(Body(kernel, variant, second), group)
    return CudaKernel(
        source=source(
            first,
            function("kernel_partial", kernel, words, first.lines, variant.index_bits),
            function("kernel_combine", kernel, words, second.lines, variant.index_bits),
        ),
        parameters=words,
        launches=(
            Launch("kernel_partial", "reduce_all", variant.block, Blocks(grid), Always(0)),
            Launch("kernel_combine", "combine", variant.block, Always(1), Always(0)),
        ),
        work=tuple(work),
        aligned=tuple(sorted(plan.operands)) if plan is not None else (),
        fma=kernel.fastmath,
        tables=tuple((name, *table) for name, table in first.tables.items()),
    )


def whole_vectors(kernel: Kernel) -> Vectors | None:
    """What a full reduction can do by vectors."""
    stage = kernel.stages[0]
    return vectors(kernel, stage.axes[-1], stage.instructions) if stage.axes else None


def _partial(body: Body, group: Group, plan: Vectors | None) -> list[Accumulator]:
    """The first stage, shared out among all threads; what does not vary is stored by the second launch."""
    kernel, text = body.kernel, body.text
    stage, placement = kernel.stages[0], placements(kernel)[0]
    group.head(body)
    text.line(f"first = {body.index('cuda.grid(1)')}")
    text.line(f"step = {body.index('cuda.gridsize(1)')}")
    body.run([line for line in _outside(kernel) if not _stores(line)])
    found = started(body, stage)
    inside = [line for line in stage.instructions if line not in _outside(kernel)]
    spread(body, stage.axes, inside, placement, "first", "step", plan, step_all(found))
    group.combine(found, text)
    totals = [accumulator.total() for accumulator in found]
    with text.block("if thread == 0:"):
        for slot, total in enumerate(totals):
            text.line(f"work{slot}[cuda.blockIdx.x] = {stored(total.name, total.dtype)}")
        with text.block("if cuda.blockIdx.x == 0:"):
            text.line(f"work{len(found)}[0] = int64(cuda.gridDim.x)")
    return found


def _combine(body: Body, group: Group) -> None:
    """One block: the partial results, then the stages that follow."""
    kernel, text = body.kernel, body.text
    group.head(body)
    found = started(body, kernel.stages[0])
    text.line("at = int64(thread)")
    with text.block(f"while at < work{len(found)}[0]:"):
        for slot, accumulator in enumerate(found):
            accumulator.add(read_stored(text, f"work{slot}[at]", accumulator.dtype))
        text.line(f"at = at + {group.block}")
    group.combine(found, text)
    for accumulator in found:
        body.define(accumulator.line.number, accumulator.result())
    with text.block("if thread == 0:"):
        body.run(_outside(kernel))
        for stage in kernel.stages[1:]:
            body.run(stage.instructions)


def _outside(kernel: Kernel) -> list[Instruction]:
    """The lines of the first stage that stand outside of its loops."""
    stage, placement = kernel.stages[0], placements(kernel)[0]
    plain = [line for line in stage.instructions if not isinstance(line.body, Reduce)]
    return [line for line in plain if placement.depth(line.number) == 0] if stage.axes else []


def _stores(line: Instruction) -> bool:
    return any(isinstance(inner.body, Store) for inner in walk((line,)))
