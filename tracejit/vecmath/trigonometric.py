"""Sine, cosine and tangent."""

from __future__ import annotations

from tracejit.vecmath.language import Scalar, libm


def sin(x: Scalar) -> Scalar:
    """The C library's sin."""
    return libm("sin", x)


def cos(x: Scalar) -> Scalar:
    """The C library's cos."""
    return libm("cos", x)


def tan(x: Scalar) -> Scalar:
    """The C library's tan."""
    return libm("tan", x)
