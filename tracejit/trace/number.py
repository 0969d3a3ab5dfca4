"""Host numbers: Python numbers and sizes that a trace keeps symbolic.

A host number behaves as the Python number that it is in this run and remembers the expression that gives it, so that
the next call computes it anew.  Python code that branches on it, or asks for the plain number, adds a guard.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.size import Dimension
from tracejit.trace.protocol import Traced
from tracejit.trace.state import Trace, current

LONGEST_TEXT = 60
"""Characters of an expression of a number; a longer one gets a name (`Trace.define`)."""

_SIZE_ARITHMETIC: dict[str, Callable[[Dimension, Dimension], Dimension]] = {
    "+": sizes.add,
    "-": sizes.subtract,
    "*": sizes.multiply,
    "//": sizes.floor_divide,
    "%": sizes.modulo,
}

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}


class HostNumber(Traced):
    """A Python number known by an expression: `value` in this run, `text` in general, `size` if an integer one."""

    __slots__ = ("size", "text", "value")

    def __init__(self, value: Any, text: str, size: Dimension | None = None) -> None:
        # What is made of a number again and again gets names on the way, or its expression would double at each step.
        named = size is None and len(text) > LONGEST_TEXT
        self.value, self.text, self.size = value, current().define(text) if named else text, size

    def _known(self) -> Any:
        """The plain number, with a guard that it stays."""
        current().guard(f"{self.text} == {self.value!r}" if self.value == self.value else f"{self.text} != {self.text}")
        return self.value

    def __bool__(self) -> bool:
        truth = bool(self.value)
        current().guard(self.text if truth else f"not {self.text}")
        return truth

    def __index__(self) -> int:
        return operator.index(self._known())

    def __int__(self) -> int:
        return int(self._known())

    def __float__(self) -> float:
        return float(self._known())

    def __complex__(self) -> complex:
        return complex(self._known())

    def __hash__(self) -> int:
        return hash(self._known())

    def __repr__(self) -> str:
        return repr(self._known())

    def __format__(self, spec: str) -> str:
        return format(self._known(), spec)

    def __neg__(self) -> Any:
        if self.size is not None:
            return _combine("-", operator.sub, 0, self)
        return HostNumber(-self.value, f"(-{self.text})")

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return HostNumber(abs(self.value), f"abs({self.text})")

    def __round__(self, digits: int | None = None) -> Any:
        return HostNumber(round(self.value, digits), f"round({self.text}, {digits})")

    @property
    def real(self) -> Any:
        return self if not isinstance(self.value, complex) else HostNumber(self.value.real, f"{self.text}.real")

    def converted(self, kind: type) -> HostNumber:
        """float(self) or int(self), kept symbolic."""
        return HostNumber(kind(self.value), f"{kind.__name__}({self.text})")

    def is_integer(self) -> bool:
        return bool(self._known().is_integer())


def _operator(symbol: str, function: Callable[[Any, Any], Any], swapped: bool) -> Callable[[HostNumber, Any], Any]:
    def apply(self: HostNumber, other: Any) -> Any:
        if not isinstance(other, (int, float, complex, HostNumber)) or isinstance(other, np.generic):
            return NotImplemented
        return _combine(symbol, function, other, self) if swapped else _combine(symbol, function, self, other)

    return apply


def _combine(symbol: str, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    plain = [number.value if isinstance(number, HostNumber) else number for number in (left, right)]
    value = function(*plain)
    dimensions = [as_dimension(number) for number in (left, right)]
    if None not in dimensions:
        if symbol in _SIZE_ARITHMETIC:
            return wrap(current(), _SIZE_ARITHMETIC[symbol](dimensions[0], dimensions[1]))  # type: ignore[arg-type]
        if symbol in ("==", "!=") and dimensions[0] == dimensions[1]:
            return symbol == "=="
    texts = [number.text if isinstance(number, HostNumber) else repr(number) for number in (left, right)]
    return HostNumber(value, f"({texts[0]} {symbol} {texts[1]})")


for _symbol, _function in _BINARY.items():
    _name = {"&": "and", "|": "or", "^": "xor"}.get(_symbol, _function.__name__.strip("_"))
    setattr(HostNumber, f"__{_name}__", _operator(_symbol, _function, swapped=False))
    if _symbol not in ("<", "<=", ">", ">=", "==", "!="):
        setattr(HostNumber, f"__r{_name}__", _operator(_symbol, _function, swapped=True))


def as_dimension(number: Any) -> Dimension | None:
    """The size that an integer is, or None."""
    if isinstance(number, HostNumber):
        return number.size
    if isinstance(number, (int, np.integer)) and not isinstance(number, bool):
        return int(number)
    return None


def wrap(trace: Trace, dimension: Dimension) -> Any:
    """A dimension as the user sees it: a plain int where it is one, else a host number."""
    if isinstance(dimension, int):
        return dimension
    return HostNumber(trace.value(dimension), f"({dimension})", dimension)


def host_math(name: str, *operands: Any) -> Any:
    """`math.NAME` on host numbers, kept symbolic."""
    plain = [number.value if isinstance(number, HostNumber) else number for number in operands]
    texts = [number.text if isinstance(number, HostNumber) else repr(number) for number in operands]
    return HostNumber(getattr(math, name)(*plain), f"math.{name}({', '.join(texts)})")
