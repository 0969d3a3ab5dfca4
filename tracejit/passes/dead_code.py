"""What no output needs goes: here the updates of memory that nothing reads (unreachable nodes are gone by nature).

v0: f64[n] = empty()
v1: f64[n] = update(v0, [i] = x0)        ->      (v1 is x0)
"""

from __future__ import annotations

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Index, Node


def dead_code(graph: Graph) -> Graph:
    return graph.rewritten(_rule)


def _rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op != "update":
        return builder.rebuilt(node, inputs)
    base, value = inputs
    # A base that later writes cover completely need not be computed.
    while base.op == "update" and _covers(node["indices"], node, base["indices"], base.inputs[1]):
        base = base.inputs[0]
    return builder.rebuilt(node, (base, value))


def _covers(outer: tuple[Index, ...], node: Node, inner: tuple[Index, ...], value: Node) -> bool:
    """Whether the later write reaches every element of the earlier one: dimension by dimension, for sure."""
    written = node.inputs[1].shape
    for late, early in zip(outer, inner, strict=True):
        if late == early and (late.axis is None or written[late.axis] == value.shape[early.axis]):  # type: ignore[index]
            continue
        if late.axis is None or late.step != 1 or early.step != 1:
            return False
        low = sizes.subtract(early.start, late.start)
        length = value.shape[early.axis] if early.axis is not None else 1
        high = sizes.subtract(written[late.axis], sizes.add(low, length))
        if not (isinstance(low, int) and low >= 0 and isinstance(high, int) and high >= 0):
            return False
    return True
