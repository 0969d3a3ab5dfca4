"""Hyperbolic functions."""

from __future__ import annotations

from tracejit.vecmath.language import Scalar, libm


def sinh(x: Scalar) -> Scalar:
    """The C library's sinh."""
    return libm("sinh", x)


def cosh(x: Scalar) -> Scalar:
    """The C library's cosh."""
    return libm("cosh", x)


def tanh(x: Scalar) -> Scalar:
    """The C library's tanh."""
    return libm("tanh", x)


def arcsinh(x: Scalar) -> Scalar:
    """The C library's asinh."""
    return libm("asinh", x)


def arccosh(x: Scalar) -> Scalar:
    """The C library's acosh."""
    return libm("acosh", x)


def arctanh(x: Scalar) -> Scalar:
    """The C library's atanh."""
    return libm("atanh", x)
