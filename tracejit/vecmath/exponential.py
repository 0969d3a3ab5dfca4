"""Exponentials: exp, exp2, expm1 and what is made of them.

All share one reduction: x = n*ln2 + r with |r| <= ln2/2, ln2 in two parts so that n times the first is exact (Cody and
Waite, Software Manual for the Elementary Functions, 1980).  e^r is 1 + r + tail, where `tail` carries r^2*Q(r) and the
rounding error of r, and is added last, to the low half of 1 + r (Muller et al., Handbook of Floating-Point Arithmetic,
ch. 4): so little is lost before the final rounding.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tracejit.vecmath.language import Scalar, bits, cast, fma, from_bits, maximum, polynomial, select
from tracejit.vecmath.logarithm import log1p


class _Format(NamedTuple):
    """What the exponentials need to know of a float format."""

    unsigned: str
    mantissa: int
    shift: float  # adding it rounds to an integer n and leaves n + 2*bias in the low bits
    ln2: tuple[float, float]  # the first part has trailing zeros: n times it is exact
    ln2_full: tuple[float, float]  # the first part is the nearest float
    highest: float  # exp overflows well before the next integer
    lowest: float  # exp underflows to zero
    lowest_expm1: float  # expm1 rounds to -1
    tiny: float  # expm1(x) == x and tanh(x) == x from here down
    quotient: tuple[float, ...]  # (exp(r) - 1 - r) / r**2


_DOUBLE = _Format(
    "u8",
    52,
    1.5 * 2.0**52 + 2046,
    (0.693147180559663, 2.8235290563031577e-13),
    (0.6931471805599453, 2.3190468138462996e-17),
    711.0,
    -746.0,
    -40.0,
    2.0**-56,
    (
        0.5,
        0.16666666666666685,
        0.04166666666666673,
        0.008333333333316737,
        0.0013888888888858547,
        0.00019841269897060554,
        2.4801587373544892e-05,
        2.7557234235351746e-06,
        2.75572335192613e-07,
        2.5112240298596922e-08,
        2.092689604623458e-09,
    ),
)
_SINGLE = _Format(
    "u4",
    23,
    1.5 * 2.0**23 + 254,
    (0.693145751953125, 1.428606765330187e-06),
    (0.6931471824645996, -1.904654299957768e-09),
    89.9,
    -105.0,
    -20.0,
    2.0**-26,
    (
        0.5000000077904839,
        0.16666666860701124,
        0.04166626993710323,
        0.008333264354085696,
        0.0013946073639607532,
        0.00019918385823773608,
    ),
)


def _format(x: Scalar) -> _Format:
    return _DOUBLE if x.dtype.itemsize == 8 else _SINGLE


def _clamp(x: Scalar, low: float, high: float) -> Scalar:
    """x within bounds; NaN stays."""
    return select(x > high, high, select(x < low, low, x))


def _reduce(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """r, its rounding error, and the word with n in its low bits: x = n*ln2 + r."""
    form = _format(x)
    word = fma(x, 1 / math.log(2.0), form.shift)
    n = word - form.shift
    exact = fma(-n, form.ln2[0], x)
    r = fma(-n, form.ln2[1], exact)
    return r, fma(-n, form.ln2[1], exact - r), word


def _tail(r: Scalar, error: Scalar) -> Scalar:
    """exp(r + error) - 1 - r, for a small error."""
    return fma(r * r, polynomial(r, _format(r).quotient), error)


def _scale(word: Scalar) -> tuple[Scalar, Scalar]:
    """Two powers of two whose product is 2^n: neither over- nor underflows where the product does."""
    form = _format(word)
    low = cast(bits(word), form.unsigned)
    half = low >> 1
    signed = bits(word).dtype
    first, second = (from_bits(cast(part << form.mantissa, signed)) for part in (half, low - half))
    return first, second


def fast_two_sum(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    """a + b as the rounded sum and its error, for |a| >= |b| (Dekker, 1971)."""
    total = a + b
    return total, b - (total - a)


def exp_parts(x: Scalar, factor: float = 1.0) -> tuple[Scalar, Scalar]:
    """exp(x) times a power of two as the unevaluated sum of two floats; it overflows no sooner than the product."""
    form = _format(x)
    r, error, word = _reduce(_clamp(x, form.lowest, form.highest))
    rough = r + 1
    head, low = fast_two_sum(rough, (r - (rough - 1)) + _tail(r, error))
    first, second = _scale(word)
    first = first * factor
    return head * first * second, low * first * second


def _exponential(r: Scalar, error: Scalar, word: Scalar) -> Scalar:
    """exp(r + error)*2^n: the error of the exponent counts in proportion to the result."""
    head = r + 1
    tail = r * r * polynomial(r, _format(r).quotient)
    first, second = _scale(word)
    return (head + ((r - (head - 1)) + fma(error, head + tail, tail))) * first * second


def exp(x: Scalar) -> Scalar:
    """Natural exponential, within 0.7 ULP over the full range, subnormal results included; exactly 1 at 0.

    Cody and Waite's reduction and a minimax polynomial.
    """
    form = _format(x)
    return _exponential(*_reduce(_clamp(x, form.lowest, form.highest)))


def exp_sum(x: Scalar, low: Scalar) -> Scalar:
    """e to the x + low, `low` small."""
    form = _format(x)
    r, error, word = _reduce(_clamp(x, form.lowest, form.highest))
    return _exponential(r, error + low, word)


def exp2(x: Scalar) -> Scalar:
    """2 to the x, within 0.75 ULP; exact for integers.

    x = n + f exactly; then e to the f*ln2, the product taken in two parts.
    """
    form = _format(x)
    return exp2_sum(_clamp(x, form.lowest * 1.5, form.highest * 1.5), x.constant(0.0))


def exp2_sum(x: Scalar, low: Scalar) -> Scalar:
    """2 to the x + low, for x within twice the exponent range and a small `low`."""
    form = _format(x)
    word = x + form.shift
    f = x - (word - form.shift)
    r = f * form.ln2_full[0]
    error = fma(f, form.ln2_full[0], -r) + fma(f, form.ln2_full[1], low * form.ln2_full[0])
    return _exponential(r, error, word)


def exp2_rough(x: Scalar) -> Scalar:
    """2 to the x in float64 for |x| < 1000, relative error 2^-33: to be rounded to float32."""
    word = x + _DOUBLE.shift
    r = (x - (word - _DOUBLE.shift)) * math.log(2.0)
    scale = from_bits(cast((cast(bits(word), "u8") - 1023) << 52, "i8"))
    return fma(r * r, polynomial(r, _SINGLE.quotient), r + 1) * scale


def expm1_parts(x: Scalar) -> tuple[Scalar, Scalar]:
    """(exp(x) - 1) / 8 as the unevaluated sum of two floats; an eighth, so that the power of two never overflows."""
    form = _format(x)
    r, error, word = _reduce(_clamp(x, form.lowest_expm1, form.highest))
    bias = 1023 if form.mantissa == 52 else 127
    low_bits = cast(bits(word), form.unsigned) - (bias + 3)
    scale = from_bits(cast(low_bits << form.mantissa, bits(word).dtype))  # 2^(n-3)
    offset = scale - 0.125
    head = fma(scale, r, offset)
    low = fma(scale, r, offset - head) + ((scale - offset) - 0.125)
    return fast_two_sum(head, fma(scale, _tail(r, error), low))


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


def softplus(x: Scalar) -> Scalar:
    """log(1 + exp(x)) without overflow, within 2 ULP: max(x, 0) + log1p(exp(-|x|))."""
    return maximum(x, 0.0) + log1p(exp(-abs(x)))


def logaddexp(x: Scalar, y: Scalar) -> Scalar:
    """log(exp(x) + exp(y)) without overflow: max(x, y) + log1p(exp(-|x - y|)).

    Within 2 ULP where the two terms do not cancel; where they do the error stays below 2 ULP of max(x, y).
    """
    difference = select(x == y, x.constant(0.0), x - y)  # inf - inf is no NaN here
    return maximum(x, y) + log1p(exp(-abs(difference)))
