"""Derivatives of structured control flow: a loop's tangent and cotangent are loops, a branch's are branches.

A loop is differentiated in reverse by saving what each iteration begins with and going over the iterations backwards,
each done again from what it began with (Griewank and Walther, Evaluating Derivatives, chapter 12: checkpoints at every
iteration).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracejit.autodiff.context import Rules
from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Node
from tracejit.trace.control import branch_parts, close_bodies, close_body, loop_parts


@dataclass(frozen=True)
class Loop:
    """A loop node taken apart: its inputs, and the body's parameters that they become."""

    node: Node

    @property
    def body(self) -> Graph:
        return self.node["body"]  # type: ignore[no-any-return]

    def split(self, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Things in the order of the inputs as (of constants, of carries, of xs)."""
        first, second = self.node["constants"], self.node["constants"] + self.node["carries"]
        return list(values[:first]), list(values[first:second]), list(values[second:])

    @property
    def parameters(self) -> tuple[list[Node], list[Node], list[Node]]:
        return self.split(self.body.inputs[1:])

    @property
    def results(self) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        """The body's next carries, and its slices of ys."""
        count = self.node["carries"]
        return self.body.outputs[:count], self.body.outputs[count:]


def loop_jvp(rules: Rules, node: Node, given: Sequence[Node | None]) -> Sequence[Node | None]:
    """The tangents of a loop's results, by a loop that carries tangents beside the values."""
    loop = Loop(node)
    constants, carries, xs = loop.parameters
    to_constants, to_carries, to_xs = loop.split(given)
    moving = [tangent is not None for tangent in to_carries]
    while True:
        chosen = [*_where(constants, to_constants), *_where(carries, moving), *_where(xs, to_xs)]
        directions = rules.builder.parameters(p.type for p in chosen)
        pushed = rules.push(loop.body.outputs, chosen, directions)
        reached = [m or p is not None for m, p in zip(moving, pushed, strict=False)]
        if reached == moving:
            break
        moving = reached
    next_tangents = [p if p is not None else rules.zeros(c.type) for p, c in _chosen(moving, pushed, carries)]
    with_tangent = [place for place, p in enumerate(pushed) if place >= len(carries) and p is not None]
    next_carries, slices = loop.results
    slice_tangents = [p for p in pushed[len(carries) :] if p is not None]
    outputs = (*next_carries, *next_tangents, *slices, *slice_tangents)
    first = len(_where(constants, to_constants))
    second = first + sum(moving)
    parameters = (
        *(loop.body.inputs[0], *constants, *directions[:first], *carries, *directions[first:second]),
        *(*xs, *directions[second:]),
    )
    body, extra = close_body(rules.trace, parameters, outputs, at=1)
    held, initial, scanned = loop.split(node.inputs)
    start = [t if t is not None else rules.zeros(c.type) for t, c in _chosen(moving, to_carries, initial)]
    parts = loop_parts(
        rules.trace,
        body,
        _widened(rules, loop, extra, directions[:first], directions[first:second]),
        node["length"],
        [*extra, *held, *(t for t in to_constants if t is not None)],
        [*initial, *start],
        [*scanned, *(t for t in to_xs if t is not None)],
        node["reverse"],
        node.line,
    )
    tangents: dict[int, Node] = {}
    for offset, place in enumerate(place for place, flag in enumerate(moving) if flag):
        tangents[place] = parts[len(carries) + offset]
    for offset, place in enumerate(with_tangent):
        tangents[place] = parts[len(carries) + sum(moving) + len(slices) + offset]
    return [tangents.get(place) for place in range(len(loop.body.outputs))]


def _widened(
    rules: Rules, loop: Loop, before: Sequence[Node], constants: Sequence[Node], carries: Sequence[Node]
) -> Graph | None:
    """A loop's condition among more constants (some before, some after its own) and carries (after its own)."""
    condition: Graph | None = loop.node["condition"]
    if condition is None:
        return None
    count = loop.node["constants"]
    own = condition.inputs
    first, second, third = (rules.builder.parameters(n.type for n in nodes) for nodes in (before, constants, carries))
    return Graph((*first, *own[:count], *second, *own[count:], *third), condition.outputs)


def loop_vjp(rules: Rules, node: Node, given: dict[int, Node]) -> Sequence[Node | None]:
    """The cotangents of a loop's inputs, by a loop over its iterations backwards."""
    loop = Loop(node)
    if node["length"] is None:
        raise TypeError(
            f"a while_loop inside another loop has no reverse-mode derivative (at {node.line}): how often it runs is "
            "not known beforehand. Use tracejit.fori_loop with a bound, or forward mode (tracejit.jvp)."
        )
    constants, carries, xs = loop.parameters
    held, _, scanned = loop.split(node.inputs)
    moving = [place in given for place in range(len(carries))]
    ys = [place for place in range(len(carries), len(loop.body.outputs)) if place in given]
    wrt = [p for p in (*constants, *carries, *xs) if p.dtype.kind == "f"]
    while True:
        seeded = [*(place for place, flag in enumerate(moving) if flag), *ys]
        seeds = rules.builder.parameters(loop.body.outputs[place].type for place in seeded)
        found = rules.pull([loop.body.outputs[place] for place in seeded], [rules.mark(seed) for seed in seeds], wrt)
        pulled = {id(p): cotangent for p, cotangent in zip(wrt, found, strict=True) if cotangent is not None}
        reached = [m or id(p) in pulled for m, p in zip(moving, carries, strict=True)]
        if reached == moving:
            break
        moving = reached
    backs = [place for place, flag in enumerate(moving) if flag]
    summed = [place for place, p in enumerate(constants) if id(p) in pulled]
    sliced = [place for place, p in enumerate(xs) if id(p) in pulled]
    totals = rules.builder.parameters(constants[place].type for place in summed)
    next_backs = [pulled.get(id(carries[p])) or rules.zeros(carries[p].type) for p in backs]
    next_totals = [rules.add(t, pulled[id(constants[p])]) for t, p in zip(totals, summed, strict=True)]
    outputs = (*next_backs, *next_totals, *(pulled[id(xs[place])] for place in sliced))
    saved = _saved_carries(rules, loop)
    parameters = (
        *(loop.body.inputs[0], *constants, *seeds[: len(backs)], *totals),
        *(*carries, *xs, *seeds[len(backs) :]),
    )
    body, extra = close_body(rules.trace, parameters, outputs, at=1)
    parts = loop_parts(
        rules.trace,
        body,
        None,
        node["length"],
        [*extra, *held],
        [
            *(given[p] if p in given else rules.zeros(carries[p].type) for p in backs),
            *(rules.zeros(constants[place].type) for place in summed),
        ],
        [*saved, *scanned, *(given[place] for place in ys)],
        not node["reverse"],
        node.line,
    )
    results: dict[int, Node] = {}
    places = [
        *(len(constants) + place for place in backs),
        *summed,
        *(len(constants) + len(carries) + place for place in sliced),
    ]
    results.update(zip(places, parts, strict=True))
    return [rules.mark(results[p]) if p in results else None for p in range(len(node.inputs))]


def _saved_carries(rules: Rules, loop: Loop) -> list[Node]:
    """What each iteration begins with: the loop again, with its carries among the ys (`merge_loops` makes them one)."""
    node = loop.node
    constants, carries, xs = loop.parameters
    parameters = (loop.body.inputs[0], *constants, *carries, *xs)
    body, extra = close_body(rules.trace, parameters, (*loop.body.outputs, *carries), at=1)
    held, initial, scanned = loop.split(node.inputs)
    parts = loop_parts(
        rules.trace, body, None, node["length"], [*extra, *held], initial, scanned, node["reverse"], node.line
    )
    return parts[len(loop.body.outputs) :]


def branch_jvp(rules: Rules, node: Node, given: Sequence[Node | None]) -> Sequence[Node | None]:
    """The tangents of a branch's results: the taken side's."""
    branches: tuple[Graph, ...] = node["branches"]
    moving = [tangent is not None for tangent in given[1:]]
    directions = rules.builder.parameters(p.type for p in _where(branches[0].inputs, moving))
    pushed = [rules.push(b.outputs, _where(b.inputs, moving), directions) for b in branches]
    count = len(branches[0].outputs)
    reached = [place for place in range(count) if any(results[place] is not None for results in pushed)]
    if not reached:
        return [None] * count
    types = [branches[0].outputs[place].type for place in reached]
    bodies = [
        ((*b.inputs, *directions), _filled(rules, [results[p] for p in reached], types), 0)
        for b, results in zip(branches, pushed, strict=True)
    ]
    operands = (*node.inputs[1:], *(t for t in given[1:] if t is not None))
    parts = _branch(rules, node, bodies, operands)
    found = dict(zip(reached, parts, strict=True))
    return [found.get(place) for place in range(count)]


def branch_vjp(rules: Rules, node: Node, given: dict[int, Node]) -> Sequence[Node | None]:
    """The cotangents of a branch's operands: what the taken side gives; zero where it does not use one."""
    branches: tuple[Graph, ...] = node["branches"]
    seeded = sorted(given)
    seeds = rules.builder.parameters(given[place].type for place in seeded)
    floats = [place for place, p in enumerate(branches[0].inputs) if p.dtype.kind == "f"]
    pulled = [
        rules.pull([b.outputs[p] for p in seeded], [rules.mark(s) for s in seeds], [b.inputs[p] for p in floats])
        for b in branches
    ]
    used = [n for n in range(len(floats)) if any(results[n] is not None for results in pulled)]
    if not used:
        return [None] * len(node.inputs)
    types = [branches[0].inputs[floats[n]].type for n in used]
    bodies = [
        ((*b.inputs, *seeds), _filled(rules, [results[n] for n in used], types), 0)
        for b, results in zip(branches, pulled, strict=True)
    ]
    parts = _branch(rules, node, bodies, (*node.inputs[1:], *(given[place] for place in seeded)))
    found = {1 + floats[n]: rules.mark(part) for n, part in zip(used, parts, strict=True)}
    return [found.get(place) for place in range(len(node.inputs))]


def _filled(rules: Rules, nodes: Sequence[Node | None], types: Sequence[ArrayType]) -> tuple[Node, ...]:
    return tuple(n if n is not None else rules.zeros(t) for n, t in zip(nodes, types, strict=True))


def _branch(rules: Rules, node: Node, bodies: Sequence[Any], operands: Sequence[Node]) -> list[Node]:
    graphs, extra = close_bodies(rules.trace, bodies)
    return branch_parts(rules.trace, node.inputs[0], graphs, (*extra, *operands), node.line)


def _where(items: Sequence[Any], flags: Sequence[Any]) -> list[Any]:
    """The items whose flag is set (True, or a node)."""
    return [item for item, flag in zip(items, flags, strict=True) if flag is not None and flag is not False]


def _chosen(flags: Sequence[bool], *columns: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of parallel columns whose flag is set."""
    return [row for flag, *row in zip(flags, *columns, strict=False) if flag]  # type: ignore[misc]
