"""Arithmetic on complex numbers, by their real and imaginary parts.

A product is rounded once in each part's second addend, a magnitude is that of the larger part times a factor, and a
quotient is Smith's (CACM 5, 1962): the bits are those of NumPy's loops on a CPU with fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from tracejit.vecmath.language import Scalar, fma, select, sqrt

Parts: TypeAlias = tuple[Scalar, Scalar]


def _product(x: Parts, y: Parts) -> Parts:
    (a, b), (c, d) = x, y
    return fma(a, c, -(b * d)), fma(a, d, b * c)


def _quotient(x: Parts, y: Parts) -> Parts:
    (a, b), (c, d) = x, y
    real_larger = abs(c) >= abs(d)
    larger, smaller = select(real_larger, c, d), select(real_larger, d, c)
    ratio = smaller / larger
    scale = 1.0 / (larger + smaller * ratio)
    real = select(real_larger, a + b * ratio, a * ratio + b) * scale
    imaginary = select(real_larger, b - a * ratio, b * ratio - a) * scale
    nothing = (c == 0) & (d == 0)
    return select(nothing, a / abs(c), real), select(nothing, b / abs(c), imaginary)


def _magnitude(x: Parts) -> Scalar:
    a, b = abs(x[0]), abs(x[1])
    smaller, larger = select(a < b, a, b), select(a < b, b, a)
    ratio = select(larger == 0, smaller, smaller / larger)
    infinite = (a == float("inf")) | (b == float("inf"))
    return select(infinite, float("inf"), sqrt(fma(ratio, ratio, 1.0)) * larger)


RULES: Mapping[str, Callable[..., Parts | Scalar]] = {
    "add": lambda x, y: (x[0] + y[0], x[1] + y[1]),
    "sub": lambda x, y: (x[0] - y[0], x[1] - y[1]),
    "mul": _product,
    "div": _quotient,
    "neg": lambda x: (-x[0], -x[1]),
    "abs": _magnitude,
    "eq": lambda x, y: (x[0] == y[0]) & (x[1] == y[1]),
    "ne": lambda x, y: (x[0] != y[0]) | (x[1] != y[1]),
}
"""What there is of the scalar language's primitives for complex numbers."""
