"""Donated arguments: memory that the caller gives up becomes that of a result.

def step(w, slope):                        def step(w, slope):
    return w - 0.1 * slope        ->           w[...] = w - 0.1 * slope
                                               return w

So it is done where a result of the same shape and dtype is computed element by element from the argument, and can be
stored where that element was read; everywhere else a result has memory of its own, as without the donation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Sequence
from typing import Any

from tracejit.driver.arguments import Arguments
from tracejit.driver.results import outgoing
from tracejit.ir.node import Node
from tracejit.records import dataclass
from tracejit.schedule.steps import Copy, Program, may_return_operands, reads
from tracejit.trace.pytree import Tree
from tracejit.trace.state import Storage, Trace
from tracejit.trace.tracer import Tracer

_PASSED_ON = frozenset({"tap", "stop_gradient"})
"""Nodes, besides elementwise ones, that keep elements where they are."""


@dataclass(frozen=True)
class Donated:
    """The parameters that are donated, by position and by name."""

    positions: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Gift:
    """An argument that becomes a result: the leaf of the result, the argument's tracer, and its name for `explain`."""

    result: int
    tracer: Tracer
    label: str


def donated(function: Callable[..., Any], given: str | int | Sequence[str | int], static: Container[str]) -> Donated:
    """The parameters that `donate` names; raises ValueError for what is none, or is static."""
    wanted = (given,) if isinstance(given, (str, int)) else tuple(given)
    if not wanted:
        return Donated()
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = [p.name for p in parameters]
    unknown = [item for item in wanted if item not in names and not _is_position(item, len(names))]
    shown = f"{getattr(function, '__name__', function)}{signature}"
    if unknown:
        raise ValueError(f"donate {unknown} are no parameters of {shown}")
    positions = {names.index(item) if isinstance(item, str) else item % len(names) for item in wanted}
    chosen = [parameters[position] for position in positions]
    if both := [p.name for p in chosen if p.name in static]:
        raise ValueError(f"{both} of {shown} are static: there is no memory in them to donate")
    return Donated(
        frozenset(n for n in positions if parameters[n].kind != inspect.Parameter.KEYWORD_ONLY),
        frozenset(p.name for p in chosen if p.kind != inspect.Parameter.POSITIONAL_ONLY),
    )


def _is_position(item: Any, count: int) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and -count <= item < count


def donated_leaves(arguments: Arguments, parameters: Donated, names: Sequence[str]) -> dict[int, str]:
    """The leaves of a call's donated arguments, each with the parameter's name."""
    positional, keywords = arguments.tree.children
    found: dict[int, str] = {}
    number = 0
    parts = [
        (n in parameters.positions, names[n] if n < len(names) else "", c) for n, c in enumerate(positional.children)
    ]
    parts += [(k in parameters.names, str(k), c) for k, c in zip(keywords.keys, keywords.children, strict=True)]
    for given, name, child in parts:
        count = _count(child)
        for leaf in range(count if given else 0):
            found[number + leaf] = name if count == 1 else f"{name} (leaf {leaf})"
        number += count
    return found


def _count(tree: Tree) -> int:
    return 1 if tree.kind is None else sum(map(_count, tree.children))


def with_donated(
    tracing: Any, held: Sequence[Any], leaves: list[Any], scheduled: Callable[[list[Storage], list[Node]], Program]
) -> tuple[list[Any], tuple[str, ...]]:
    """A result's leaves, donated arguments in the places of those that take their memory; and what to say of each.

    held: the leaves of the call's arguments, traced.  scheduled: the steps of the segment for what it is to give.
    Raises ValueError where a donated array is read-only.
    """
    jitted, trace = tracing.jitted, tracing.trace
    if jitted.donated == Donated():
        return leaves, ()
    labels = donated_leaves(tracing.arguments, jitted.donated, list(inspect.signature(jitted.function).parameters))
    donors = {label: held[number] for number, label in labels.items() if isinstance(held[number], Tracer)}
    donors = {label: tracer for label, tracer in donors.items() if not tracer.scalar}
    for label, tracer in donors.items():
        if not trace.leaves[tracer.storage.leaf].value.flags.writeable:
            raise ValueError(
                f"argument {label} of {jitted.__name__} is donated, but it is read-only.\n"
                "Pass a copy of it, or do not donate it."
            )
    found = _gifts(trace, donors, leaves) if tracing.root else []
    written = {label for label, tracer in donors.items() if tracer.storage.mutated}
    chosen = _in_place(trace, found, leaves, scheduled)
    said = []
    for label in donors:
        if taken := [gift.result for gift in chosen if gift.label == label]:
            said.append(f"{label} becomes leaf {taken[0]} of the result")
            continue
        reason = "no result of its shape and dtype is computed from it element by element"
        if any(gift.label == label for gift in found):
            reason = "its elements are needed after the result's are stored, or are given to NumPy"
        if label in written or not tracing.root:
            reason = "the function writes to it" if tracing.root else "the function has several segments"
        said.append(f"{label} is not used, as {reason}")
    return _replaced(leaves, chosen), tuple(said)


def _replaced(leaves: Sequence[Any], chosen: Sequence[Gift]) -> list[Any]:
    places = {gift.result: gift.tracer for gift in chosen}
    return [places.get(number, leaf) for number, leaf in enumerate(leaves)]


def _in_place(
    trace: Trace, chosen: list[Gift], leaves: list[Any], scheduled: Callable[[list[Storage], list[Node]], Program]
) -> list[Gift]:
    """The gifts that save memory without a copy; their arguments are written to from here on."""
    while chosen:
        before = [(gift.tracer.storage, gift.tracer.storage.node) for gift in chosen]
        for gift in chosen:
            gift.tracer.write(leaves[gift.result].node)
        live, extra, _ = outgoing(trace, _replaced(leaves, chosen))
        program = scheduled(live, extra)
        fine = [gift for gift in chosen if _is_in_place(program, gift.tracer.storage.leaf)]
        if len(fine) == len(chosen):
            break
        for storage, node in before:
            storage.node, storage.mutated = node, False
        chosen = fine
    return chosen


def _gifts(trace: Trace, donors: dict[str, Tracer], leaves: Sequence[Any]) -> list[Gift]:
    """Which donated argument is to become which leaf of the result: the nearest that is computed from it."""
    held: dict[int, int] = {}
    for leaf in leaves:
        if isinstance(leaf, Tracer):
            held[id(leaf.storage)] = held.get(id(leaf.storage), 0) + 1
    free = {label: t for label, t in donors.items() if not t.storage.mutated and id(t.storage) not in held}
    sources = {id(tracer.node): label for label, tracer in free.items()}
    near: list[tuple[int, int, str]] = []
    for number, leaf in enumerate(leaves):
        if isinstance(leaf, Tracer) and leaf.storage.leaf is None and held[id(leaf.storage)] == 1 and not leaf.scalar:
            for label, steps in _elementwise_sources(leaf.node, sources).items():
                if leaf.dtype == free[label].dtype and _same_shape(trace, leaf.node, free[label].node):
                    near.append((steps, number, label))
    found: list[Gift] = []
    for _, number, label in sorted(near):
        if all(gift.result != number and gift.label != label for gift in found):
            found.append(Gift(number, free[label], label))
    return found


def _elementwise_sources(node: Node, sources: dict[int, str]) -> dict[str, int]:
    """The donated arguments that a value is computed from element by element, and in how many steps."""
    found: dict[str, int] = {}
    seen, level, steps = {id(node)}, [node], 0
    while level:
        steps += 1
        inputs = [s for n in level if n.kind == "elementwise" or n.op in _PASSED_ON for s in n.inputs]
        level = []
        for source in inputs:
            if id(source) not in seen:
                seen.add(id(source))
                level.append(source)
                if id(source) in sources:
                    found[sources[id(source)]] = steps
    return found


def _same_shape(trace: Trace, a: Node, b: Node) -> bool:
    first, second = ([d if isinstance(d, int) else trace.canonical(d) for d in node.shape] for node in (a, b))
    return first == second


def _is_in_place(program: Program, leaf: int | None) -> bool:
    """Whether a program computes an argument's new value where the old one is, without a copy of either."""
    new = next((buffer for number, buffer in program.writebacks if number == leaf), None)
    copied = any(
        isinstance(step, Copy) and any(b.kind == "argument" and b.leaf == leaf for b in (step.source, step.target))
        for step in program.steps
    )
    seen = any(may_return_operands(step) and any(b.leaf == leaf for b in reads(step)) for step in program.steps)
    return new is not None and new.kind == "argument" and new.leaf == leaf and not copied and not seen
