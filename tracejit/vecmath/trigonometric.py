"""Sine, cosine and tangent, accurate for every finite argument.

Up to a bound the argument is reduced by a multiple of pi/2 in three parts (Cody and Waite, 1980), and is then a sum of
two floats.  What is beyond goes out of line (`rare`): float64 to an exact reduction by a long 2/pi (Payne and Hanek,
SIGNUM Newsletter 18, 1983), float32 to float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tracejit.vecmath.hyperbolic import divide, two_sum
from tracejit.vecmath.language import (
    Scalar,
    ScalarFunction,
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

_SHIFT = 1.5 * 2.0**52  # adding it rounds to an integer, and leaves that in the low bits
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)

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
_WIDE_BOUND = 2.0**28
_WIDE_SINE = (-0.16666660459905158, 0.008333088094505201, -0.00019811106810791677, 2.6089183298557417e-06)
"""(sin(x) - x)/x**3 up to pi/2, good to 2^-27."""


class _Format(NamedTuple):
    """What the reduction needs to know of a float format."""

    bound: float  # up to here n has as many bits as the second part of pi/2 lacks
    shift: float  # adding it rounds to an integer, and leaves that in the low bits
    half_pi: tuple[float, float, float]  # n times the second is exact
    sine: tuple[float, ...]  # (sin(x) - x)/x**3 in x*x
    cosine: tuple[float, ...]  # (cos(x) - 1 + x*x/2)/x**4 in x*x


_DOUBLE = _Format(
    2.0**24,
    _SHIFT,
    (1.5707963267948966, 6.123234014771656e-17, -1.9034889620193266e-25),
    _SINE,
    _COSINE,
)
_SINGLE = _Format(
    2.0**12,
    1.5 * 2.0**23,
    (1.5707963705062866, -4.371395334601402e-08, 2.5633440682570896e-12),
    (-0.16666654940187853, 0.008332177915760592, -0.00019517266772858086),
    (0.04166664686054614, -0.0013887367213772095, 2.443841561677572e-05),
)


def _format(x: Scalar) -> _Format:
    return _DOUBLE if x.dtype.itemsize == 8 else _SINGLE


Reduced = tuple[Scalar, Scalar, Scalar]
"""n in the low bits of a word, head, low: x = n*pi/2 + head + low up to a multiple of 2*pi."""


def _reduce(x: Scalar) -> Reduced:
    form = _format(x)
    word = fma(x, 2 / math.pi, form.shift)
    n = word - form.shift
    exact = fma(-n, form.half_pi[0], x)  # no rounding: both are multiples of the last bit of the factor
    head = fma(-n, form.half_pi[1], exact)
    error = fma(-n, form.half_pi[1], exact - head)  # Dekker: what is rounded is a multiple of n*half_pi[1]'s last bit
    return bits(word), head, fma(-n, form.half_pi[2], error)


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
    """For |x| >= 2^24, finite.  Digits of 2/pi whose product with x is a multiple of 4 are left out."""
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
    return bits(n + _SHIFT), *two_sum(r, error)


# ---- on [-pi/4, pi/4]


def _sine_parts(head: Scalar, low: Scalar) -> tuple[Scalar, Scalar]:
    z = head * head
    return head, fma(head * z, polynomial(z, _format(head).sine), low)


def _cosine_parts(head: Scalar, low: Scalar) -> tuple[Scalar, Scalar]:
    z = head * head
    first = fma(z, -0.5, 1.0)
    rest = fma(-head, low, fma(z, -0.5, 1 - first))
    return first, fma(z * z, polynomial(z, _format(head).cosine), rest)


def _signed(result: Scalar, quadrant: Scalar) -> Scalar:
    """Negated in the quadrants 2 and 3 of 4."""
    return from_bits(bits(result) ^ ((quadrant & 2) << (8 * result.dtype.itemsize - 2)))


def _sine_of(reduced: Reduced, turn: int) -> Scalar:
    """sin(x + turn*pi/2)."""
    word, head, low = reduced
    quadrant = word + turn if turn else word
    sine, cosine = _sine_parts(head, low), _cosine_parts(head, low)
    odd = (quadrant & 1) != 0
    return _signed(select(odd, cosine[0], sine[0]) + select(odd, cosine[1], sine[1]), quadrant)


def _tangent_of(reduced: Reduced) -> Scalar:
    word, head, low = reduced
    sine, cosine = _sine_parts(head, low), _accurate_cosine_parts(head, low)
    odd = (word & 1) != 0
    numerator = [select(odd, -c, s) for s, c in zip(sine, cosine, strict=True)]
    denominator = [select(odd, s, c) for s, c in zip(sine, cosine, strict=True)]
    first, last = _normalized(*denominator)
    quotient, correction = divide(_normalized(*numerator), (first, last))
    return quotient + correction


def _normalized(head: Scalar, low: Scalar) -> tuple[Scalar, Scalar]:
    total = head + low
    return total, low - (total - head)


def _accurate_cosine_parts(head: Scalar, low: Scalar) -> tuple[Scalar, Scalar]:
    """With what head*head lost in rounding."""
    first, rest = _cosine_parts(head, low)
    return first, rest - fma(head, head, -(head * head)) * 0.5


def _large_sine(x: Scalar) -> Scalar:
    return select(abs(x) < math.inf, _sine_of(_reduce_exactly(x), 0), math.nan)


def _large_cosine(x: Scalar) -> Scalar:
    return select(abs(x) < math.inf, _sine_of(_reduce_exactly(x), 1), math.nan)


def _large_tangent(x: Scalar) -> Scalar:
    return select(abs(x) < math.inf, _tangent_of(_reduce_exactly(x)), math.nan)


# ---- float32 beyond its bound


def _wide_sine(n: Scalar, word: Scalar, x: Scalar) -> Scalar:
    """sin(x - n*pi) in float64, good enough to round to float32; negated for an odd word."""
    r = fma(-n, 2 * _HALF_PI[1], fma(-n, 2 * _HALF_PI[0], x))
    z = r * r
    return from_bits(bits(fma(r * z, polynomial(z, _WIDE_SINE), r)) ^ (bits(word) << 63))


def _medium_sine(x: Scalar) -> Scalar:
    wide = cast(x, "f8")
    word = fma(wide, 1 / math.pi, _SHIFT)
    return cast(rare(wide, _WIDE_BOUND, _large_sine, _wide_sine(word - _SHIFT, word, wide)), x.dtype)


def _medium_cosine(x: Scalar) -> Scalar:
    wide = cast(x, "f8")
    word = fma(wide, 1 / math.pi, 0.5) + _SHIFT
    return cast(rare(wide, _WIDE_BOUND, _large_cosine, _wide_sine((word - _SHIFT) - 0.5, word, wide)), x.dtype)


def _medium_tangent(x: Scalar) -> Scalar:
    wide = cast(x, "f8")
    return cast(rare(wide, _DOUBLE.bound, _large_tangent, _tangent_of(_reduce(wide))), x.dtype)


def _beyond_bound(x: Scalar, large: ScalarFunction, medium: ScalarFunction, usual: Scalar) -> Scalar:
    if x.dtype.itemsize == 8:
        return rare(x, _DOUBLE.bound, large, usual)
    return rare(x, _SINGLE.bound, medium, usual, optimized=True)


def sin(x: Scalar) -> Scalar:
    """Sine of radians, within 0.9 ULP for every finite argument; NaN at infinity."""
    result = _beyond_bound(x, _large_sine, _medium_sine, _sine_of(_reduce(x), 0))
    return select(x == 0, x, result)


def cos(x: Scalar) -> Scalar:
    """Cosine of radians, within 0.9 ULP for every finite argument; exactly 1 at 0, NaN at infinity."""
    return _beyond_bound(x, _large_cosine, _medium_cosine, _sine_of(_reduce(x), 1))


def tan(x: Scalar) -> Scalar:
    """Tangent of radians, within 1 ULP for every finite argument; NaN at infinity.

    The quotient of sine and cosine, both in two floats.
    """
    result = _beyond_bound(x, _large_tangent, _medium_tangent, _tangent_of(_reduce(x)))
    return select(x == 0, x, result)
