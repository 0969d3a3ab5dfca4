"""An element that was just written is the value that was written, and not a read of the array.

v1: f64[n] = update(v0, [3] = v9)              v1: f64[n] = update(v0, [3] = v9)
v2: f64 = v1[3]                                (v2 is v9)
v3: f64 = v1[2]                         ->     v3: f64 = v0[2]

So a recurrence that keeps its values in an array, y[i] = f(y[i - 1]), has its value in a register when it becomes a
loop.  All nodes are made anew, in their order: the search for repetitions goes by it.
"""

from __future__ import annotations

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Indices, Node

MOST_STORES = 64
"""Stores that are looked through for one element."""


def forward_stores(graph: Graph) -> Graph:
    if not any(node.op == "view" and node.inputs[0].op == "update" and not node.shape for node in graph.nodes):
        return graph
    builder = Builder()
    done: dict[int, Node] = {id(node): node for node in graph.inputs}
    for node in sorted(graph.nodes, key=lambda n: (n.kind != "source", n.serial)):
        if id(node) in done:
            continue
        inputs = tuple(done[id(source)] for source in node.inputs)
        if node.op == "view" and not node.shape:
            done[id(node)] = _element(builder, node, inputs[0])
        else:
            done[id(node)] = builder.node(node.op, inputs, dict(node.params), node.type, node.line)
    return Graph(graph.inputs, tuple(done[id(output)] for output in graph.outputs))


def _element(builder: Builder, node: Node, source: Node) -> Node:
    """One element of an array: what was written there last, or a read of what stands below the writes elsewhere."""
    wanted: Indices = node["indices"]
    below = source
    for _ in range(MOST_STORES):
        if below.op != "update":
            break
        if below["indices"] == wanted and not below.inputs[1].shape:
            return below.inputs[1]
        if not _apart(below["indices"], wanted):
            break
        below = below.inputs[0]
    return builder.view(below, wanted, (), node.line)


def _apart(written: Indices, read: Indices) -> bool:
    """Whether some dimension is written at one fixed place and read at another."""
    for a, b in zip(written, read, strict=True):
        if a.axis is None and b.axis is None:
            difference = sizes.subtract(a.start, b.start)
            if isinstance(difference, int) and difference != 0:
                return True
    return False
