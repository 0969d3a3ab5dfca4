"""The error function."""

from __future__ import annotations

import math

from tracejit.vecmath.language import Scalar, libm


def erf(x: Scalar) -> Scalar:
    """The C library's erf."""
    return libm("erf", x)


def erfc(x: Scalar) -> Scalar:
    """The C library's erfc."""
    return libm("erfc", x)


def gelu(x: Scalar) -> Scalar:
    """x * Phi(x), Phi the normal distribution function."""
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))
