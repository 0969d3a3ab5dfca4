"""Writes that move on evenly, of values that do too, are one write.

v1: f64[n] = update(v0, [0] = x0[3])
v2: f64[n] = update(v1, [1] = x0[4])             ->      v3: f64[n] = update(v0, [i] = x0[3 + i])
v3: f64[n] = update(v2, [2] = x0[5])
"""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Node
from tracejit.passes.even_steps import moving


def merge_updates(graph: Graph) -> Graph:
    readers = graph.uses()
    results = {id(node) for node in graph.outputs}
    inner = {
        id(node.inputs[0])
        for node in graph.nodes
        if node.op == "update" and len(readers[id(node.inputs[0])]) == 1 and id(node.inputs[0]) not in results
    }
    chains = [_chain(node, inner) for node in graph.nodes if node.op == "update" and id(node) not in inner]
    tops = {id(chain[-1]): chain for chain in chains if len(chain) > 1}
    if not tops:
        return graph
    builder = Builder()
    done: dict[int, Node] = {id(node): node for node in graph.inputs}
    inside = {id(node) for chain in tops.values() for node in chain[:-1]}
    for node in graph.nodes:
        if id(node) in tops:
            done[id(node)] = _merged(builder, tops[id(node)], done)
        elif id(node) not in done and id(node) not in inside:
            done[id(node)] = builder.rebuilt(node, tuple(done[id(source)] for source in node.inputs))
    return Graph(graph.inputs, tuple(done[id(output)] for output in graph.outputs))


def _chain(top: Node, inner: set[int]) -> list[Node]:
    """The updates below a last one, first to last, that nothing else reads."""
    found = [top]
    while found[-1].inputs[0].op == "update" and id(found[-1].inputs[0]) in inner:
        found.append(found[-1].inputs[0])
    return found[::-1]


def _merged(builder: Builder, chain: list[Node], done: dict[int, Node]) -> Node:
    """The value of a chain of updates, with the runs in it as one update each."""
    base = done[id(chain[0].inputs[0])]
    place = 0
    while place < len(chain):
        count = _run(chain, place)
        base = _one(builder, chain[place : place + count], base, done)
        place += count
    return base


def _run(chain: list[Node], place: int) -> int:
    """How many updates from `place` on are one."""
    count = 1
    while place + count < len(chain) and _is_run(chain[place : place + count + 1]):
        count += 1
    return count


def _is_run(updates: list[Node]) -> bool:
    values = [node.inputs[1] for node in updates]
    if any(v.op != "view" or v.inputs != values[0].inputs or v.type != values[0].type for v in values):
        return False
    # Looking at the last three is enough: those before have been looked at.
    last = updates[-3:]
    return (
        moving([node["indices"] for node in last]) is not None
        and moving([node.inputs[1]["indices"] for node in last]) is not None
    )


def _one(builder: Builder, updates: list[Node], base: Node, done: dict[int, Node]) -> Node:
    first = updates[0]
    if len(updates) == 1:
        return builder.rebuilt(first, (base, done[id(first.inputs[1])]))
    values = [node.inputs[1] for node in updates]
    read = moving([value["indices"] for value in values])
    written = moving([node["indices"] for node in updates])
    assert read is not None and written is not None
    value = builder.view(done[id(values[0].inputs[0])], read, (len(updates), *values[0].shape))
    return builder.node("update", (base, value), {"indices": written}, first.type, first.line)
