"""Inverse trigonometric functions."""

from __future__ import annotations

from tracejit.vecmath.language import Scalar, libm


def arcsin(x: Scalar) -> Scalar:
    """The C library's asin."""
    return libm("asin", x)


def arccos(x: Scalar) -> Scalar:
    """The C library's acos."""
    return libm("acos", x)


def arctan(x: Scalar) -> Scalar:
    """The C library's atan."""
    return libm("atan", x)


def arctan2(y: Scalar, x: Scalar) -> Scalar:
    """The C library's atan2."""
    return libm("atan2", y, x)
