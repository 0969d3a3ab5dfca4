"""Which loops and branches become one kernel: those whose work is scalar, or the same for each element.

scan: carries f64[n], xs f64[t, n]              for i in range(n):               (shared out among threads)
                                        ->          c = init[i]                  (a register)
                                                    for t in range(length):
                                                        c = body(c, xs[t, i])
                                                        ys[t, i] = c

The loops are interchanged: element by element, the whole sequential loop.  That is the same only if no iteration looks
at the carry of another element; `survey` walks the bodies and finds out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from tracejit.ir.graph import Graph, bodies
from tracejit.ir.node import Index, Indices, Node, Shape, compose, identity_indices
from tracejit.records import dataclass
from tracejit.schedule.grouping import inlined_sources


@dataclass(frozen=True)
class Outside:
    """A parameter that stands for a value around the control node; along `axis`, for one slice of it."""

    node: Node
    axis: int | None = None


@dataclass(frozen=True)
class Carried:
    """A parameter that stands for a carry, by its slot."""

    slot: int


COUNTER = Carried(-1)
"""What the first parameter of a loop's body stands for."""

Meaning = Outside | Carried


@dataclass(eq=False)
class Scope:
    """One use of a body: what its parameters stand for, and which element it computes; `outer` None: no body at all."""

    outer: Scope | None
    meanings: dict[int, Meaning]
    element: Indices = ()


@dataclass(frozen=True)
class Place:
    """A value in a scope, looked up somewhere."""

    scope: Scope
    node: Node
    indices: Indices


@dataclass(frozen=True)
class Lookup:
    """What a control node's kernel reads of the graph around it, and where: its axes, then those of its loops.

    `indices` None: at computed positions.  `memory`: the value has to be in memory.
    """

    node: Node
    indices: Indices | None
    memory: bool


class NotNative(Exception):
    """Why a control node is no kernel."""


def is_native(node: Node) -> bool:
    """Whether a `loop` or `branch` node is computed by one kernel."""
    return survey(node) is not None


def survey(node: Node) -> tuple[Lookup, ...] | None:
    """What the kernel of a control node reads; None if the node cannot be a kernel."""
    if node not in _SURVEYED:
        try:
            _SURVEYED[node] = _Survey().run(node)
        except NotNative:
            _SURVEYED[node] = None
    return _SURVEYED[node]


_SURVEYED: WeakKeyDictionary[Node, tuple[Lookup, ...] | None] = WeakKeyDictionary()


# ---- what control nodes consist of


def result_shape(part: Node) -> Shape:
    """The shape that decides which of a control node's kernels gives a part; results of one shape share a kernel."""
    node, index = part.inputs[0], part["index"]
    if node.op == "loop" and index >= node["carries"]:
        return pieces(node["body"].outputs[index])[0].shape
    return part.shape


def _shapes(node: Node) -> list[Shape]:
    """The shapes of all results."""
    outputs = node["branches"][0].outputs if node.op == "branch" else node["body"].outputs
    split = node["carries"] if node.op == "loop" else len(outputs)
    found = [output.shape for output in outputs[:split]]
    found += [piece.shape for output in outputs[split:] for piece in pieces(output)]
    return list(dict.fromkeys(found))


def members(node: Node, shape: Shape) -> list[int]:
    """The results that the kernel of one shape computes: those of the shape, and the 0-d carries that these need."""
    if node.op == "branch":
        return [slot for slot, output in enumerate(node["branches"][0].outputs) if output.shape == shape]
    body, first = node["body"], 1 + node["constants"]
    slots = {id(parameter): slot for slot, parameter in enumerate(body.inputs[first : first + node["carries"]])}
    found = {slot for slot in range(node["carries"]) if body.outputs[slot].shape == shape}
    if node["condition"] is not None:
        found |= set(range(node["carries"]))
    ys = [piece.node for piece in collected(node, shape)]
    while True:
        needed = Graph((), (*ys, *(body.outputs[slot] for slot in sorted(found)))).nodes
        more = {slots[id(inner)] for inner in needed if id(inner) in slots}
        if more <= found:
            break
        found |= more
    if any(body.outputs[slot].shape not in (shape, ()) for slot in found):
        raise NotNative("carries of different shapes that need each other")
    return sorted(found)


@dataclass(frozen=True)
class Piece:
    """A part of a slice of ys: its place and its value - the element `at`, or where that is None the one at hand."""

    place: Indices
    node: Node
    at: Indices | None

    @property
    def shape(self) -> Shape:
        return self.node.shape if self.at is None else ()

    def looked_up(self, element: Indices) -> Indices:
        """Where the value is looked up to compute an element."""
        return element if self.at is None else self.at


MOST_PIECES = 64
"""Pieces of a slice of ys that a kernel stores one by one."""


def pieces(y: Node) -> list[Piece]:
    """What a slice of ys is put together from: itself, or the scalars that are written to fresh memory."""
    itself = [Piece(identity_indices(y.shape), y, None)]
    found: dict[Indices, Piece] = {}
    node = y
    while node.op == "update":
        value = node.inputs[1]
        lengths = [range(d) for d in value.shape if isinstance(d, int)]
        if len(lengths) < len(value.shape) or math.prod(map(len, lengths)) > MOST_PIECES:
            return itself
        for literal in itertools.product(*lengths):
            at = tuple(Index(None, 1, position) for position in literal)
            place = compose(node["indices"], at)
            found.setdefault(place, Piece(place, value, at))
        node = node.inputs[0]
    return list(found.values()) if found and node.op == "empty" and len(found) <= MOST_PIECES else itself


def outputs_of(node: Node, body: Graph, shape: Shape) -> list[Node]:
    """What of a body (but no condition) the kernel of one shape hands on."""
    return [body.outputs[slot] for slot in members(node, shape)]


def collected(node: Node, shape: Shape) -> list[Piece]:
    """The pieces of ys that the kernel of one shape stores."""
    ys = node["body"].outputs[node["carries"] :] if node.op == "loop" else ()
    return [piece for y in ys for piece in pieces(y) if piece.shape == shape]


def before(scope: Scope, node: Node, element: Indices, shape: Shape) -> list[Place]:
    """What has to be known before a control node begins to compute an element: its selector, or its first carries."""
    if node.op == "branch":
        return [Place(scope, node.inputs[0], ())]
    starts = [node.inputs[node["constants"] + slot] for slot in members(node, shape)]
    return [Place(scope, start, element if start.shape else ()) for start in starts]


def body_scope(scope: Scope, node: Node, graph: Graph, element: Indices, axis: int | None) -> Scope:
    """The scope of a body (or condition, or branch) of a control node; `axis` is that of a counted loop."""
    meanings: Sequence[Meaning]
    if node.op == "branch":
        meanings = [Outside(source) for source in node.inputs[1:]]
    else:
        first, last = node["constants"], node["constants"] + node["carries"]
        meanings = [Outside(source) for source in node.inputs[:first]]
        meanings += [Carried(slot) for slot in range(node["carries"])]
        if graph is node["body"]:
            meanings = [COUNTER, *meanings, *(Outside(source, axis) for source in node.inputs[last:])]
    return Scope(scope, {id(p): m for p, m in zip(graph.inputs, meanings, strict=True)}, element)


def meaning(place: Place) -> Place | None:
    """The value that a parameter stands for, and where it is looked up; None for a carry or a counter."""
    found = place.scope.meanings[id(place.node)]
    if isinstance(found, Carried):
        return None
    assert place.scope.outer is not None
    slice_of = () if found.axis is None else (Index(found.axis),)
    return Place(place.scope.outer, found.node, slice_of + place.indices)


def whole(scope: Scope, node: Node) -> tuple[Node, Indices]:
    """The value in memory that a body gathers from, and the leading indices of the slice that the body sees."""
    place = Place(scope, node, ())
    while place.node.op == "parameter" and place.scope.outer is not None:
        found = meaning(place)
        if found is None:
            raise NotNative("a carry is looked up at computed positions")
        place = found
    if place.scope.outer is not None and place.node.op != "constant":
        raise NotNative("a value of a body is looked up at computed positions")
    return place.node, place.indices


def normal(indices: Indices, shape: Shape) -> Indices:
    """Indices with the only place of each axis of length one written in one way."""
    return tuple(Index(None) if d == 1 else index for index, d in zip(indices, shape, strict=True))


def _same(indices: Indices, element: Indices, shape: Shape) -> bool:
    return len(element) == len(shape) and normal(indices, shape) == normal(element, shape)


class _Survey:
    """Walks all that computes the results of a control node, element by element."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, Indices | None], Lookup] = {}
        self.seen: set[tuple[Scope, int, Indices]] = set()
        self.entered: set[tuple[Scope, int, Indices, Shape]] = set()
        self.axes = 0

    def run(self, node: Node) -> tuple[Lookup, ...]:
        """The lookups of a whole control node."""
        shapes = _shapes(node)
        self.axes = self.sequential = max(map(len, shapes), default=0)
        around = Scope(None, {})
        for shape in shapes:
            self.look(self.control(around, node, identity_indices(shape), shape))
        return tuple(self.found.values())

    def control(self, scope: Scope, node: Node, element: Indices, shape: Shape) -> list[Place]:
        """Walk what computes the results of one shape at one element; returns what it needs of its scope before."""
        if (scope, id(node), element, shape) in self.entered:
            return before(scope, node, element, shape)
        self.entered.add((scope, id(node), element, shape))
        axis = None
        if node.op == "loop" and node["length"] is not None:
            axis, self.axes = self.axes, self.axes + 1
        for label, body in bodies(node).items():
            inside = body_scope(scope, node, body, element, axis)
            outputs = body.outputs if label == "while" else outputs_of(node, body, shape)
            if any(output.dtype.kind not in "biuf" for output in body.outputs):
                raise NotNative(f"results of dtypes {[output.dtype for output in body.outputs]}")
            self.look([Place(inside, output, element if output.shape else ()) for output in outputs])
            if label == "do":
                self.look([Place(inside, p.node, p.looked_up(element)) for p in collected(node, shape)])
        if node.op == "loop" and node["condition"] is not None and shape:
            raise NotNative("one condition for all elements")
        return before(scope, node, element, shape)

    def look(self, places: list[Place]) -> None:
        """Walk from places down to what is around the node."""
        pending = list(places)
        while pending:
            place = pending.pop()
            key = (place.scope, id(place.node), place.indices)
            if key not in self.seen:
                self.seen.add(key)
                pending.extend(self.below(place))

    def below(self, place: Place) -> list[Place]:
        """The places that a value depends on."""
        scope, node, indices = place.scope, place.node, place.indices
        if scope.outer is None:
            self.around(node, indices)
            return []
        if node.op == "parameter":
            found = meaning(place)
            if found is not None:
                return [found]
            if node.shape and not _same(indices, scope.element, node.shape):
                raise NotNative("the carry of another element")
            return []
        if node.op == "part":
            control = node.inputs[0]
            if control.op == "loop" and node["index"] >= control["carries"]:
                raise NotNative("a loop inside collects an array")
            return self.control(scope, control, indices, node.shape)
        if node.op == "constant" and node.shape:
            self.found[(id(node), indices)] = Lookup(node, indices, True)
            return []
        if node.kind == "gather":
            source, _ = whole(scope, node.inputs[0])
            self.found[(id(source), None)] = Lookup(source, None, True)
        elif node.kind not in ("elementwise", "source") and node.op != "view":
            raise NotNative(f"{node.op} in a body")
        return [Place(scope, source, at) for source, at in inlined_sources(node, indices)]

    def around(self, node: Node, indices: Indices) -> None:
        """Take down a lookup of the graph around; what an iteration would compute has to be in memory instead."""
        while node.op == "view":
            node, indices = node.inputs[0], compose(node["indices"], indices)
        each_time = any(index.axis is not None and index.axis >= self.sequential for index in indices)
        self.found[(id(node), indices)] = Lookup(node, indices, each_time and node.op != "iota")
