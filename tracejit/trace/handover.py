"""What goes over a break: values that segments have computed and the user's code still holds become leaves of the next.

A value is handed over once; it stays in its leaf as long as it is not written to, and when nothing holds it any more
another value takes its place.  So the state of a loop has as many leaves as it has values, at each iteration the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.ir.node import ArrayType, Node
from tracejit.records import dataclass
from tracejit.trace.state import Past, Storage, Trace, Untraceable


@dataclass(frozen=True)
class Carried:
    """One value handed over: the numbers of the storages that hold it, its new position, its type."""

    storages: tuple[int, ...]
    position: int
    type: ArrayType


@dataclass(frozen=True)
class Handover:
    """carried: in the order in which the segment gives them; dropped: positions that are empty from now on.

    gone: positions of results of breaks of which only the shape is needed from now on.
    """

    carried: tuple[Carried, ...]
    dropped: tuple[int, ...]
    gone: tuple[int, ...] = ()


def pending(trace: Trace) -> tuple[list[Storage], list[Storage]]:
    """The storages whose values a segment must compute: arguments' that are written to, and new values in others."""
    live = trace.live_storages()
    return (
        [s for s in live if s.leaf is not None and (s.mutated or s.node.kind != "source")],
        [s for s in live if s.leaf is None and _is_new(trace, s.node)],
    )


def _is_new(trace: Trace, node: Node) -> bool:
    """A copy of an array argument is new too: the argument may be written to after the break."""
    leaf = trace.leaves[node["position"]] if node.op == "input" else None
    return node.kind != "source" if leaf is None else leaf.kind == "array"


def plan(trace: Trace, new: Sequence[Storage]) -> Handover:
    """Where the values of `new` go; derivatives and bodies may reach back to any value, so nothing is dropped then."""
    reached = bool(trace.variables or trace.inside)
    by_node: dict[int, list[Storage]] = {}
    for storage in new:
        by_node.setdefault(id(storage.node), []).append(storage)
    held = {s.node["position"] for s in trace.live_storages() if s.leaf is None and s.node.op == "input"}
    unused = set() if reached else trace.carried - held
    free = [] if reached else sorted(trace.free | unused)
    after = max(0, len(by_node) - len(free))
    positions = [*free[: len(by_node)], *range(len(trace.leaves), len(trace.leaves) + after)]
    carried = tuple(
        Carried(tuple(s.number for s in storages), position, storages[0].node.type)
        for storages, position in zip(by_node.values(), positions, strict=True)
    )
    owned = {s.leaf for s in trace.live_storages()}
    gone = () if reached else tuple(sorted(trace.results - owned))
    return Handover(carried, tuple(sorted(unused - set(positions))), gone)


def hand_over(trace: Trace, handover: Handover, written: Sequence[Storage], new: Sequence[Storage]) -> None:
    """The storages go on as leaves of the next segment."""
    for storage in written:
        if trace.variables:
            raise Untraceable("an argument is written to, and a derivative reaches back over a break after it")
        storage.node = trace.inputs[storage.leaf]  # type: ignore[index]
        storage.mutated = False
    for position in handover.dropped:
        trace.drop(position)
    trace.results.difference_update(handover.gone)
    by_number = {storage.number: storage for storage in new}
    for item in handover.carried:
        trace.carry(item.position, item.type)
        for number in item.storages:
            if number in by_number:
                storage = by_number.pop(number)
                if trace.variables:
                    trace.history[item.position] = Past((storage.node,))
                storage.node = trace.inputs[item.position]
                storage.mutated = False
    for storage in by_number.values():
        # It was unreachable when this break was first met: it only waits for the garbage collector.
        trace.forget(storage)
