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
    types: dict[ArrayType, ArrayType] = {}

    def one(dimension: Dimension) -> Dimension:
        if isinstance(dimension, int):
            return dimension
        if dimension not in known:
            known[dimension] = canonical(dimension)
        return known[dimension]

    def typed(type: ArrayType) -> ArrayType:
        if type not in types:
            types[type] = ArrayType(type.dtype, tuple(map(one, type.shape)), type.weak)
        return types[type]

    def params(node: Node) -> tuple[tuple[str, Any], ...]:
        found = dict(node.params)
        if "indices" in found:
            found["indices"] = tuple(Index(i.axis, i.step, one(i.start)) for i in found["indices"])
        if found.get("length") is not None:
            found["length"] = one(found["length"])
        return tuple(found.items())

    def renamed(node: Node) -> Node:
        type, items = typed(node.type), params(node)
        return node if type == node.type and items == node.params else replace(node, type=type, params=items)

    def unified(graph: Graph) -> Graph:
        builder = Builder()
        done: dict[int, Node] = {}
        for node in (*graph.inputs, *graph.nodes):
            if id(node) not in done:
                inputs = tuple([done[id(source)] for source in node.inputs])
                # Two that were told apart by a size may be one now.
                done[id(node)] = builder.interned(with_bodies(builder, renamed(node), inputs, unified))
        return Graph(tuple(done[id(n)] for n in graph.inputs), tuple(done[id(n)] for n in graph.outputs))

    return unified(graph)
