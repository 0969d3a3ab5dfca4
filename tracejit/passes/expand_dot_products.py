"""The product of two vectors becomes the sum of the products of their elements, which fuses with what is around it.

v2: f64[] = matmul(v1, x0)
    ->
v2: f64[n0] = v1 * x0
v3: f64[] = sum(v2, axes=(0,))

Two arguments as they are stay with BLAS: nothing fuses there, and of long vectors it reads more a second.
"""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Builder, Node


def expand_dot_products(graph: Graph) -> Graph:
    return graph.rewritten(_rule)


def _rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    is_dot = node.op == "matmul" and not node.shape and node.dtype.kind in "iuf"
    if not is_dot or all(source.op == "input" for source in inputs):
        return builder.rebuilt(node, inputs)
    left, right = inputs
    products = builder.node("multiply", (left, right), {}, ArrayType(node.dtype, left.shape), node.line)
    return builder.node("sum", (products,), {"axes": (0,)}, node.type, node.line)
