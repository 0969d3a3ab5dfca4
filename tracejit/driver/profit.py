"""Whether calls gain from being compiled: those that stop for Python again and again, with nothing to fuse, do not.

Nothing is fused where NumPy itself does most of the work, or where there are as many kernels as operations.

A break costs some microseconds, an operation on scalars in NumPy a tenth of one.  What counts is the structure of the
call alone, never a measured time, so a function does the same in each process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tracejit.driver.segments import Break, Segment
from tracejit.ir.node import Node, Shape
from tracejit.ops.table import OPS
from tracejit.schedule.steps import Copy, Launch, Step

FEW_BREAKS = 8
"""Breaks of a call that are not worth looking at."""

BREAK, STEP = 1.5, 0.4
"""Microseconds that a break and a kernel or call between breaks take."""

ON_SCALARS, ON_ARRAYS = 0.1, 0.6
"""Microseconds that NumPy takes for an operation on small operands."""

COSTLY = 10
"""Instructions an element from which on an operation is faster in a kernel of its own than as NumPy's."""

MOSTLY = 2
"""So many times as many operations are NumPy's own calls as are in kernels where a function is mostly such calls."""

FUSED = 2
"""Operations on arrays that a pass over memory has where there is something to fuse."""


def loss(root: Segment, path: Sequence[tuple[Break, Any]]) -> str | None:
    """Why calls that take this path are better off as plain NumPy; None if they are not."""
    if len(path) < FEW_BREAKS:
        return None
    fused = called = scalar = steps = passes = 0
    costly = False
    for segment in _along(root, path):
        steps += len(segment.program.steps)
        passes += sum(map(_is_pass, segment.program.steps))
        called += segment.following is not None and not segment.following.outcome
        for node in segment.traced.nodes:
            if node.op in ("loop", "branch"):
                return None
            if node.kind in ("call", "contract"):
                called += 1
            elif node.kind in ("elementwise", "reduce", "gather", "update") and node.op != "cast":
                fused, scalar = (fused + 1, scalar) if _is_array(node) else (fused, scalar + 1)
                costly |= _is_array(node) and OPS[node.op].cost >= COSTLY
    ours = BREAK * len(path) + STEP * steps
    numpys = ON_SCALARS * scalar + ON_ARRAYS * (fused + called)
    if ours < numpys:
        return None
    if called >= MOSTLY * fused:
        return f"{len(path)} breaks, and {fused} of {fused + called} operations on arrays are in kernels"
    if fused < FUSED * passes and not costly:
        return f"{len(path)} breaks, and {passes} kernels and copies for {fused} operations on arrays"
    return None


def _is_pass(step: Step) -> bool:
    """Whether a step goes through an array."""
    if isinstance(step, Launch):
        return _several(step.extents)
    return isinstance(step, Copy) and _several(step.target.shape)


def _along(root: Segment, path: Sequence[tuple[Break, Any]]) -> Iterator[Segment]:
    """The segments on a path, as far as they are kept."""
    segment: Segment | None = root
    for following, result in path:
        if segment is None or segment.following is not following:
            return
        yield segment
        segment = next(iter(following.known(result)), None)
    if segment is not None:
        yield segment


def _is_array(node: Node) -> bool:
    """Whether an operation is on more than one element."""
    if node.kind == "update":
        return _several(node.inputs[1].shape)
    return _several(node.shape) or (node.kind == "reduce" and _several(node.inputs[0].shape))


def _several(shape: Shape) -> bool:
    return any(length != 1 for length in shape)
