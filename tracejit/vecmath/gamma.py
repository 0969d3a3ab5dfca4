"""The gamma function."""

from __future__ import annotations

from tracejit.vecmath.language import Scalar, libm


def gammaln(x: Scalar) -> Scalar:
    """The C library's lgamma."""
    return libm("lgamma", x)
