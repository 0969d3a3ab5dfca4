"""Work that only one branch of a control node uses is done in that branch, so not at all where another is taken.

v0: f64[n, n] = np.linalg.inv(x0)                v0 = branch on x1(x0)
v1 = branch on x1(x0, v0)                            else(x0: f64[n, n]):
    else(x0: f64[n, n], x1: f64[n, n]):                  return x0
        return x0                          ->        if(x0: f64[n, n]):
    if(x0: f64[n, n], x1: f64[n, n]):                    v0: f64[n, n] = np.linalg.inv(x0)
        return x1                                        return v0
"""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Node
from tracejit.records import dataclass


def sink_into_branches(graph: Graph) -> Graph:
    homes = _homes(graph)
    if not homes:
        return graph
    builder = Builder()
    done = {id(node): node for node in graph.inputs}
    for node in graph.nodes:
        if id(node) in done or id(node) in homes:
            continue
        sources, params = node.inputs, dict(node.params)
        moved = [n for n in graph.nodes if id(n) in homes and homes[id(n)].branch is node]
        if moved:
            sources, params["branches"] = _with_inside(builder, node, moved, homes)
        inputs = tuple(done[id(source)] for source in sources)
        done[id(node)] = builder.node(node.op, inputs, params, node.type, node.line)
    return Graph(graph.inputs, tuple(done[id(output)] for output in graph.outputs))


@dataclass(frozen=True)
class _Home:
    """The only user of a node: a branch node, and the place of the branch in it."""

    branch: Node
    place: int


def _homes(graph: Graph) -> dict[int, _Home]:
    """Where each node goes that can be moved into a branch, by identity."""
    readers = graph.uses()
    fixed = {id(node) for node in graph.outputs} | {id(node) for node in graph.inputs}
    homes: dict[int, _Home] = {}
    users = {id(node): _users(node) for node in graph.nodes if node.op == "branch"}
    for node in reversed(graph.nodes):
        if id(node) in fixed or node.kind == "source":
            continue
        found = {
            home
            for reader in readers[id(node)]
            for home in (_reader_homes(node, reader, users) if reader.op == "branch" else [homes.get(id(reader))])
        }
        if len(found) == 1 and (home := found.pop()) is not None:
            homes[id(node)] = home
    return homes


def _reader_homes(node: Node, branch: Node, users: dict[int, list[set[int]]]) -> list[_Home | None]:
    """Which branches of a branch node use one of its inputs; None stands for the node itself, as its selector."""
    places: list[_Home | None] = [None] if branch.inputs[0] is node else []
    for source, used_by in zip(branch.inputs[1:], users[id(branch)], strict=True):
        if source is node:
            places += [_Home(branch, place) for place in used_by]
    return places


def _users(branch: Node) -> list[set[int]]:
    """The branches in which each operand is used."""
    reached = [{id(node) for node in body.nodes} for body in branch["branches"]]
    return [
        {place for place, body in enumerate(branch["branches"]) if id(body.inputs[number]) in reached[place]}
        for number in range(len(branch.inputs) - 1)
    ]


def _with_inside(
    builder: Builder, branch: Node, moved: list[Node], homes: dict[int, _Home]
) -> tuple[tuple[Node, ...], tuple[Graph, ...]]:
    """The inputs and the branches of a branch node that computes the nodes of `moved` (in order) in its branches."""
    wanted = [source for source, used_by in zip(branch.inputs[1:], _users(branch), strict=True) if used_by]
    wanted += [source for node in moved for source in node.inputs]
    operands = tuple({id(n): n for n in wanted if id(n) not in homes and not _is_trivial(n)}.values())
    branches = []
    for place, body in enumerate(branch["branches"]):
        inputs = builder.parameters(node.type for node in operands)
        done = {id(node): node for node in wanted if _is_trivial(node)}
        done.update({id(node): parameter for node, parameter in zip(operands, inputs, strict=True)})
        for node in moved:
            if homes[id(node)].place == place:
                done[id(node)] = builder.rebuilt(node, tuple(done[id(source)] for source in node.inputs))
        for parameter, source in zip(body.inputs, branch.inputs[1:], strict=True):
            if id(source) in done:
                done[id(parameter)] = done[id(source)]
        for node in body.nodes:
            if id(node) not in done:
                done[id(node)] = builder.rebuilt(node, tuple(done[id(source)] for source in node.inputs))
        branches.append(Graph(inputs, tuple(done[id(output)] for output in body.outputs)))
    return (branch.inputs[0], *operands), tuple(branches)


def _is_trivial(node: Node) -> bool:
    """Sources that a body may have of its own."""
    return node.op == "iota" or (node.op in ("constant", "scalar") and not node.shape)
