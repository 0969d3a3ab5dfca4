"""What only derivatives look at goes: taps, stopped gradients and custom rules are the values that they stand for.

v0: f64[n] = tap(x0)                      v0: f64[n] = exp(x0)
v1: f64[n] = exp(v0)              ->
"""

from __future__ import annotations

from typing import Any

from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Node

_IDENTITIES = frozenset({"tap", "stop_gradient"})


def erase_markers(graph: Graph) -> Graph:
    return graph.rewritten(_rule)


def _rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op in _IDENTITIES:
        # A Python number that is differentiated keeps its mark as one in the type; its value is a plain scalar.
        return inputs[0]
    if node.op == "part" and inputs[0].op == "custom":
        place: int = node["index"]
        return inputs[0].inputs[place]
    if node.kind == "control":
        params = {key: _erased(value) for key, value in node.params}
        return builder.node(node.op, inputs, params, node.type, node.line)
    return builder.rebuilt(node, inputs)


def _erased(value: Any) -> Any:
    """A parameter with the bodies in it rewritten."""
    if isinstance(value, Graph):
        return erase_markers(value)
    return tuple(map(_erased, value)) if isinstance(value, tuple) else value
