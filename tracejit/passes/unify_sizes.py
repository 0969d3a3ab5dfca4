"""Sizes that the trace found equal get one name, so that equal shapes are equal expressions.

v0: f64[n0] = x0 + x1[i]         (guard n0 == n1)      ->      every n1 reads n0
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tracejit.ir.graph import Graph, with_bodies
from tracejit.ir.node import ArrayType, Builder, Index, Node
from tracejit.ir.size import Dimension


def unify_sizes(graph: Graph, canonical: Callable[[Dimension], Dimension]) -> Graph:
    """`canonical` maps a size to the expression that stands for all its equals (see `Trace.canonical`)."""
    known: dict[Dimension, Dimension] = {}

    def one(dimension: Dimension) -> Dimension:
        if isinstance(dimension, int):
            return dimension
        if dimension not in known:
            known[dimension] = canonical(dimension)
        return known[dimension]

    def typed(type: ArrayType) -> ArrayType:
        return ArrayType(type.dtype, tuple(one(d) for d in type.shape), type.weak)

    def params(node: Node) -> dict[str, Any]:
        found = dict(node.params)
        if "indices" in found:
            found["indices"] = tuple(Index(i.axis, i.step, one(i.start)) for i in found["indices"])
        if found.get("length") is not None:
            found["length"] = one(found["length"])
        return found

    def unified(graph: Graph) -> Graph:
        builder = Builder()
        done: dict[int, Node] = {}
        for node in (*graph.inputs, *graph.nodes):
            if id(node) not in done:
                inputs = tuple(done[id(source)] for source in node.inputs)
                renamed = replace(node, inputs=inputs, params=tuple(params(node).items()), type=typed(node.type))
                done[id(node)] = with_bodies(builder, renamed, inputs, unified)
        return Graph(tuple(done[id(n)] for n in graph.inputs), tuple(done[id(n)] for n in graph.outputs))

    return unified(graph)
