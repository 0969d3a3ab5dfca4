"""A stack of matrices times one matrix becomes one product of all their rows: one call of BLAS instead of many.

v2: f64[n0, n1, n3] = matmul(v1, x1)
    ->
v2: f64[n0*n1, n2] = reshape(v1)
v3: f64[n0*n1, n3] = matmul(v2, x1)
v4: f64[n0, n1, n3] = reshape(v3)

Not where the stack is a view of memory, whose rows may lie apart.
"""

from __future__ import annotations

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Builder, Node


def flatten_stacks(graph: Graph) -> Graph:
    return graph.rewritten(_rule)


def _rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op != "matmul" or len(inputs[0].shape) < 3 or len(inputs[1].shape) > 2 or inputs[0].op == "view":
        return builder.rebuilt(node, inputs)
    stack, matrix = inputs
    rows = sizes.product(stack.shape[:-1])
    flat = builder.node("reshape", (stack,), {}, ArrayType(stack.dtype, (rows, stack.shape[-1])), node.line)
    product = builder.node("matmul", (flat, matrix), {}, ArrayType(node.dtype, (rows, *matrix.shape[1:])), node.line)
    return builder.node("reshape", (product,), {}, node.type, node.line)
