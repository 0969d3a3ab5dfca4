"""Errors that a kernel reports, as the exceptions that NumPy raises."""

from __future__ import annotations

from typing import Any

from tracejit.ir.graph import bodies
from tracejit.schedule.kernel import Gather
from tracejit.schedule.steps import Launch


def raise_kernel_error(code: int, launch: Launch) -> None:
    """Raise what an error code of a kernel means: IndexError for a Gather, MemoryError else."""
    if code <= 0:
        raise MemoryError("tracejit: no memory for a kernel's work row")
    for line in launch.kernel.instructions:
        if line.number == code - 1 and isinstance(line.body, Gather):
            raise IndexError(_message(launch, line.body))
    raise IndexError("index out of bounds in an indexing operation")


def _message(launch: Launch, body: Gather) -> str:
    lines = {node.line for root in launch.roots for node in _walk(root) if node.kind == "gather"}
    where = f" (at {', '.join(sorted(lines))})" if lines else ""
    return f"index is out of bounds for an array of {launch.kernel.operands[body.operand].rank} dimension(s){where}"


def _walk(root: Any) -> list[Any]:
    found, stack, seen = [], [root], set()
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            found.append(node)
            stack.extend(node.inputs)
            stack.extend(inner for body in bodies(node).values() for inner in body.nodes)
    return found
