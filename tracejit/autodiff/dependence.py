"""Which nodes lie between the variables and the outputs of a derivative."""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.autodiff.context import Rules
from tracejit.ir.node import SEVERAL, Node
from tracejit.trace.state import NotDifferentiable


def sources_of(rules: Rules, node: Node) -> tuple[Node, ...]:
    """What a node depends on: its inputs, or for an input that carries a value over a break, that value."""
    if node.op == "input":
        before = rules.trace.history.get(node["position"])
        return () if before is None else before.nodes
    return node.inputs


def dependents(rules: Rules, outputs: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """The nodes that depend on `wrt` and that an output needs, inputs before users; only floats carry derivatives."""
    goals = {id(node) for node in wrt}
    order: list[Node] = []
    active: set[int] = set(goals)
    seen: set[int] = set()
    for output in outputs:
        stack: list[tuple[Node, bool]] = [(output, False)]
        while stack:
            node, expanded = stack.pop()
            if expanded:
                if any(id(source) in active for source in sources_of(rules, node)) and _carries(rules, node):
                    active.add(id(node))
                    order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                if id(node) in goals:
                    order.append(node)
                else:
                    stack.append((node, True))
                    stack.extend((source, False) for source in reversed(sources_of(rules, node)))
    return order


def _carries(rules: Rules, node: Node) -> bool:
    """Whether a value can have a tangent."""
    if node.type == SEVERAL or node.dtype.kind == "f":
        if node.op == "input" and (past := rules.trace.history[node["position"]]).call:
            raise NotDifferentiable(
                f"{past.call} has no derivative (at {past.line}): its result takes part in what is differentiated. Use "
                "tracejit.stop_gradient around it, or tracejit.custom_vjp."
            )
        return True
    if node.dtype.kind == "c":
        raise NotDifferentiable(
            f"complex values have no derivative here (at {node.line}): use real and imaginary parts"
        )
    return False
