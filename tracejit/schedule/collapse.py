"""Adjacent axes that every operand walks through without a gap become one axis.

for i in range(n0):                          for i in range(n0 * n1):
    for j in range(n1):              ->          out[i] = exp(x[i])
        out[i, j] = exp(x[i, j])
"""

from __future__ import annotations

from dataclasses import replace

from tracejit.ir import size as sizes
from tracejit.schedule import kernel as k
from tracejit.schedule.kernel_draft import BuiltKernel


def collapse(built: BuiltKernel) -> BuiltKernel:
    """Collapse all outer axes of an elementwise kernel, and the inner axes of rows and full reductions."""
    kernel = built.kernel
    inner = kernel.stages[0].axes
    if kernel.form == "map" and not any(stage.axes for stage in kernel.stages):
        return _collapsed(built, kernel.outer)
    if kernel.form in ("map", "reduce_all") and all(stage.axes in (inner, ()) for stage in kernel.stages):
        return _collapsed(built, inner)
    return built


def _collapsed(built: BuiltKernel, axes: tuple[int, ...]) -> BuiltKernel:
    if len(axes) < 2:
        return built
    operands = list(built.kernel.operands)
    replaced: dict[int, k.Body] = {}
    for line in built.kernel.instructions:
        body = line.body
        if isinstance(body, (k.Position, k.Gather)) and _mentions(body, axes):
            return built
        if not isinstance(body, (k.Load, k.Store)):
            continue
        indices = _merged(built, body, axes)
        if indices is None:
            return built
        replaced[line.number] = replace(body, indices=indices)
        held = built.kernel.operands[body.operand]
        if len(indices) != held.rank:
            kept = tuple(axis for axis in held.scratch_axes if axis not in axes[1:])
            unit = (*held.unit[: len(indices) - 1], True)
            operands[body.operand] = k.Operand(held.dtype, len(indices), unit, held.role, kept)
    if not _consistent(replaced, operands):
        return built
    stages = tuple(
        k.Stage(
            tuple(axis for axis in stage.axes if axis not in axes[1:]),
            k.rewritten(stage.instructions, lambda line: replaced.get(line.number, line.body)),
        )
        for stage in built.kernel.stages
    )
    outer = tuple(axis for axis in built.kernel.outer if axis not in axes[1:])
    extents = list(built.extents)
    extents[axes[0]] = sizes.product(tuple(built.extents[axis] for axis in axes))
    kernel = replace(built.kernel, outer=outer, stages=stages, operands=tuple(operands))
    return _renumbered(replace(built, kernel=kernel, extents=tuple(extents)), set(axes[1:]))


def _mentions(body: k.Position | k.Gather, axes: tuple[int, ...]) -> bool:
    if isinstance(body, k.Position):
        return body.axis in axes
    return True


def _merged(built: BuiltKernel, body: k.Load | k.Store, axes: tuple[int, ...]) -> tuple[k.Index, ...] | None:
    """The indices with the run of `axes` at their end as one, if the operand has no gap there; None if it has."""
    used = [index.axis for index in body.indices if index.axis in axes]
    if not used:
        return body.indices
    lengths = _lengths(built, body.operand)
    # Place 0 of a longer axis (a write into out[i, 0, j]) is no axis of length one.
    long = [
        (p, index)
        for p, index in enumerate(body.indices)
        if index != k.Index(None) or (lengths is not None and lengths[p] != 1)
    ]
    tail = long[-len(axes) :]
    if tuple(index for _, index in tail) != tuple(k.Index(axis) for axis in axes) or len(used) != len(axes):
        return None
    if body.operand not in built.scratch and not built.contiguous[body.operand]:
        return None
    if lengths is not None and any(
        lengths[p] != built.extents[index.axis] for p, index in tail if index.axis is not None
    ):
        return None
    head = body.indices[: tail[0][0]]
    after = tail[0][0] + 1
    # Fixed axes of length one among the collapsed ones have no extent of their own; before them they must stay.
    return (*head, k.Index(axes[0])) if all(i == k.Index(None) for i in head) or after else None


def _lengths(built: BuiltKernel, operand: int) -> tuple[object, ...] | None:
    if operand in built.scratch:
        return None
    visible = [n for n, o in enumerate(built.kernel.operands) if o.role != "scratch"]
    return built.buffers[visible.index(operand)].shape


def _consistent(replaced: dict[int, k.Body], operands: list[k.Operand]) -> bool:
    """Whether every access of an operand agrees on its new rank."""
    return all(
        len(body.indices) == operands[body.operand].rank
        for body in replaced.values()
        if isinstance(body, (k.Load, k.Store))
    )


def _renumbered(built: BuiltKernel, gone: set[int]) -> BuiltKernel:
    """Axes numbered without a gap again."""
    kept = [axis for axis in range(built.kernel.axes) if axis not in gone]
    number = {axis: position for position, axis in enumerate(kept)}

    def index(item: k.Index) -> k.Index:
        return replace(item, axis=number[item.axis]) if item.axis is not None else item

    def body(item: k.Body) -> k.Body:
        if isinstance(item, (k.Load, k.Store)):
            return replace(item, indices=tuple(map(index, item.indices)))
        if isinstance(item, k.Gather):
            return replace(item, indices=tuple(i if isinstance(i, int) else index(i) for i in item.indices))
        if isinstance(item, k.Loop):
            return item if item.axis is None else replace(item, axis=number[item.axis])
        return replace(item, axis=number[item.axis]) if isinstance(item, k.Position) else item

    kernel = built.kernel
    stages = tuple(
        k.Stage(tuple(number[a] for a in s.axes), k.rewritten(s.instructions, lambda line: body(line.body)))
        for s in kernel.stages
    )
    operands = tuple(replace(o, scratch_axes=tuple(number[a] for a in o.scratch_axes)) for o in kernel.operands)
    outer = tuple(number[axis] for axis in kernel.outer)
    kernel = replace(kernel, axes=len(kept), outer=outer, stages=stages, operands=operands)
    return replace(built, kernel=kernel, extents=tuple(built.extents[axis] for axis in kept))
