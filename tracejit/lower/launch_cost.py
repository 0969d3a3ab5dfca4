"""What a launch of a kernel costs: time in the arithmetic units and bytes moved, as sums over products of extents.

A rough model, for one decision: is the work worth waking other threads for?  Instructions of the innermost loop are
vector instructions, unless something there keeps the loop from being vectorized; those further out are done one at a
time.  An op's `cost` in the table is its number of vector instructions, as measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tracejit.lower.abi import panel_axes
from tracejit.lower.placement import Placement, placements
from tracejit.lower.tileable_loop import tiled_loop
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import (
    Accumulate,
    Apply,
    Branch,
    Gather,
    Index,
    Instruction,
    Kernel,
    Load,
    Loop,
    Product,
    Reduce,
    Store,
    arguments,
    blocks,
)

WORTH_ASKING = 8_000.0
"""Nanoseconds of work below which a launch is for one thread on any machine."""

INSTRUCTION = 0.5
"""Nanoseconds that an instruction takes, scalar or on a whole vector register, as one of many: a cycle or two."""

CACHE_BYTE = 0.014
"""Nanoseconds that a byte takes between a core and its own caches."""

WHILE = 16
"""Iterations that a loop is taken to make where only its condition knows."""

ROW = 12
"""Instructions that entering and leaving an inner loop takes."""

HALF = 12
"""Bytes that a float16 counts for: it is widened, computed with in float32, and narrowed."""


class Term(NamedTuple):
    """`amount` for each iteration of the loops over `axes`."""

    axes: tuple[int, ...]
    amount: float


class LaunchCost(NamedTuple):
    """nanoseconds: the time of one thread with its data in cache.  traffic: the bytes that are read and written."""

    nanoseconds: tuple[Term, ...]
    traffic: tuple[Term, ...]


def launch_cost(kernel: Kernel, vector: int) -> LaunchCost:
    """The cost of a kernel; vector: bytes of a vector register."""
    key = (kernel.structure, vector)
    if key not in _COSTS:
        _COSTS[key] = _cost(kernel, vector)
    return _COSTS[key]


_COSTS: dict[tuple[str, int], LaunchCost] = {}
"""What was reckoned already: launches of long programs are of few kernels."""


def _cost(kernel: Kernel, vector: int) -> LaunchCost:
    traffic = _collected(_traffic(kernel))
    moved = (Term(axes, CACHE_BYTE * count) for axes, count in traffic)
    computed = (Term(axes, INSTRUCTION * count) for axes, count in _instructions(kernel, vector))
    return LaunchCost(_collected((*computed, *moved)), traffic)


def _collected(terms: Iterable[Term]) -> tuple[Term, ...]:
    """One term for each combination of axes."""
    amounts: dict[tuple[int, ...], float] = {}
    for axes, amount in terms:
        axes = tuple(sorted(set(axes)))
        amounts[axes] = amounts.get(axes, 0.0) + amount
    return tuple(Term(axes, float(f"{amount:.3g}")) for axes, amount in amounts.items())


# ---- instructions


def _instructions(kernel: Kernel, vector: int) -> Iterator[Term]:
    """The instructions done, by the loops around them."""
    sizes = {line.number: _size(line.dtype) for line in kernel.instructions}
    for stage, placement in zip(kernel.stages, placements(kernel), strict=True):
        order = kernel.outer + stage.axes
        scalar = _is_scalar(kernel, stage.instructions, placement)
        if stage.axes:
            yield Term(order[:-1], ROW)
        for line in stage.instructions:
            axes: tuple[int, ...]
            if isinstance(line.body, Reduce):
                axes = order
            elif isinstance(line.body, Product):
                *parts, rows = panel_axes(kernel)
                axes = (*rows, *(axis for part in parts for axis in part))
            else:
                axes = order[: placement.depth(line.number)]
            for inner, instruction, repeats in _inside(line, axes, 1.0):
                lanes = 1.0
                if len(axes) == len(order) and not scalar:
                    operands = [sizes[number] for number in arguments(instruction.body) if number in sizes]
                    lanes = vector / max(sizes[instruction.number], *operands, 1)
                yield Term(inner, repeats * _count(kernel, instruction) / lanes)


def _inside(
    line: Instruction, axes: tuple[int, ...], repeats: float
) -> Iterator[tuple[tuple[int, ...], Instruction, float]]:
    """An instruction and those in its blocks: the loops around it, itself, and how often it is done in these."""
    yield axes, line, repeats
    if isinstance(line.body, Loop):
        axes, repeats = (axes, repeats * WHILE) if line.body.axis is None else ((*axes, line.body.axis), repeats)
    if isinstance(line.body, Branch):
        repeats /= len(line.body.blocks)
    for block in blocks(line.body):
        for inner in block.instructions:
            yield from _inside(inner, axes, repeats)


def _is_scalar(kernel: Kernel, lines: Iterable[Instruction], placement: Placement) -> bool:
    """Whether a stage does one element at a time."""
    bodies = [line.body for line in lines]
    if kernel.form == "map" and any(isinstance(body, Accumulate) for body in bodies):
        return True
    if any(isinstance(body, Loop | Branch) for body in bodies):
        return tiled_loop(kernel, placement) is None
    return any(isinstance(body, Gather) for body in bodies)


def _count(kernel: Kernel, line: Instruction) -> float:
    """Instructions of one line; those that move operands are reckoned by bytes."""
    body = line.body
    if isinstance(body, Apply):
        return OPS[body.op].cost
    if isinstance(body, Gather):
        return OPS["gather"].cost
    if isinstance(body, Product):
        return 1
    if isinstance(body, Load | Store):
        return 1 if kernel.operands[body.operand].role == "scratch" else 0
    return 2 if isinstance(body, Reduce | Accumulate) else 0


def _size(dtype: str) -> int:
    if not dtype:
        return 0
    return HALF if dtype == "float16" else np.dtype(dtype).itemsize


# ---- memory


def _traffic(kernel: Kernel) -> Iterator[Term]:
    """For each operand its bytes, each counted once however often it is looked at."""
    axes: dict[int, set[int]] = {}
    for stage in kernel.stages:
        everywhere = {*kernel.outer, *stage.axes}
        for line in stage.instructions:
            for _, inner, _ in _inside(line, (), 1.0):
                body = inner.body
                if isinstance(body, Load | Store | Gather):
                    plain = {
                        index.axis for index in body.indices if isinstance(index, Index) and index.axis is not None
                    }
                    computed = isinstance(body, Gather)
                    axes.setdefault(body.operand, set()).update(plain | everywhere if computed else plain)
                elif isinstance(body, Product):
                    plain = {index.axis for index in body.indices if index.axis is not None}
                    axes.setdefault(body.left, set()).update(plain)
    for number, operand in enumerate(kernel.operands):
        if number in axes and operand.role in ("in", "out", "inout"):
            times = 2 if operand.role == "inout" else 1
            yield Term(tuple(axes[number]), times * np.dtype(operand.dtype).itemsize)
