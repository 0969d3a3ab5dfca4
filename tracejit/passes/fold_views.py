"""Views of views become one view, and a read of what was just written becomes the value.

v0: f64[n - 1] = x0[1 + i]                     v1: f64[n - 2] = x0[2 + i]
v1: f64[n - 2] = v0[1 + i]              ->

v1: f64[n] = update(x0, [1 + i] = v0)          (v2 is v0)
v2: f64[n - 2] = v1[1 + i]              ->

But a value that is computed stays a read where the memory is read at other places too, as the next sweep of a stencil
reads it: then it comes from memory like them.  Computed again there, it would drag in the sweep before, and that one
the sweep before it.
"""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Node, compose, is_identity, respaced_indices


def fold_views(graph: Graph) -> Graph:
    around = _read_around(graph)

    def rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op == "view" and id(node.inputs[0]) in around and inputs[0].op == "update":
            return builder.view(inputs[0], node["indices"], node.shape, node.line)
        return _rule(builder, node, inputs)

    return graph.rewritten(rule)


def _read_around(graph: Graph) -> set[int]:
    """Identities of the updates by arrays of computed values that are read at other places than they wrote, too."""
    return {
        id(node.inputs[0])
        for node in graph.nodes
        if node.op == "view"
        and node.inputs[0].op == "update"
        and node["indices"] != node.inputs[0]["indices"]
        and _is_computed(node.inputs[0].inputs[1])
    }


def _is_computed(value: Node) -> bool:
    """Whether a value is an array that kernels compute where they need it."""
    while value.op == "view":
        value = value.inputs[0]
    return value.kind == "elementwise" and bool(value.shape)


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
