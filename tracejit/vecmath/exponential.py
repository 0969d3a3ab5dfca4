"""Exponentials."""

from __future__ import annotations

import math

from tracejit.vecmath.language import Scalar, libm, maximum, select


def exp(x: Scalar) -> Scalar:
    """The C library's exp."""
    return libm("exp", x)


def exp2(x: Scalar) -> Scalar:
    """The C library's exp2."""
    return libm("exp2", x)


def expm1(x: Scalar) -> Scalar:
    """The C library's expm1."""
    return libm("expm1", x)


def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + exp(-x))."""
    return 1 / (exp(-x) + 1)


def softplus(x: Scalar) -> Scalar:
    """log(1 + exp(x))."""
    return libm("log1p", exp(-abs(x))) + maximum(x, 0.0)


def logaddexp(x: Scalar, y: Scalar) -> Scalar:
    """log(exp(x) + exp(y))."""
    return select(x == y, x + math.log(2.0), libm("log1p", exp(-abs(x - y))) + maximum(x, y))
