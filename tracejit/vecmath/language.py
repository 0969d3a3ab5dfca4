"""The scalar language: what a scalar definition of an op may be written in.

A scalar definition is a plain Python function of `Scalar` values.  Calling it *emits* the computation: on the CPU and
on CUDA a `Scalar` wraps an LLVM value and `x * y + 1` appends instructions to the open block; in tests it wraps a
NumPy array.  There is nothing to infer and nothing to parse, and a branch-free definition is what LLVM vectorizes.

Every primitive below is one row of `PRIMITIVES`; a target supports the language by implementing `Scalar.apply`.
Python numbers mix with scalars and take the scalar's dtype, bit for bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

Number: TypeAlias = "Scalar | float | int | bool"

PRIMITIVES: dict[str, str] = {
    # arithmetic: both operands of one dtype; never contracted to fma by the compiler
    "add": "a + b; integers wrap",
    "sub": "a - b; integers wrap",
    "mul": "a * b; integers wrap",
    "div": "a / b; floats only, IEEE 754",
    "idiv": "integer quotient truncated towards zero; undefined for a zero divisor (select it away first)",
    "irem": "integer remainder with the sign of the dividend; undefined for a zero divisor",
    "neg": "-a; flips the sign bit of a float",
    "abs": "magnitude; clears the sign bit of a float",
    "fma": "a * b + c rounded once; floats only",
    "sqrt": "correctly rounded square root",
    "floor": "round towards minus infinity",
    "ceil": "round towards plus infinity",
    "trunc": "round towards zero",
    "rint": "round to nearest, ties to even",
    "copysign": "magnitude of a, sign bit of b",
    "minimum": "IEEE 754-2019 minimum: NaN if either is NaN, -0.0 < 0.0; integers too",
    "maximum": "IEEE 754-2019 maximum: NaN if either is NaN, -0.0 < 0.0; integers too",
    "ldexp": "a * 2**n rounded once, for an integer n held in a float, at most twice the largest exponent",
    # comparisons: bool results, false on NaN but for `ne`
    "lt": "a < b",
    "le": "a <= b",
    "gt": "a > b",
    "ge": "a >= b",
    "eq": "a == b",
    "ne": "a != b (true when unordered)",
    # bits: integers and bool
    "and": "a & b",
    "or": "a | b",
    "xor": "a ^ b",
    "not": "~a; logical for bool",
    "shl": "a << b; undefined for b >= width",
    "shr": "a >> b; arithmetic for signed, logical for unsigned; undefined for b >= width",
    "bits": "the bits of a float as the signed integer of its width",
    "from_bits": "an integer's bits as the float of its width",
    # choice and conversion
    "select": "a if condition else b; both are evaluated",
    "cast": "convert to a dtype with NumPy's astype values",
    # escapes
    "rare": "a definition of x where |x| > bound, else a usual value; out of line, vectorizes where none is beyond",
    "table": "element of a constant table at an integer index within bounds",
    "libm": "a call of the C library's scalar function; it does not vectorize",
}


class Scalar(ABC):
    """One typed scalar value while a definition is being emitted."""

    dtype: np.dtype[Any]

    @abstractmethod
    def apply(self, primitive: str, *operands: Any, dtype: np.dtype[Any] | None = None) -> Scalar:
        """Emit `primitive` on operands (self among them); `dtype` is the result's where it is not the operands'."""

    @abstractmethod
    def constant(self, value: float | int | bool, dtype: np.dtype[Any] | None = None) -> Scalar:
        """A literal of the given dtype (default: this scalar's)."""

    def _binary(self, primitive: str, other: Number, swapped: bool = False) -> Scalar:
        right = other if isinstance(other, Scalar) else self.constant(other)
        if right.dtype != self.dtype:
            raise TypeError(f"{primitive}: {self.dtype} and {right.dtype}; cast one of them")
        return self.apply(primitive, right, self) if swapped else self.apply(primitive, self, right)

    def __add__(self, other: Number) -> Scalar:
        return self._binary("add", other)

    def __radd__(self, other: Number) -> Scalar:
        return self._binary("add", other, swapped=True)

    def __sub__(self, other: Number) -> Scalar:
        return self._binary("sub", other)

    def __rsub__(self, other: Number) -> Scalar:
        return self._binary("sub", other, swapped=True)

    def __mul__(self, other: Number) -> Scalar:
        return self._binary("mul", other)

    def __rmul__(self, other: Number) -> Scalar:
        return self._binary("mul", other, swapped=True)

    def __truediv__(self, other: Number) -> Scalar:
        return self._binary("div", other)

    def __rtruediv__(self, other: Number) -> Scalar:
        return self._binary("div", other, swapped=True)

    def __neg__(self) -> Scalar:
        return self.apply("neg", self)

    def __abs__(self) -> Scalar:
        return self.apply("abs", self)

    def __lt__(self, other: Number) -> Scalar:
        return self._binary("lt", other)

    def __le__(self, other: Number) -> Scalar:
        return self._binary("le", other)

    def __gt__(self, other: Number) -> Scalar:
        return self._binary("gt", other)

    def __ge__(self, other: Number) -> Scalar:
        return self._binary("ge", other)

    def __eq__(self, other: Number) -> Scalar:  # type: ignore[override]
        return self._binary("eq", other)

    def __ne__(self, other: Number) -> Scalar:  # type: ignore[override]
        return self._binary("ne", other)

    __hash__ = object.__hash__

    def __and__(self, other: Number) -> Scalar:
        return self._binary("and", other)

    def __or__(self, other: Number) -> Scalar:
        return self._binary("or", other)

    def __xor__(self, other: Number) -> Scalar:
        return self._binary("xor", other)

    def __invert__(self) -> Scalar:
        return self.apply("not", self)

    def __lshift__(self, other: Number) -> Scalar:
        return self._binary("shl", other)

    def __rshift__(self, other: Number) -> Scalar:
        return self._binary("shr", other)

    def __bool__(self) -> bool:
        raise TypeError("a scalar definition is branch-free: use select(condition, a, b) instead of `if`")


ScalarFunction: TypeAlias = Callable[..., Scalar]


def _like(x: Scalar, value: Number) -> Scalar:
    return value if isinstance(value, Scalar) else x.constant(value)


def fma(a: Number, b: Number, c: Number) -> Scalar:
    """a * b + c with one rounding."""
    x = next(v for v in (a, b, c) if isinstance(v, Scalar))
    return x.apply("fma", _like(x, a), _like(x, b), _like(x, c))


def select(condition: Scalar, a: Number, b: Number) -> Scalar:
    """`a` where the bool `condition` holds, else `b`; at least one of the two is a Scalar."""
    x = a if isinstance(a, Scalar) else b
    if not isinstance(x, Scalar):
        raise TypeError("select needs a Scalar among its two values")
    return condition.apply("select", condition, _like(x, a), _like(x, b), dtype=x.dtype)


def sqrt(x: Scalar) -> Scalar:
    return x.apply("sqrt", x)


def floor(x: Scalar) -> Scalar:
    return x.apply("floor", x)


def ceil(x: Scalar) -> Scalar:
    return x.apply("ceil", x)


def trunc(x: Scalar) -> Scalar:
    return x.apply("trunc", x)


def rint(x: Scalar) -> Scalar:
    return x.apply("rint", x)


def copysign(x: Scalar, sign: Number) -> Scalar:
    return x.apply("copysign", x, _like(x, sign))


def ldexp(a: Scalar, n: Scalar) -> Scalar:
    """a * 2**n, over- and underflowing as the product does; n an integer-valued float within twice the exponents."""
    return a.apply("ldexp", a, n)


def minimum(a: Scalar, b: Number) -> Scalar:
    return a.apply("minimum", a, _like(a, b))


def maximum(a: Scalar, b: Number) -> Scalar:
    return a.apply("maximum", a, _like(a, b))


def idiv(a: Scalar, b: Number) -> Scalar:
    return a.apply("idiv", a, _like(a, b))


def irem(a: Scalar, b: Number) -> Scalar:
    return a.apply("irem", a, _like(a, b))


def isnan(x: Scalar) -> Scalar:
    return x.apply("ne", x, x)


def cast(x: Scalar, dtype: Any) -> Scalar:
    """`x` converted to `dtype` as NumPy's `astype` does."""
    target = np.dtype(dtype)
    return x if target == x.dtype else x.apply("cast", x, dtype=target)


def bits(x: Scalar) -> Scalar:
    """The bits of a float as int16, int32 or int64."""
    return x.apply("bits", x, dtype=np.dtype(f"i{x.dtype.itemsize}"))


def from_bits(x: Scalar) -> Scalar:
    """The float whose bits the integer holds."""
    return x.apply("from_bits", x, dtype=np.dtype(f"f{x.dtype.itemsize}"))


def table(values: tuple[float, ...], index: Scalar, dtype: Any) -> Scalar:
    """`values[index]`, the values held as constants of `dtype`."""
    return index.apply("table", index, values, dtype=np.dtype(dtype))


def rare(x: Scalar, bound: float, definition: ScalarFunction, usual: Scalar, optimized: bool = False) -> Scalar:
    """`definition(x)` where |x| > bound, else `usual` (NaN too), with the dtype of x.

    The definition, a module-level function, is compiled out of line: arguments within the bound do not pay for it.
    It is not optimized, which saves time to compile, unless it is worth it: where many an argument will be beyond.
    """
    return x.apply("rare", x, bound, definition, usual, optimized, dtype=x.dtype)


def libm(name: str, *operands: Scalar) -> Scalar:
    """The C library's `name` (the float32 variant for float32), one scalar call an element."""
    return operands[0].apply("libm", name, *operands, dtype=operands[0].dtype)


def polynomial(x: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """A polynomial by fma, coefficients from the constant term upwards; a long one as E(x*x) + x*O(x*x).

    Two chains of half the length are done sooner than one by Horner's rule (Knuth, TAOCP 2, 4.6.4).
    """
    if len(coefficients) < _LONG:
        return _horner(x, coefficients)
    square = x * x
    return fma(x, _horner(square, coefficients[1::2]), _horner(square, coefficients[0::2]))


_LONG = 5


def _horner(x: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    result = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, x, coefficient)
    return result


def estrin(x: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """The same by Estrin's scheme: a few more instructions, but chains a quarter as long, which is faster from a
    dozen coefficients on.

    A CPU waits for a chain of multiplications where all that it can look ahead at hangs on such chains.
    """
    terms = [x.constant(coefficient) for coefficient in coefficients]
    power = x
    while len(terms) > 1:
        pairs = zip(terms[1::2], terms[::2], strict=False)
        terms = [fma(high, power, low) for high, low in pairs] + terms[len(terms) - len(terms) % 2 :]
        if len(terms) > 1:
            power = power * power
    return terms[0]
