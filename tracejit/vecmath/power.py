"""Powers and roots."""

from __future__ import annotations

from tracejit.vecmath.language import Scalar, libm


def cbrt(x: Scalar) -> Scalar:
    """The C library's cbrt."""
    return libm("cbrt", x)


def pow(x: Scalar, y: Scalar) -> Scalar:
    """The C library's pow."""
    return libm("pow", x, y)


def hypot(x: Scalar, y: Scalar) -> Scalar:
    """The C library's hypot."""
    return libm("hypot", x, y)
