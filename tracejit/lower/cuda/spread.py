"""Loops whose iterations are shared out among threads, several neighbours on the last axis at a time.

A thread begins at `first` and goes on by `step`; both count groups of `lanes` places:

    i0 = 4 * first
    while i0 < n0:
        if i0 + 4 <= n0:
            a0, a1, a2, a3 = load_vector4(x0, i0)
            ...
            store_vector4(out0, i0, (v0, v1, v2, v3))
        else:
            for i0 in range(i0, n0): ...
        i0 = i0 + 4 * step

What varies with other axes only is written once a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tracejit.lower.cuda.body import Body
from tracejit.lower.placement import Placement
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import Apply, Index, Instruction, Kernel, Load, Operand, Store, blocks

VECTOR_BYTES = 16
"""Bytes of one vector load or store: the most that a thread moves in one instruction."""


MOST_INSTRUCTIONS = 800
"""Instructions for the places of a vector, by the ops' costs, that are worth the time to compile them."""


@dataclass(frozen=True)
class Vectors:
    """The loads and stores of a stage that are done by vectors along an axis, and the places in one."""

    axis: int
    lanes: int
    loads: tuple[Instruction, ...]
    stores: tuple[Store, ...]

    @property
    def operands(self) -> frozenset[int]:
        """The operands that are read or written by vectors."""
        loaded = {line.body.operand for line in self.loads if isinstance(line.body, Load)}
        return frozenset(loaded | {store.operand for store in self.stores})


def vectors(kernel: Kernel, axis: int, lines: Sequence[Instruction]) -> Vectors | None:
    """What can be done by vectors along an axis; None if that is nothing, or if elements take ways of their own."""
    if any(blocks(line.body) for line in lines):
        return None
    loads = tuple(line for line in lines if isinstance(line.body, Load) and _is_dense(kernel, axis, line.body))
    stores = tuple(line.body for line in lines if isinstance(line.body, Store) and _is_dense(kernel, axis, line.body))
    sizes = [np.dtype(kernel.operands[n].dtype).itemsize for n in Vectors(axis, 1, loads, stores).operands]
    lanes = VECTOR_BYTES // max(sizes, default=VECTOR_BYTES)
    while lanes > 1 and lanes * _cost(lines) > MOST_INSTRUCTIONS:
        lanes //= 2
    return Vectors(axis, lanes, loads, stores) if lanes > 1 else None


def _cost(lines: Sequence[Instruction]) -> int:
    return sum(OPS[line.body.op].cost if line.body.op in OPS else 1 for line in lines if isinstance(line.body, Apply))


def _is_dense(kernel: Kernel, axis: int, body: Load | Store) -> bool:
    """Do places along the axis follow each other in memory, from an address that can be aligned?"""
    operand: Operand = kernel.operands[body.operand]
    along = [d for d, index in enumerate(body.indices) if index.axis == axis]
    if len(along) != 1 or operand.role == "scratch" or np.dtype(operand.dtype).kind == "c":
        return False
    return operand.unit[along[0]] and body.indices[along[0]] == Index(axis)


def spread(
    body: Body,
    axes: Sequence[int],
    lines: Sequence[Instruction],
    placement: Placement,
    first: str,
    step: str,
    plan: Vectors | None,
    finish: Callable[[], None] = lambda: None,
) -> None:
    """The loops over `axes` around `lines`; `placement` knows how deep those stand, `finish` ends an element."""
    text = body.text
    if not axes:
        with body.level(), text.block(f"if {first} == 0:"):
            body.run(lines)
            finish()
        return
    *slow, last = axes
    lanes = plan.lanes if plan is not None else 1
    place = text.fresh("i")
    if slow:
        groups = (
            body.extent(last)
            if lanes == 1
            else body.define_index(f"(n{last} + {lanes - 1}) >> {lanes.bit_length() - 1}", "groups")
        )
        total = body.define_index(" * ".join([groups, *map(body.extent, slow)]), "total")
        at = body.define_index(first, "at")
    else:
        total, at = body.extent(last), place
        text.line(f"{at} = {body.index(first if lanes == 1 else f'{first} * {lanes}')}")
    with body.level(), text.block(f"while {at} < {total}:"):
        if slow:
            _decompose(body, at, slow, groups, place, lanes)
        body.stand(last, place)
        if plan is None:
            body.run(lines)
            finish()
        else:
            _by_vectors(body, plan, lines, placement, place, finish)
        text.line(f"{at} = {body.index(f'{at} + {step}' if slow or lanes == 1 else f'{at} + {step} * {lanes}')}")
    for axis in axes:
        body.axes.pop(axis, None)


def _decompose(body: Body, at: str, slow: Sequence[int], groups: str, place: str, lanes: int) -> None:
    """Places on the axes of a number that counts them, the last one fastest."""
    rest = body.text.define(f"idiv({at}, {body.index(groups)})", "rest")
    within = body.index(f"{at} - {rest} * {groups}")
    body.text.line(f"{place} = {within if lanes == 1 else body.index(f'({at} - {rest} * {groups}) * {lanes}')}")
    unravel(body, rest, slow)


def unravel(body: Body, rest: str, axes: Sequence[int]) -> None:
    """Places on axes of a number that counts them, the last one fastest."""
    for axis in reversed(axes[1:]):
        above = body.text.define(f"idiv({rest}, {body.extent(axis)})", "rest")
        body.stand(axis, body.define_index(f"{rest} - {above} * {body.extent(axis)}", "i"))
        rest = above
    if axes:
        body.stand(axes[0], rest)


def _by_vectors(
    body: Body,
    plan: Vectors,
    lines: Sequence[Instruction],
    placement: Placement,
    place: str,
    finish: Callable[[], None],
) -> None:
    text, end = body.text, body.extent(plan.axis)
    deepest = max(placement.depth(line.number) for line in (*plan.loads, *_of(lines, plan.stores)))
    body.run([line for line in lines if placement.depth(line.number) < deepest])
    inside = [line for line in lines if placement.depth(line.number) == deepest]
    with text.block(f"if {place} + {plan.lanes} <= {end}:"):
        loaded = {line.number: _load(body, line, plan.lanes) for line in plan.loads}
        body.stored = {store: [] for store in plan.stores}
        for lane in range(plan.lanes):
            with body.level():
                body.stand(plan.axis, place if lane == 0 else f"{place} + {lane}")
                for line in plan.loads:
                    assert isinstance(line.body, Load)
                    value = body.loaded(loaded[line.number][lane], line.body.operand, np.dtype(line.dtype))
                    body.define(line.number, value)
                body.run(inside)
                finish()
        body.stand(plan.axis, place)
        for store, values in body.stored.items():
            where = body.index(body.offset(store.operand, body.places(store.operand, store.indices)))
            body.guarded(f"store_vector{plan.lanes}({body.names[store.operand]}, {where}, ({', '.join(values)}))")
        body.stored = {}
    with text.block("else:"):
        one = text.fresh("i")
        with body.level(), text.block(f"for {one} in range({place}, {end}):"):
            body.stand(plan.axis, one)
            body.run(inside)
            finish()
    body.stand(plan.axis, place)


def _of(lines: Sequence[Instruction], stores: Sequence[Store]) -> list[Instruction]:
    return [line for line in lines if isinstance(line.body, Store) and line.body in stores]


def _load(body: Body, line: Instruction, lanes: int) -> list[str]:
    """The names of the elements of a vector."""
    load = line.body
    assert isinstance(load, Load)
    names = [body.text.fresh("a") for _ in range(lanes)]
    where = body.index(body.offset(load.operand, body.places(load.operand, load.indices)))
    body.text.line(f"{', '.join(names)} = load_vector{lanes}({body.names[load.operand]}, {where})")
    return names
