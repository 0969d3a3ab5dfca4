"""Forward mode: tangents of some nodes pushed on to the outputs of a graph.

v0: f64[n] = sin(x0)             ->      v1: f64[n] = cos(x0)
                                         v2: f64[n] = t0 * v1        (t0 is the tangent of x0)
"""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.autodiff.context import Rules
from tracejit.autodiff.dependence import dependents, sources_of
from tracejit.autodiff.reverse import derivative_texts, product
from tracejit.ir.node import SEVERAL, Node
from tracejit.ops.table import OPS
from tracejit.trace.state import NotDifferentiable


def tangents(rules: Rules, outputs: Sequence[Node], wrt: Sequence[Node], given: Sequence[Node]) -> list[Node | None]:
    """The tangents of the outputs for given tangents of `wrt`; None where nothing connects them."""
    found: dict[int, Node | None] = {id(node): rules.mark(tangent) for node, tangent in zip(wrt, given, strict=True)}
    several: dict[int, Sequence[Node | None]] = {}
    for node in dependents(rules, outputs, wrt):
        if id(node) in found:
            continue
        rules.line = node.line
        before = [found.get(id(source)) for source in sources_of(rules, node)]
        if node.type == SEVERAL:
            several[id(node)] = push_several(rules, node, before)
        elif node.op == "part":
            found[id(node)] = several[id(node.inputs[0])][node["index"]]
        else:
            found[id(node)] = push(rules, node, before)
    return [found.get(id(output)) for output in outputs]


def push(rules: Rules, node: Node, given: Sequence[Node | None]) -> Node | None:
    """The tangent of a node from those of its inputs."""
    if all(tangent is None for tangent in given):
        return None
    if node.op == "input":
        return given[0]
    op = OPS[node.op]
    if op.jvp is not None:
        return op.jvp(rules, node, given)  # type: ignore[no-any-return]
    total: Node | None = None
    for tangent, text in zip(given, derivative_texts(op, node), strict=True):
        term = product(rules, tangent, text, node) if tangent is not None else None
        total = term if total is None else total if term is None else rules.add(total, term)
    return total


def push_several(rules: Rules, node: Node, given: Sequence[Node | None]) -> Sequence[Node | None]:
    """Likewise for a node with several results: the tangent of each."""
    rule = OPS[node.op].jvp
    if rule is None:
        raise NotDifferentiable(f"{node.op} has no forward-mode derivative (at {node.line})")
    return rule(rules, node, given)  # type: ignore[no-any-return]
