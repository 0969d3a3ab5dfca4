"""Elementwise work is done before a broadcast, not after it.

v0: f64[m, n] = x0[j]                            v0: f64[n] = exp(x0)
v1: f64[m, n] = exp(v0)                  ->      v1: f64[m, n] = v0[j]
"""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Builder, Index, Node


def narrow_broadcasts(graph: Graph) -> Graph:
    return graph.rewritten(_rule)


def _rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.kind != "elementwise" or not node.shape or not all(source.op == "view" for source in inputs):
        return builder.rebuilt(node, inputs)
    used = {index.axis for source in inputs for index in source["indices"]}
    idle = [axis for axis, dimension in enumerate(node.shape) if axis not in used and dimension != 1]
    if not idle:
        return builder.rebuilt(node, inputs)
    kept = [axis for axis in range(len(node.shape)) if axis not in idle]
    shape = tuple(node.shape[axis] for axis in kept)
    narrow = tuple(_narrowed(builder, source, kept, shape) for source in inputs)
    small = builder.node(node.op, narrow, dict(node.params), ArrayType(node.dtype, shape), node.line)
    indices = tuple(Index(axis) if node.shape[axis] != 1 else Index(None) for axis in kept)
    return builder.view(small, indices, node.shape, node.line)


def _narrowed(builder: Builder, view: Node, kept: list[int], shape: tuple[object, ...]) -> Node:
    """The view without the axes that it does not depend on."""
    indices = tuple(
        Index(kept.index(index.axis), index.step, index.start) if index.axis is not None else index
        for index in view["indices"]
    )
    return builder.view(view.inputs[0], indices, shape)  # type: ignore[arg-type]
