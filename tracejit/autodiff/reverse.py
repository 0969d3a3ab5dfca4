"""Reverse mode: cotangents of a graph's outputs pulled back to nodes of it.

    v0: f64[n] = sin(x0)                     ...
    v1: f64 = sum(v0, axes=(0,))     ->      v2: f64[n] = 1.0[]          (the seed, spread over the sum's axis)
                                             v3: f64[n] = v2 * cos(x0)   (the cotangent of x0)

The new nodes stand in the same builder as the old, so that forward and backward are one graph, fuse, and can be
differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.autodiff.context import Patch, Rules, choice_texts, literal_text
from tracejit.autodiff.dependence import dependents, sources_of
from tracejit.ir.node import SEVERAL, Node
from tracejit.ops.table import OPS, Op
from tracejit.trace.state import NotDifferentiable


def cotangents(
    rules: Rules, outputs: Sequence[Node], seeds: Sequence[Node | None], wrt: Sequence[Node]
) -> list[Node | None]:
    """The cotangents of `wrt` for given cotangents of the outputs; None where nothing connects them."""
    order = dependents(rules, outputs, wrt)
    active = {id(node) for node in order}
    found: dict[int, Node] = {}
    parts: dict[int, dict[int, Node]] = {}

    def accumulate(node: Node, cotangent: Node | Patch | None) -> None:
        if cotangent is None or id(node) not in active:
            return
        before = found.get(id(node))
        if isinstance(cotangent, Patch):
            found[id(node)] = cotangent.onto(rules, before, node.type)
        else:
            found[id(node)] = cotangent if before is None else rules.add(before, cotangent)

    for output, seed in zip(outputs, seeds, strict=True):
        accumulate(output, seed)
    goals = {id(node) for node in wrt}
    for node in reversed(order):
        if id(node) in goals:
            continue
        rules.line = node.line
        if node.type == SEVERAL:
            given = parts.get(id(node))
            if given:
                results = pull_several(rules, node, given)
                for source, result in zip(node.inputs, results, strict=True):
                    accumulate(source, result)
            continue
        cotangent = found.pop(id(node), None)
        if cotangent is None:
            continue
        if node.op == "part":
            held = parts.setdefault(id(node.inputs[0]), {})
            index = node["index"]
            held[index] = rules.add(held[index], cotangent) if index in held else cotangent
            continue
        needed = [id(source) in active for source in sources_of(rules, node)]
        for source, result in zip(sources_of(rules, node), pull(rules, node, cotangent, needed), strict=True):
            accumulate(source, result)
    return [found.get(id(node)) for node in wrt]


def pull(rules: Rules, node: Node, cotangent: Node, needed: Sequence[bool]) -> Sequence[Node | Patch | None]:
    """The cotangents of a node's inputs from its own."""
    if node.op == "input":
        return [cotangent]
    op = OPS[node.op]
    if op.vjp is not None:
        return op.vjp(rules, node, cotangent)  # type: ignore[no-any-return]
    texts = derivative_texts(op, node)
    return [
        product(rules, cotangent, text, node) if wanted else None for text, wanted in zip(texts, needed, strict=True)
    ]


def pull_several(rules: Rules, node: Node, given: dict[int, Node]) -> Sequence[Node | Patch | None]:
    """Likewise for a node with several results, some of which have cotangents."""
    rule = OPS[node.op].vjp
    if rule is None:
        raise NotDifferentiable(f"{node.op} has no reverse-mode derivative (at {node.line})")
    return rule(rules, node, given)  # type: ignore[no-any-return]


def derivative_texts(op: Op, node: Node) -> tuple[str, ...]:
    if op.derivative is None:
        name = node["call"].name if op.kind == "call" else op.name
        where = f" (at {node.line})" if node.line else ""
        raise NotDifferentiable(
            f"{name} has no derivative{where}. Differentiate around it with tracejit.stop_gradient, or give it a rule "
            "with tracejit.custom_vjp."
        )
    return op.derivative


def product(rules: Rules, cotangent: Node, text: str, node: Node) -> Node | None:
    """cotangent * partial derivative, for a partial given as a text of the op table."""
    number = literal_text(text)
    if number == 0:
        return None
    if number == 1:
        return cotangent
    if number == -1:
        return rules.negative(cotangent)
    if number is not None:
        return rules.multiply(cotangent, number)
    names = {**dict(zip("xy", node.inputs, strict=False)), "out": node}
    choice = choice_texts(text)
    if choice is None:
        return rules.scale(cotangent, rules.expression(text, names))
    # The choice is of products, not of factors: what one side leaves out is zero, were the cotangent infinite.
    test, yes, no = choice
    chosen, other = product(rules, cotangent, yes, node), product(rules, cotangent, no, node)
    if chosen is None and other is None:
        return None
    return rules.choose(rules.expression(test, names), chosen or 0, other or 0, cotangent)
