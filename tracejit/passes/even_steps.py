"""Affine views of which fixed places move on in even steps: together they are one view with another axis.

x[0, j], x[1, j], x[2, j]      ->      x[i, j]
x[0, 0], x[1, 1], x[2, 2]      ->      x[i, i]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracejit.ir import size as sizes
from tracejit.ir.node import Index, Indices


def moving(views: Sequence[Indices]) -> Indices | None:
    """The indices of all views at once, along a new leading axis; None where they do not move on evenly."""
    first, second = views[0], views[1]
    moved = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if not moved or any(first[axis].axis is not None for axis in moved):
        return None
    steps: dict[int, int] = {}
    for axis in moved:
        step = sizes.subtract(second[axis].start, first[axis].start)
        if not isinstance(step, int) or step == 0:
            return None
        steps[axis] = step
    for number, indices in enumerate(views):
        if indices != tuple(_moved(index, steps.get(axis, 0) * number) for axis, index in enumerate(first)):
            return None
    return tuple(
        Index(0, steps[axis], index.start)
        if axis in steps
        else replace(index, axis=index.axis + 1)
        if index.axis is not None
        else index
        for axis, index in enumerate(first)
    )


def _moved(index: Index, by: int) -> Index:
    return replace(index, start=sizes.add(index.start, by)) if by else index
