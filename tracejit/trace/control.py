"""Control nodes from their parts: bodies are closed, so that they reach nothing outside but through their inputs.

    p0: f64[n]  (a parameter)                        v1 = exp(x0)              (computed once, outside)
    v1 = exp(x0)                          ->         body(p0, k0):             (k0 is v1)
    v2 = p0 * v1  (the body's output)                    return p0 * k0

Nothing here runs a user's function: derivative rules build their loops with it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tracejit.ir.graph import Graph
from tracejit.ir.node import SEVERAL, ArrayType, Node
from tracejit.ir.size import Dimension
from tracejit.trace.state import Trace

COUNTER = ArrayType(np.dtype(np.int64), ())
"""The type of a loop's counter."""


def close_body(
    trace: Trace, parameters: Sequence[Node], outputs: Sequence[Node], at: int = 0
) -> tuple[Graph, tuple[Node, ...]]:
    """The body that computes `outputs` from `parameters`, and the outer nodes that it needs as constants.

    The graph's inputs are new parameters: one for each of `parameters`, with those of the constants before place `at`.
    """
    (graph,), constants = close_bodies(trace, [(parameters, outputs, at)])
    return graph, constants


def close_bodies(
    trace: Trace, bodies: Sequence[tuple[Sequence[Node], Sequence[Node], int]]
) -> tuple[list[Graph], tuple[Node, ...]]:
    """Bodies, each as (parameters, outputs, at), that share their constants."""
    closings = [_Closing(trace, parameters, outputs) for parameters, outputs, _ in bodies]
    for closing in closings:
        closing.depends = _dependents(closing.parameters, closing.outputs)
    return _closed(closings, [at for _, _, at in bodies])


def close_branches(trace: Trace, outputs: Sequence[Sequence[Node]], since: int) -> tuple[list[Graph], tuple[Node, ...]]:
    """Branches by their outputs, and the operands that they share.

    What was made before `since` (a count of the builder's nodes) is computed outside, whichever branch is taken.
    """
    closings = [_Closing(trace, (), results) for results in outputs]
    for closing in closings:
        closing.depends = lambda node: node.serial >= since and node.op not in ("input", "parameter")
    return _closed(closings, [0] * len(closings))


def loop_parts(
    trace: Trace,
    body: Graph,
    condition: Graph | None,
    length: Dimension | None,
    constants: Sequence[Node],
    carries: Sequence[Node],
    xs: Sequence[Node],
    reverse: bool = False,
    line: str = "",
) -> list[Node]:
    """The results of a loop node: the last carries, then the stacked ys."""
    params = {
        "body": body,
        "condition": condition,
        "length": length,
        "constants": len(constants),
        "carries": len(carries),
        "xs": len(xs),
        "reverse": reverse,
    }
    node = trace.builder.node("loop", (*constants, *carries, *xs), params, SEVERAL, line)
    types = [output.type for output in body.outputs]
    stacked = [ArrayType(type.dtype, (length or 0, *type.shape)) for type in types[len(carries) :]]
    types[len(carries) :] = stacked
    return [trace.builder.part(node, index, type) for index, type in enumerate(types)]


def branch_parts(
    trace: Trace, selector: Node, branches: Sequence[Graph], operands: Sequence[Node], line: str = ""
) -> list[Node]:
    """The results of a branch node."""
    node = trace.builder.node("branch", (selector, *operands), {"branches": tuple(branches)}, SEVERAL, line)
    return [trace.builder.part(node, index, output.type) for index, output in enumerate(branches[0].outputs)]


class _Closing:
    """One body being closed: which nodes are its own, and which come in."""

    def __init__(self, trace: Trace, parameters: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.builder = trace.builder
        self.parameters, self.outputs = tuple(parameters), tuple(outputs)
        self.depends: Callable[[Node], bool] = lambda node: True
        self._trivial: dict[int, bool] = {}

    def is_inside(self, node: Node) -> bool:
        """Whether a node is computed in the body: it depends on a parameter, or is no work at all."""
        return self.depends(node) or node.op in ("view", "empty") or self._is_trivial(node)

    def _is_trivial(self, node: Node) -> bool:
        """Sources that kernels hold in a register, and casts of them."""
        if node.op == "cast":
            return not node.shape and self._is_trivial(node.inputs[0])
        return node.op == "iota" or (node.op in ("constant", "scalar") and not node.shape)

    def order(self) -> tuple[list[Node], list[Node]]:
        """The body's own nodes, inputs before users, and what comes in from outside."""
        own: list[Node] = []
        outer: list[Node] = []
        seen = {id(node) for node in self.parameters}
        for output in self.outputs:
            stack = [(output, False)]
            while stack:
                node, expanded = stack.pop()
                if expanded:
                    own.append(node)
                elif id(node) not in seen:
                    seen.add(id(node))
                    if not self.is_inside(node):
                        outer.append(node)
                        continue
                    stack.append((node, True))
                    stack.extend((source, False) for source in reversed(node.inputs))
        return own, outer

    def graph(self, own: list[Node], constants: Sequence[Node], at: int) -> Graph:
        """The body on new parameters."""
        before = (*self.parameters[:at], *constants, *self.parameters[at:])
        inputs = self.builder.parameters(node.type for node in before)
        done = {id(old): new for old, new in zip(before, inputs, strict=True)}
        for node in own:
            if id(node) not in done:
                sources = tuple(done[id(source)] for source in node.inputs)
                unchanged = all(a is b for a, b in zip(sources, node.inputs, strict=True))
                done[id(node)] = node if unchanged else self.builder.rebuilt(node, sources)
        return Graph(inputs, tuple(done[id(output)] for output in self.outputs))


def _closed(closings: list[_Closing], places: list[int]) -> tuple[list[Graph], tuple[Node, ...]]:
    orders = [closing.order() for closing in closings]
    constants = {id(node): node for _, outer in orders for node in outer}
    shared = tuple(constants.values())
    graphs = [c.graph(own, shared, at) for c, (own, _), at in zip(closings, orders, places, strict=True)]
    return graphs, shared


def _dependents(parameters: Sequence[Node], outputs: Sequence[Node]) -> Callable[[Node], bool]:
    """Which nodes depend on one of the parameters."""
    found = {id(node) for node in parameters}
    for node in Graph((), tuple(outputs)).nodes:
        if any(id(source) in found for source in node.inputs):
            found.add(id(node))
    return lambda node: id(node) in found
