"""Expressions of the host program - sizes, numbers and guards, as Python text - in emitted code.

Integers are those of int64: where a result does not fit, `overflowed` is set, and nothing computed is to be used.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

from tracejit.lower.linking import NotNative
from tracejit.lower.llvm_types import DOUBLE, I1, I64, word

_COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_OVERFLOWING = {ast.Add: "sadd_with_overflow", ast.Sub: "ssub_with_overflow", ast.Mult: "smul_with_overflow"}
_FLOATING = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_EXACT = 1 << 53
"""Integers up to this are float64 values."""


class Expressions:
    """Values of expressions over `names` (i64, double or i1) and `definitions` (names that stand for expressions).

    require: leaves the emitted code where a condition does not hold.  element: reads an integer of an array, by its
    name and the places (`a0.item(3)`), as i64.
    """

    def __init__(
        self,
        builder: Any,
        names: dict[str, Any],
        definitions: Mapping[str, str],
        require: Callable[[Any], None],
        element: Callable[[str, list[Any]], Any] | None = None,
    ) -> None:
        self.builder = builder
        self.names = names
        self.definitions = definitions
        self.require, self.element = require, element
        self.overflowed: Any = I1(0)
        self._integers: dict[str, Any] = {}
        self._products: dict[tuple[str, ...], Any] = {}

    def integer(self, text: str) -> Any:
        """An expression whose value is an int."""
        if text not in self._integers:
            value = self._value(text)
            if value.type == DOUBLE:
                raise NotNative(f"{text} is no integer")
            self._integers[text] = self._widened(value)
        return self._integers[text]

    def number(self, text: str) -> Any:
        """An expression's value: i64, double, or i1 for a bool."""
        return self._value(text)

    def test(self, text: str) -> Any:
        """Whether an expression is true, as an i1."""
        return self._truth(self._value(text))

    def product(self, factors: list[Any]) -> Any:
        """The product of sizes."""
        factors = [factor for factor in factors if not (isinstance(factor, ir.Constant) and factor.constant == 1)]
        if not factors:
            return word(1)
        key = tuple(str(factor.get_reference()) for factor in factors)
        if len(factors) > 1 and key not in self._products:
            before = self.product(factors[:-1])
            self._products[key] = self._checked("smul_with_overflow", before, factors[-1])
        return self._products[key] if len(factors) > 1 else factors[0]

    def _value(self, text: str) -> Any:
        return self._visit(ast.parse(text, mode="eval").body)

    def _visit(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool(value)):
                return I1(value)
            case ast.Constant(value=int(value)) if value < 1 << 63:
                return word(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))) if value <= 1 << 63:
                return word(-value)
            case ast.Constant(value=float(value)):
                return ir.Constant(DOUBLE, value)
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.builder.not_(self._truth(self._visit(operand)))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self._visit(operand)
                if value.type == DOUBLE:
                    return self.builder.fneg(value)
                return self._checked("ssub_with_overflow", word(0), self._widened(value))
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self._visit(left), self._visit(right))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(self._visit(left), ops, [self._visit(item) for item in comparators])
            case ast.BoolOp(op=op, values=values):
                return self._all_or_any(op, [self._visit(item) for item in values])
            case ast.Call(func=ast.Attribute(value=ast.Name(id=array), attr="item"), args=places) if self.element:
                return self.element(array, [self._widened(self._visit(place)) for place in places])
        raise NotNative(f"no native code for {ast.unparse(node)}")

    def _name(self, name: str) -> Any:
        if name not in self.names:
            if name not in self.definitions:
                raise NotNative(f"{name} is no size and no number")
            self.names[name] = self._value(self.definitions[name])
        return self.names[name]

    def _binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        kind = type(op)
        if DOUBLE in (left.type, right.type) or kind is ast.Div:
            if kind not in _FLOATING:
                raise NotNative(f"no native code for {kind.__name__} of floats")
            left, right = self._floating(left), self._floating(right)
            if kind is ast.Div:
                self.require(self.builder.fcmp_unordered("!=", right, ir.Constant(DOUBLE, 0.0)))
            return getattr(self.builder, _FLOATING[kind])(left, right)
        left, right = self._widened(left), self._widened(right)
        if kind in _OVERFLOWING:
            return self._checked(_OVERFLOWING[kind], left, right)
        if kind in (ast.FloorDiv, ast.Mod):
            return self._quotient(left, right, kind is ast.Mod)
        raise NotNative(f"no native code for {kind.__name__} of integers")

    def _quotient(self, left: Any, right: Any, rest: bool) -> Any:
        """Rounded down, as Python's; the divisor must be positive."""
        builder = self.builder
        self.require(builder.icmp_signed(">", right, word(0)))
        remainder = builder.srem(left, right)
        below = builder.icmp_signed("<", remainder, word(0))
        if rest:
            return builder.select(below, builder.add(remainder, right), remainder)
        return builder.sub(builder.sdiv(left, right), builder.zext(below, I64))

    def _comparison(self, left: Any, ops: list[ast.cmpop], rights: list[Any]) -> Any:
        result: Any = I1(1)
        for op, right in zip(ops, rights, strict=True):
            if type(op) not in _COMPARISONS:
                raise NotNative(f"no native code for {type(op).__name__}")
            result = self.builder.and_(result, self._compare(_COMPARISONS[type(op)], left, right))
            left = right
        return result

    def _compare(self, sign: str, left: Any, right: Any) -> Any:
        if DOUBLE not in (left.type, right.type):
            return self.builder.icmp_signed(sign, self._widened(left), self._widened(right))
        for value in (left, right):
            exact = value.type != I64 or (isinstance(value, ir.Constant) and abs(value.constant) <= _EXACT)
            if not exact:
                raise NotNative("Python compares an int and a float exactly")
        compare = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
        return compare(sign, self._floating(left), self._floating(right))

    def _all_or_any(self, op: ast.boolop, values: list[Any]) -> Any:
        if any(value.type != I1 for value in values):
            raise NotNative("`and` and `or` of what is no bool give one of the operands")
        result = values[0]
        for value in values[1:]:
            result = self.builder.and_(result, value) if isinstance(op, ast.And) else self.builder.or_(result, value)
        return result

    def _checked(self, operation: str, left: Any, right: Any) -> Any:
        pair = getattr(self.builder, operation)(left, right)
        self.overflowed = self.builder.or_(self.overflowed, self.builder.extract_value(pair, 1))
        return self.builder.extract_value(pair, 0)

    def _truth(self, value: Any) -> Any:
        if value.type == I1:
            return value
        if value.type == DOUBLE:
            return self.builder.fcmp_unordered("!=", value, ir.Constant(DOUBLE, 0.0))
        return self.builder.icmp_signed("!=", value, word(0))

    def _widened(self, value: Any) -> Any:
        """A bool as the int that it is."""
        return self.builder.zext(value, I64) if value.type == I1 else value

    def _floating(self, value: Any) -> Any:
        return value if value.type == DOUBLE else self.builder.sitofp(self._widened(value), DOUBLE)
