"""Loops over small arrays become loops over scalars, which the kernel keeps in registers.

v0 = loop n0 times(constants=[x0], carries=[x1])      v0 = loop n0 times(constants=[x0], carries=[x1[0], x1[1]])
    do(i, p0: f64[2, 2], p1: f64[2]):                     do(i, p0: f64[2, 2], p1: f64, p2: f64):
        v0: f64[2] = matmul(p0, p1)             ->            v0: f64 = p0[0, 0] * p1 + p0[0, 1] * p2
        return v0                                             v1: f64 = p0[1, 0] * p1 + p0[1, 1] * p2
v1: f64[2] = v0[0]                                            return v0, v1
                                                      v1 = update(update(empty(), [0] = v0[0]), [1] = v0[1])

Constants and slices of xs stay arrays, of which the body reads elements.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph, bodies, literal
from tracejit.ir.node import SEVERAL, ArrayType, Builder, Index, Indices, Node, Shape
from tracejit.ir.size import Dimension
from tracejit.ops.table import OPS
from tracejit.records import dataclass

MOST_ELEMENTS = 64
"""Elements of all carries and slices of ys together; there are only so many registers."""

MOST_NODES = 2000
"""Scalar instructions of a body; more take long to compile."""

Elements: TypeAlias = "np.ndarray[Any, Any]"
"""An array of 0-d nodes."""


@dataclass(frozen=True)
class Whole:
    """An array that stays one: a parameter, whose elements are read where they are wanted."""

    node: Node


Value: TypeAlias = "Elements | Whole"


class _GiveUp(Exception):
    """The loop stays as it is."""


def scalarize_loops(graph: Graph) -> Graph:
    if not any(node.op == "loop" and _wanted(node) for node in graph.nodes):
        return graph
    parts: dict[int, list[Node]] = {}

    def rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op == "part" and id(inputs[0]) in parts:
            return parts[id(inputs[0])][int(node["index"])]
        if node.op == "loop" and _wanted(node):
            try:
                changed, results = _Loop(builder).outermost(node, inputs)
            except _GiveUp:
                return builder.rebuilt(node, inputs)
            parts[id(changed)] = results
            return changed
        return builder.rebuilt(node, inputs)

    return graph.rewritten(rule)


def _wanted(node: Node) -> bool:
    """Whether carries and slices of ys are small, and the work is not the same for each element already."""
    first, last = node["constants"], node["constants"] + node["carries"]
    shapes = [source.shape for source in node.inputs[first:last]]
    shapes += [output.shape for output in node["body"].outputs[node["carries"] :]]
    if not all(isinstance(d, int) for shape in shapes for d in shape):
        return False
    if sum(_size(shape) for shape in shapes) > MOST_ELEMENTS:
        return False
    arrays = any(shapes)
    return len(set(shapes)) > 1 or (arrays and node["condition"] is not None) or _mixes(node, arrays)


def _mixes(node: Node, arrays: bool) -> bool:
    """Whether a body combines elements of different places."""
    for body in bodies(node).values():
        for inner in body.nodes:
            if inner.kind in ("reduce", "contract", "update") or inner.op in ("reshape", "empty"):
                return True
            if arrays and inner.op == "view" and inner.shape and inner.inputs[0].shape:
                return True
            if inner.kind == "control" and _mixes(inner, arrays):
                return True
    return False


def _size(shape: Shape) -> int:
    if not all(isinstance(d, int) for d in shape):
        raise _GiveUp
    return math.prod(shape)  # type: ignore[arg-type]


def _places(shape: Shape) -> Iterator[tuple[int, ...]]:
    _size(shape)
    return np.ndindex(*shape)  # type: ignore[arg-type]


def _at(place: Sequence[Dimension]) -> Indices:
    return tuple(Index(None, 1, position) for position in place)


def _looked_up(indices: Indices, place: tuple[int, ...]) -> list[Dimension]:
    """Where a place of an affine view is in its source."""
    return [i.start if i.axis is None else sizes.add(i.start, i.step * place[i.axis]) for i in indices]


def _literals(place: Sequence[Dimension]) -> tuple[int, ...]:
    """A place that is known now."""
    found = tuple(position for position in place if isinstance(position, int))
    if len(found) < len(place):
        raise _GiveUp
    return found


def _array(shape: Shape, nodes: Sequence[Node]) -> Elements:
    """Nodes in C order as an array."""
    found = np.empty(_size(shape), object)
    found[:] = nodes
    return found.reshape(shape)


class _Loop:
    """Rewrites one loop, and the loops and branches inside it."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.made = 0

    def outermost(self, node: Node, inputs: tuple[Node, ...]) -> tuple[Node, list[Node]]:
        """The new loop, and the arrays that the parts of the old one stand for."""
        first, last = node["constants"], node["constants"] + node["carries"]
        starts = [self.elements(Whole(source)) for source in inputs[first:last]]
        values: list[Value] = [*map(Whole, inputs[:first]), *starts, *map(Whole, inputs[last:])]
        changed, finals, ys = self.loop(node, values)
        return changed, [*(self.stacked(found) for found in finals), *ys]

    def stacked(self, parts: Elements) -> Node:
        """One array of many values."""
        if not parts.ndim:
            return parts.item()  # type: ignore[no-any-return]
        if not parts.size:
            raise _GiveUp
        type = ArrayType(parts.flat[0].dtype, parts.shape)
        whole = self.builder.node("empty", (), {}, type)
        for place, value in np.ndenumerate(parts):
            whole = self.builder.node("update", (whole, value), {"indices": _at(place)}, type)
        return whole

    # ---- control nodes

    def loop(self, node: Node, values: Sequence[Value]) -> tuple[Node, list[Elements], list[Node]]:
        """The loop on other inputs; its last carries, each an array of parts, and its ys."""
        first, last = node["constants"], node["constants"] + node["carries"]
        constants, carries, xs = values[:first], [self.elements(v) for v in values[first:last]], values[last:]
        if not all(isinstance(x, Whole) for x in xs):
            raise _GiveUp
        condition = None
        if node["condition"] is not None:
            condition, _ = self.body(node["condition"], [*constants, *carries])
        counter, *slices = (Whole(node["body"].inputs[place]) for place in (0, *range(1 + last, 1 + len(values))))
        body, results = self.body(node["body"], [counter, *constants, *carries, *slices])
        count = sum(carry.size for carry in carries)
        slices_of_ys = map(self.stacked, results[len(carries) :])
        body = Graph(body.inputs, (*body.outputs[:count], *slices_of_ys))
        inputs = self.packed([*constants, *carries, *xs])
        params = {**dict(node.params), "body": body, "condition": condition}
        params |= {"constants": len(self.packed(constants)), "carries": count}
        changed = self.builder.node("loop", inputs, params, SEVERAL, node.line)
        types = [output.type for output in body.outputs]
        finals = self.parts(changed, types, results[: len(carries)])
        stacks = [ArrayType(type.dtype, (node["length"], *type.shape)) for type in types[count:]]
        return changed, finals, [self.builder.part(changed, count + k, type) for k, type in enumerate(stacks)]

    def branch(self, node: Node, values: Sequence[Value]) -> list[Elements]:
        """A branch on scalars; its results."""
        selector, *operands = values
        bodies = [self.body(graph, operands) for graph in node["branches"]]
        params = {"branches": tuple(graph for graph, _ in bodies)}
        inputs = (self.element(selector, ()), *self.packed(operands))
        changed = self.builder.node("branch", inputs, params, SEVERAL, node.line)
        return self.parts(changed, [output.type for output in bodies[0][0].outputs], bodies[0][1])

    def body(self, graph: Graph, values: Sequence[Value]) -> tuple[Graph, list[Elements]]:
        """A body on parameters for each of the values (for each element, of elements); and its results' arrays."""
        parameters = self.builder.parameters(node.type for node in self.packed(values))
        results = self.evaluated(graph, self.unpacked(values, iter(parameters)))
        return Graph(parameters, tuple(node for found in results for node in found.flat)), results

    def packed(self, values: Sequence[Value]) -> tuple[Node, ...]:
        """Values as single nodes."""
        return tuple(node for value in values for node in ([value.node] if isinstance(value, Whole) else value.flat))

    def unpacked(self, values: Sequence[Value], nodes: Iterator[Node]) -> list[Value]:
        """Single nodes in the form of the values."""
        return [
            Whole(next(nodes)) if isinstance(value, Whole) else _array(value.shape, [next(nodes) for _ in value.flat])
            for value in values
        ]

    def parts(self, changed: Node, types: Sequence[ArrayType], like: Sequence[Elements]) -> list[Elements]:
        """The parts of a new control node in arrays like the results of its body."""
        nodes = (self.builder.part(changed, index, type) for index, type in enumerate(types))
        return [_array(found.shape, [next(nodes) for _ in found.flat]) for found in like]

    # ---- values

    def element(self, value: Value, place: Sequence[Dimension]) -> Node:
        """One element."""
        if not isinstance(value, Whole):
            return value.item(_literals(place))  # type: ignore[no-any-return]
        node = value.node
        # What was written to this place, and not to another, is the element.
        while node.op == "update" and all(isinstance(i.start, int) and i.axis is None for i in node["indices"]):
            if node["indices"] == _at(place):
                return node.inputs[1]
            node = node.inputs[0]
        return self.builder.view(node, _at(place), ()) if node.shape else node

    def elements(self, value: Value) -> Elements:
        """All elements."""
        if not isinstance(value, Whole):
            return value
        return _array(value.node.shape, [self.element(value, place) for place in _places(value.node.shape)])

    def evaluated(self, graph: Graph, values: Sequence[Value]) -> list[Elements]:
        """What a body gives for values of its parameters."""
        known: dict[int, Any] = {id(node): value for node, value in zip(graph.inputs, values, strict=True)}
        for node in graph.nodes:
            if id(node) not in known:
                known[id(node)] = self.value(node, [known[id(source)] for source in node.inputs])
        return [self.elements(known[id(output)]) for output in graph.outputs]

    def value(self, node: Node, values: list[Any]) -> Any:
        """What a node of a body is: elements, or for a control node the list of its results."""
        match node.op:
            case "part":
                if values[0][node["index"]] is None:
                    raise _GiveUp
                return values[0][node["index"]]
            case "loop":
                _, carries, slices = self.loop(node, values)
                return [*carries, *(None for _ in slices)]
            case "branch":
                return self.branch(node, values)
            case "view":
                return self.view(node, values[0])
            case "gather":
                return self.each(node, lambda place: self.gathered(node, values, place))
            case "scalar":
                return _array((), [node])
            case "constant":
                return self.each(node, lambda place: self.builder.constant(literal(node)[place], node.dtype))
            case "iota":
                return self.each(node, lambda place: self.builder.constant(place[node["axis"]], np.int64))
            case "empty":
                return self.each(node, lambda place: self.builder.constant(0, node.dtype))
        return self.computed(node, [self.elements(value) for value in values])

    def computed(self, node: Node, operands: list[Elements]) -> Elements:
        """What a node is that needs all elements of its inputs."""
        if node.kind == "elementwise":
            params = dict(node.params)
            return self.each(node, lambda p: self.one(node.op, [x.item(p) for x in operands], params, node.dtype))
        if node.op == "reshape":
            return _array(node.shape, list(operands[0].flat))
        if node.op == "update":
            return self.updated(node, *operands)
        if node.kind == "reduce":
            return self.reduced(node, operands[0])
        if node.op == "matmul":
            return self.multiplied(node, *operands)
        raise _GiveUp

    def each(self, node: Node, rule: Callable[[tuple[int, ...]], Node]) -> Elements:
        """An array of the node's shape, element by element."""
        return _array(node.shape, [rule(place) for place in _places(node.shape)])

    def one(self, op: str, operands: Sequence[Node], params: dict[str, Any], dtype: np.dtype[Any]) -> Node:
        """A node on scalars."""
        self.made += 1
        if self.made > MOST_NODES:
            raise _GiveUp
        return self.builder.node(op, tuple(operands), params, ArrayType(dtype, ()))

    def view(self, node: Node, source: Value) -> Elements:
        """The elements that an affine view looks at."""
        indices = node["indices"]

        return self.each(node, lambda place: self.element(source, _looked_up(indices, place)))

    def gathered(self, node: Node, values: list[Value], place: tuple[int, ...]) -> Node:
        """An element at computed positions: of a whole array only, or where the positions are literals."""
        source, *blocks = values
        at, rank = node["at"], node["rank"]
        found = iter([self.element(block, place[at : at + rank]) for block in blocks])
        rest = iter(place[:at] + place[at + rank :])
        shape = node.inputs[0].shape
        positions = [
            next(found) if axis in node["axes"] else self.builder.constant(next(rest), np.int64)
            for axis in range(len(shape))
        ]
        if isinstance(source, Whole):
            params = {"axes": tuple(range(len(shape))), "at": 0, "rank": 0}
            return self.one("gather", (source.node, *positions), params, node.dtype)
        if not all(position.op == "constant" for position in positions):
            raise _GiveUp
        literals = tuple(int(literal(position)[()]) for position in positions)
        if not all(-size <= position < size for position, size in zip(literals, source.shape, strict=True)):
            raise _GiveUp
        return source.item(literals)  # type: ignore[no-any-return]

    def updated(self, node: Node, base: Elements, value: Elements) -> Elements:
        result = base.copy()
        for place, element in np.ndenumerate(value):
            result[_literals(_looked_up(node["indices"], place))] = element
        return result

    def reduced(self, node: Node, source: Elements) -> Elements:
        """A reduction in order; narrow floats are added up in float64, as kernels do."""
        op = OPS[node.op]
        step = OPS.get(op.resolve.__name__) if op.resolve is not None else None
        if step is None or op.identity is None:
            raise _GiveUp
        wide = np.dtype(np.float64) if op.compensated and node.dtype.kind == "f" else node.dtype
        kept = [axis for axis in range(source.ndim) if axis not in node["axes"]]
        length = _size(tuple(source.shape[axis] for axis in node["axes"]))
        rows = source.transpose(*kept, *node["axes"]).reshape(*_literals(node.shape), length)
        identity = self.builder.constant(op.identity(node.dtype), node.dtype)
        return self.each(node, lambda place: self.total(step.name, rows[place], wide, node.dtype, identity))

    def total(
        self, step: str, terms: Sequence[Node], wide: np.dtype[Any], dtype: np.dtype[Any], identity: Node
    ) -> Node:
        """Terms combined one after the other."""
        if not len(terms):
            return identity
        result = self.builder.cast(terms[0], wide)
        for term in terms[1:]:
            result = self.one(step, (result, self.builder.cast(term, wide)), {}, wide)
        return self.builder.cast(result, dtype)

    def multiplied(self, node: Node, left: Elements, right: Elements) -> Elements:
        """A matrix product as sums of products, in order."""
        if max(left.ndim, right.ndim) > 2 or node.dtype.kind not in "iuf" or node.dtype.itemsize < 4:
            raise _GiveUp
        rows = left if left.ndim == 2 else left[None]
        columns = right.T if right.ndim == 2 else right[None]
        zero = self.builder.constant(0, node.dtype)
        found = []
        for row, column in itertools.product(rows, columns):
            terms = [self.product(node, *pair) for pair in zip(row, column, strict=True)]
            found.append(self.total("add", terms, node.dtype, node.dtype, zero))
        return _array(node.shape, found)

    def product(self, node: Node, left: Node, right: Node) -> Node:
        factors = [self.builder.cast(factor, node.dtype) for factor in (left, right)]
        return self.one("multiply", factors, {}, node.dtype)
