"""Hyperbolic functions and their inverses, from expm1 and log1p carried in two floats."""

from __future__ import annotations

import math

from tracejit.vecmath.exponential import exp_parts, expm1_parts, fast_two_sum, is_tiny
from tracejit.vecmath.language import Scalar, copysign, fma, minimum, select, sqrt
from tracejit.vecmath.logarithm import log1p_sum, log_of_sum


def two_sum(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    """a + b as the rounded sum and its error (Knuth)."""
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)


def divide(numerator: tuple[Scalar, Scalar], denominator: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
    """The quotient of two sums of two floats, as such a sum; one division."""
    reciprocal = 1 / denominator[0]
    quotient = numerator[0] * reciprocal
    remainder = fma(-quotient, denominator[0], numerator[0]) + (numerator[1] - quotient * denominator[1])
    return quotient, remainder * reciprocal


def tanh(x: Scalar) -> Scalar:
    """Hyperbolic tangent, within 1 ULP (1.02 over all float32).

    expm1(2|x|) / (expm1(2|x|) + 2), numerator and denominator in two floats.
    """
    double = minimum(abs(x), 22.0) * 2  # beyond 22 the result rounds to 1
    head, low = expm1_parts(double)
    total, error = two_sum(head, x.constant(0.25))
    quotient, correction = divide((head, low), (total, error + low))
    return select(is_tiny(x), x, copysign(quotient + correction, x))


def sinh(x: Scalar) -> Scalar:
    """Hyperbolic sine, within 1 ULP.

    With h = expm1(|x|)/8 it is 4*(h + h/(8*h + 1)), both terms in two floats.
    """
    a = abs(x)
    head, low = expm1_parts(a)
    total, error = two_sum(head * 8, x.constant(1.0))
    quotient, correction = divide((head, low), (total, error + low * 8))
    first, rest = fast_two_sum(head, quotient)
    result = select(a > _large(x), head, first + (rest + low + correction)) * 4
    return select(is_tiny(x), x, copysign(result, x))


def cosh(x: Scalar) -> Scalar:
    """Hyperbolic cosine, within 1 ULP: exp(|x|)/2 + 1/(2*exp(|x|)), both terms in two floats."""
    a = abs(x)
    head, low = exp_parts(a, -1.0)
    quotient, correction = divide((x.constant(0.25), x.constant(0.0)), (head, low))
    total, error = fast_two_sum(head, quotient)
    return select(a > _large(x), head, total + (error + low + correction))


def _large(x: Scalar) -> float:
    """Beyond here exp(-x) is lost beside exp(x), and exp(x) has not overflowed."""
    return 40.0 if x.dtype.itemsize == 8 else 20.0


def arcsinh(x: Scalar) -> Scalar:
    """Inverse hyperbolic sine, within 1 ULP: log1p(a + a^2/(1 + sqrt(a^2 + 1))), the argument in two floats."""
    a = abs(x)
    huge = a > _huge(x)
    safe = select(huge, 1.0, a)
    square = safe * safe
    square_low = fma(safe, safe, -square)
    total, error = two_sum(square, x.constant(1.0))
    root, root_low = _sqrt(total, error + square_low)
    denominator, rest = fast_two_sum(root, x.constant(1.0))
    quotient, correction = divide((square, square_low), (denominator, rest + root_low))
    argument, low = two_sum(quotient, safe)
    result = log1p_sum(argument, low + correction)
    result = select(huge, log_of_sum(select(huge, a, 1.0), x.constant(0.0)) + math.log(2.0), result)
    result = select(a < math.inf, result, a)
    return copysign(_near_zero(a, -1 / 6, result), x)


def arccosh(x: Scalar) -> Scalar:
    """Inverse hyperbolic cosine, within 1 ULP: log1p(t + sqrt(t*(t + 2))) with t = x - 1; NaN below 1."""
    huge = x > _huge(x)
    t = select(huge, 1.0, x - 1)
    product = t * t
    product_low = fma(t, t, -product)
    total, error = two_sum(product, t * 2)
    root, root_low = _sqrt(total, error + product_low)
    argument, low = two_sum(root, t)
    result = select(t == 0, 0.0, log1p_sum(argument, low + root_low))
    result = select(huge, log_of_sum(select(huge, x, 1.0), x.constant(0.0)) + math.log(2.0), result)
    result = select(x < math.inf, result, x)
    return select(x < 1, math.nan, result)


def arctanh(x: Scalar) -> Scalar:
    """Inverse hyperbolic tangent, within 1 ULP; NaN outside [-1, 1]: log1p(2a/(1 - a))/2, in two floats."""
    a = abs(x)
    denominator = 1 - a
    quotient, correction = divide((a * 2, x.constant(0.0)), (denominator, (1 - denominator) - a))
    result = log1p_sum(quotient, correction) * 0.5
    result = select(a == 1, math.inf, result)
    result = select(a > 1, math.nan, result)
    return copysign(_near_zero(a, 1 / 3, result), x)


def _near_zero(a: Scalar, cubic: float, result: Scalar) -> Scalar:
    """a + cubic*a^3 where no more terms of the series count."""
    return select(a < (2.0**-20 if a.dtype.itemsize == 8 else 2.0**-10), fma(a * a * a, cubic, a), result)


def _huge(x: Scalar) -> float:
    """x*x + 1 rounds to x*x from far below here, and x*x does not overflow."""
    return 2.0**60 if x.dtype.itemsize == 8 else 2.0**30


def _sqrt(total: Scalar, error: Scalar) -> tuple[Scalar, Scalar]:
    """The root of total + error, as a sum of two floats; 0 has the root 0."""
    root = sqrt(total)
    divisor = select(root > 0, root, 1.0)
    return root, (fma(-root, root, total) + error) * 0.5 / divisor
