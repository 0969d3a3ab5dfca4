"""The verifier: what every graph must satisfy, checked after each pass in tests and under TRACEJIT_DEBUG=verify."""

from __future__ import annotations

from tracejit.ir.graph import Graph, bodies
from tracejit.ir.node import SEVERAL, ArrayType, Node
from tracejit.ops.table import OPS


class InvalidGraph(AssertionError):
    """A pass has produced a graph that breaks a rule of the IR."""


def verify(graph: Graph, after: str = "") -> Graph:
    """Return the graph unchanged, or raise `InvalidGraph` naming the pass and the node; bodies are verified too."""
    inputs = {id(node) for node in graph.inputs}
    for node in graph.nodes:
        problem = _problem(node, inputs)
        if problem:
            where = f" after {after}" if after else ""
            raise InvalidGraph(f"{graph.names[id(node)]} = {node!r}{where}: {problem}\n{graph}")
        for body in bodies(node).values():
            verify(body, after)
    return graph


def _problem(node: Node, inputs: set[int]) -> str | None:
    if node.op not in OPS:
        return "no such op in the table"
    if node.op in ("input", "parameter"):
        return None if id(node) in inputs else f"{node.op} of another graph: this one does not list it"
    check = {
        "elementwise": _elementwise,
        "view": _view,
        "update": _update,
        "reduce": _reduce,
        "accumulate": _accumulate,
        "control": _control,
    }.get(node.kind)
    return check(node) if check else None


def _elementwise(node: Node) -> str | None:
    for source in node.inputs:
        if source.shape != node.shape:
            return f"operand of shape {source.shape} in an elementwise op of shape {node.shape}"
    if node.op not in ("where", "cast", "ldexp") and len({source.dtype for source in node.inputs}) > 1:
        return f"operands of dtypes {[str(source.dtype) for source in node.inputs]}"
    if node.op == "where" and node.inputs[0].dtype.kind != "b":
        return "condition is not bool"
    return None


def _view(node: Node) -> str | None:
    source = node.inputs[0]
    if node.op == "reshape":
        return None
    if len(node["indices"]) != len(source.shape):
        return f"{len(node['indices'])} indices for rank {len(source.shape)}"
    for index in node["indices"]:
        if index.axis is not None and not 0 <= index.axis < len(node.shape):
            return f"index {index} names an axis that a view of rank {len(node.shape)} lacks"
    return None if source.dtype == node.dtype else "a view changes the dtype"


def _update(node: Node) -> str | None:
    base, value = node.inputs
    if base.shape != node.shape or base.dtype != node.dtype or value.dtype != node.dtype:
        return f"update of {base.type} by {value.type} gives {node.type}"
    return None if len(node["indices"]) == len(base.shape) else "wrong number of indices"


def _reduce(node: Node) -> str | None:
    kept = tuple(d for axis, d in enumerate(node.inputs[0].shape) if axis not in node["axes"])
    return None if kept == node.shape else f"reduction over {node['axes']} of {node.inputs[0].shape} gives {node.shape}"


def _accumulate(node: Node) -> str | None:
    if not 0 <= node["axis"] < len(node.shape):
        return f"running totals along axis {node['axis']} of {node.type}"
    return None if node.inputs[0].type == node.type else f"running totals of {node.inputs[0].type} are {node.type}"


def _control(node: Node) -> str | None:
    if node.op == "part":
        return _part(node)
    if node.type != SEVERAL:
        return f"{node.op} of type {node.type}: only its parts have one"
    check = {"loop": _loop, "branch": _branch}.get(node.op)
    return check(node) if check else None


def _part(node: Node) -> str | None:
    source = node.inputs[0]
    if source.op not in ("loop", "branch"):
        return None if source.type == SEVERAL else f"a part of {source!r}, which has one result"
    results = next(reversed(bodies(source).values())).outputs
    if not 0 <= node["index"] < len(results):
        return f"part {node['index']} of {len(results)}"
    type = _plain(results[node["index"]].type)
    if source.op == "loop" and node["index"] >= source["carries"]:
        type = ArrayType(type.dtype, (source["length"], *type.shape))
    return None if type == node.type else f"a part of type {type} taken for {node.type}"


def _plain(type: ArrayType) -> ArrayType:
    return ArrayType(type.dtype, type.shape)


def _types(nodes: tuple[Node, ...]) -> list[ArrayType]:
    return [_plain(node.type) for node in nodes]


def _loop(node: Node) -> str | None:
    first, last = node["constants"], node["constants"] + node["carries"]
    if len(node.inputs) != last + node["xs"]:
        return f"{len(node.inputs)} inputs for {first} constants, {node['carries']} carries and {node['xs']} xs"
    body, condition, length = node["body"], node["condition"], node["length"]
    if (condition is None) == (length is None):
        return "a loop has either a length or a condition"
    given = _types(node.inputs)
    for type in given[last:]:
        if not type.shape or type.shape[0] != length:
            return f"xs of type {type} in a loop of length {length}"
    slices = [ArrayType(type.dtype, type.shape[1:]) for type in given[last:]]
    wanted = [*given[:last], *slices]
    if _types(body.inputs[1:]) != wanted:
        return f"a body of {list(map(str, _types(body.inputs[1:])))} is given {list(map(str, wanted))}"
    if body.inputs[0].dtype != "int64" or body.inputs[0].shape:
        return f"a counter of type {body.inputs[0].type}"
    results = _types(body.outputs[: node["carries"]])
    if results != given[first:last]:
        return f"carries {list(map(str, given[first:last]))} come out as {list(map(str, results))}"
    if condition is None:
        return None
    if len(body.outputs) != node["carries"]:
        return "a loop of unknown length collects ys"
    if _types(condition.inputs) != given[:last]:
        return f"a condition of {list(map(str, _types(condition.inputs)))} is given {list(map(str, given[:last]))}"
    return None if [str(t) for t in _types(condition.outputs)] == ["bool"] else "the condition is not one bool"


def _branch(node: Node) -> str | None:
    selector, operands = node.inputs[0], _types(node.inputs[1:])
    branches = node["branches"]
    if selector.shape or str(selector.dtype) not in ("bool", "int64"):
        return f"a selector of type {selector.type}"
    if selector.dtype.kind == "b" and len(branches) != 2:
        return f"{len(branches)} branches on a bool"
    results = _types(branches[0].outputs)
    for branch in branches:
        if _types(branch.inputs) != operands:
            return f"a branch of {list(map(str, _types(branch.inputs)))} is given {list(map(str, operands))}"
        if _types(branch.outputs) != results:
            return f"branches of different results: {list(map(str, results))}, {list(map(str, _types(branch.outputs)))}"
    return None
