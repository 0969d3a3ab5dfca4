"""Logarithms."""

from __future__ import annotations

from tracejit.vecmath.language import Scalar, libm


def log(x: Scalar) -> Scalar:
    """The C library's log."""
    return libm("log", x)


def log2(x: Scalar) -> Scalar:
    """The C library's log2."""
    return libm("log2", x)


def log10(x: Scalar) -> Scalar:
    """The C library's log10."""
    return libm("log10", x)


def log1p(x: Scalar) -> Scalar:
    """The C library's log1p."""
    return libm("log1p", x)
