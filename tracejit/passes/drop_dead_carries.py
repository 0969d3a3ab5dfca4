"""What nothing reads of a loop's results is not computed: ys, carries that feed only themselves, constants, xs.

v0 = loop n0 times(carries=[x0, x1])             v0 = loop n0 times(carries=[x0])
    do(x0: i64, x1: f64, x2: f64):                   do(x0: i64, x1: f64):
        v0: f64 = x1 + 1.0                               v0: f64 = x1 + 1.0
        v1: f64 = x2 * 2.0                 ->            return v0
        return v0, v1                            v1: f64 = v0[0]
v1: f64 = v0[0]
"""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Node


def drop_dead_carries(graph: Graph) -> Graph:
    wanted: dict[int, set[int]] = {id(node): set() for node in graph.nodes if node.op in ("loop", "branch")}
    if not wanted:
        return graph
    for node in graph.nodes:
        if node.op == "part" and id(node.inputs[0]) in wanted:
            wanted[id(node.inputs[0])].add(node["index"])
    kept: dict[int, list[int]] = {}
    builder = Builder()
    done = {id(node): node for node in graph.inputs}
    for node in graph.nodes:
        if id(node) in done:
            continue
        inputs = tuple(done[id(source)] for source in node.inputs)
        if node.op == "loop":
            done[id(node)], kept[id(node)] = _loop(builder, node, inputs, wanted[id(node)])
        elif node.op == "branch":
            done[id(node)], kept[id(node)] = _branch(builder, node, inputs, wanted[id(node)])
        elif node.op == "part" and id(node.inputs[0]) in kept:
            index = kept[id(node.inputs[0])].index(node["index"])
            done[id(node)] = builder.part(inputs[0], index, node.type)
        else:
            done[id(node)] = builder.rebuilt(node, inputs)
    return Graph(graph.inputs, tuple(done[id(output)] for output in graph.outputs))


def _loop(builder: Builder, node: Node, inputs: tuple[Node, ...], wanted: set[int]) -> tuple[Node, list[int]]:
    """A loop of the wanted results and what they depend on, and which of its results are left."""
    body: Graph = node["body"]
    condition: Graph | None = node["condition"]
    first, last = node["constants"], node["constants"] + node["carries"]
    needed = _reached(() if condition is None else condition.outputs)
    carries = {n for n in range(node["carries"]) if n in wanted}
    if condition is not None:
        carries |= {n for n in range(node["carries"]) if id(condition.inputs[first + n]) in needed}
    ys = [n for n in range(node["carries"], len(body.outputs)) if n in wanted]
    while True:
        read = _reached(tuple(body.outputs[n] for n in (*sorted(carries), *ys)))
        fed = {n for n in range(node["carries"]) if id(body.inputs[1 + first + n]) in read}
        if fed <= carries:
            break
        carries |= fed
    results = [*sorted(carries), *ys]
    constants = [
        n
        for n in range(first)
        if id(body.inputs[1 + n]) in read or (condition is not None and id(condition.inputs[n]) in needed)
    ]
    xs = [n for n in range(last, len(inputs)) if id(body.inputs[1 + n]) in read]
    places = [*constants, *(first + n for n in sorted(carries)), *xs]
    if len(places) == len(inputs) and len(results) == len(body.outputs):
        return builder.rebuilt(node, inputs), results
    params = dict(node.params)
    params.update(constants=len(constants), carries=len(carries), xs=len(xs))
    params["body"] = _restricted(builder, body, [0, *(1 + n for n in places)], results)
    if condition is not None:
        params["condition"] = _restricted(builder, condition, places, [0])
    return builder.node("loop", tuple(inputs[n] for n in places), params, node.type, node.line), results


def _branch(builder: Builder, node: Node, inputs: tuple[Node, ...], wanted: set[int]) -> tuple[Node, list[int]]:
    """A branch node of the wanted results, and which those are."""
    results = sorted(wanted)
    branches: tuple[Graph, ...] = node["branches"]
    read = _reached(tuple(body.outputs[n] for body in branches for n in results))
    operands = [n for n in range(len(inputs) - 1) if any(id(body.inputs[n]) in read for body in branches)]
    if len(operands) == len(inputs) - 1 and len(results) == len(branches[0].outputs):
        return builder.rebuilt(node, inputs), results
    params = {"branches": tuple(_restricted(builder, body, operands, results) for body in branches)}
    kept = (inputs[0], *(inputs[1 + n] for n in operands))
    return builder.node("branch", kept, params, node.type, node.line), results


def _reached(outputs: tuple[Node, ...]) -> set[int]:
    return {id(node) for node in Graph((), outputs).nodes}


def _restricted(builder: Builder, body: Graph, inputs: list[int], outputs: list[int]) -> Graph:
    """The body with some of its inputs and outputs, on new parameters."""
    parameters = builder.parameters(body.inputs[n].type for n in inputs)
    done = {id(body.inputs[n]): parameter for n, parameter in zip(inputs, parameters, strict=True)}
    for node in Graph((), tuple(body.outputs[n] for n in outputs)).nodes:
        if id(node) not in done:
            done[id(node)] = builder.rebuilt(node, tuple(done[id(source)] for source in node.inputs))
    return Graph(parameters, tuple(done[id(body.outputs[n])] for n in outputs))
