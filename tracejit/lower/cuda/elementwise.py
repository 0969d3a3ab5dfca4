"""Kernels whose elements have nothing to do with each other: a thread for a few neighbours, then the next few."""

from __future__ import annotations

from tracejit.lower.cuda.body import Body
from tracejit.lower.cuda.grids import Always, Elements
from tracejit.lower.cuda.kernel import CudaKernel, Launch, Variant
from tracejit.lower.cuda.parameters import function, parameters, source
from tracejit.lower.cuda.spread import Vectors, spread, vectors
from tracejit.lower.cuda.text import Text
from tracejit.lower.placement import placements
from tracejit.schedule.kernel import Kernel


def is_elementwise(kernel: Kernel) -> bool:
    """Has the kernel no loops but the outer ones?"""
    return kernel.form == "map" and not any(stage.axes for stage in kernel.stages)


def element_vectors(kernel: Kernel) -> Vectors | None:
    """What an elementwise kernel can do by vectors."""
    return vectors(kernel, kernel.outer[-1], [line for stage in kernel.stages for line in stage.instructions])


def elementwise(kernel: Kernel, variant: Variant) -> CudaKernel:
    """A `map` kernel whose stages have no axes of their own."""
    text = Text()
    body = Body(kernel, variant, text)
    lines = [line for stage in kernel.stages for line in stage.instructions]
    plan = element_vectors(kernel) if variant.vector else None
    text.line(f"first = {body.index('cuda.grid(1)')}")
    text.line(f"step = {body.index('cuda.gridsize(1)')}")
    spread(body, kernel.outer, lines, placements(kernel)[0], "first", "step", plan)
    words = parameters(kernel)
    lanes = plan.lanes if plan is not None else 1
    return CudaKernel(
        source=source(text, function("kernel_map", kernel, words, text.lines, variant.index_bits)),
        parameters=words,
        launches=(Launch("kernel_map", "map", variant.block, Elements(kernel.outer, lanes, variant.block), Always(0)),),
        aligned=tuple(sorted(plan.operands)) if plan is not None else (),
        fma=kernel.fastmath,
        tables=tuple((name, *table) for name, table in text.tables.items()),
    )
