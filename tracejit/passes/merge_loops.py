"""A loop whose results another loop computes too is not run: derivatives repeat the loops that they differentiate.

v0 = loop n0 times(carries=[x0])                       v1 = loop n0 times(carries=[x0])
    do(x0: i64, x1: f64):                                  do(x0: i64, x1: f64):
        v0: f64 = x1 * 2.0                                     v0: f64 = x1 * 2.0
        return v0                                  ->          return v0, x1
v1 = loop n0 times(carries=[x0])
    do(x0: i64, x1: f64):                              (v0[0] is v1[0])
        v0: f64 = x1 * 2.0
        return v0, x1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Node


def merge_loops(graph: Graph) -> Graph:
    loops = [node for node in graph.nodes if node.op == "loop"]
    if len(loops) < 2:
        return graph
    replaced: dict[int, tuple[Node, list[int]]] = {}
    for small in loops:
        for large in loops:
            if large is small or id(large) in replaced or _depends(large, small):
                continue
            places = _contained(small, large)
            if places is not None:
                replaced[id(small)] = (large, places)
                break
    return _with_replaced(graph, replaced) if replaced else graph


def _with_replaced(graph: Graph, replaced: dict[int, tuple[Node, list[int]]]) -> Graph:
    builder = Builder()
    done: dict[int, Node] = {id(node): node for node in graph.inputs}
    for output in graph.outputs:
        stack = [output]
        while stack:
            node = stack[-1]
            found = replaced.get(id(node.inputs[0])) if node.op == "part" else None
            sources = node.inputs if found is None else (found[0],)
            missing = [source for source in sources if id(source) not in done]
            if missing and id(node) not in done:
                stack.extend(missing)
                continue
            stack.pop()
            if id(node) in done:
                continue
            if found is None:
                done[id(node)] = builder.rebuilt(node, tuple(done[id(source)] for source in sources))
            else:
                done[id(node)] = builder.part(done[id(found[0])], found[1][node["index"]], node.type)
    return Graph(graph.inputs, tuple(done[id(output)] for output in graph.outputs))


def _depends(node: Node, other: Node) -> bool:
    """Whether a node needs another one."""
    seen: set[int] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current is other:
            return True
        if id(current) not in seen:
            seen.add(id(current))
            stack.extend(current.inputs)
    return False


def _contained(small: Node, large: Node) -> list[int] | None:
    """Where each result of one loop stands among the other's, if all do; its carries must come first there."""
    count = small["carries"]
    if (small["length"], small["reverse"]) != (large["length"], large["reverse"]) or count > large["carries"]:
        return None
    if (small["condition"] is None) != (large["condition"] is None):
        return None
    if len(small["body"].outputs) > len(large["body"].outputs) or _carried(small) != _carried(large)[:count]:
        return None
    builder = Builder()
    mine, theirs = _normalized(builder, small, "body"), _normalized(builder, large, "body")
    # What is collected is looked for among what is collected: a carry may have the same value in an iteration.
    ys = theirs[large["carries"] :]
    if mine[:count] != theirs[:count] or not all(result in ys for result in mine[count:]):
        return None
    conditional = small["condition"] is not None
    if conditional and _normalized(builder, small, "condition") != _normalized(builder, large, "condition"):
        return None
    return [*range(count), *(large["carries"] + ys.index(result) for result in mine[count:])]


def _carried(loop: Node) -> list[int]:
    first = loop["constants"]
    return [id(node) for node in loop.inputs[first : first + loop["carries"]]]


def _normalized(builder: Builder, loop: Node, which: str) -> list[Node]:
    """A body's results on parameters that are named after what they stand for, so that equal ones are one node."""
    graph: Graph = loop[which]
    first, last = loop["constants"], loop["constants"] + loop["carries"]
    names: list[Any] = [("constant", id(node)) for node in loop.inputs[:first]]
    names += [("carry", place) for place in range(loop["carries"])]
    names += [("x", id(node)) for node in loop.inputs[last:]] if which == "body" else []
    names = [("counter", 0), *names] if which == "body" else names
    parameters = [
        builder.node("parameter", (), {"scope": scope, "index": index}, own.type)
        for (scope, index), own in zip(names, graph.inputs, strict=True)
    ]
    return _on(builder, graph, parameters)


def _on(builder: Builder, graph: Graph, parameters: Sequence[Node]) -> list[Node]:
    done = {id(old): new for old, new in zip(graph.inputs, parameters, strict=True)}
    for node in graph.nodes:
        if id(node) not in done:
            done[id(node)] = builder.rebuilt(node, tuple(done[id(source)] for source in node.inputs))
    return [done[id(output)] for output in graph.outputs]
