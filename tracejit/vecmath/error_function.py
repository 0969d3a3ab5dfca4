"""The error function and its kin."""

from __future__ import annotations

from typing import NamedTuple

from tracejit.vecmath.language import Scalar, bits, copysign, estrin, fma, from_bits, ldexp, rint, select

Pair = tuple[float, float]


class _Format(NamedTuple):
    """What the error functions need to know of a float format; pairs are the nearest float and the rest."""

    end: float  # erf rounds to 1
    small: tuple[float, ...]  # erf(x)/x - 1 in x*x - 1/2, up to x = 1
    exponent: float  # -log2(erfc(_CENTER))
    large: tuple[float, ...]  # (-log2(erfc(x)) - exponent)/(x - _CENTER) in x - _CENTER, from x = 0.97
    power: tuple[float, ...]  # (2**f - 1 - f*log(2))/f**2 up to |f| = 1/2
    last: float  # erfc rounds to 0 from here on
    first_scaled_low: float  # what the first of `scaled` was rounded by
    scaled: tuple[float, ...]  # (1 + 2*x)*exp(x*x)*erfc(x) in 1/(x + 5/2) - 3/16, from x = 1/2 to last
    log2_e: Pair
    ln2: Pair
    root_half: Pair
    shift: float  # adding it rounds to an integer n, and leaves n in the low bits
    bias: int
    mantissa: int


_CENTER = 1.048828125
"""The logarithm of erfc is next to a float64, and to a float32, here."""

_DOUBLE = _Format(
    5.95,
    (
        -0.0345312613301327,
        -0.2810721780454342,
        0.07940998675593687,
        -0.018283884489153128,
        0.003480274496570145,
        -0.0005611894221110209,
        7.829649688394361e-05,
        -9.614808732321342e-06,
        1.0536323834120392e-06,
        -1.0420351244248416e-07,
        9.432321235528345e-09,
        -7.801189491129222e-10,
    ),
    2.857223267054081,
    (
        3.9264314061437364,
        1.2249260746089587,
        0.05719992395844477,
        -0.013791476312904156,
        0.0027515500357242935,
        -0.00035285766821948266,
        -2.3757665050229933e-05,
        3.3417263237467084e-05,
        -1.2469342195620054e-05,
        2.881595715756463e-06,
        -3.17782162555278e-07,
        -6.582688061812802e-08,
        4.425556731335264e-08,
        -1.2050371962131026e-08,
        1.9711781061429807e-09,
        -1.8778317028532533e-10,
        8.046210714485571e-12,
    ),
    (
        0.24022650695910125,
        0.05550410866482168,
        0.009618129107595668,
        0.0013333558146388096,
        0.00015403530455585654,
        1.525273386129446e-05,
        1.3215435903174268e-06,
        1.0178048469346537e-07,
        7.073693619007892e-09,
        4.457142566634443e-10,
    ),
    28.0,
    4.592588708136744e-18,
    (
        1.2568410160634291,
        0.6649282785172858,
        -1.7950527761417927,
        -16.6462645964944,
        -57.94469889576303,
        -102.3712543800926,
        -14.356846710098893,
        316.43825503364206,
        323.1973690713006,
        -1080.1233151907215,
        -1594.7102655007918,
        4969.185692862485,
        6134.741911679129,
        -28150.000622118954,
        -12060.542716915983,
        165451.71076402286,
        -107867.39553161342,
        -856485.4214500643,
        1766402.1253375958,
        3172364.621909008,
        -14086705.889496678,
        -5325680.034133819,
        56912275.71550633,
    ),
    (1.4426950408889634, 2.0355273740931033e-17),
    (0.6931471805599453, 2.3190468138462996e-17),
    (0.7071067811865476, -4.833646656726457e-17),
    1.5 * 2.0**52,
    1023,
    52,
)
_SINGLE = _Format(
    3.95,
    (
        -0.03453126139482005,
        -0.28107219456225474,
        0.07940999322092485,
        -0.01828335624378255,
        0.003480166987551365,
        -0.0005654105461970162,
        7.889123075856147e-05,
    ),
    2.8572232723236084,
    (
        3.9264316205828313,
        1.2249271917609876,
        0.05717123115209539,
        -0.013678546159155381,
        0.0025887998986880495,
        -0.00027642144240469524,
    ),
    (
        0.24022651143312562,
        0.055503619646641404,
        0.009618023704683417,
        0.0013390305095867428,
        0.00015471618098499904,
    ),
    10.5,
    -4.8682407216560364e-08,
    (
        1.2568410148170435,
        0.6649282057598612,
        -1.7950485289509421,
        -16.6461896592293,
        -57.94713658306909,
        -102.38975776496663,
        -13.841848285374084,
        317.63868947177474,
        276.57431210686457,
        -1035.4775841063004,
    ),
    (1.4426950216293335, 1.9259629911266175e-08),
    (0.6931471824645996, -1.904654299957768e-09),
    (0.7071067690849304, 1.210161710447897e-08),
    1.5 * 2.0**23,
    127,
    23,
)


def _format(x: Scalar) -> _Format:
    return _DOUBLE if x.dtype.itemsize == 8 else _SINGLE


def erf(x: Scalar) -> Scalar:
    """Error function, within 1 ULP.

    x + x*P(x*x) up to 0.97; from there 1 - 2**-Q(x), where Q need not be accurate as erfc is small.  Both polynomials
    are in variables that vanish amid the interval, or where errors count most; so little is lost by rounding.
    """
    form = _format(x)
    a = abs(x)
    small = fma(x, estrin(fma(x, x, -0.5), form.small), x)
    b = select(a > form.end, form.end, a) - _CENTER
    slope = estrin(b, form.large)
    shift = form.shift + form.bias
    word = shift - fma(b, slope, form.exponent)
    fraction = fma(-b, slope, (shift - word) - form.exponent)
    scale = from_bits(bits(word) << form.mantissa)
    large = fma(-scale, estrin(fraction, (1.0, form.ln2[0], *form.power)), 1.0)
    return select(a < 0.97, small, copysign(large, x))


class _Complement(NamedTuple):
    """erfc(s + low) is `near` if |s| < 0.66; else erfc(|s + low|) is far * 2**n.  Both are sums of two floats."""

    is_near: Scalar
    near: tuple[Scalar, Scalar]
    far: tuple[Scalar, Scalar]
    n: Scalar


def _complement(s: Scalar, low: Scalar) -> _Complement:
    """The complementary error function of s + low, `low` tiny.

    1 - s - s*P(s*s); or exp(-s*s)/(1 + 2s) times a polynomial that hardly varies, in 1/(s + 5/2): such a variable is
    Schonfelder's (Math. Comp. 32, 1978).  One division gives both reciprocals.
    """
    form = _format(s)
    near = 1 - s
    near_low = ((1 - near) - s) - fma(s, estrin(fma(s, s, -0.5), form.small), low)
    inside = abs(s) < form.last
    a = select(inside, abs(s), select(abs(s) >= form.last, form.last, s))
    low = select(inside, select(s < 0, -low, low), 0.0)
    n, power, power_low = _exponential_of_square(a, low)
    denominator = fma(a, 2.0, 1.0)
    shifted = a + 2.5
    inverse = 1 / (denominator * shifted)
    t, reciprocal = fma(denominator, inverse, -0.1875), shifted * inverse
    error = (1 - (denominator - a * 2)) + low * 2
    reciprocal_low = reciprocal * (fma(-reciprocal, denominator, 1.0) - reciprocal * error)
    slope = estrin(t, form.scaled[1:])
    scaled = fma(t, slope, form.scaled[0])
    scaled_low = fma(t, slope, form.scaled[0] - scaled) + form.first_scaled_low
    quotient, quotient_low = _product((scaled, scaled_low), (reciprocal, reciprocal_low))
    return _Complement(abs(s) < 0.66, (near, near_low), _product((quotient, quotient_low), (power, power_low)), n)


def _product(a: tuple[Scalar, Scalar], b: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
    head = a[0] * b[0]
    return head, fma(a[0], b[0], -head) + fma(a[0], b[1], a[1] * b[0])


def _exponential_of_square(a: Scalar, low: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """n, head, low with exp(-(a + low)**2) = 2**n*(head + low)."""
    form = _format(a)
    square = a * a
    square_low = fma(a, a, -square) + a * low * 2
    exponent = square * -form.log2_e[0]
    lost = fma(square, -form.log2_e[0], -exponent)
    exponent_low = fma(square_low, -form.log2_e[0], fma(square, -form.log2_e[1], lost))
    n = rint(exponent)
    f = exponent - n
    r = f * form.ln2[0]
    error = fma(f, form.ln2[0], -r) + fma(f, form.ln2[1], exponent_low * form.ln2[0])
    head = r + 1
    tail = f * f * estrin(f, form.power)
    return n, head, (r - (head - 1)) + fma(error, head + tail, tail)


def erfc(x: Scalar) -> Scalar:
    """1 - erf(x), accurate in the tail too: within 1 ULP."""
    is_near, near, far, n = _complement(x, x.constant(0.0))
    positive = ldexp(far[0] + far[1], n)
    return select(is_near, near[0] + near[1], select(x < 0, 2 - positive, positive))


def gelu(x: Scalar) -> Scalar:
    """x * Phi(x), Phi the normal distribution function, within 1 ULP.

    Evaluated as x*erfc(-x/sqrt(2))/2, which does not cancel for negative x.
    """
    root = _format(x).root_half
    s = x * -root[0]
    is_near, near, far, n = _complement(s, fma(x, -root[0], -s) - x * root[1])
    bounded = select(x < -64, -64.0, select(x > 64, 64.0, x))
    right = x > 0
    tail = select(right, far[0] + far[1], fma(bounded, far[0], bounded * far[1]))
    tail = ldexp(tail, n - 1)
    result = select(right, fma(-bounded, tail, x), tail)
    return select(is_near, fma(x, near[0], x * near[1]) * 0.5, result)
