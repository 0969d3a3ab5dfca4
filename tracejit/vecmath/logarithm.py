"""Logarithms: log, log2, log10 and log1p.

x = 2^k * m with m in [sqrt(1/2), sqrt(2)), f = m - 1.  With s = f/(2 + f), log(1 + f) = 2*atanh(s) is rewritten as
f - f^2/2 + s*(f^2/2 + s^2*R(s^2)) (the form of Sun's fdlibm, 1993), whose leading part f - f^2/2 is kept in two
floats; so what is added to k*log(2) is good to a few bits more than the format.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tracejit.vecmath.language import Scalar, bits, cast, fma, from_bits, polynomial, select

Pair = tuple[float, float]


class _Format(NamedTuple):
    """What the logarithms need to know of a float format."""

    unsigned: str
    mantissa: int
    bias: int
    root_half: int  # the bits of sqrt(1/2)
    smallest: float  # the smallest normal number
    tiny: float  # log1p(x) == x from here down
    series: tuple[float, ...]  # R: (2*atanh(s) - 2*s)/s**3 in s*s
    ln2: Pair  # the logarithms of 2: a first part that k times is exact, and the rest
    log10_2: Pair
    log2_e: Pair  # factors from the natural logarithm: the nearest float, and the rest
    log10_e: Pair


_DOUBLE = _Format(
    "u8",
    52,
    1023,
    0x3FE6A09E667F3BCD,
    2.0**-1022,
    2.0**-56,
    (
        0.6666666666666734,
        0.3999999999941432,
        0.28571428742474686,
        0.22222198563501805,
        0.18183564865948726,
        0.15314035851348762,
        0.14796105300627513,
    ),
    (0.693147180559663, 2.8235290563031577e-13),
    (0.30102999566383914, 1.42050232272661e-13),
    (1.4426950408889634, 2.0355273740931033e-17),
    (0.4342944819032518, 1.098319650216765e-17),
)
_SINGLE = _Format(
    "u4",
    23,
    127,
    0x3F3504F3,
    2.0**-126,
    2.0**-26,
    (0.6666666564503919, 0.40000335294028444, 0.28537301494386547, 0.235822936476052),
    (0.693145751953125, 1.428606765330187e-06),
    (0.301025390625, 4.605039066518657e-06),
    (1.4426950216293335, 1.9259629911266175e-08),
    (0.4342944920063019, -1.0103050052231683e-08),
)


def _format(x: Scalar) -> _Format:
    return _DOUBLE if x.dtype.itemsize == 8 else _SINGLE


def split_exponent(x: Scalar) -> tuple[Scalar, Scalar]:
    """k (as a float) and m in [sqrt(1/2), sqrt(2)) with x = 2^k * m, for x positive and finite."""
    form = _format(x)
    steps = form.mantissa + 2
    subnormal = x < form.smallest
    word = cast(bits(select(subnormal, x * 2.0**steps, x)), form.unsigned)
    shifted = word + ((form.bias << form.mantissa) - form.root_half)
    exponent = shifted >> form.mantissa
    # an integer in the low bits of 2^mantissa is a float: no conversion instruction is needed
    signed = bits(x).dtype
    base = (form.bias + form.mantissa) << form.mantissa
    k = from_bits(cast(exponent | base, signed)) - (2.0**form.mantissa + form.bias)
    k = k - select(subnormal, x.constant(steps), x.constant(0.0))
    m = from_bits(cast((shifted & ((1 << form.mantissa) - 1)) + form.root_half, signed))
    return k, m


def _parts(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """k, head, low: log(x) = k*log(2) + head + low."""
    k, m = split_exponent(x)
    f = m - 1
    s = f / (f + 2)
    z = s * s
    half = f * 0.5
    square = half * f
    head = f - square
    low = ((f - head) - square) - fma(half, f, -square)
    return k, head, fma(s, fma(z, polynomial(z, _format(x).series), square), low)


def _sum_parts(k: Scalar, head: Scalar, low: Scalar, log_2: Pair) -> tuple[Scalar, Scalar]:
    """k*log_2 + head + low in two floats; the first product is exact, and no smaller than head unless k is 0."""
    whole = k * log_2[0]
    total = whole + head
    return total, (head - (total - whole)) + fma(k, log_2[1], low)


def _sum(k: Scalar, head: Scalar, low: Scalar, log_2: Pair) -> Scalar:
    total, rest = _sum_parts(k, head, low, log_2)
    return total + rest


def _scaled(head: Scalar, low: Scalar, factor: Pair) -> tuple[Scalar, Scalar]:
    product = head * factor[0]
    return product, fma(head, factor[0], -product) + fma(head, factor[1], low * factor[0])


def _outside(x: Scalar, result: Scalar) -> Scalar:
    """The result with NaN, inf, 0 and negative numbers put right."""
    result = select(x < math.inf, result, x)
    result = select(x == 0, -math.inf, result)
    return select(x < 0, math.nan, result)


def log(x: Scalar) -> Scalar:
    """Natural logarithm, within 0.6 ULP; exact at 1, subnormal arguments included."""
    return _outside(x, _sum(*_parts(x), _format(x).ln2))


def log2(x: Scalar) -> Scalar:
    """Logarithm to base 2, within 0.7 ULP; exact at powers of 2."""
    k, head, low = _parts(x)
    return _outside(x, _sum(k, *_scaled(head, low, _format(x).log2_e), (1.0, 0.0)))


def log2_rough(x: Scalar) -> Scalar:
    """Logarithm to base 2 of a positive finite float64, good to about 2^-50 of the larger of 1 and the result."""
    k, m = split_exponent(x)
    f = m - 1
    s = f / (f + 2)
    z = s * s
    return fma(fma(s * z, polynomial(z, _DOUBLE.series), s * 2), _DOUBLE.log2_e[0], k)


def log10(x: Scalar) -> Scalar:
    """Logarithm to base 10, within 0.7 ULP."""
    k, head, low = _parts(x)
    return _outside(x, _sum(k, *_scaled(head, low, _format(x).log10_e), _format(x).log10_2))


def log_parts(x: Scalar) -> tuple[Scalar, Scalar]:
    """log(x) in two floats, for x positive and finite."""
    return _sum_parts(*_parts(x), _format(x).ln2)


def log_of_sum(u: Scalar, rest: Scalar) -> Scalar:
    """log(u + rest) for u positive and finite, rest tiny beside it."""
    k, head, low = _parts(u)
    return _sum(k, head, low + rest / u, _format(u).ln2)


def log1p_sum(x: Scalar, rest: Scalar) -> Scalar:
    """log(1 + x + rest) for x > -1 finite, rest tiny beside x."""
    u = x + 1
    virtual = u - 1
    return log_of_sum(u, (1 - (u - virtual)) + (x - virtual) + rest)  # Knuth's two-sum


def log1p_parts(x: Scalar, rest: Scalar) -> tuple[Scalar, Scalar]:
    """log(1 + x + rest) in two floats, for x from 0 to 1, rest tiny beside x."""
    u = x + 1
    k, head, low = _parts(u)
    return _sum_parts(k, head, low + ((x - (u - 1)) + rest) / u, _format(u).ln2)


def log1p(x: Scalar) -> Scalar:
    """log(1 + x), within 1 ULP: the rounding error of 1 + x is carried along (Kahan's idea)."""
    result = log1p_sum(x, x.constant(0.0))
    result = select(abs(x) < _format(x).tiny, x, result)
    result = select(x < math.inf, result, x)
    result = select(x == -1, -math.inf, result)
    return select(x < -1, math.nan, result)
