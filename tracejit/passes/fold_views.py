"""Views of views become one view, and a read of what was just written becomes the value.

v0: f64[n - 1] = x0[1 + i]                     v1: f64[n - 2] = x0[2 + i]
v1: f64[n - 2] = v0[1 + i]              ->

v1: f64[n] = update(x0, [1 + i] = v0)          (v2 is v0)
v2: f64[n - 2] = v1[1 + i]              ->
"""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Node, compose, is_identity, respaced_indices


def fold_views(graph: Graph) -> Graph:
    return graph.rewritten(_rule)


def _rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op == "view":
        return _view(builder, node, inputs[0])
    if node.op == "reshape":
        source = inputs[0].inputs[0] if inputs[0].op == "reshape" else inputs[0]
        indices = respaced_indices(source.shape, node.shape)
        if indices is None:
            return builder.rebuilt(node, (source,))
        return builder.view(source, indices, node.shape, node.line)
    if node.op == "update":
        return _update(builder, node, *inputs)
    return builder.rebuilt(node, inputs)


def _view(builder: Builder, node: Node, source: Node) -> Node:
    indices = node["indices"]
    if source.op == "update" and source["indices"] == indices and source.inputs[1].shape == node.shape:
        return source.inputs[1]
    if source.op == "view":
        return builder.view(source.inputs[0], compose(source["indices"], indices), node.shape, node.line)
    if source is node.inputs[0] and node.shape and not is_identity(indices, node.shape, source.shape):
        return builder.rebuilt(node, (source,))
    return builder.view(source, indices, node.shape, node.line)


def _update(builder: Builder, node: Node, base: Node, value: Node) -> Node:
    """A write over the whole base is the value; a write over an earlier one of the same place forgets that one."""
    if is_identity(node["indices"], node.shape, value.shape):
        return value
    if base.op == "update" and base["indices"] == node["indices"] and base.inputs[1].shape == value.shape:
        base = base.inputs[0]
    return builder.rebuilt(node, (base, value))
