"""A Python loop that was unrolled while tracing becomes a loop again, where it is long.

v0: f64 = sin(x0)                        v0, = loop(x0, length=1000, body=
v1: f64 = sin(v0)                ->          graph(i: i64, p0: f64):
...                                              v0: f64 = sin(p0)
v999: f64 = sin(v998)                            return v0)

What an iteration takes from the one before is a carry; numbers, and slices that move on in even steps, are xs; what is
used after the loop is a last carry, or ys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from tracejit.ir.graph import Graph, literal
from tracejit.ir.node import SEVERAL, ArrayType, Builder, Index, Indices, Node
from tracejit.passes.even_steps import moving
from tracejit.passes.forward_stores import forward_stores
from tracejit.passes.repetition import FEWEST_NODES, Repetition, find_repetition, token, weight, with_fewest_carries
from tracejit.records import dataclass

_REFUSED = frozenset({"tap", "custom", "barrier", "part"})

FURTHEST = 4
"""Iterations back from which a value is taken as a carry."""

LATEST = 2
"""Iterations back from the last one whose values are handed on in carries, where nothing earlier is wanted."""

Slot: TypeAlias = tuple[str, int]
"""Where an input of a body's node comes from: ("own", place), ("constant", n), ("carry", n), ("x", n)."""


def roll_loops(graph: Graph) -> Graph:
    if not _is_long(graph):
        return graph
    forwarded = forward_stores(graph)
    rolled = _rolled(forwarded)
    # Where nothing became a loop, reads stay at the last version of an array: then its memory is written in place.
    return graph if rolled is forwarded else rolled


def _is_long(graph: Graph) -> bool:
    """Whether there is enough for a loop; forwarding stores only takes nodes away."""
    return sum(map(weight, graph.nodes)) >= FEWEST_NODES


def _rolled(graph: Graph) -> Graph:
    begin = 0
    while _is_long(graph):
        order = sorted((n for n in graph.nodes if n.kind != "source"), key=lambda node: node.serial)
        found = find_repetition(order, begin)
        if found is None:
            return graph
        plan = _plan(order, found, graph)
        if plan is None:
            begin = found.start + found.period * (found.times - 1)
            continue
        graph, begin = plan.rolled(graph), 0
    return graph


def _plan(order: Sequence[Node], found: Repetition, graph: Graph) -> _Plan | None:
    """The loop that a repetition is, maybe without its first or last turns; None where it is none."""
    for begun in dict.fromkeys((with_fewest_carries(order, found), found)):
        for skipped, dropped in ((0, 0), (1, 0), (0, 1), (1, 1), (2, 1)):
            start = begun.start + skipped * begun.period
            plan = _plan_of_rows(order, start, begun.period, begun.times - skipped - dropped, graph)
            if plan is not None:
                return plan
    return None


def _plan_of_rows(order: Sequence[Node], start: int, period: int, times: int, graph: Graph) -> _Plan | None:
    plan = _Plan([order[start + r * period : start + (r + 1) * period] for r in range(times)])
    if not plan.understood():
        return None
    following = order[start + times * period :]
    for more in (following[:period], following[period : 2 * period]):
        completed = plan.completed(more)
        if completed is None or not completed.understood():
            break
        plan = completed
    plans = [plan, _Plan(plan.rows[:times])] if len(plan.rows) > times else [plan]
    return next((p for p in plans if (p.slots or p.understood()) and p.find_results(graph)), None)


@dataclass
class _Plan:
    """A loop being made of rows of nodes, one row an iteration."""

    rows: list[Sequence[Node]]
    place: dict[int, tuple[int, int]] = field(default_factory=dict)
    slots: list[list[Slot]] = field(default_factory=list)
    constants: list[Node] = field(default_factory=list)
    carries: list[_Carry] = field(default_factory=list)
    xs: list[_Stacked] = field(default_factory=list)
    whole: dict[int, int] = field(default_factory=dict)
    written: dict[int, Indices] = field(default_factory=dict)
    ys: list[int] = field(default_factory=list)
    last: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place = {id(node): (r, j) for r, row in enumerate(self.rows) for j, node in enumerate(row)}

    # ---- what an iteration is

    def understood(self) -> bool:
        """Whether every input of every iteration is of a known kind; fills in slots, constants, carries and xs."""
        for j, node in enumerate(self.rows[0]):
            if node.op in _REFUSED or node.type == SEVERAL or node.kind == "control":
                return False
            column = [row[j] for row in self.rows]
            if any(n.params != node.params for n in column) and not self._varying_place(j, column):
                return False
            self.slots.append([])
            if j in self.whole:
                continue
            for number in range(len(node.inputs)):
                slot = self._slot([n.inputs[number] for n in column], j, number)
                if slot is None:
                    return False
                self.slots[j].append(slot)
        return True

    def _varying_place(self, j: int, column: Sequence[Node]) -> bool:
        """A view whose place moves on evenly is a slice of xs; an update whose place does is a slice of ys."""
        if column[0].op == "view":
            stacked = _stacked_view(column)
            if stacked is None or id(stacked.source) in self.place:
                return False
            self.whole[j] = self._x(stacked)
            return True
        if column[0].op == "update":
            indices = moving([node["indices"] for node in column])
            chained = all(b.inputs[0] is a for a, b in pairwise(column))
            if indices is None or not chained or id(column[0].inputs[0]) in self.place:
                return False
            self.written[j] = indices
            return True
        return False

    def _slot(self, inputs: Sequence[Node], j: int, number: int) -> Slot | None:
        places = [self.place.get(id(node)) for node in inputs]
        if j in self.written and number == 0:
            return ("written", j)
        first = places[0]
        if first is not None and all(place == (r, first[1]) for r, place in enumerate(places)):
            return ("own", first[1]) if first[1] not in self.written else None
        if all(node is inputs[0] for node in inputs) and places[0] is None:
            return ("constant", _placed(self.constants, inputs[0]))
        if any(place is not None for place in places):
            return self._carried(inputs, places)
        stacked = _stacked_numbers(inputs) or _stacked_view(inputs)
        return ("x", self._x(stacked)) if stacked is not None else None

    def _carried(self, inputs: Sequence[Node], places: Sequence[tuple[int, int] | None]) -> Slot | None:
        """A carry: what some iteration before has computed.  From further back it is handed on, carry to carry."""
        distance = next(r for r, place in enumerate(places) if place is not None)
        if not 0 < distance <= FURTHEST:
            return None
        source = places[distance][1]  # type: ignore[index]
        if any(place != (r, source) for r, place in enumerate(places[distance:])):
            return None
        wanted = self.rows[0][source].type
        if source in self.written or any(node.type != wanted for node in inputs[:distance]):
            return None
        number = _placed(self.carries, _Carry(source, inputs[distance - 1]))
        for start in reversed(inputs[: distance - 1]):
            number = _placed(self.carries, _Carry(source, start, after=number))
        return ("carry", number)

    def _x(self, stacked: _Stacked) -> int:
        return _placed(self.xs, stacked)

    def completed(self, following: Sequence[Node]) -> _Plan | None:
        """With one turn more: the last one of the user's loop, of which only what is needed was kept.

        What is missing is made anew; nothing needs it, but the iterations are alike.
        """
        builder, rest, row = Builder(), list(following), list[Node]()
        for j, like in enumerate(self.rows[-1]):
            if rest and token(rest[0]) == token(like):
                row.append(rest.pop(0))
                continue
            inputs = [self._input(row, *slot) for slot in self.slots[j]]
            if like.kind not in ("elementwise", "view") or j in self.whole or any(x is None for x in inputs):
                return None
            row.append(builder.rebuilt(like, tuple(x for x in inputs if x is not None)))
        return _Plan([*self.rows, row]) if len(rest) < len(following) else None

    def _input(self, row: Sequence[Node], kind: str, number: int) -> Node | None:
        """What a node of one more row reads; None where that is unknown."""
        if kind == "own":
            return row[number]
        if kind == "carry":
            carry, back = self.carries[number], 1
            while carry.after is not None:
                carry, back = self.carries[carry.after], back + 1
            return self.rows[-back][carry.source]
        return self.constants[number] if kind == "constant" else None

    # ---- what is used afterwards

    def find_results(self, graph: Graph) -> bool:
        """What nodes outside, or the graph's outputs, need of the iterations."""
        wanted = [self.place[id(n)] for n in graph.outputs if id(n) in self.place]
        for node in graph.nodes:
            if id(node) not in self.place:
                wanted += [self.place[id(source)] for source in node.inputs if id(source) in self.place]
        final = len(self.rows) - 1
        for r, j in wanted:
            if j in self.written:
                if r != final:
                    return False
            elif r < final - LATEST:
                _placed(self.ys, j)
        for j in self.written:
            if self.slots[j][1][0] != "own":
                return False
            _placed(self.ys, self.slots[j][1][1])
        for r, j in wanted:
            if j not in self.ys and j not in self.written:
                self.last[r, j] = self._handed_on(j, final - r)
        return True

    def _handed_on(self, j: int, back: int) -> int:
        """The carry that ends as what a node was `back` iterations before the last."""
        number = None
        for _ in range(back + 1):
            known = (n for n, c in enumerate(self.carries) if c.source == j and c.after == number)
            found = next(known, None)
            number = found if found is not None else _placed(self.carries, _Carry(j, None, number))
        assert number is not None
        return number

    # ---- the loop

    def rolled(self, graph: Graph) -> Graph:
        """The graph with the loop in place of its iterations."""
        builder = Builder()
        done: dict[int, Node] = {id(node): node for node in graph.inputs}
        parts: list[Node] | None = None
        first = self.rows[0][0].serial
        for node in sorted(graph.nodes, key=lambda n: (n.kind != "source", n.serial)):
            if id(node) in done or id(node) in self.place:
                continue
            if parts is None and node.kind != "source" and node.serial > first:
                parts = self._loop(builder, done)
            inputs = tuple(self._result(builder, source, done, parts) for source in node.inputs)
            done[id(node)] = _made_now(builder, node, inputs)
        if parts is None:
            parts = self._loop(builder, done)
        return Graph(graph.inputs, tuple(self._result(builder, node, done, parts) for node in graph.outputs))

    def _result(self, builder: Builder, node: Node, done: dict[int, Node], parts: list[Node] | None) -> Node:
        """What stands for a node: itself rebuilt, a last carry, or a slice of ys."""
        if id(node) not in self.place:
            return done[id(node)]
        assert parts is not None
        r, j = self.place[id(node)]
        if j in self.written:
            value = self._ys_part(parts, self.slots[j][1][1])
            base = done[id(self.rows[0][j].inputs[0])]
            return builder.node("update", (base, value), {"indices": self.written[j]}, node.type, node.line)
        if j in self.ys:
            whole = self._ys_part(parts, j)
            indices = (Index(None, 1, r), *(Index(None) if d == 1 else Index(a) for a, d in enumerate(node.shape)))
            return builder.view(whole, indices, node.shape, node.line)
        return parts[self.last[r, j]]

    def _ys_part(self, parts: list[Node], j: int) -> Node:
        return parts[len(self.carries) + self.ys.index(j)]

    def _loop(self, builder: Builder, done: dict[int, Node]) -> list[Node]:
        """The loop node's parts."""
        inside = [n for n in self.constants if _is_number(n)]
        outer = [n for n in self.constants if n not in inside]
        row = self.rows[0]
        carry_types = [row[carry.source].type for carry in self.carries]
        types = [
            ArrayType(np.dtype(np.int64), ()),
            *(n.type for n in outer),
            *carry_types,
            *(stacked.slice for stacked in self.xs),
        ]
        parameters = builder.parameters(types)
        constants = dict(zip(map(id, outer), parameters[1:], strict=False)) | {id(n): done[id(n)] for n in inside}
        given = {
            "constant": [constants[id(n)] for n in self.constants],
            "carry": list(parameters[1 + len(outer) :][: len(self.carries)]),
            "x": list(parameters[1 + len(outer) + len(self.carries) :]),
            "own": [],
        }
        for j, node in enumerate(row):
            if j in self.whole:
                given["own"].append(given["x"][self.whole[j]])
            elif j in self.written:
                given["own"].append(node)
            else:
                sources = tuple(given[kind][number] for kind, number in self.slots[j])
                given["own"].append(_made_now(builder, node, sources))
        outputs = [given["own"][c.source] if c.after is None else given["carry"][c.after] for c in self.carries]
        outputs += [given["own"][j] for j in self.ys]
        return self._node(builder, done, Graph(parameters, tuple(outputs)), outer, carry_types)

    def _node(
        self, builder: Builder, done: dict[int, Node], body: Graph, outer: list[Node], carry_types: list[ArrayType]
    ) -> list[Node]:
        initial = [
            done[id(carry.start)] if carry.start is not None else _zeros(builder, type)
            for carry, type in zip(self.carries, carry_types, strict=True)
        ]
        inputs = (*(done[id(n)] for n in outer), *initial, *(s.node(builder, done) for s in self.xs))
        params = {
            "body": body,
            "condition": None,
            "length": len(self.rows),
            "constants": len(outer),
            "carries": len(initial),
            "xs": len(self.xs),
            "reverse": False,
        }
        node = builder.node("loop", inputs, params, SEVERAL, self.rows[0][0].line)
        stacked = [ArrayType(o.dtype, (len(self.rows), *o.shape)) for o in body.outputs[len(initial) :]]
        return [builder.part(node, n, type) for n, type in enumerate([*carry_types, *stacked])]


@dataclass(frozen=True)
class _Carry:
    """What goes from iteration to iteration: the value of `source`, or of the carry `after`, one iteration later.

    start: its value in the first iteration; None where no iteration reads it.
    """

    source: int
    start: Node | None
    after: int | None = None


@dataclass(frozen=True)
class _Stacked:
    """Values of all iterations as one array: an even view of a source, or numbers side by side.

    data: those of constants; expressions: those of numbers that the host computes.
    """

    slice: ArrayType
    times: int
    source: Node | None = None
    indices: Indices = ()
    data: bytes = b""
    expressions: tuple[str, ...] = ()

    def node(self, builder: Builder, done: dict[int, Node]) -> Node:
        shape = (self.times, *self.slice.shape)
        if self.expressions:
            type = ArrayType(self.slice.dtype, shape)
            return builder.node("scalars", (), {"expressions": self.expressions}, type)
        if self.source is None:
            return builder.constant(np.frombuffer(self.data, self.slice.dtype).reshape(tuple(map(int, shape))))  # type: ignore[arg-type]
        return builder.view(done[id(self.source)], self.indices, shape)


def _stacked_numbers(nodes: Sequence[Node]) -> _Stacked | None:
    """Constants without axes, or numbers of the host."""
    if any(node.op != nodes[0].op or node.shape or node.type != nodes[0].type for node in nodes):
        return None
    if nodes[0].op == "scalar":
        return _Stacked(nodes[0].type, len(nodes), expressions=tuple(node["expression"] for node in nodes))
    if nodes[0].op != "constant":
        return None
    data = b"".join(literal(node).tobytes() for node in nodes)
    return _Stacked(nodes[0].type, len(nodes), data=data)


def _stacked_view(nodes: Sequence[Node]) -> _Stacked | None:
    """Views of one source, one fixed place of which moves on evenly."""
    first = nodes[0]
    if any(n.op != "view" or n.inputs != first.inputs or n.type != first.type for n in nodes):
        return None
    indices = moving([node["indices"] for node in nodes])
    return _Stacked(first.type, len(nodes), first.inputs[0], indices) if indices is not None else None


def _made_now(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    """The node anew even where it is unchanged: the next search goes by the order in which nodes were made."""
    return builder.node(node.op, inputs, dict(node.params), node.type, node.line)


def _zeros(builder: Builder, type: ArrayType) -> Node:
    """Where a carry begins that no iteration reads."""
    number = builder.constant(np.zeros((), type.dtype))
    return builder.view(number, (), type.shape) if type.shape else number


def _is_number(node: Node) -> bool:
    """A number, or one converted or broadcast: the body has it as such, and no array of it is made."""
    while node.op in ("view", "cast"):
        node = node.inputs[0]
    return node.op in ("constant", "scalar") and not node.shape


def _placed(items: list[Any], item: Any) -> int:
    """The place of an item in a list, which it is added to if it is not there."""
    if item not in items:
        items.append(item)
    return items.index(item)
