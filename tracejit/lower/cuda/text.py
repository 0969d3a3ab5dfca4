"""Scalars whose operations write lines of Python: the scalar language for numba.cuda and its simulator.

Numba widens what it adds up (int32 + int32 is an int64), so integer results are cast back to their width; floats are
left alone, and every constant carries its dtype.  A float16 is its bits until a cast widens it.

    y = x * x + 1          ->          v0 = x * x
                                       v1 = v0 + float32(1.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracejit.lower.cuda.device_functions import LIBDEVICE
from tracejit.lower.cuda.kernel import NoCudaKernel
from tracejit.vecmath.language import PRIMITIVES, Scalar

_BOOL = np.dtype(bool)
_HALF = np.dtype(np.float16)
_SINGLE = np.dtype(np.float32)

_OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "and": "&",
    "or": "|",
    "xor": "^",
    "shl": "<<",
    "shr": ">>",
}
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_CALLS = {"fma", "sqrt", "floor", "ceil", "trunc", "rint", "copysign", "minimum", "maximum", "ldexp", "idiv", "irem"}


HELPER_PREFIX = "device_"
"""How the names of a text's helper functions begin: of one value, whose type the result has."""


class Text:
    """Lines of a function under construction, and what they need besides: helper functions and constant tables."""

    def __init__(self, outer: Text | None = None) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.tables: dict[str, tuple[str, tuple[float, ...]]] = {} if outer is None else outer.tables
        self.helpers: dict[tuple[Any, str], str] = {} if outer is None else outer.helpers
        self.helper_texts: list[str] = [] if outer is None else outer.helper_texts
        self._named = 0

    def line(self, text: str) -> None:
        """A line at the current depth."""
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """An indented block under a head; an empty one passes."""
        self.line(head)
        self.depth += 1
        start = len(self.lines)
        yield
        if len(self.lines) == start:
            self.line("pass")
        self.depth -= 1

    def fresh(self, prefix: str = "v") -> str:
        """A name that nothing has."""
        self._named += 1
        return f"{prefix}{self._named - 1}"

    def define(self, expression: str, prefix: str = "v") -> str:
        """A name for an expression."""
        name = self.fresh(prefix)
        self.line(f"{name} = {expression}")
        return name

    def value(self, expression: str, dtype: Any) -> TextScalar:
        """An expression with a name, as a scalar."""
        return TextScalar(self, self.define(expression), dtype)

    def table(self, values: tuple[float, ...], dtype: np.dtype[Any]) -> str:
        """The name of a constant array in this function."""
        known = {table: name for name, table in self.tables.items()}
        name = known.get((dtype.name, values), f"table{len(known)}")
        self.tables[name] = (dtype.name, values)
        line = f"    constant_{name} = cuda.const.array_like({name})"
        if line not in self.lines:
            self.lines.insert(0, line)
        return f"constant_{name}"

    def helper(self, definition: Callable[..., Scalar], dtype: np.dtype[Any]) -> str:
        """The name of a function of one value, written once however often it is called."""
        key = (definition, dtype.name)
        if key not in self.helpers:
            name = f"{HELPER_PREFIX}{definition.__name__.strip('_')}_{dtype.name}"
            self.helpers[key] = name if name not in self.helpers.values() else f"{name}_{len(self.helpers)}"
            inner = Text(self)
            result = definition(TextScalar(inner, "x", dtype))
            assert isinstance(result, TextScalar) and result.dtype == dtype
            lines = [f"def {self.helpers[key]}(x):", *inner.lines, f"    return {result.name}", ""]
            self.helper_texts.append("\n".join(lines))
        return self.helpers[key]


class TextScalar(Scalar):
    """An expression of the text, its NumPy dtype, and the text that its operations are written to."""

    __slots__ = ("dtype", "name", "text")

    def __init__(self, text: Text, name: str, dtype: Any) -> None:
        self.text = text
        self.name = name
        self.dtype = np.dtype(dtype)

    def apply(self, primitive: str, *operands: Any, dtype: np.dtype[Any] | None = None) -> TextScalar:
        assert primitive in PRIMITIVES, primitive
        match primitive:
            case "cast":
                return cast(operands[0], dtype)
            case "rare":
                return _rare(self.text, *operands)
            case "select":
                condition, a, b = operands
                return self.text.value(f"select({condition.name}, {a.name}, {b.name})", a.dtype)
            case "table":
                index, values = operands
                assert dtype is not None
                return self.text.value(f"{self.text.table(values, dtype)}[{index.name}]", dtype)
            case "libm":
                return _libm(self.text, *operands)
            case "bits" | "from_bits":
                return self.text.value(f"{primitive}({operands[0].name})", dtype)
        if operands[0].dtype.kind == "c":
            raise NoCudaKernel(f"a kernel for CUDA moves complex numbers, but does not compute with {self.dtype}")
        if primitive in _COMPARISONS:
            return self.text.value(_comparison(primitive, *operands), _BOOL)
        return self.text.value(_expression(primitive, operands), operands[0].dtype)

    def constant(self, value: float | int | bool, dtype: np.dtype[Any] | None = None) -> TextScalar:
        target = self.dtype if dtype is None else np.dtype(dtype)
        return TextScalar(self.text, literal(value, target), target)

    def __repr__(self) -> str:
        return f"TextScalar({self.dtype}, {self.name})"


def literal(value: Any, dtype: np.dtype[Any]) -> str:
    """A constant as NumPy's conversion of a Python number gives it; integers wrap."""
    if dtype.kind == "b":
        return repr(bool(value))
    if dtype.kind in "iu":
        wrapped = int(value) & ((1 << 8 * dtype.itemsize) - 1)
        if dtype.kind == "i" and wrapped >> (8 * dtype.itemsize - 1):
            wrapped -= 1 << 8 * dtype.itemsize
        return f"{dtype.name}({wrapped})"
    with np.errstate(over="ignore"):
        number = float(dtype.type(value))
    if dtype == _HALF:
        return f"uint16({int(np.float16(number).view(np.uint16))})"
    if math.isfinite(number):
        return f"{dtype.name}({_shortest(number, dtype)})"
    return f"{dtype.name}({'nan' if math.isnan(number) else 'inf' if number > 0 else '-inf'})"


def _shortest(number: float, dtype: np.dtype[Any]) -> str:
    """The shortest decimal that is the number again, read as a float64 and then rounded."""
    short = str(dtype.type(number))
    return short if dtype.type(float(short)) == number else repr(number)


def _comparison(primitive: str, a: TextScalar, b: TextScalar) -> str:
    if a.dtype.kind == "b":
        return f"uint8({a.name}) {_COMPARISONS[primitive]} uint8({b.name})"
    return f"{a.name} {_COMPARISONS[primitive]} {b.name}"


def _expression(primitive: str, operands: tuple[TextScalar, ...]) -> str:
    """A primitive whose result has the dtype of its operands."""
    dtype, names = operands[0].dtype, [x.name for x in operands]
    if primitive in _CALLS:
        return f"{primitive}({', '.join(names)})"
    if primitive == "abs":
        return f"absolute({names[0]})" if dtype.kind in "if" else names[0]
    if primitive == "not" and dtype.kind == "b":
        return f"not {names[0]}"
    if primitive == "not":
        plain = f"~{names[0]}"
    elif primitive == "neg":
        plain = f"{dtype.name}(0) - {names[0]}" if dtype.kind == "u" else f"-{names[0]}"
    else:
        plain = f"{names[0]} {_OPERATORS[primitive]} {names[1]}"
    return plain if dtype.kind in "fb" else f"{dtype.name}({plain})"


def _libm(text: Text, name: str, *operands: TextScalar) -> TextScalar:
    """The C library's function as libdevice has it."""
    if name not in LIBDEVICE:
        raise NoCudaKernel(f"the C library's {name} has no counterpart among the functions of libdevice that are known")
    return text.value(f"libdevice_{name}({', '.join(x.name for x in operands)})", operands[0].dtype)


def _rare(text: Text, x: TextScalar, bound: float, definition: Any, usual: TextScalar, optimized: bool) -> TextScalar:
    """The definition under an `if`, in a function of its own: few arguments are beyond the bound."""
    result = text.value(usual.name, usual.dtype)
    with text.block(f"if absolute({x.name}) > {literal(bound, x.dtype)}:"):
        text.line(f"{result.name} = {text.helper(definition, x.dtype)}({x.name})")
    return result


# ---- casts


def cast(x: TextScalar, dtype: Any) -> TextScalar:
    """`x` as NumPy's astype converts it."""
    text, target = x.text, np.dtype(dtype)
    if x.dtype == target:
        return x
    if x.dtype == _HALF:
        return cast(text.value(f"from_half({x.name})", _SINGLE), target)
    if target == _HALF:
        wide = x if x.dtype.kind == "f" else cast(x, _SINGLE)
        return text.value(f"to_half({wide.name})", _HALF)
    if "c" in (x.dtype.kind, target.kind):
        raise NoCudaKernel(f"a kernel for CUDA moves complex numbers, but does not convert {x.dtype} to {target}")
    if target.kind == "b":
        return text.value(f"{x.name} != {literal(0, x.dtype)}", _BOOL)
    if x.dtype.kind == "f" and target.kind in "iu":
        return text.value(f"cast_{target.name}({x.name})", target)
    return text.value(f"{target.name}({x.name})", target)
