"""A computed matrix times a vector becomes the sum of the products of their elements: the matrix never is in memory.

v2: f64[n0, n1] = v1 * x0
v3: f64[n0] = matmul(v2, x1)
    ->
v2: f64[n0, n1] = v1 * x0
v3: f64[n0, n1] = x1[j]
v4: f64[n0, n1] = v2 * v3
v5: f64[n0] = sum(v4, axes=(1,))

Such a product takes as long as its matrix takes to read, so the matrix is better computed where it is used than written
and read again.  One that is in memory anyway stays with BLAS.
"""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Builder, Index, Node


def expand_matrix_vector(graph: Graph) -> Graph:
    readers = graph.uses()
    kept = {id(node) for node in graph.outputs}
    chosen = {
        id(node)
        for node in graph.nodes
        if _is_matrix_vector(node)
        and _matrix(node).kind == "elementwise"
        and id(_matrix(node)) not in kept
        and all(_is_matrix_vector(reader) for reader in readers[id(_matrix(node))])
    }

    def rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
        return _expanded(builder, node, inputs) if id(node) in chosen else builder.rebuilt(node, inputs)

    return graph.rewritten(rule) if chosen else graph


def _is_matrix_vector(node: Node) -> bool:
    ranks = sorted(len(source.shape) for source in node.inputs)
    return node.op == "matmul" and ranks == [1, 2] and node.dtype.kind in "iuf"


def _matrix(node: Node) -> Node:
    return max(node.inputs, key=lambda source: len(source.shape))


def _expanded(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    summed = 1 if len(inputs[0].shape) == 2 else 0
    shape = inputs[1 - summed].shape
    whole = ArrayType(node.dtype, shape)
    spread = builder.view(inputs[summed], (Index(summed),), shape)
    first, second = (inputs[0], spread) if summed else (spread, inputs[1])
    products = builder.node("multiply", (first, second), {}, whole, node.line)
    return builder.node("sum", (products,), {"axes": (summed,)}, node.type, node.line)
