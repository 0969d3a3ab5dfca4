"""Affine views of which one fixed place moves on in even steps: together they are one view with another axis.

x[0, j], x[1, j], x[2, j]      ->      x[i, j]
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
    if len(moved) != 1 or first[moved[0]].axis is not None:
        return None
    axis = moved[0]
    step = sizes.subtract(second[axis].start, first[axis].start)
    if not isinstance(step, int) or step == 0:
        return None
    for number, indices in enumerate(views):
        expected = replace(first[axis], start=sizes.add(first[axis].start, step * number))
        if indices != (*first[:axis], expected, *first[axis + 1 :]):
            return None
    shifted = [replace(index, axis=index.axis + 1) if index.axis is not None else index for index in first]
    shifted[axis] = Index(0, step, first[axis].start)
    return tuple(shifted)
