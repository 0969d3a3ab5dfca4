"""The verifier: what every graph must satisfy, checked after each pass in tests and under TRACEJIT_DEBUG=verify."""

from __future__ import annotations

from tracejit.ir.graph import Graph
from tracejit.ir.node import Node
from tracejit.ops.table import OPS


class InvalidGraph(AssertionError):
    """A pass has produced a graph that breaks a rule of the IR."""


def verify(graph: Graph, after: str = "") -> Graph:
    """Return the graph unchanged, or raise `InvalidGraph` naming the pass and the node."""
    inputs = {id(node) for node in graph.inputs}
    for node in graph.nodes:
        problem = _problem(node, inputs)
        if problem:
            where = f" after {after}" if after else ""
            raise InvalidGraph(f"{graph.names[id(node)]} = {node!r}{where}: {problem}\n{graph}")
    return graph


def _problem(node: Node, inputs: set[int]) -> str | None:
    if node.op not in OPS:
        return "no such op in the table"
    if node.op == "input":
        return None if id(node) in inputs else "an input that the graph does not list"
    check = {
        "elementwise": _elementwise,
        "view": _view,
        "update": _update,
        "reduce": _reduce,
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
