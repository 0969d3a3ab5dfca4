"""Powers and roots: pow, cbrt, hypot."""

from __future__ import annotations

import math

from tracejit.vecmath.exponential import exp2_rough, exp2_sum, fast_two_sum
from tracejit.vecmath.hyperbolic import divide
from tracejit.vecmath.language import (
    Scalar,
    bits,
    cast,
    copysign,
    floor,
    fma,
    from_bits,
    isnan,
    polynomial,
    rint,
    select,
    sqrt,
)
from tracejit.vecmath.logarithm import log2_rough, split_exponent

# (atanh(s)/s - 1 - z/3)/z**2 in z = s*s
_ATANH = (
    0.2,
    0.14285714285714188,
    0.11111111111145312,
    0.09090909084622895,
    0.07692308376924886,
    0.06666620200920949,
    0.05884337437312698,
    0.05211442716461093,
    0.055067239567186926,
)
_THIRD = (1 / 3, 1.850371707708594e-17)
_TWICE_LOG2_E = (2.8853900817779268, 4.0710547481862066e-17)

_ROOT = (
    0.45226571848721825,
    0.9024094413635173,
    -0.5320694743311848,
    0.21464417910244635,
    -0.037244732630435984,
)


def _log2(x: Scalar) -> tuple[Scalar, Scalar]:
    """log2(x) as a sum of two floats, relative error about 2^-65, for x positive and finite, float64.

    k + 2*atanh(s)/log(2) with s = f/(2 + f) in two floats, and so the first terms of the series (Muller et al.,
    Handbook of Floating-Point Arithmetic, ch. 11, on evaluating in double-word arithmetic).
    """
    k, m = split_exponent(x)
    f = m - 1
    denominator = f + 2
    s, s_low = divide((f, x.constant(0.0)), (denominator, f - (denominator - 2)))
    z = s * s
    z_low = fma(s, s, -z) + s * s_low * 2
    third = z * _THIRD[0]
    third_low = fma(z, _THIRD[0], -third) + fma(z, _THIRD[1], z_low * _THIRD[0])
    one = x.constant(1.0)
    series, rest = fast_two_sum(one, third)
    series, rest = fast_two_sum(series, rest + fma(z * z, polynomial(z, _ATANH), third_low))
    product = s * series
    product_low = fma(s, series, -product) + fma(s, rest, s_low * series)
    head = product * _TWICE_LOG2_E[0]
    low = fma(product, _TWICE_LOG2_E[0], -head) + fma(product, _TWICE_LOG2_E[1], product_low * _TWICE_LOG2_E[0])
    total, error = fast_two_sum(k, head)
    return fast_two_sum(total, error + low)


def _magnitude(x: Scalar, y: Scalar) -> Scalar:
    """x^y for x positive and finite."""
    log_head, log_low = _log2(x)
    head = y * log_head
    low = fma(y, log_head, -head) + y * log_low
    low = select(abs(head) < 1100, low, 0.0)
    return exp2_sum(select(head > 1100, 1100.0, select(head < -1100, -1100.0, head)), low)


def _magnitude_rough(x: Scalar, y: Scalar) -> Scalar:
    """x^y good enough to round to float32."""
    exponent = y * log2_rough(x)
    return exp2_rough(select(exponent > 300, 300.0, select(exponent < -300, -300.0, exponent)))


def pow(x: Scalar, y: Scalar) -> Scalar:
    """x to the y, within 1 ULP; the special cases are those of C99, Annex F.

    2^(y*log2(|x|)) with the logarithm and the product in two floats; float32 in float64.
    """
    base, exponent = cast(x, "f8"), cast(y, "f8")
    a = abs(base)
    limit = 2.0**80  # an infinite exponent, and any beyond this, gives 0, 1 or inf by the logarithm's sign
    bounded = select(abs(exponent) > limit, copysign(exponent.constant(limit), exponent), exponent)
    regular = select((a > 0) & (a < math.inf), a, 1.0)
    result = (_magnitude if x.dtype.itemsize == 8 else _magnitude_rough)(regular, bounded)
    vanishes = (exponent < 0) == (a > 1)
    result = select((a == 0) | (a == math.inf), select(vanishes, result.constant(0.0), math.inf), result)
    odd = (floor(exponent) == exponent) & (floor(exponent * 0.5) * 2 != exponent)
    result = select((bits(base) < 0) & odd, -result, result)
    fails = (base < 0) & (a < math.inf) & (floor(exponent) != exponent)
    result = select(fails, math.nan, result)
    result = select(isnan(base) | isnan(exponent), base + exponent, result)
    return cast(select((exponent == 0) | (base == 1), 1.0, result), x.dtype)


def cbrt(x: Scalar) -> Scalar:
    """Cube root, within 1 ULP: a polynomial on the mantissa, a step of fourth order, and a compensated Newton step."""
    a = abs(x)
    regular = (a > 0) & (a < math.inf)
    k, m = split_exponent(select(regular, a, 1.0))
    third = rint(k * (1 / 3))
    rest = k - third * 3
    factor = select(rest > 0, x.constant(2.0), select(rest < 0, x.constant(0.5), x.constant(1.0)))
    root = select(rest > 0, x.constant(2.0 ** (1 / 3)), select(rest < 0, x.constant(0.5 ** (1 / 3)), x.constant(1.0)))
    value = m * factor
    inverse = 1 / value
    y = polynomial(m, _ROOT) * root
    error = fma(-(y * y * y), inverse, 1.0)
    y = fma(y, error * polynomial(error, (1 / 3, 2 / 9, 14 / 81)), y)
    square = y * y
    residual = fma(-square, y, value) - fma(y, y, -square) * y
    y = fma(residual, y * inverse * (1 / 3), y)
    mantissa, bias = (52, 1023) if x.dtype.itemsize == 8 else (23, 127)
    scale = from_bits(bits(third + (1.5 * 2.0**mantissa + bias)) << mantissa)
    return select(regular, copysign(y * scale, x), x)


def hypot(x: Scalar, y: Scalar) -> Scalar:
    """sqrt(x*x + y*y) without undue overflow or underflow, within 1 ULP; inf if either is infinite.

    The sum of squares is kept in two floats, and the root is corrected by its residual (Borges, ACM TOMS 47, 2020).
    """
    reach, step = (500, 600) if x.dtype.itemsize == 8 else (60, 80)
    a, b = abs(x), abs(y)
    large, small = select(a > b, a, b), select(a > b, b, a)
    one = x.constant(1.0)
    shrink, grow = large > 2.0**reach, large < 2.0**-reach
    scale = select(shrink, 2.0**-step, select(grow, 2.0**step, one))
    back = select(shrink, 2.0**step, select(grow, 2.0**-step, one))
    large, small = large * scale, small * scale
    first, second = large * large, small * small
    total, error = fast_two_sum(first, second)
    error = error + (fma(large, large, -first) + fma(small, small, -second))
    root = sqrt(total)
    residual = fma(-root, root, total) + error
    result = fma(residual, 0.5 / select(root > 0, root, one), root)
    result = select((large == 0) | (large - large != 0), large, result) * back
    result = select(isnan(x) | isnan(y), x + y, result)
    return select((a == math.inf) | (b == math.inf), math.inf, result)
