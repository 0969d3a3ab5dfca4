"""NumPy calls on one core that could run at the same time become one step.

b3 = np.sort(a0)                     b3, b5 = together(np.sort(a0), np.median(a1))
b4 = kernel(b3)              ->      b4 = kernel(b3)
b5 = np.median(a1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracejit.ops.table import OPS
from tracejit.schedule.steps import Buffer, CallNumpy, Program, Step, Together, View, reads, writes


def side_by_side(program: Program) -> Program:
    steps: list[Step] = list(program.steps)
    functions = {op.reference for op in OPS.values() if op.one_core}
    owner = {step.target: step.source for step in steps if isinstance(step, View)}

    def eligible(step: Step) -> bool:
        return isinstance(step, CallNumpy) and step.call.function in functions

    position = 0
    while position < len(steps):
        if eligible(steps[position]):
            later = [q for q in range(position + 1, len(steps)) if eligible(steps[q])]
            chosen = _movable(steps, position, later, owner)
            if chosen:
                calls = tuple(steps[q] for q in (position, *chosen))
                steps[position] = Together(calls)  # type: ignore[arg-type]
                for q in reversed(chosen):
                    del steps[q]
        position += 1
    return replace(program, steps=tuple(steps))


def _movable(steps: Sequence[Step], begin: int, later: Sequence[int], owner: dict[Buffer, Buffer]) -> list[int]:
    """Which of the calls may run at `begin`: nothing that they read is made or written from there on."""
    changed: set[Buffer] = set()
    found: list[int] = []
    for position in range(begin, max(later, default=begin) + 1):
        step = steps[position]
        if position in later and not {_origin(buffer, owner) for buffer in reads(step)} & changed:
            found.append(position)
        changed |= {_origin(buffer, owner) for buffer in writes(step)} | set(writes(step))
    return found


def _origin(buffer: Buffer, owner: dict[Buffer, Buffer]) -> Buffer:
    """The memory that a view is of."""
    while buffer in owner:
        buffer = owner[buffer]
    return buffer
