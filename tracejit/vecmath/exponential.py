"""Exponentials: exp, exp2, expm1 and what is made of them.

All share one reduction: x = n*ln2 + r, ln2 in two parts so that n times the first is exact (Cody and Waite, Software
Manual for the Elementary Functions, 1980).  e^r is 1 + t, where the error of t = r + r^2*Q(r) counts double below 1, as
floats lie twice as close there; so r is not centred on 0 but from -0.288, where t > -1/4, to 0.405, where t < 1/2.
That costs one addition and keeps the sum within 0.9 ULP without any second float.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tracejit.vecmath.language import (
    Scalar,
    bits,
    copysign,
    fma,
    from_bits,
    ldexp,
    maximum,
    polynomial,
    select,
)
from tracejit.vecmath.logarithm import log1p_parts

_OFF_CENTRE = 0.0845
"""What is taken from x/ln2 before it is rounded to n."""


class _Format(NamedTuple):
    """What the exponentials need to know of a float format."""

    shift: float  # adding it rounds to an integer
    ln2: tuple[float, float]  # the first part has trailing zeros: n times it is exact
    ln2_full: tuple[float, float]  # the first part is the nearest float
    highest: float  # exp overflows well before the next integer
    lowest: float  # exp underflows to zero, and `ldexp` sees it by the exponent
    lowest_expm1: float  # expm1 rounds to -1
    tiny: float  # expm1(x) == x and tanh(x) == x from here down
    quotient: tuple[float, ...]  # (exp(r) - 1 - r) / r**2, off centre
    centred: tuple[float, ...]  # the same for |r| <= ln2/2


_DOUBLE = _Format(
    1.5 * 2.0**52,
    (0.693147180559663, 2.8235290563031577e-13),
    (0.6931471805599453, 2.3190468138462996e-17),
    711.0,
    -752.0,
    -40.0,
    2.0**-56,
    (
        0.4999999999999999,
        0.1666666666666774,
        0.041666666666685635,
        0.008333333332420853,
        0.0013888888885214116,
        0.0001984127247924917,
        2.4801576295753586e-05,
        2.755412066635687e-06,
        2.759021488212612e-07,
        2.6463050995940862e-08,
    ),
    (
        0.5000000000000012,
        0.166666666666667,
        0.04166666666652152,
        0.008333333333307717,
        0.0013888888945691382,
        0.00019841269916457308,
        2.4801491127302562e-05,
        2.7557217013669804e-06,
        2.7630905042535063e-07,
        2.5117662285121423e-08,
    ),
)
_SINGLE = _Format(
    1.5 * 2.0**23,
    (0.693145751953125, 1.428606765330187e-06),
    (0.6931471824645996, -1.904654299957768e-09),
    89.9,
    -110.0,
    -20.0,
    2.0**-26,
    (
        0.5000001892442512,
        0.16666572074769193,
        0.041658277648570614,
        0.008360188665937539,
        0.0014646230602804104,
    ),
    (
        0.5000000095182722,
        0.16666518839668035,
        0.04166620581124059,
        0.008368889354913504,
        0.001395049057128224,
    ),
)


def _format(x: Scalar) -> _Format:
    return _DOUBLE if x.dtype.itemsize == 8 else _SINGLE


def _clamp(x: Scalar, low: float, high: float) -> Scalar:
    """x within bounds; NaN stays."""
    above = select(x < low, low, x)
    return select(above > high, high, above)


def _integer(y: Scalar) -> Scalar:
    """y rounded to the nearest integer; |y| below 2^51 (2^22)."""
    shift = _format(y).shift
    return (y + shift) - shift


def _reduce(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """n, r and what r was rounded from: x = n*ln2 + r."""
    form = _format(x)
    n = (fma(x, 1 / math.log(2.0), -_OFF_CENTRE) + form.shift) - form.shift
    exact = fma(-n, form.ln2[0], x)
    return n, fma(-n, form.ln2[1], exact), exact


def _reduce_twice(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """n, r, and the rounding error of r."""
    n, r, exact = _reduce(x)
    return n, r, fma(-n, _format(x).ln2[1], exact - r)


def _tail(r: Scalar, error: Scalar) -> Scalar:
    """exp(r + error) - 1 - r, for a small error."""
    return fma(r * r, polynomial(r, _format(r).quotient), error)


def fast_two_sum(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    """a + b as the rounded sum and its error, for |a| >= |b| (Dekker, 1971)."""
    total = a + b
    return total, b - (total - a)


def exp(x: Scalar) -> Scalar:
    """Natural exponential, within 1 ULP over the full range, subnormal results included; exactly 1 at 0.

    Cody and Waite's reduction and a minimax polynomial.
    """
    form = _format(x)
    n, r, _ = _reduce(_clamp(x, form.lowest, form.highest))
    return ldexp(_tail(r, r) + 1, n)


def exp_parts(x: Scalar, power: float = 0.0) -> tuple[Scalar, Scalar]:
    """exp(x)*2^power as the unevaluated sum of two floats, good to 2 bits more than the format."""
    form = _format(x)
    n, r, _ = _reduce(_clamp(x, form.lowest, form.highest))
    head, low = fast_two_sum(x.constant(1.0), _tail(r, r))
    n = n + power if power else n
    return ldexp(head, n), ldexp(low, n)


def exp_sum(x: Scalar, low: Scalar) -> Scalar:
    """e to the x + low, `low` small."""
    form = _format(x)
    n, r, error = _reduce_twice(_clamp(x, form.lowest, form.highest))
    head = r + 1
    tail = _tail(r, x.constant(0.0))
    return ldexp(head + ((r - (head - 1)) + fma(error + low, head + tail, tail)), n)


def exp2(x: Scalar) -> Scalar:
    """2 to the x, within 1 ULP; exact for integers.

    x = n + f exactly; then e to the f*ln2.
    """
    form = _format(x)
    bounded = _clamp(x, form.lowest * 1.5, form.highest * 1.5)
    n = _integer(bounded)
    return _power_of_two(n, bounded - n, None)


def exp2_sum(x: Scalar, low: Scalar) -> Scalar:
    """2 to the x + low, for x within twice the exponent range and |low| < 1."""
    form = _format(x)
    n = _integer(x)
    f = x - n
    total = f + low
    error = low - (total - f)
    return _power_of_two(n, total, fma(total, form.ln2_full[1], error * form.ln2_full[0]))


def _power_of_two(n: Scalar, f: Scalar, rest: Scalar | None) -> Scalar:
    """2^n * e^(f*ln2 + rest)."""
    form = _format(f)
    r = f * form.ln2_full[0]
    quotient = polynomial(r, form.centred)
    tail = r * r * quotient if rest is None else fma(r * r, quotient, rest)
    return ldexp(fma(f, form.ln2_full[0], tail) + 1, n)


def exp2_rough(x: Scalar) -> Scalar:
    """2 to the x in float64 for |x| < 1000, relative error 2^-28: to be rounded to float32."""
    n = _integer(x)
    r = (x - n) * math.log(2.0)
    return ldexp(fma(r * r, polynomial(r, _SINGLE.centred), r + 1), n)


def expm1_parts(x: Scalar) -> tuple[Scalar, Scalar]:
    """(exp(x) - 1) / 8 as the unevaluated sum of two floats; an eighth, so that the power of two never overflows."""
    form = _format(x)
    n, r, error = _reduce_twice(_clamp(x, form.lowest_expm1, form.highest))
    scale = _power(n - 3)
    offset = scale - 0.125
    head = fma(scale, r, offset)
    low = fma(scale, r, offset - head) + ((scale - offset) - 0.125)
    return fast_two_sum(head, fma(scale, _tail(r, error), low))


def _power(n: Scalar) -> Scalar:
    """2^n for an integer n of a normal result."""
    mantissa, bias = (52, 1023) if n.dtype.itemsize == 8 else (23, 127)
    return from_bits(bits(n + (1.5 * 2.0**mantissa + bias)) << mantissa)


def expm1(x: Scalar) -> Scalar:
    """exp(x) - 1, within 1 ULP.

    2^n*(r + tail) + (2^n - 1), summed in two floats (Tang, ACM TOMS 18, 1992, reduces alike but with a table).
    """
    head, low = expm1_parts(x)
    return select(is_tiny(x), x, (head + low) * 8)


def is_tiny(x: Scalar) -> Scalar:
    """So near to 0 that an odd function with slope 1 there rounds to x itself."""
    return abs(x) < _format(x).tiny


def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + exp(-x)), within 1 ULP, subnormal results included.

    With a = exp(-|x|) it is 1/(1 + a) or a/(1 + a); the quotient is corrected by its remainder.
    """
    a, a_low = exp_parts(-abs(x))
    denominator = a + 1
    denominator_low = (a - (denominator - 1)) + a_low
    reciprocal = 1 / denominator
    numerator = select(x < 0, a, 1.0)
    numerator_low = select(x < 0, a_low, 0.0)
    quotient = numerator * reciprocal
    remainder = fma(-quotient, denominator, numerator) + (numerator_low - quotient * denominator_low)
    return fma(remainder, reciprocal, quotient)


_FAR = 40.0
"""exp(-_FAR) is lost beside it, and beside 1."""


def softplus(x: Scalar) -> Scalar:
    """log(1 + exp(x)) without overflow, within 1 ULP: max(x, 0) + log1p(exp(-|x|)), summed in two floats."""
    total, rest = log1p_parts(*exp_parts(-abs(x)))
    larger = select(x > 0, x, 0.0)
    near = larger + total
    result = near + (_lost(larger, total, near) + rest)
    return select(x > _FAR, x, select(x < -_FAR, exp(x), result))


def logaddexp(x: Scalar, y: Scalar) -> Scalar:
    """log(exp(x) + exp(y)) without overflow: max(x, y) + log1p(exp(-|x - y|)), summed in two floats.

    Within 1 ULP where the two terms do not cancel; where they do the error stays below 1 ULP of max(x, y).
    """
    larger = maximum(x, y)
    difference = select(x == y, x.constant(0.0), x - y)  # inf - inf is no NaN here
    lost = copysign(x.constant(1.0), difference) * _lost(x, -y, difference)
    power, power_low = exp_parts(-abs(difference))
    total, rest = log1p_parts(power, fma(-power, select(abs(lost) < 1, lost, 0.0), power_low))
    result = larger + total
    return select(abs(larger) < math.inf, result + (_lost(larger, total, result) + rest), larger)


def _lost(a: Scalar, b: Scalar, total: Scalar) -> Scalar:
    """What a + b lost in rounding to `total` (Knuth)."""
    virtual = total - a
    return (a - (total - virtual)) + (b - virtual)
