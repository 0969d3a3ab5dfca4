"""The gamma function."""

from __future__ import annotations

from tracejit.vecmath.language import Scalar, libm, select


def gammaln(x: Scalar) -> Scalar:
    """The C library's lgamma, but SciPy's -inf at -inf."""
    return select(x == -float("inf"), x, libm("lgamma", x))
