"""Exponentials, logarithms, trigonometry and special functions: within the published ULP table."""

from __future__ import annotations

import numpy as np

from tracejit.ops.table import elementwise
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

_POSITIVE = (1e-3, 100.0)
_UNIT = (-1.0, 1.0)

elementwise("exp", exponential.exp, "e to the x.", dtypes="f", cost=14, ulp=1, derivative=("out",))
elementwise(
    "exp2",
    exponential.exp2,
    "2 to the x.",
    dtypes="f",
    cost=18,
    ulp=1,
    libdevice=("exp2", 2, 1),
    derivative=("0.6931471805599453 * out",),
)
elementwise(
    "expm1",
    exponential.expm1,
    "exp(x) - 1, accurate near 0.",
    dtypes="f",
    cost=38,
    ulp=2,
    libdevice=("expm1", 1, 1),
    derivative=("exp(x)",),
)
elementwise(
    "log",
    logarithm.log,
    "Natural logarithm.",
    dtypes="f",
    cost=32,
    ulp=1,
    domain=_POSITIVE,
    derivative=("1 / x",),
)
elementwise(
    "log2",
    logarithm.log2,
    "Logarithm to base 2.",
    dtypes="f",
    cost=45,
    ulp=1,
    libdevice=("log2", 1, 1),
    domain=_POSITIVE,
    derivative=("1.4426950408889634 / x",),
)
elementwise(
    "log10",
    logarithm.log10,
    "Logarithm to base 10.",
    dtypes="f",
    cost=45,
    ulp=1.5,
    libdevice=("log10", 2, 1),
    domain=_POSITIVE,
    derivative=("0.4342944819032518 / x",),
)
elementwise(
    "log1p",
    logarithm.log1p,
    "log(1 + x), accurate near 0.",
    dtypes="f",
    cost=60,
    ulp=2,
    domain=(-0.9, 100.0),
    derivative=("1 / (1 + x)",),
)
elementwise(
    "logaddexp",
    exponential.logaddexp,
    "log(exp(x) + exp(y)).",
    dtypes="f",
    cost=130,
    ulp=2,
    derivative=(
        "sigmoid(where(logical_and(x == y, isinf(x)), 0, x - y))",
        "sigmoid(where(logical_and(x == y, isinf(x)), 0, y - x))",
    ),
)
elementwise(
    "sin",
    trigonometric.sin,
    "Sine of radians.",
    dtypes="f",
    cost=24,
    ulp=1,
    libdevice=("sin", 2, 2),
    derivative=("cos(x)",),
)
elementwise(
    "cos",
    trigonometric.cos,
    "Cosine of radians.",
    dtypes="f",
    cost=22,
    ulp=1,
    libdevice=("cos", 2, 2),
    derivative=("-sin(x)",),
)
elementwise(
    "tan",
    trigonometric.tan,
    "Tangent of radians.",
    dtypes="f",
    cost=70,
    ulp=2,
    libdevice=("tan", 4, 2),
    derivative=("1 + out * out",),
)
elementwise(
    "arcsin",
    inverse_trigonometric.arcsin,
    "Inverse sine.",
    spellings=("numpy.arcsin", "numpy.asin"),
    dtypes="f",
    cost=48,
    ulp=2,
    libdevice=("asin", 2, 2),
    domain=_UNIT,
    derivative=("1 / sqrt((1 - x) * (1 + x))",),
)
elementwise(
    "arccos",
    inverse_trigonometric.arccos,
    "Inverse cosine.",
    spellings=("numpy.arccos", "numpy.acos"),
    dtypes="f",
    cost=48,
    ulp=2,
    libdevice=("acos", 2, 2),
    domain=_UNIT,
    derivative=("-1 / sqrt((1 - x) * (1 + x))",),
)
elementwise(
    "arctan",
    inverse_trigonometric.arctan,
    "Inverse tangent.",
    spellings=("numpy.arctan", "numpy.atan"),
    dtypes="f",
    cost=54,
    ulp=2,
    libdevice=("atan", 2, 2),
    derivative=("1 / (1 + x * x)",),
)
elementwise(
    "arctan2",
    inverse_trigonometric.arctan2,
    "Angle of the point (y, x).",
    spellings=("numpy.arctan2", "numpy.atan2"),
    dtypes="f",
    cost=86,
    ulp=2,
    libdevice=("atan2", 3, 2),
    derivative=("y / hypot(x, y) / hypot(x, y)", "-x / hypot(x, y) / hypot(x, y)"),
)
elementwise(
    "sinh",
    hyperbolic.sinh,
    "Hyperbolic sine.",
    dtypes="f",
    cost=74,
    ulp=2,
    libdevice=("sinh", 3, 2),
    derivative=("cosh(x)",),
)
elementwise(
    "cosh",
    hyperbolic.cosh,
    "Hyperbolic cosine.",
    dtypes="f",
    cost=52,
    ulp=2,
    libdevice=("cosh", 2, 1),
    derivative=("sinh(x)",),
)
elementwise(
    "tanh",
    hyperbolic.tanh,
    "Hyperbolic tangent.",
    dtypes="f",
    cost=54,
    ulp=2,
    libdevice=("tanh", 2, 1),
    derivative=("4 * exp(-2 * x * copysign(1, x)) / square(1 + exp(-2 * x * copysign(1, x)))",),
)
elementwise(
    "arcsinh",
    hyperbolic.arcsinh,
    "Inverse hyperbolic sine.",
    spellings=("numpy.arcsinh", "numpy.asinh"),
    dtypes="f",
    cost=180,
    ulp=2,
    libdevice=("asinh", 3, 3),
    derivative=("1 / hypot(1, x)",),
)
elementwise(
    "arccosh",
    hyperbolic.arccosh,
    "Inverse hyperbolic cosine.",
    spellings=("numpy.arccosh", "numpy.acosh"),
    dtypes="f",
    cost=150,
    ulp=2,
    libdevice=("acosh", 4, 3),
    domain=(1.0, 100.0),
    derivative=("1 / (sqrt(x - 1) * sqrt(x + 1))",),
)
elementwise(
    "arctanh",
    hyperbolic.arctanh,
    "Inverse hyperbolic tangent.",
    spellings=("numpy.arctanh", "numpy.atanh"),
    dtypes="f",
    cost=80,
    ulp=2,
    libdevice=("atanh", 3, 2),
    domain=(-0.999, 0.999),
    derivative=("1 / ((1 - x) * (1 + x))",),
)
elementwise(
    "cbrt",
    power.cbrt,
    "Cube root.",
    dtypes="f",
    cost=54,
    ulp=2,
    libdevice=("cbrt", 1, 1),
    derivative=("1 / (3 * square(out))",),
)
elementwise(
    "hypot",
    power.hypot,
    "sqrt(x*x + y*y) without overflow.",
    dtypes="f",
    cost=38,
    ulp=2,
    libdevice=("hypot", 3, 2),
    derivative=("where(out == 0, 0, x / out)", "where(out == 0, 0, y / out)"),
)
elementwise(
    "power",
    power.pow,
    "x to the y.",
    spellings=("numpy.power", "numpy.pow"),
    symbol="{0} ** {1}",
    dtypes="f",
    cost=170,
    ulp=2,
    libdevice=("pow", 4, 2),
    domain=(0.01, 20.0),
    derivative=("scale(y, x ** (y - 1))", "where(x == 0, where(y < 0, log(x), 0), scale(out, log(x)))"),
)
elementwise(
    "erf",
    error_function.erf,
    "Error function.",
    spellings=("scipy.special.erf",),
    resolve=np.sin,
    dtypes="f",
    cost=85,
    ulp=2,
    derivative=("1.1283791670955126 * exp(-square(x))",),
)
elementwise(
    "erfc",
    error_function.erfc,
    "1 - erf(x), accurate in the tail.",
    spellings=("scipy.special.erfc",),
    resolve=np.sin,
    dtypes="f",
    cost=120,
    ulp=2,
    libdevice=("erfc", 4, 5),
    derivative=("-1.1283791670955126 * exp(-square(x))",),
)
elementwise(
    "gammaln",
    gamma.gammaln,
    "log(abs(gamma(x))).",
    spellings=("scipy.special.gammaln",),
    resolve=np.sin,
    dtypes="f",
    cost=200,
    ulp=2,
    libdevice=("lgamma", 6, 4),
    domain=(0.1, 100.0),
    derivative=("digamma(x)",),
)
elementwise(
    "digamma",
    gamma.digamma,
    "The derivative of gammaln.",
    spellings=("scipy.special.psi", "scipy.special.digamma"),
    resolve=np.sin,
    dtypes="f",
    cost=200,
    ulp=2,
    domain=(0.1, 100.0),
    derivative=("trigamma(x)",),
)
elementwise(
    "trigamma",
    gamma.trigamma,
    "The derivative of digamma.",
    spellings=(),
    resolve=np.sin,
    dtypes="f",
    cost=150,
    ulp=2,
    domain=(0.1, 100.0),
)
elementwise(
    "sigmoid",
    exponential.sigmoid,
    "1 / (1 + exp(-x)).",
    spellings=("scipy.special.expit",),
    resolve=np.sin,
    dtypes="f",
    cost=48,
    ulp=3,
    derivative=("out * sigmoid(-x)",),
)
elementwise(
    "softplus",
    exponential.softplus,
    "log(1 + exp(x)).",
    spellings=(),
    resolve=np.sin,
    dtypes="f",
    cost=110,
    ulp=2,
    derivative=("sigmoid(x)",),
)
elementwise(
    "gelu",
    error_function.gelu,
    "x * Phi(x), Phi the normal distribution function.",
    spellings=(),
    resolve=np.sin,
    dtypes="f",
    cost=96,
    ulp=2,
    derivative=("0.5 * erfc(-0.7071067811865476 * x) + 0.3989422804014327 * scale(exp(-0.5 * square(x)), x)",),
)
