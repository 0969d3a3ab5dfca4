"""Sine, cosine and tangent, accurate for every finite argument.

Up to `_BOUND` the argument is reduced by a multiple of pi/2 in three parts (Cody and Waite, 1980); what is beyond goes
out of line (`rare`) to an exact reduction by a long 2/pi (Payne and Hanek, SIGNUM Newsletter 18, 1983).  The reduced
argument is a sum of two floats.  float32 is computed in float64 and rounded.
"""

from __future__ import annotations

import math

from tracejit.vecmath.hyperbolic import divide, two_sum
from tracejit.vecmath.language import (
    Scalar,
    bits,
    cast,
    floor,
    fma,
    from_bits,
    maximum,
    polynomial,
    rare,
    rint,
    select,
    table,
)

_BOUND = 2.0**28
_SHIFT = 1.5 * 2.0**52  # adding it rounds to an integer, and leaves that in the low bits
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33)

_SINE = (
    -0.16666666666666632,
    0.008333333333322418,
    -0.00019841269829812405,
    2.755731369358041e-06,
    -2.505075838541523e-08,
    1.5896811850505353e-10,
)
_COSINE = (
    0.0416666666666666,
    -0.0013888888888874131,
    2.4801587289486992e-05,
    -2.7557314353783166e-07,
    2.0875723478252268e-09,
    -1.1359658804696205e-11,
)
_SINE_SHORT = (-0.16666654940187853, 0.008332177915760592, -0.00019517266772858086)
_COSINE_SHORT = (0.04166664686054614, -0.0013887367213772095, 2.443841561677572e-05)

Reduced = tuple[Scalar, Scalar, Scalar]
"""n (a float integer), head, low: x = n*pi/2 + head + low up to a multiple of 2*pi."""


def _reduce(x: Scalar) -> Reduced:
    n = fma(x, 2 / math.pi, _SHIFT) - _SHIFT
    exact = fma(-n, _HALF_PI[0], x)  # no rounding: both are multiples of the last bit of the factor
    product = n * _HALF_PI[1]
    head = exact - product
    error = ((exact - head) - product) - fma(n, _HALF_PI[1], -product)
    return n, head, fma(-n, _HALF_PI[2], error)


# ---- Payne and Hanek

_DIGIT = 48
_DIGITS = 27


def _digits_of_two_over_pi() -> tuple[float, ...]:
    """2/pi in base 2^48, each digit as a fraction of 1; pi by Machin's formula in integers."""
    guard = _DIGIT * (_DIGITS + 2)

    def arctan_of_inverse(n: int) -> int:
        total = power = (1 << guard) // n
        k = 1
        while power:
            power //= n * n
            k += 2
            total += power // k if k % 4 == 1 else -(power // k)
        return total

    pi = 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))
    quotient = (2 << 2 * guard) // pi
    mask = (1 << _DIGIT) - 1
    return tuple(((quotient >> (guard - _DIGIT * (k + 1))) & mask) / 2.0**_DIGIT for k in range(_DIGITS))


_TWO_OVER_PI = _digits_of_two_over_pi()


def _distill(terms: list[Scalar]) -> list[Scalar]:
    """The same sum, nearly all of it in the last term (Ogita, Rump and Oishi, 2005)."""
    result = []
    total = terms[0]
    for term in terms[1:]:
        total, error = two_sum(total, term)
        result.append(error)
    return [*result, total]


def _reduce_exactly(x: Scalar) -> Reduced:
    """For |x| >= 2^28, finite.  Digits of 2/pi whose product with x is a multiple of 4 are left out."""
    exponent = (bits(abs(x)) >> 52) - 1075
    skipped = cast(floor(cast(maximum(exponent - 2, 0), x.dtype) * (1 / _DIGIT) + 2.0**-20), "i8")
    y = x * from_bits((1023 - skipped * _DIGIT) << 52)
    terms = []
    for k in range(5):
        factor = y * 2.0 ** (-_DIGIT * k)
        digit = table(_TWO_OVER_PI, skipped + k, x.dtype)
        product = factor * digit
        error = fma(factor, digit, -product)
        terms += [product - rint(product * 0.25) * 4, error - rint(error * 0.25) * 4] if k < 2 else [product, error]
    terms = _distill(_distill(terms))
    n = rint(terms[-1])
    *rest, head = _distill(_distill([*terms[:-1], terms[-1] - n]))
    low = rest[0]
    for term in rest[1:]:
        low = low + term
    fraction, fraction_low = two_sum(head, low)
    r = fraction * _HALF_PI[0]
    error = fma(fraction, _HALF_PI[0], -r) + fma(fraction, _HALF_PI[1], fraction_low * _HALF_PI[0])
    return n, *two_sum(r, error)


# ---- on [-pi/4, pi/4]


def _sine_parts(head: Scalar, low: Scalar) -> tuple[Scalar, Scalar]:
    z = head * head
    return head, fma(head * z, polynomial(z, _SINE), fma(z * -0.5, low, low))


def _cosine_parts(head: Scalar, low: Scalar) -> tuple[Scalar, Scalar]:
    z = head * head
    first = fma(z, -0.5, 1.0)
    return first, fma(z, -0.5, 1 - first) + fma(z * z, polynomial(z, _COSINE), -head * low) - _square_error(head, z)


def _square_error(head: Scalar, z: Scalar) -> Scalar:
    """Half of what head*head lost in rounding to z."""
    return fma(head, head, -z) * 0.5


def _quadrant(n: Scalar) -> Scalar:
    """n in the low bits of a word."""
    return bits(n + _SHIFT)


def _signed(result: Scalar, quadrant: Scalar) -> Scalar:
    """Negated in the quadrants 2 and 3 of 4."""
    return from_bits(bits(result) ^ ((quadrant & 2) << 62))


def _sine_of(reduced: Reduced, turn: int) -> Scalar:
    """sin(x + turn*pi/2)."""
    n, head, low = reduced
    quadrant = _quadrant(n) + turn
    sine, cosine = _sine_parts(head, low), _cosine_parts(head, low)
    odd = (quadrant & 1) != 0
    return _signed(select(odd, cosine[0], sine[0]) + select(odd, cosine[1], sine[1]), quadrant)


def _sine_of_short(x: Scalar, turn: int) -> Scalar:
    """sin(x + turn*pi/2) good enough to round to float32: relative error 2^-28."""
    n, head, _ = _reduce(x)
    z = head * head
    sine = fma(head * z, polynomial(z, _SINE_SHORT), head)
    cosine = fma(z * z, polynomial(z, _COSINE_SHORT), fma(z, -0.5, 1.0))
    quadrant = _quadrant(n) + turn
    return _signed(select((quadrant & 1) != 0, cosine, sine), quadrant)


def _tangent_of(reduced: Reduced) -> Scalar:
    n, head, low = reduced
    sine, cosine = _sine_parts(head, low), _cosine_parts(head, low)
    odd = (_quadrant(n) & 1) != 0
    numerator = [select(odd, -c, s) for s, c in zip(sine, cosine, strict=True)]
    denominator = [select(odd, s, c) for s, c in zip(sine, cosine, strict=True)]
    first, last = _normalized(*denominator)
    quotient, correction = divide(_normalized(*numerator), (first, last))
    return quotient + correction


def _normalized(head: Scalar, low: Scalar) -> tuple[Scalar, Scalar]:
    total = head + low
    return total, low - (total - head)


def _large_sine(x: Scalar) -> Scalar:
    return select(abs(x) < math.inf, _sine_of(_reduce_exactly(x), 0), math.nan)


def _large_cosine(x: Scalar) -> Scalar:
    return select(abs(x) < math.inf, _sine_of(_reduce_exactly(x), 1), math.nan)


def _large_tangent(x: Scalar) -> Scalar:
    return select(abs(x) < math.inf, _tangent_of(_reduce_exactly(x)), math.nan)


def sin(x: Scalar) -> Scalar:
    """Sine of radians, within 0.7 ULP for every finite argument; NaN at infinity."""
    if x.dtype.itemsize == 4:
        wide = cast(x, "f8")
        return select(x == 0, x, cast(rare(wide, _BOUND, _large_sine, _sine_of_short(wide, 0)), x.dtype))
    return select(abs(x) < 2.0**-27, x, rare(x, _BOUND, _large_sine, _sine_of(_reduce(x), 0)))


def cos(x: Scalar) -> Scalar:
    """Cosine of radians, within 0.7 ULP for every finite argument; exactly 1 at 0, NaN at infinity."""
    if x.dtype.itemsize == 4:
        wide = cast(x, "f8")
        return cast(rare(wide, _BOUND, _large_cosine, _sine_of_short(wide, 1)), x.dtype)
    return rare(x, _BOUND, _large_cosine, _sine_of(_reduce(x), 1))


def tan(x: Scalar) -> Scalar:
    """Tangent of radians, within 1 ULP for every finite argument; NaN at infinity.

    The quotient of sine and cosine, both in two floats.
    """
    wide = cast(x, "f8")
    result = rare(wide, _BOUND, _large_tangent, _tangent_of(_reduce(wide)))
    return select(abs(x) < 2.0**-27, x, cast(result, x.dtype))
