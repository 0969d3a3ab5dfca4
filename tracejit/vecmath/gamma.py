"""The gamma function: the logarithm of its magnitude, and the first two derivatives of that."""

from __future__ import annotations

import math

from tracejit.vecmath.hyperbolic import divide, two_sum
from tracejit.vecmath.language import Scalar, cast, estrin, fma, libm, polynomial, rare, rint, select
from tracejit.vecmath.logarithm import log_parts

# gammaln(2 + d)/d, from d = -1/2 to 1/2; and what its first two coefficients were rounded by
_GAMMALN = (
    0.42278433509846713,
    0.32246703342411326,
    -0.06735230105319817,
    0.020580808427780335,
    -0.0073855510286640995,
    0.002890510331036787,
    -0.0011927539121675337,
    0.0005096695153480948,
    -0.0002231547473197304,
    9.94576744052524e-05,
    -4.4926390687949145e-05,
    2.0505584341881426e-05,
    -9.438190019474612e-06,
    4.384732061472338e-06,
    -2.045983137756759e-06,
    9.199895170791179e-07,
    -4.28088135142973e-07,
    2.788004039989792e-07,
    -1.361439875890773e-07,
)
_GAMMALN_LOW = (5.056898721221677e-18, -2.2691631439415843e-17)
# (gammaln(x) - ((x - 1/2)*(log(x) - 1) + _STIRLING))*x in 1/x**2, from x = 5/2
_GAMMALN_TAIL = (
    0.08333333333333237,
    -0.0027777777766916237,
    0.000793650451233446,
    -0.0005951887376398412,
    0.0008377518555832188,
    -0.0017141432321672483,
    -0.0005269485921878702,
    0.13584521649896014,
    -2.6477439400726124,
    33.75357220597094,
    -306.2533977851823,
    1985.5760163051962,
    -8993.618419026576,
    27039.329354384885,
    -48482.09300485958,
    39233.269861713336,
)
_STIRLING = (0.4189385332046727, 1.6728209650585413e-17)
"""log(2*pi)/2 - 1/2, as the sum of two floats."""

_ROOT = (1.4616321449683622, 9.549995429965697e-17)
"""The positive root of digamma, as the sum of two floats."""

# digamma(z)*z*(z + 1)/(z - root) in z - 2, from z = 1 to 3
_DIGAMMA_ROOT = (
    4.711845231624632,
    2.362103964922518,
    0.1356122672948688,
    -0.01304556710090337,
    0.001928610014648969,
    -0.0003450802493690654,
    6.867188741088323e-05,
    -1.4598986210805742e-05,
    3.2424621457669554e-06,
    -7.422951290693479e-07,
    1.736431988722688e-07,
    -4.126472175054729e-08,
    9.91973899434408e-09,
    -2.405833873190267e-09,
    5.898346542867577e-10,
    -1.450039785567635e-10,
    3.371128115601296e-11,
    -8.214506660250238e-12,
    2.986454730923734e-12,
    -7.660215913115873e-13,
)
_DIGAMMA_ROOT_LOW = (-1.4855849578095027e-16, -1.5282795409740456e-16)
# (exp(digamma(v + 1/2)) - v)*v in 1/v**2, from v = 5/2
_DIGAMMA_TAIL = (
    0.04166666666665799,
    -0.006423611106408542,
    0.0035524820245564515,
    -0.003953471978084127,
    0.007360114941966292,
    -0.020548005595186884,
    0.07738985144773633,
    -0.34021886750541147,
    1.4726459158557295,
    -5.381605470821996,
    14.533999923460463,
    -24.881886590175355,
    19.91570790850305,
)
# (1/r - pi*cot(pi*r))/r*(1 - r*r) in r*r, up to r = 1/2
_COTANGENT = (
    3.289868133696453,
    -1.1252216662741794,
    -0.12996034345299204,
    -0.02653141159263486,
    -0.006165561634188215,
    -0.0014969846300603058,
    -0.0003696097275667761,
    -9.230219015650771e-05,
    -2.17086613835129e-05,
    -7.890107919042721e-06,
)
# trigamma(z)*z*z in z - 2, from z = 1 to 3
_TRIGAMMA_NEAR = (
    2.5797362673929056,
    0.9632810421161515,
    0.016357646105131022,
    -0.007079084079450797,
    0.002986858528451515,
    -0.0012324380505962132,
    0.0004986262990401161,
    -0.00019826118437045454,
    7.762754764659052e-05,
    -2.9982167185784848e-05,
    1.1440358040899572e-05,
    -4.318401547752525e-06,
    1.6143300834181733e-06,
    -5.983143592826269e-07,
    2.2030959739231619e-07,
    -8.052748746309284e-08,
    2.8841431609448436e-08,
    -1.0352086534044814e-08,
    4.128932526818851e-09,
    -1.5184833892326433e-09,
    2.6820926179290866e-10,
    -7.833449211391182e-11,
    1.3166208439516067e-10,
    -4.9343571359849895e-11,
)
_TRIGAMMA_NEAR_LOW = (1.1963448581237373e-16, -2.861495062248292e-17)
# (trigamma(v + 1/2)*v - 1)*v*v in 1/v**2, from v = 5/2
_TRIGAMMA_TAIL = (
    -0.08333333333332338,
    0.029166666659545457,
    -0.023065474411683592,
    0.03307269030339936,
    -0.07559224847547241,
    0.252104835738499,
    -1.1344817186297345,
    6.223821234370555,
    -36.46360074155119,
    199.97685059742722,
    -923.0433628581861,
    3290.2387905175055,
    -8296.123272678335,
    13011.597889978393,
    -9481.299771101734,
)
# ((pi/sin(pi*r))**2 - 1/r**2)*(1 - r*r)**2 in r*r, up to r = 1/2
_COSECANT = (
    3.289868133696453,
    -0.08579686512607979,
    0.4754199490077917,
    0.2041611493177297,
    0.07716699959762399,
    0.026692167946196294,
    0.008667207027312362,
    0.002685912633956818,
    0.0008126069135221453,
    0.0002141617220393814,
    0.00010015897612390009,
)


def gammaln(x: Scalar) -> Scalar:
    """log(|gamma(x)|): within 1 ULP for x > 0, near the roots 1 and 2 too; inf at 0, -1, -2, ... and -inf at -inf.

    Negative numbers go out of line to the C library's lgamma, whose error is relative to 1 near their roots.
    float32 is computed in float64.
    """
    wide = cast(x, "f8")
    negative = select(wide < 0, wide, 0.0)
    result = rare(negative, 0.0, _gammaln_of_negative, _gammaln_of_positive(wide))
    return cast(result, x.dtype)


def _gammaln_of_negative(x: Scalar) -> Scalar:
    return select(x == -math.inf, x, libm("lgamma", x))


def _gammaln_of_positive(x: Scalar) -> Scalar:
    """Stirling's formula from 5/2 on; below that a polynomial about 2 less log(x*(x + 1)), log(x) or nothing.

    All of it, and so the logarithm, in two floats.
    """
    far, middle, low = x >= 2.5, x >= 0.5, x < 1.5
    product = fma(x, x, x)
    argument = select(middle, x, product)
    rest = select(middle, x.constant(0.0), fma(x, x, x - product))
    inverse = 1 / select(argument > 2.0**-1000, argument, 1.0)
    logarithm, logarithm_low = log_parts(argument)
    logarithm_low = fma(rest, inverse, logarithm_low)
    stirling, stirling_low = _stirling(x, inverse, logarithm, logarithm_low)
    d = x - select(low, select(middle, x.constant(1.0), 0.0), 2.0)
    factor, factor_low = _polynomial_in_two(d, x.constant(0.0), _GAMMALN, _GAMMALN_LOW)
    head = d * factor
    head_low = fma(d, factor, -head) + d * factor_low
    total, error = two_sum(head, select(low, -logarithm, 0.0))
    near_low = error + (head_low - select(low, logarithm_low, 0.0))
    result = select(far, stirling, total) + select(far, stirling_low, near_low)
    result = select(stirling < math.inf, result, stirling)
    return select(x == 0, math.inf, result)


def _stirling(x: Scalar, inverse: Scalar, logarithm: Scalar, logarithm_low: Scalar) -> tuple[Scalar, Scalar]:
    """(x - 1/2)*(log(x) - 1) + constant + tail(1/x), as the sum of two floats; from e on nothing cancels."""
    factor = x - 0.5
    factor_low = (x - factor) - 0.5
    less, lost = two_sum(logarithm, x.constant(-1.0))
    head = factor * less
    low = fma(factor, less, -head) + fma(factor, lost + logarithm_low, factor_low * less)
    total, error = two_sum(head, x.constant(_STIRLING[0]))
    tail = inverse * estrin(inverse * inverse, _GAMMALN_TAIL)
    return total, error + (low + _STIRLING[1]) + tail


def _polynomial_in_two(
    d: Scalar, low: Scalar, coefficients: tuple[float, ...], lost: tuple[float, float]
) -> tuple[Scalar, Scalar]:
    """A polynomial at d + low as the sum of two floats; `lost` is what its first coefficients were rounded by."""
    curvature = estrin(d, coefficients[2:])
    slope = fma(d, curvature, coefficients[1])
    slope_low = fma(d, curvature, coefficients[1] - slope) + lost[1]
    result = fma(d, slope, coefficients[0])
    error = fma(d, slope, coefficients[0] - result) + lost[0]
    return result, fma(low, slope, fma(d, slope_low, error))


def digamma(x: Scalar) -> Scalar:
    """The derivative of gammaln: within 1 ULP for x > 0, near its root too, and with a small absolute error below 0.

    At z = 1 + |x|, for x < 1, or x itself, and from there by digamma(x) = digamma(1 + x) - 1/x and
    digamma(-x) = digamma(1 + x) + pi*cot(pi*x); in two floats.  float32 is computed in float64.
    """
    wide = cast(x, "f8")
    a = abs(wide)
    after, after_low = _digamma_after(select(wide < 1, a, wide - 1))
    pole = select(wide < 0, a - rint(a), -wide)
    inverse, inverse_low = _reciprocal(pole)
    z = pole * pole
    regular = pole * polynomial(z, _COTANGENT) / (1 - z)
    total, error = two_sum(after, inverse)
    left = total + (error + (after_low + inverse_low) - select(wide < 0, regular, 0.0))
    left = select(abs(inverse) < math.inf, left, inverse)
    left = select((pole == 0) & (wide < 0), math.nan, left)
    result = select(wide < 1, left, after + after_low)
    return cast(select(a < math.inf, result, select(wide < 0, math.nan, wide)), x.dtype)


def _reciprocal(x: Scalar) -> tuple[Scalar, Scalar]:
    """1/x as the sum of two floats."""
    inverse = 1 / x
    return inverse, inverse * fma(-inverse, x, 1.0)


def _digamma_after(below: Scalar) -> tuple[Scalar, Scalar]:
    """digamma(1 + below) in two floats, below >= 0 exact; from 3 on as the logarithm of little less than that."""
    z, z_low = two_sum(below, below.constant(1.0))
    w, w_low = two_sum(below, below.constant(-1.0))
    factor = _polynomial_in_two(w, w_low, _DIGAMMA_ROOT, _DIGAMMA_ROOT_LOW)
    square = z * z
    denominator, error = two_sum(square, z)
    quotient, quotient_low = divide(factor, (denominator, error + fma(z, z, -square) + z_low * fma(z, 2.0, 1.0)))
    distance, lost = two_sum(below, below.constant(1 - _ROOT[0]))
    near = distance * quotient
    near_low = fma(distance, quotient, -near) + fma(distance, quotient_low, (lost - _ROOT[1]) * quotient)
    v, inverse, s = _from_half(below)
    total, error = two_sum(v, inverse * polynomial(s, _DIGAMMA_TAIL))
    far, far_low = log_parts(total)
    return select(below < 2, near, far), select(below < 2, near_low, fma(error, inverse, far_low))


def _from_half(below: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """v = 1/2 + below, 1/v, 1/v**2; from 5/2 on, and finite."""
    v = select((below >= 2) & (below < math.inf), below + 0.5, 2.5)
    inverse = 1 / v
    return v, inverse, inverse * inverse


def trigamma(x: Scalar) -> Scalar:
    """The derivative of digamma: within 1 ULP for x > 0, 2 below.

    At z = 1 + |x|, for x < 1, or x itself, and from there by trigamma(x) = trigamma(1 + x) + 1/x**2 and
    trigamma(-x) = (pi/sin(pi*x))**2 - trigamma(1 + x); in two floats.  float32 is computed in float64.
    """
    wide = cast(x, "f8")
    a = abs(wide)
    negative = wide < 0
    after, after_low = _trigamma_after(select(wide < 1, a, wide - 1))
    pole = select(negative, a - rint(a), wide)
    inverse, inverse_low = _reciprocal(pole)
    square = inverse * inverse
    square_low = fma(inverse, inverse, -square) + inverse * inverse_low * 2
    z = pole * pole
    regular = 1 - z
    rest = select(negative, polynomial(z, _COSECANT) / (regular * regular), 0.0)
    total, error = two_sum(square, select(negative, -after, after))
    left = total + (error + (square_low + select(negative, -after_low, after_low)) + rest)
    left = select(square < math.inf, left, square)
    result = select(wide < 1, left, after + after_low)
    return cast(select(a < math.inf, result, select(negative, math.nan, 1 / wide)), x.dtype)


def _trigamma_after(below: Scalar) -> tuple[Scalar, Scalar]:
    """trigamma(1 + below) in two floats, below >= 0."""
    z, z_low = two_sum(below, below.constant(1.0))
    w, w_low = two_sum(below, below.constant(-1.0))
    factor = _polynomial_in_two(w, w_low, _TRIGAMMA_NEAR, _TRIGAMMA_NEAR_LOW)
    square = z * z
    near, near_low = divide(factor, (square, fma(z, z, -square) + z * z_low * 2))
    v, inverse, s = _from_half(below)
    rest = inverse * fma(-inverse, v, 1.0)
    far_low = fma(inverse * s, polynomial(s, _TRIGAMMA_TAIL), rest)
    return select(below < 2, near, inverse), select(below < 2, near_low, far_low)
