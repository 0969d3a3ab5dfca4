"""Accuracy and speed of `tracejit.vecmath`: `python -m benchmarks.ulp [NAME...]` prints the table.

Errors are against mpmath, in units in the last place of the correct result, over random arguments of several ranges
(all bit patterns among them); times are of one loop over 4096 elements in cache, ours and NumPy's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

from tests.vecmath_rig import compile_scalar
from tracejit.vecmath import (
    error_function,
    exponential,
    gamma,
    hyperbolic,
    inverse_trigonometric,
    logarithm,
    power,
    trigonometric,
)

Sampler = Callable[[Any, int, Any], tuple[Any, ...]]


def uniform(*bounds: float) -> Sampler:
    """Uniform between a pair of bounds for each argument."""
    pairs = list(zip(bounds[::2], bounds[1::2], strict=True))
    return lambda random, n, dtype: tuple(random.uniform(low, high, n) for low, high in pairs)


def magnitudes(low: float, high: float, arguments: int = 1) -> Sampler:
    """Either sign, the binary logarithm of the magnitude uniform."""

    def sample(random: Any, n: int, dtype: Any) -> tuple[Any, ...]:
        return tuple(2.0 ** random.uniform(low, high, n) * random.choice([-1.0, 1.0], n) for _ in range(arguments))

    return sample


def patterns(random: Any, n: int, dtype: Any) -> tuple[Any, ...]:
    """Any finite float: uniform bit patterns."""
    size = np.dtype(dtype).itemsize
    values = random.integers(0, 2 ** (8 * size) - 1, n, dtype=f"u{size}", endpoint=True).view(dtype)
    return (np.where(np.isfinite(values), values, 1),)


def positive(random: Any, n: int, dtype: Any) -> tuple[Any, ...]:
    """Any positive finite float."""
    return (abs(patterns(random, n, dtype)[0]),)


def near_one(random: Any, n: int, dtype: Any) -> tuple[Any, ...]:
    """1 plus and minus little."""
    return (1 + 2.0 ** random.uniform(-30, -2, n) * random.choice([-1.0, 1.0], n),)


def near_two(random: Any, n: int, dtype: Any) -> tuple[Any, ...]:
    """2 plus and minus little."""
    return (near_one(random, n, dtype)[0] + 1,)


def near_digamma_root(random: Any, n: int, dtype: Any) -> tuple[Any, ...]:
    """Floats next to where digamma is 0, and that float itself."""
    offsets = 2.0 ** random.uniform(-50, -2, n) * random.choice([-1.0, 1.0], n)
    offsets[0] = 0
    return (1.4616321449683622 + offsets,)


def near_quadrants(random: Any, n: int, dtype: Any) -> tuple[Any, ...]:
    """Floats next to multiples of pi/2, where a poor reduction shows; and the worst float64 and float32 of all."""
    multiples = np.rint(2.0 ** random.uniform(0, 100, n)) * (np.pi / 2)
    multiples[0] = 6381956970095103 * 2.0**797 if dtype == np.float64 else 16367173 * 2.0**72
    return (multiples,)


def powers(random: Any, n: int, dtype: Any) -> tuple[Any, ...]:
    """Bases and exponents with results all over the range."""
    base = 2.0 ** (random.uniform(-1, 1, n) * 2.0 ** random.uniform(-8, 6, n))
    largest = 1020 if dtype == np.float64 else 124
    base = base.astype(dtype).astype(float)
    base[base == 1] = 2
    return base, random.uniform(-largest, largest, n) / abs(np.log2(base))


@dataclass(frozen=True)
class Case:
    """A function, its exact value, where to sample it, and the errors that it keeps below (float64, float32)."""

    function: Callable[..., Any]
    exact: Callable[..., Any]
    samples: tuple[Sampler, ...]
    speed: Sampler
    bounds: tuple[float, float] = (1.0, 1.0)
    numpy: Any = None

    @property
    def arguments(self) -> int:
        """How many arguments the function takes."""
        return len(self.speed(np.random.default_rng(0), 1, np.float64))


def _log_base(base: int) -> Callable[[Any], Any]:
    return lambda x: mpmath.log(x) / mpmath.log(base)


def _gelu(x: Any) -> Any:
    return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2


_WIDE = uniform(-10, 10)
_UNIT = uniform(-1, 1)
_ALL = (_UNIT, uniform(-100, 100), magnitudes(-70, 3), patterns)
_LOGARITHM = (uniform(0.5, 2), uniform(0, 100), near_one, positive)
_CIRCULAR = (*_ALL, magnitudes(-10, 30), near_quadrants)

CASES: dict[str, Case] = {
    "exp": Case(exponential.exp, mpmath.exp, (*_ALL, uniform(-745, 710)), _WIDE, (0.9, 1.0), np.exp),
    "exp2": Case(
        exponential.exp2, lambda x: mpf(2) ** x, (_UNIT, uniform(-150, 128), uniform(-1075, 1024)), _WIDE, numpy=np.exp2
    ),
    "expm1": Case(exponential.expm1, mpmath.expm1, (*_ALL, uniform(-40, 40)), _WIDE, numpy=np.expm1),
    "sigmoid": Case(exponential.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), (*_ALL[:3], uniform(-745, 10)), _WIDE),
    "softplus": Case(
        exponential.softplus,
        lambda x: mpmath.log1p(mpmath.exp(x)),
        (*_ALL[:3], uniform(-2, 2), uniform(-745, 60)),
        _WIDE,
    ),
    "logaddexp": Case(
        exponential.logaddexp,
        lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
        (uniform(0, 1, 0, 1), uniform(0, 10, 0, 10), uniform(0, 80, -80, 80)),
        uniform(-10, 10, -10, 10),
        numpy=np.logaddexp,
    ),
    "log": Case(logarithm.log, mpmath.log, _LOGARITHM, uniform(0.1, 10), (0.7, 0.7), np.log),
    "log2": Case(logarithm.log2, _log_base(2), _LOGARITHM, uniform(0.1, 10), (0.7, 0.7), np.log2),
    "log10": Case(logarithm.log10, mpmath.log10, _LOGARITHM, uniform(0.1, 10), (0.7, 0.7), np.log10),
    "log1p": Case(
        logarithm.log1p,
        mpmath.log1p,
        (uniform(-0.99, 1), uniform(0, 100), magnitudes(-70, -0.01), positive),
        uniform(-0.5, 10),
        numpy=np.log1p,
    ),
    "sin": Case(trigonometric.sin, mpmath.sin, _CIRCULAR, _WIDE, (0.9, 0.9), np.sin),
    "cos": Case(trigonometric.cos, mpmath.cos, _CIRCULAR, _WIDE, (0.9, 0.9), np.cos),
    "tan": Case(trigonometric.tan, mpmath.tan, _CIRCULAR, _WIDE, numpy=np.tan),
    "arcsin": Case(
        inverse_trigonometric.arcsin, mpmath.asin, (_UNIT, uniform(0.9, 1), magnitudes(-70, 0)), _UNIT, numpy=np.arcsin
    ),
    "arccos": Case(
        inverse_trigonometric.arccos, mpmath.acos, (_UNIT, uniform(0.9, 1), magnitudes(-70, 0)), _UNIT, numpy=np.arccos
    ),
    "arctan": Case(inverse_trigonometric.arctan, mpmath.atan, (*_ALL, uniform(-4, 4)), _WIDE, numpy=np.arctan),
    "arctan2": Case(
        inverse_trigonometric.arctan2,
        mpmath.atan2,
        (uniform(-1, 1, -1, 1), magnitudes(-60, 60, 2)),
        uniform(-1, 1, -1, 1),
        numpy=np.arctan2,
    ),
    "sinh": Case(hyperbolic.sinh, mpmath.sinh, (*_ALL, uniform(-711, 711), uniform(88, 90)), _WIDE, numpy=np.sinh),
    "cosh": Case(hyperbolic.cosh, mpmath.cosh, (*_ALL, uniform(-711, 711), uniform(88, 90)), _WIDE, numpy=np.cosh),
    "tanh": Case(hyperbolic.tanh, mpmath.tanh, (*_ALL, uniform(-20, 20)), _WIDE, numpy=np.tanh),
    "arcsinh": Case(hyperbolic.arcsinh, mpmath.asinh, _ALL, _WIDE, numpy=np.arcsinh),
    "arccosh": Case(
        hyperbolic.arccosh,
        mpmath.acosh,
        (uniform(1, 2), uniform(1, 100), lambda r, n, d: (1 + 2.0 ** r.uniform(-22, 300, n) % 1e38,)),
        uniform(1, 10),
        numpy=np.arccosh,
    ),
    "arctanh": Case(
        hyperbolic.arctanh, mpmath.atanh, (uniform(-0.999, 0.999), magnitudes(-70, -0.01)), _UNIT, numpy=np.arctanh
    ),
    "pow": Case(
        power.pow,
        mpmath.power,
        (uniform(0, 10, -10, 10), powers),
        uniform(0.01, 20, -10, 10),
        numpy=np.power,
    ),
    "cbrt": Case(power.cbrt, lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), _ALL, _WIDE, numpy=np.cbrt),
    "hypot": Case(
        power.hypot,
        mpmath.hypot,
        (uniform(-1, 1, -1, 1), lambda r, n, d: patterns(r, n, d) + patterns(r, n, d), magnitudes(-100, 100, 2)),
        uniform(-1, 1, -1, 1),
        numpy=np.hypot,
    ),
    "erf": Case(error_function.erf, mpmath.erf, (_UNIT, uniform(0.9, 1.2), uniform(-6, 6), magnitudes(-70, 0)), _WIDE),
    "erfc": Case(
        error_function.erfc,
        mpmath.erfc,
        (_UNIT, uniform(0.4, 0.8), uniform(0.4, 3), uniform(0, 10), uniform(0, 28), magnitudes(-70, 0)),
        _WIDE,
    ),
    "gelu": Case(
        error_function.gelu,
        _gelu,
        (_UNIT, uniform(-1.2, -0.6), uniform(0, 2), _WIDE, uniform(-38.5, 0), magnitudes(-70, 0)),
        _WIDE,
    ),
    "gammaln": Case(
        gamma.gammaln,
        mpmath.loggamma,
        (uniform(0, 1), uniform(0.9, 2.6), uniform(2, 20), near_one, near_two, uniform(0.1, 100), positive),
        uniform(0.1, 100),
    ),
    "digamma": Case(
        gamma.digamma,
        mpmath.digamma,
        (uniform(0, 1), uniform(1, 4), near_digamma_root, uniform(0.1, 100), positive),
        uniform(0.1, 10),
    ),
    "trigamma": Case(
        gamma.trigamma,
        lambda x: mpmath.polygamma(1, x),
        (uniform(0, 1), uniform(1, 4), uniform(0.1, 100), uniform(-9, 0)),
        uniform(0.1, 10),
        (2.0, 1.0),
    ),
}


def sample(case: Case, dtype: Any, n: int, seed: int = 1) -> Iterator[tuple[Any, ...]]:
    """Arguments of each range in turn, rounded to the dtype."""
    random = np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        for sampler in case.samples:
            yield tuple(argument.astype(dtype) for argument in sampler(random, n, dtype))


def errors(case: Case, arguments: tuple[Any, ...], results: Any) -> list[float]:
    """The error of each result in units in the last place; inf where it is infinite, NaN or 0 and should not be."""
    precision, smallest, top = (53, -1074, 1024) if results.dtype == np.float64 else (24, -149, 128)
    overflow = mpf(2) ** top * (1 - mpf(2) ** -(precision + 1))
    found = []
    with mpmath.workprec(160):
        for result, *values in zip(results.tolist(), *(a.tolist() for a in arguments), strict=True):
            exact = case.exact(*(mpf(value) for value in values))
            if mpmath.isinf(exact) or abs(exact) >= overflow:
                found.append(0.0 if result == (np.inf if exact > 0 else -np.inf) else np.inf)
            elif not np.isfinite(result):
                # rounding up to infinity is off by what rounding up to the next power of 2 would be
                edge = mpmath.sign(result) * mpf(2) ** top if np.isinf(result) else mpf("inf")
                found.append(float(abs(edge - exact) * mpf(2) ** (precision - top)))
            else:
                unit = mpf(2) ** max(mpmath.frexp(exact)[1] - precision, smallest)
                found.append(float(abs(result - exact) / unit))
    return found


def nanoseconds(call: Callable[[int], Any], elements: int) -> float:
    """The best of some runs on so many elements, an element; what a call on none costs is taken off."""
    best = {0: float("inf"), elements: float("inf")}
    for _ in range(50):
        for count in best:
            start = time.perf_counter()
            call(count)
            best[count] = min(best[count], time.perf_counter() - start)
    return (best[elements] - best[0]) / elements * 1e9


def _on_first(function: Any, n: int, arguments: list[Any], out: Any) -> Any:
    """A NumPy function on the first n elements."""
    return function(*(a[:n] for a in arguments), out=out[:n])


def main() -> None:
    """Print a row for each function and dtype."""
    print("| function | dtype | max ULP | ns/element | NumPy ns |\n|---|---|---|---|---|")
    for name in sys.argv[1:] or CASES:
        case = CASES[name]
        for dtype in (np.float64, np.float32):
            compiled = compile_scalar(case.function, *[dtype] * case.arguments)
            worst = max(max(errors(case, a, compiled(*a))) for a in sample(case, dtype, 3000))
            arguments = [a.astype(dtype) for a in case.speed(np.random.default_rng(0), 4096, dtype)]
            out = np.empty_like(arguments[0])
            pointers = [a.ctypes.data for a in (*arguments, out)]
            native = compiled.address
            ours = nanoseconds(lambda n: native(*pointers, n), 4096)  # noqa: B023 - called at once
            theirs = ""
            if case.numpy is not None:
                with np.errstate(all="ignore"):
                    theirs = f"{nanoseconds(lambda n: _on_first(case.numpy, n, arguments, out), 4096):.2f}"  # noqa: B023
            print(f"| {name} | {np.dtype(dtype).name} | {worst:.2f} | {ours:.2f} | {theirs} |", flush=True)


if __name__ == "__main__":
    main()
