"""Algebraic simplification: rows of a table, each exact in IEEE arithmetic (or as accurate as what it replaces).

v0: f64[n] = x0 ** 2.0      ->      v0: f64[n] = square(x0)
"""

from __future__ import annotations

import ast
from functools import cache

import numpy as np

from tracejit.ir.graph import Graph, literal
from tracejit.ir.node import ArrayType, Builder, Node, broadcast_indices
from tracejit.records import dataclass


@dataclass(frozen=True)
class Rule:
    """`pattern` becomes `result` where the first operand's dtype kind is among `kinds`.

    Names bind operands (the same name twice: the same value), numbers match constants bit for bit.
    """

    pattern: str
    result: str
    kinds: str = "biuf"


RULES: tuple[Rule, ...] = (
    Rule("add(x, 0)", "x", "iu"),
    Rule("add(0, x)", "x", "iu"),
    Rule("add(x, -0.0)", "x", "f"),
    Rule("add(-0.0, x)", "x", "f"),
    Rule("subtract(x, 0)", "x", "iuf"),
    Rule("multiply(x, 1)", "x", "iuf"),
    Rule("multiply(1, x)", "x", "iuf"),
    Rule("multiply(x, 0)", "0", "iu"),
    Rule("multiply(0, x)", "0", "iu"),
    Rule("multiply(x, -1)", "negative(x)", "if"),
    Rule("multiply(-1, x)", "negative(x)", "if"),
    Rule("multiply(x, x)", "square(x)", "iuf"),
    Rule("divide(x, 1)", "x", "f"),
    Rule("divide(1, x)", "reciprocal(x)", "f"),
    Rule("power(x, 1)", "x", "f"),
    Rule("power(x, 2)", "square(x)", "f"),
    Rule("power(x, 3)", "multiply(square(x), x)", "f"),
    Rule("power(x, 4)", "square(square(x))", "f"),
    Rule("power(x, -1)", "reciprocal(x)", "f"),
    Rule("power(x, -2)", "reciprocal(square(x))", "f"),
    Rule("power(x, 0)", "1", "f"),
    Rule("negative(negative(x))", "x"),
    Rule("positive(x)", "x"),
    Rule("absolute(absolute(x))", "absolute(x)"),
    Rule("absolute(negative(x))", "absolute(x)", "f"),
    Rule("square(negative(x))", "square(x)"),
    Rule("square(absolute(x))", "square(x)", "f"),
    Rule("logical_not(logical_not(x))", "x", "b"),
    Rule("invert(invert(x))", "x"),
    Rule("bitwise_and(x, x)", "x", "biu"),
    Rule("bitwise_or(x, x)", "x", "biu"),
    Rule("logical_and(x, x)", "x", "b"),
    Rule("logical_or(x, x)", "x", "b"),
    Rule("maximum(x, x)", "x"),
    Rule("minimum(x, x)", "x"),
    Rule("where(c, x, x)", "x"),
    Rule("subtract(x, negative(y))", "add(x, y)", "if"),
    Rule("add(x, negative(y))", "subtract(x, y)", "if"),
)
"""The table; `tests/test_simplify.py` proves that each row fires on its pattern and keeps the values."""


@dataclass(frozen=True)
class _Term:
    """A pattern or result, parsed: a name, a number, or an op on terms."""

    name: str = ""
    number: float | int | None = None
    operands: tuple[_Term, ...] = ()


@cache
def _parsed(text: str) -> _Term:
    return _term(ast.parse(text, mode="eval").body)


def _term(tree: ast.expr) -> _Term:
    if isinstance(tree, ast.Name):
        return _Term(tree.id)
    if isinstance(tree, ast.Call):
        assert isinstance(tree.func, ast.Name)
        return _Term(tree.func.id, operands=tuple(map(_term, tree.args)))
    return _Term(number=ast.literal_eval(tree))


@cache
def _by_op() -> dict[str, tuple[tuple[Rule, _Term, _Term], ...]]:
    found: dict[str, list[tuple[Rule, _Term, _Term]]] = {}
    for rule in RULES:
        pattern = _parsed(rule.pattern)
        assert pattern.operands
        found.setdefault(pattern.name, []).append((rule, pattern, _parsed(rule.result)))
    return {op: tuple(rules) for op, rules in found.items()}


def simplify(graph: Graph) -> Graph:
    return graph.rewritten(_rewrite)


def _rewrite(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    node = builder.rebuilt(node, inputs)
    if node.op == "cast":
        return _cast(builder, node)
    for _ in range(4):
        found = _first_match(builder, node)
        if found is None:
            return node
        node = found
    return node


def _first_match(builder: Builder, node: Node) -> Node | None:
    for rule, pattern, result in _by_op().get(node.op, ()):
        bound: dict[str, Node] = {}
        if _matches(pattern, node, bound) and next(iter(bound.values())).dtype.kind in rule.kinds:
            return _built(builder, result, node.type, bound)
    return None


def scalar_constant(node: Node) -> np.generic | None:
    """The value of a 0-d constant, also under a broadcast."""
    while node.op == "view":
        node = node.inputs[0]
    return literal(node)[()] if node.op == "constant" and not node.shape else None


def _matches(pattern: _Term, node: Node, bound: dict[str, Node]) -> bool:
    if pattern.number is not None:
        return _is_number(node, pattern.number)
    if not pattern.operands:
        return bound.setdefault(pattern.name, node) is node
    return node.op == pattern.name and all(
        _matches(part, source, bound) for part, source in zip(pattern.operands, node.inputs, strict=True)
    )


def _is_number(node: Node, wanted: float) -> bool:
    value = scalar_constant(node)
    if value is None or value.dtype.kind == "b" or value != wanted:
        return False
    return bool(np.signbit(value) == np.signbit(wanted)) if value.dtype.kind == "f" else True


def _built(builder: Builder, result: _Term, type: ArrayType, bound: dict[str, Node]) -> Node:
    if result.number is not None:
        constant = builder.constant(np.asarray(result.number, type.dtype))
        return builder.view(constant, broadcast_indices((), type.shape), type.shape) if type.shape else constant
    if not result.operands:
        return bound[result.name]
    operands = tuple(_built(builder, part, type, bound) for part in result.operands)
    return builder.node(result.name, operands, {}, ArrayType(operands[0].dtype, type.shape))


def _cast(builder: Builder, node: Node) -> Node:
    """A cast to the dtype it has is nothing; two casts are one where the first loses nothing."""
    source = node.inputs[0]
    if source.dtype == node.dtype and not source.type.weak:
        return source
    if source.op == "cast" and not source.inputs[0].type.weak:
        origin = source.inputs[0]
        if origin.dtype.kind != "b" and np.can_cast(origin.dtype, source.dtype, "safe") and node.dtype.kind != "b":
            return builder.cast(origin, node.dtype, node.line)
    return node
