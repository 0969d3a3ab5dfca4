"""Minimax coefficients for `tracejit.vecmath`: `python -m benchmarks.fit_polynomials [NAME...]` prints them.

Each fit is the Remez exchange (E. Remez, 1934; Muller, Handbook of Floating-Point Arithmetic, ch. 10) in high
precision for the function named in its row, weighted by how much an error of the polynomial counts in the result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
from mpmath import mp, mpf

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Fit:
    """Approximate `function` on [low, high]; minimize max |weight * error|."""

    function: Function
    low: Any
    high: Any
    degree: int
    weight: Function = lambda x: mpf(1)


def remez(fit: Fit, grid: int = 1500, rounds: int = 12) -> tuple[list[Any], Any]:
    """The coefficients from the constant term upwards, and the largest weighted error."""
    n = fit.degree + 2
    low, high = mpf(fit.low), mpf(fit.high)
    middle, half = (low + high) / 2, (high - low) / 2
    points = [-mpmath.cos(mpmath.pi * k / grid) for k in range(grid + 1)]
    xs = [middle + half * u for u in points]
    values = [fit.function(x) for x in xs]
    weights = [fit.weight(x) for x in xs]
    chosen = [round(grid * k / (n - 1)) for k in range(n)]
    for _ in range(rounds):
        # the alternation condition in a Chebyshev basis, which stays well conditioned
        system = mpmath.matrix(n, n)
        right = mpmath.matrix(n, 1)
        for row, k in enumerate(chosen):
            for column in range(n - 1):
                system[row, column] = mpmath.chebyt(column, points[k])
            system[row, n - 1] = (-1) ** row / weights[k]
            right[row] = values[k]
        solution = mpmath.lu_solve(system, right)
        chebyshev = [solution[k] for k in range(n - 1)]
        errors = [w * (_clenshaw(chebyshev, u) - v) for w, u, v in zip(weights, points, values, strict=True)]
        extrema = _alternating_extrema(errors, n)
        if len(extrema) < n or extrema == chosen:
            break
        chosen = extrema
    return _monomials(chebyshev, middle, half), max(abs(e) for e in errors)


def _clenshaw(coefficients: list[Any], u: Any) -> Any:
    above = later = mpf(0)
    for c in reversed(coefficients[1:]):
        above, later = 2 * u * above - later + c, above
    return u * above - later + coefficients[0]


def _alternating_extrema(errors: list[Any], count: int) -> list[int]:
    best: list[int] = []
    for k, error in enumerate(errors):
        if best and (error > 0) == (errors[best[-1]] > 0):
            if abs(error) > abs(errors[best[-1]]):
                best[-1] = k
        else:
            best.append(k)
    while len(best) > count:
        best.pop(0 if abs(errors[best[0]]) < abs(errors[best[-1]]) else -1)
    return best


def _monomials(chebyshev: list[Any], middle: Any, half: Any) -> list[Any]:
    """Chebyshev series in (x - middle) / half as a polynomial in x."""
    line = [-middle / half, 1 / half]
    before: list[Any] = [mpf(1)]
    current = list(line)
    total = [chebyshev[0]] + [mpf(0)] * (len(chebyshev) - 1)
    for c in chebyshev[1:]:
        for k, value in enumerate(current):
            total[k] += c * value
        following = [mpf(0)] * (len(current) + 1)
        for k, value in enumerate(current):
            following[k] += 2 * line[0] * value
            following[k + 1] += 2 * line[1] * value
        for k, value in enumerate(before):
            following[k] -= value
        before, current = current, following
    return total


def _series(function: Function) -> Function:
    """A removable singularity at 0 filled in by the value beside it."""

    def at(x: Any) -> Any:
        return function(x if abs(x) > mpf(10) ** -22 else mpf(10) ** -22)

    return at


def _log_tail(z: Any) -> Any:
    """R of log(1 + f) = f - f*f/2 + s*(f*f/2 + z*R(z)), s = f/(2 + f), z = s*s: (2*atanh(s) - 2*s)/(s*z)."""
    s = mpmath.sqrt(z)
    return (2 * mpmath.atanh(s) - 2 * s) / (s * z)


def _odd_tail(function: Function) -> Function:
    """(function(x) - x) / x**3 as a function of z = x*x."""
    return _series(lambda z: (function(mpmath.sqrt(z)) - mpmath.sqrt(z)) / (z * mpmath.sqrt(z)))


_LN2 = mpmath.log(2)
_R = _LN2 / 2 * mpf("1.0001")
_S = (mpmath.sqrt(2) - 1) ** 4 * mpf("1.0001")
_Q = (mpmath.pi / 4) ** 2 * mpf("1.0001")
_T8 = (mpmath.sqrt(2) - 1) ** 2 * mpf("1.0001")


def _exponential(degree: int) -> Fit:
    return Fit(_series(lambda r: (mpmath.exp(r) - 1 - r) / r**2), -_R, _R, degree, lambda r: max(r**2, mpf("0.003")))


def _odd(function: Function, limit: Any, degree: int) -> Fit:
    """Odd functions as x + x**3 * P(x*x): the weight is that of a relative error."""
    return Fit(_odd_tail(function), mpf(10) ** -20, limit, degree, lambda z: z + mpf(10) ** -9)


FITS: dict[str, Callable[[], Fit]] = {
    "EXP64": lambda: _exponential(10),
    "EXP32": lambda: _exponential(5),
    "LOG64": lambda: Fit(_series(_log_tail), mpf(10) ** -20, _S, 6, lambda z: z + mpf(10) ** -9),
    "LOG32": lambda: Fit(_series(_log_tail), mpf(10) ** -20, _S, 3, lambda z: z + mpf(10) ** -9),
    "POW64": lambda: Fit(
        _series(lambda z: (mpmath.atanh(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1 - z / 3) / z**2),
        mpf(10) ** -20,
        _S,
        8,
        lambda z: z**2 + mpf(10) ** -12,
    ),
    "SIN64": lambda: _odd(mpmath.sin, _Q, 5),
    "COS64": lambda: Fit(
        _series(lambda z: (mpmath.cos(mpmath.sqrt(z)) - 1 + z / 2) / z**2),
        mpf(10) ** -20,
        _Q,
        5,
        lambda z: z**2 + mpf(10) ** -9,
    ),
    "SIN32": lambda: _odd(mpmath.sin, _Q, 2),
    "COS32": lambda: Fit(
        _series(lambda z: (mpmath.cos(mpmath.sqrt(z)) - 1 + z / 2) / z**2),
        mpf(10) ** -20,
        _Q,
        2,
        lambda z: z**2 + mpf(10) ** -9,
    ),
    "ARCTAN64": lambda: _odd(mpmath.atan, _T8, 11),
    "ARCTAN32": lambda: _odd(mpmath.atan, _T8, 4),
    "ARCSIN64": lambda: _odd(mpmath.asin, mpf("0.2501"), 12),
    "ARCSIN32": lambda: _odd(mpmath.asin, mpf("0.2501"), 5),
}


def _error_small(degree: int) -> Fit:
    """erf(x)/x - 1 in x*x - 1/2 up to x = 1."""
    function = _series(lambda z: mpmath.erf(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1)
    return Fit(lambda w: function(w + mpf("0.5")), mpf("-0.5"), mpf("0.5"), degree)


def _error_large(degree: int, center: float, end: float) -> Fit:
    """(Q(x) - Q(center))/(x - center) in x - center, from 0.97: 1 - 2**-Q(x) is erf(x), so an error counts by erfc."""

    def function(b: Any) -> Any:
        b = b if abs(b) > mpf(10) ** -22 else mpf(10) ** -22
        return mpmath.log(mpmath.erfc(center) / mpmath.erfc(center + b), 2) / b

    return Fit(
        function,
        mpf("0.97") - center,
        mpf(end) - center,
        degree,
        lambda b: mpmath.erfc(center + b) * (abs(b) + mpf("0.02")),
    )


def _power_of_two(degree: int) -> Fit:
    """(2**f - 1 - f*log(2)) / f**2."""
    function = _series(lambda f: (mpf(2) ** f - 1 - f * mpmath.log(2)) / f**2)
    return Fit(function, mpf("-0.5001"), mpf("0.5001"), degree, lambda f: f**2 + mpf("0.003"))


def _error_scaled(degree: int, end: float) -> Fit:
    """(1 + 2*x)*exp(x*x)*erfc(x) in 1/(x + 5/2) - 3/16, from x = 1/2; nearly constant."""

    def function(u: Any) -> Any:
        x = 1 / (u + mpf("0.1875")) - mpf("2.5")
        return (1 + 2 * x) * mpmath.exp(x * x) * mpmath.erfc(x)

    return Fit(function, 1 / (end + mpf("2.5")) - mpf("0.1875"), mpf(1) / 3 - mpf("0.1875"), degree)


FITS.update(
    ERF64_SMALL=lambda: _error_small(11),
    ERF64_LARGE=lambda: _error_large(16, 1.048828125, 5.95),
    ERF64_POWER=lambda: _power_of_two(9),
    ERF32_SMALL=lambda: _error_small(6),
    ERF32_LARGE=lambda: _error_large(5, 1.048828125, 3.95),
    ERF32_POWER=lambda: _power_of_two(4),
    ERFC64=lambda: _error_scaled(22, 28),
    ERFC32=lambda: _error_scaled(9, 10.5),
    CBRT=lambda: Fit(mpmath.cbrt, mpf("0.707"), mpf("1.4143"), 4),
)

_PSI_ROOT = "1.461632144968362341262659542325721328468196204"


def _digamma_root(w: Any) -> Any:
    """digamma(z)*z*(z + 1)/(z - root) for z = w + 2 from 1 to 3."""
    root = mpf(_PSI_ROOT)
    z = w + 2 if abs(w + 2 - root) > mpf(10) ** -22 else root + mpf(10) ** -22
    return mpmath.digamma(z) * z * (z + 1) / (z - root)


def _trigamma_near(w: Any) -> Any:
    """trigamma(z)*z**2 for z = w + 2 from 1 to 3."""
    z = w + 2
    return mpmath.polygamma(1, z) * z**2


def _from_half(function: Function, degree: int) -> Fit:
    """function(v) in s = 1/v**2 for v from 5/2: s counts in the result."""
    return Fit(
        lambda s: function(1 / mpmath.sqrt(max(s, mpf(10) ** -20))), 0, mpf(4) / 25, degree, lambda s: s + mpf(10) ** -4
    )


def _poles(function: Function, degree: int) -> Fit:
    """function(r) in r*r, the poles at 0 taken away."""
    return Fit(lambda z: function(mpmath.sqrt(max(z, mpf(10) ** -30))), 0, mpf("0.25"), degree)


def _gammaln_near(d: Any) -> Any:
    """gammaln(2 + d)/d."""
    d = d if abs(d) > mpf(10) ** -22 else mpf(10) ** -22
    return mpmath.loggamma(2 + d) / d


def _gammaln_tail(s: Any) -> Any:
    """What Stirling's formula lacks, times x, in s = 1/x**2."""
    x = 1 / mpmath.sqrt(max(s, mpf(10) ** -12))
    stirling = (x - mpf("0.5")) * mpmath.log(x) - x + mpmath.log(2 * mpmath.pi) / 2
    return (mpmath.loggamma(x) - stirling) * x


FITS.update(
    GAMMALN_NEAR64=lambda: Fit(_gammaln_near, mpf("-0.5"), mpf("0.5"), 18),
    GAMMALN_TAIL=lambda: Fit(_gammaln_tail, 0, mpf("0.16"), 15, lambda s: mpmath.sqrt(s) + mpf("0.01")),
    DIGAMMA_ROOT=lambda: Fit(_digamma_root, -1, 1, 19),
    DIGAMMA_TAIL=lambda: _from_half(lambda v: (mpmath.exp(mpmath.digamma(v + mpf("0.5"))) - v) * v, 12),
    COTANGENT=lambda: _poles(lambda r: (1 / r - mpmath.pi * mpmath.cot(mpmath.pi * r)) / r * (1 - r * r), 9),
    TRIGAMMA_NEAR=lambda: Fit(_trigamma_near, -1, 1, 23),
    TRIGAMMA_TAIL=lambda: _from_half(lambda v: (mpmath.polygamma(1, v + mpf("0.5")) * v - 1) * v * v, 14),
    COSECANT=lambda: _poles(
        lambda r: ((mpmath.pi / mpmath.sin(mpmath.pi * r)) ** 2 - 1 / (r * r)) * (1 - r * r) ** 2, 10
    ),
)


def main() -> None:
    mp.dps = 80
    for name in sys.argv[1:] or FITS:
        coefficients, error = remez(FITS[name]())
        print(f"# {name}: largest weighted error 2**{float(mpmath.log(error, 2)):.1f}")
        print("(\n" + "".join(f"    {float(c)!r},\n" for c in coefficients) + ")")
        if name.endswith("64"):
            lost = [float(c - float(c)) for c in coefficients[:2]]
            print(f"# what the first two were rounded by: {lost}")


if __name__ == "__main__":
    main()
