"""Inverse trigonometric functions."""

from __future__ import annotations

import math
from typing import NamedTuple

from tracejit.vecmath.exponential import fast_two_sum
from tracejit.vecmath.hyperbolic import divide, two_sum
from tracejit.vecmath.language import Scalar, bits, copysign, fma, isnan, polynomial, select, sqrt


class _Format(NamedTuple):
    """Constants of a float format; angles as the nearest float and the rest."""

    quarter_pi: tuple[float, float]
    arctan: tuple[float, ...]  # (arctan(t) - t)/t**3 in t*t, up to tan(pi/8)
    arcsin: tuple[float, ...]  # (arcsin(s) - s)/s**3 in s*s, up to 1/2


_DOUBLE = _Format(
    (0.7853981633974483, 3.061616997868383e-17),
    (
        -0.33333333333333326,
        0.19999999999997692,
        -0.1428571428539078,
        0.11111111088350802,
        -0.09090908150778512,
        0.07692282900159578,
        -0.0666622884949758,
        0.05877042310422539,
        -0.052185365972736285,
        0.04504087703899976,
        -0.03348700506693736,
        0.015207914735075358,
    ),
    (
        0.16666666666666763,
        0.07499999999970093,
        0.044642857175290374,
        0.030381942675099145,
        0.022372215910386076,
        0.017351595428884724,
        0.013981019291937652,
        0.0113972875487202,
        0.010789348678234605,
        0.003672091697074195,
        0.02179085238178884,
        -0.021116982953148112,
        0.03270231232046105,
    ),
)
_SINGLE = _Format(
    (0.7853981852531433, -2.1855695000931213e-08),
    (
        -0.33333315497100213,
        0.19998488894545147,
        -0.14243837774535698,
        0.1059591558190766,
        -0.0608322399652216,
    ),
    (
        0.16666659852903182,
        0.07500512134172474,
        0.044515470616310275,
        0.031819823516482874,
        0.01439378755672138,
        0.037578184064663095,
    ),
)


def _format(x: Scalar) -> _Format:
    return _DOUBLE if x.dtype.itemsize == 8 else _SINGLE


def _arctangent(eighths: Scalar, quotient: Scalar, correction: Scalar) -> Scalar:
    """eighths*pi/4 + arctan(quotient + correction)."""
    form = _format(quotient)
    z = quotient * quotient
    tail = fma(quotient * z, polynomial(z, form.arctan), fma(-z, correction, correction))
    total, error = fast_two_sum(eighths * form.quarter_pi[0], quotient)
    return total + (error + fma(eighths, form.quarter_pi[1], tail))


_LOW, _HIGH = math.sqrt(2.0) - 1, math.sqrt(2.0) + 1  # tan(pi/8), tan(3*pi/8)


def _reduced(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """arctan(a/b) = eighths*pi/4 + arctan(quotient + correction): turned by pi/4 or pi/2 to be below pi/8.

    For a and b not negative, b (or else a) not 0; the quotient is in two floats.
    """
    zero = a.constant(0.0)
    low, high = a <= b * _LOW, a > b * _HIGH
    difference, sum_ = two_sum(a, -b), two_sum(a, b)
    numerator = select(low, a, select(high, -b, difference[0]))
    denominator = select(low, b, select(high, a, sum_[0]))
    middle = ~(low | high)
    errors = [select(middle, pair[1], zero) for pair in (difference, sum_)]
    eighths = select(low, zero, select(high, a.constant(2.0), a.constant(1.0)))
    quotient, correction = divide((numerator, errors[0]), (denominator, errors[1]))
    return eighths, quotient, correction


def arctan(x: Scalar) -> Scalar:
    """Inverse tangent, within 1 ULP: turned by multiples of pi/4 (the tangent's addition theorem), then an odd
    polynomial.
    """
    a = abs(x)
    bound = 2.0**60  # the angle is pi/2 rounded from far below here
    result = _arctangent(*_reduced(select(a > bound, bound, a), x.constant(1.0)))
    return select(a < 2.0**-30, x, copysign(result, x))


def arctan2(y: Scalar, x: Scalar) -> Scalar:
    """Angle of the point (y, x), within 1 ULP; zeros and infinities by C99, Annex F."""
    a, b = abs(y), abs(x)
    one, zero = x.constant(1.0), x.constant(0.0)
    infinite = (a == math.inf) | (b == math.inf)
    a = select(infinite, select(a == math.inf, one, zero), a)
    b = select(infinite, select(b == math.inf, one, zero), b)
    b = select((a == 0) & (b == 0), one, b)
    reach = 900 if x.dtype.itemsize == 8 else 100
    largest = select(a > b, a, b)
    scale = select(largest > 2.0**reach, 2.0**-100 if reach == 900 else 2.0**-25, one)
    scale = select(largest < 2.0**-reach, 2.0**100 if reach == 900 else 2.0**40, scale)
    eighths, quotient, correction = _reduced(a * scale, b * scale)
    left = bits(x) < 0
    eighths = select(left, 4 - eighths, eighths)
    quotient, correction = (select(left, -part, part) for part in (quotient, correction))
    result = copysign(_arctangent(eighths, quotient, correction), y)
    return select(isnan(x) | isnan(y), x + y, result)


def _arcsine_parts(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Whether |x| > 1/2; and head, tail with head + tail = arcsin(|x|), or arcsin(sqrt((1 - |x|)/2)) there."""
    a = abs(x)
    large = a > 0.5
    z = select(large, fma(a, -0.5, 0.5), a * a)
    root = sqrt(z)
    lost = fma(-root, root, z) * 0.5 / select(root > 0, root, 1.0)
    head = select(large, root, a)
    tail = fma(head * z, polynomial(z, _format(x).arcsin), select(large, lost, 0.0))
    return large, head, tail


def arcsin(x: Scalar) -> Scalar:
    """Inverse sine, within 1 ULP; NaN outside [-1, 1].

    An odd polynomial up to 1/2, and from there pi/2 - 2*arcsin(sqrt((1 - |x|)/2)).
    """
    large, head, tail = _arcsine_parts(x)
    quarter = _format(x).quarter_pi
    total, error = fast_two_sum(x.constant(2 * quarter[0]), head * -2)
    outer = total + (error + fma(tail, -2.0, 2 * quarter[1]))
    return copysign(select(large, outer, head + tail), x)


def arccos(x: Scalar) -> Scalar:
    """Inverse cosine, within 1 ULP; NaN outside [-1, 1]: pi/2 - arcsin(x), or twice an arcsine near the ends."""
    large, head, tail = _arcsine_parts(x)
    quarter = _format(x).quarter_pi
    zero, two = x.constant(0.0), x.constant(2.0)
    left = x < 0
    eighths = select(large, select(left, x.constant(4.0), zero), two)
    factor = select(large, select(left, -two, two), select(left, x.constant(1.0), x.constant(-1.0)))
    total, error = fast_two_sum(eighths * quarter[0], factor * head)
    return total + (error + fma(factor, tail, eighths * quarter[1]))
