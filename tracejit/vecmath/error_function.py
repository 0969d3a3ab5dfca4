"""The error function and its kin."""

from __future__ import annotations

import math

from tracejit.vecmath.exponential import exp, exp2_rough, exp_sum
from tracejit.vecmath.hyperbolic import divide, two_sum
from tracejit.vecmath.language import Scalar, cast, copysign, fma, polynomial, select

# erf(x)/x - 1 in x*x, up to x = 1
_SMALL = (
    0.1283791670955126,
    -0.3761263890318375,
    0.11283791670954885,
    -0.02686617064507787,
    0.005223977624828394,
    -0.0008548326981423854,
    0.00012055331132907628,
    -1.4925595771306719e-05,
    1.6461008467805596e-06,
    -1.63503961546437e-07,
    1.4660328488810042e-08,
    -1.1374955602640097e-09,
    5.960686270120729e-11,
)
_SMALL_SINGLE = (
    0.12837916591378257,
    -0.376126271361246,
    0.11283600177950814,
    -0.026854444661274224,
    0.0051895354683885115,
    -0.0008020842384727007,
    7.889123075856147e-05,
)
# -log(erfc(x)), weighted by erfc(x), from x = 1 to where erf rounds to 1
_LARGE = (
    -2.6673285499729304e-08,
    1.1283795076568277,
    0.6366177164244359,
    0.10278041145911015,
    -0.01914938424741318,
    -0.00016703098855728665,
    0.0016300036991295894,
    -0.0005071132864751501,
    -5.851600555453503e-05,
    0.0001346305271860273,
    -7.74391177429527e-05,
    2.9775330934548135e-05,
    -8.722421284384328e-06,
    2.023043295608363e-06,
    -3.7473743149455186e-07,
    5.50503227584652e-08,
    -6.287896169062408e-09,
    5.390723924112231e-10,
    -3.2648529100869256e-11,
    1.2453259380518278e-12,
    -2.2489439768706955e-14,
)
_LARGE_SINGLE = (
    -0.00020435797496449825,
    1.1296611471071103,
    0.6330396346703347,
    0.10863897018602663,
    -0.02537353461786639,
    0.004282372463525067,
    -0.00046378502632298647,
    2.5314315140242425e-05,
    -2.512917983248061e-07,
)
# (1 + 2x)*exp(x*x)*erfc(x) in (x - 3)/(x + 3), from x = 0 to 28
_SCALED = (
    1.2530080582697296,
    -0.13562110612458114,
    -0.04756229435345094,
    0.1296451587027571,
    -0.11927366341529094,
    0.06830802734413406,
    -0.02377051491919511,
    0.0025293918129915363,
    0.0018886903668470837,
    -0.0007798322392178683,
    -0.00010515985577935327,
    0.0001250991413380285,
    4.949717032814511e-06,
    -2.0099709741329522e-05,
    -7.320644541123415e-07,
    3.4701475037511684e-06,
    3.575162230928811e-07,
    -6.127690505224705e-07,
    -1.417220216513006e-07,
    9.771649745346281e-08,
    4.106805860310299e-08,
    -1.0798918523492055e-08,
    -7.631592846638403e-09,
    3.209087781816887e-10,
    5.685150483327925e-10,
)

# the same, good to 2^-28
_SCALED_ROUGH = (
    1.2530080588381511,
    -0.13562106950358024,
    -0.04756234529912712,
    0.12964403850016581,
    -0.11927300583940302,
    0.06831782208207443,
    -0.023773086458188705,
    0.0024928915536250444,
    0.0018913043417496667,
    -0.000714521231962669,
    -0.00010223119207565306,
    6.953574919069343e-05,
)


def erf(x: Scalar) -> Scalar:
    """Error function, within 1 ULP in float64 and 1.2 in float32.

    x + x*P(x*x) up to 1; from there 1 - exp(-Q(x)), where Q need not be accurate as erfc is small.
    """
    single = x.dtype.itemsize == 4
    a = abs(x)
    end = 3.95 if single else 5.95
    z = x * x
    small = fma(x, polynomial(z, _SMALL_SINGLE if single else _SMALL), x)
    exponent = polynomial(select(a > end, end, a), _LARGE_SINGLE if single else _LARGE)
    return select(a < 1, small, copysign(1 - exp(-exponent), x))


def _complement(x: Scalar, low: Scalar) -> Scalar:
    """erfc(x + low) in float64, low tiny beside x: exp(-x*x) * P((x - 3)/(x + 3)) / (1 + 2*|x|).

    Schonfelder (Math. Comp. 32, 1978) approximates in such a variable; x*x is taken in two floats.
    """
    a = abs(x)
    a = select(a > 28, 28.0, a)
    low = select(a < 28, copysign(x.constant(1.0), x) * low, x.constant(0.0))
    square = a * a
    square_low = fma(a, a, -square) + a * low * 2
    denominator, error = two_sum(a * 2, x.constant(1.0))
    numerator = polynomial((a - 3) / (a + 3), _SCALED)
    quotient, correction = divide((numerator, x.constant(0.0)), (denominator, error + low * 2))
    power = exp_sum(-square, -square_low)
    result = fma(power, correction, power * quotient)
    result = select(x < 0, 2 - result, result)
    inner = fma(-x, polynomial(x * x, _SMALL), 0.5 - x) + 0.5
    return select(a < 0.5, inner, result)


def _complement_rough(x: Scalar) -> Scalar:
    """erfc(x) in float64, good enough to round to float32."""
    a = abs(x)
    a = select(a > 15, 15.0, a)
    quotient = polynomial((a - 3) / (a + 3), _SCALED_ROUGH) / fma(a, 2.0, 1.0)
    result = exp2_rough(a * a * (-1 / math.log(2.0))) * quotient
    return select(x < 0, 2 - result, result)


def erfc(x: Scalar) -> Scalar:
    """1 - erf(x), accurate in the tail too: within 3 ULP in float64, 1 in float32 (computed in float64)."""
    if x.dtype.itemsize == 4:
        return cast(_complement_rough(cast(x, "f8")), x.dtype)
    return _complement(x, x.constant(0.0))


def gelu(x: Scalar) -> Scalar:
    """x * Phi(x), Phi the normal distribution function: 0.5*x*(1 + erf(x/sqrt(2))).

    Evaluated as 0.5*x*erfc(-x/sqrt(2)), which does not cancel for negative x: within 4 ULP in float64, 1 in float32
    (computed in float64).
    """
    wide = cast(x, "f8")
    argument = wide * -math.sqrt(0.5)
    if x.dtype.itemsize == 4:
        complement = _complement_rough(argument)
    else:
        complement = _complement(argument, fma(wide, -math.sqrt(0.5), -argument) + wide * _ROOT_HALF_LOW)
    result = select(wide < -40, copysign(wide.constant(0.0), wide), wide * 0.5 * complement)
    return cast(result, x.dtype)


_ROOT_HALF_LOW = 4.833646656726457e-17
"""math.sqrt(0.5) - sqrt(1/2), so that both signs cancel in `gelu`."""
