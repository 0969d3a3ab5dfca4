"""What only derivatives look at goes: taps, stopped gradients and custom rules are the values that they stand for.

v0: f64[n] = tap(x0)                      v0: f64[n] = exp(x0)
v1: f64[n] = exp(v0)              ->
"""

from __future__ import annotations

from tracejit.ir.graph import Graph, with_bodies
from tracejit.ir.node import Builder, Node

_IDENTITIES = frozenset({"tap", "stop_gradient"})


def erase_markers(graph: Graph) -> Graph:
    return graph.rewritten(_rule)


def _rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op in _IDENTITIES:
        return inputs[0]
    if node.op == "part" and inputs[0].op == "custom":
        place: int = node["index"]
        return inputs[0].inputs[place]
    if node.kind == "control":
        return with_bodies(builder, node, inputs, erase_markers)
    return builder.rebuilt(node, inputs)
