"""Arithmetic, rounding, comparison, logic and bit ops: bit-equal to NumPy."""

from __future__ import annotations

import operator

import numpy as np

from tracejit.ops.table import elementwise
from tracejit.vecmath import language as sl
from tracejit.vecmath.language import Scalar, ScalarFunction


def _is_float(x: Scalar) -> bool:
    return x.dtype.kind == "f"


def _add(x: Scalar, y: Scalar) -> Scalar:
    return x | y if x.dtype.kind == "b" else x + y


def _multiply(x: Scalar, y: Scalar) -> Scalar:
    return x & y if x.dtype.kind == "b" else x * y


def _safe_divisor(x: Scalar, y: Scalar) -> Scalar:
    """The divisor with 0 (and -1 for signed types, where INT_MIN / -1 traps) replaced by 1."""
    unsafe = y == 0
    if y.dtype.kind == "i":
        unsafe = unsafe | (y == -1)
    return sl.select(unsafe, 1, y)


def _floor_divide(x: Scalar, y: Scalar) -> Scalar:
    """NumPy's floor_divide: for floats derived from fmod, so that it stays consistent with remainder."""
    if _is_float(x):
        remainder = sl.libm("fmod", x, y)
        quotient = (x - remainder) / y
        quotient = sl.select((remainder != 0) & ((y < 0) != (remainder < 0)), quotient - 1, quotient)
        floored = sl.floor(quotient)
        floored = sl.select(quotient - floored > 0.5, floored + 1, floored)
        floored = sl.select(quotient != 0, floored, sl.copysign(x.constant(0.0), x / y))
        return sl.select(y == 0, x / y, floored)
    divisor = _safe_divisor(x, y)
    quotient = sl.idiv(x, divisor)
    if x.dtype.kind == "i":
        inexact = (quotient * divisor != x) & ((x < 0) != (divisor < 0))
        quotient = sl.select(inexact, quotient - 1, quotient)
        quotient = sl.select(y == -1, -x, quotient)
    return sl.select(y == 0, 0, quotient)


def _remainder(x: Scalar, y: Scalar) -> Scalar:
    """The remainder with the divisor's sign, as Python's %."""
    if _is_float(x):
        remainder = sl.libm("fmod", x, y)
        shifted = sl.select((y < 0) != (remainder < 0), remainder + y, remainder)
        return sl.select(remainder != 0, shifted, sl.select(y == 0, remainder, sl.copysign(x.constant(0.0), y)))
    divisor = _safe_divisor(x, y)
    remainder = sl.irem(x, divisor)
    if x.dtype.kind == "i":
        remainder = sl.select((remainder != 0) & ((remainder < 0) != (divisor < 0)), remainder + divisor, remainder)
        remainder = sl.select(y == -1, 0, remainder)
    return sl.select(y == 0, 0, remainder)


def _fmod(x: Scalar, y: Scalar) -> Scalar:
    if _is_float(x):
        return sl.libm("fmod", x, y)
    return sl.select((y == 0) | (y == -1) if x.dtype.kind == "i" else y == 0, 0, sl.irem(x, _safe_divisor(x, y)))


def _sign(x: Scalar) -> Scalar:
    if x.dtype.kind == "u":
        return sl.select(x > 0, x.constant(1), x.constant(0))
    signed = sl.select(x > 0, x.constant(1), sl.select(x < 0, x.constant(-1), x.constant(0)))
    return sl.select(sl.isnan(x), x, signed) if _is_float(x) else signed


def _reciprocal(x: Scalar) -> Scalar:
    return x.constant(1.0) / x


def _maximum(x: Scalar, y: Scalar) -> Scalar:
    return x | y if x.dtype.kind == "b" else sl.maximum(x, y)


def _minimum(x: Scalar, y: Scalar) -> Scalar:
    return x & y if x.dtype.kind == "b" else sl.minimum(x, y)


def _fmax(x: Scalar, y: Scalar) -> Scalar:
    if not _is_float(x):
        return _maximum(x, y)
    return sl.select(sl.isnan(x), y, sl.select(sl.isnan(y), x, sl.maximum(x, y)))


def _fmin(x: Scalar, y: Scalar) -> Scalar:
    if not _is_float(x):
        return _minimum(x, y)
    return sl.select(sl.isnan(x), y, sl.select(sl.isnan(y), x, sl.minimum(x, y)))


def _truth(x: Scalar) -> Scalar:
    return x if x.dtype.kind == "b" else x != 0


def _shift(x: Scalar, y: Scalar, left: bool) -> Scalar:
    """A shift where counts of the width and more give what all bits shifted out would leave."""
    width = 8 * x.dtype.itemsize
    outside = (y >= width) | (y < 0) if y.dtype.kind == "i" else y >= width
    count = sl.select(outside, 0, y)
    if left:
        return sl.select(outside, 0, x << count)
    fill = sl.select(x < 0, x.constant(-1), x.constant(0)) if x.dtype.kind == "i" else x.constant(0)
    return sl.select(outside, fill, x >> count)


def _copysign(x: Scalar, y: Scalar) -> Scalar:
    return sl.copysign(x, y)


def _round_if_float(function: ScalarFunction) -> ScalarFunction:
    def rounded(x: Scalar) -> Scalar:
        return function(x) if _is_float(x) else x

    return rounded


def _heaviside(x: Scalar, y: Scalar) -> Scalar:
    step = sl.select(x < 0, x.constant(0.0), sl.select(x > 0, x.constant(1.0), y))
    return sl.select(sl.isnan(x), x, step)


def _signbit(x: Scalar) -> Scalar:
    return sl.bits(x) < 0


def _isinf(x: Scalar) -> Scalar:
    return abs(x) == float("inf")


def _isfinite(x: Scalar) -> Scalar:
    return abs(x) < float("inf")


elementwise("add", _add, "Sum.", symbol="{0} + {1}", dtypes="biufc", derivative=("1", "1"))
elementwise("subtract", operator.sub, "Difference.", symbol="{0} - {1}", dtypes="biufc", derivative=("1", "-1"))
elementwise("multiply", _multiply, "Product.", symbol="{0} * {1}", dtypes="biufc", derivative=("y", "x"))
elementwise(
    "divide",
    operator.truediv,
    "True quotient.",
    symbol="{0} / {1}",
    dtypes="biufc",
    cost=4,
    derivative=("1 / y", "-out / y"),
)
elementwise(
    "floor_divide", _floor_divide, "Quotient rounded down.", symbol="{0} // {1}", cost=120, derivative=("0", "0")
)
elementwise(
    "remainder",
    _remainder,
    "Remainder with the divisor's sign.",
    symbol="{0} % {1}",
    cost=120,
    derivative=("1", "-floor_divide(x, y)"),
)
elementwise("fmod", _fmod, "Remainder with the dividend's sign.", cost=120, derivative=("1", "rint((out - x) / y)"))
elementwise("negative", operator.neg, "Negation.", symbol="-{0}", dtypes="iufc", derivative=("-1",))
elementwise("positive", lambda x: x, "The value itself.", symbol="+{0}", dtypes="iuf", derivative=("1",))
elementwise(
    "absolute",
    lambda x: x if x.dtype.kind in "bu" else abs(x),
    "Magnitude.",
    symbol="abs({0})",
    dtypes="biufc",
    derivative=("sign(x)",),
)
elementwise("fabs", abs, "Magnitude, as a float.", derivative=("sign(x)",))
elementwise("sign", _sign, "-1, 0 or 1.", dtypes="iuf", derivative=("0",))
elementwise("square", lambda x: _multiply(x, x), "x * x.", dtypes="iufc", derivative=("2 * x",))
elementwise("reciprocal", _reciprocal, "1 / x.", dtypes="f", symbol="1 / {0}", cost=4, derivative=("-out * out",))
elementwise("sqrt", sl.sqrt, "Square root.", cost=6, domain=(0.0, 100.0), derivative=("0.5 / out",))
elementwise("floor", _round_if_float(sl.floor), "Largest integer not above x.", derivative=("0",))
elementwise("ceil", _round_if_float(sl.ceil), "Smallest integer not below x.", derivative=("0",))
elementwise("trunc", _round_if_float(sl.trunc), "Towards zero.", derivative=("0",))
elementwise("rint", _round_if_float(sl.rint), "To the nearest integer, ties to even.", derivative=("0",))
elementwise(
    "maximum",
    _maximum,
    "The larger; NaN if either is.",
    derivative=(
        "where(x == y, 0.5, where(x > y, 1, where(isnan(x), 1, 0)))",
        "where(x == y, 0.5, where(y > x, 1, where(isnan(y), 1, 0)))",
    ),
)
elementwise(
    "minimum",
    _minimum,
    "The smaller; NaN if either is.",
    derivative=(
        "where(x == y, 0.5, where(x < y, 1, where(isnan(x), 1, 0)))",
        "where(x == y, 0.5, where(y < x, 1, where(isnan(y), 1, 0)))",
    ),
)
elementwise(
    "fmax",
    _fmax,
    "The larger; ignores a NaN.",
    cost=3,
    derivative=("where(x == y, 0.5, where(x == out, 1, 0))", "where(x == y, 0.5, where(y == out, 1, 0))"),
)
elementwise(
    "fmin",
    _fmin,
    "The smaller; ignores a NaN.",
    cost=3,
    derivative=("where(x == y, 0.5, where(x == out, 1, 0))", "where(x == y, 0.5, where(y == out, 1, 0))"),
)
elementwise(
    "copysign", _copysign, "Magnitude of x, sign of y.", dtypes="f", derivative=("sign(x) * copysign(1, y)", "0")
)
elementwise(
    "heaviside", _heaviside, "Step function, y at 0.", dtypes="f", cost=3, derivative=("0", "where(x == 0, 1, 0)")
)
elementwise("less", operator.lt, "x < y.", symbol="{0} < {1}")
elementwise("less_equal", operator.le, "x <= y.", symbol="{0} <= {1}")
elementwise("greater", operator.gt, "x > y.", symbol="{0} > {1}")
elementwise("greater_equal", operator.ge, "x >= y.", symbol="{0} >= {1}")
elementwise("equal", operator.eq, "x == y.", symbol="{0} == {1}", dtypes="biufc")
elementwise("not_equal", operator.ne, "x != y.", symbol="{0} != {1}", dtypes="biufc")
elementwise("logical_and", lambda x, y: _truth(x) & _truth(y), "Both true.")
elementwise("logical_or", lambda x, y: _truth(x) | _truth(y), "Either true.")
elementwise("logical_xor", lambda x, y: _truth(x) ^ _truth(y), "Exactly one true.")
elementwise("logical_not", lambda x: ~_truth(x), "Not true.")
elementwise("bitwise_and", operator.and_, "Bits of both.", symbol="{0} & {1}", dtypes="biu")
elementwise("bitwise_or", operator.or_, "Bits of either.", symbol="{0} | {1}", dtypes="biu")
elementwise("bitwise_xor", operator.xor, "Bits of exactly one.", symbol="{0} ^ {1}", dtypes="biu")
elementwise("invert", operator.invert, "Every bit flipped.", symbol="~{0}", dtypes="biu")
elementwise(
    "left_shift", lambda x, y: _shift(x, y, True), "Bits moved up.", symbol="{0} << {1}", dtypes="iu", domain=(0, 8)
)
elementwise(
    "right_shift", lambda x, y: _shift(x, y, False), "Bits moved down.", symbol="{0} >> {1}", dtypes="iu", domain=(0, 8)
)
elementwise("isnan", sl.isnan, "Not a number.", dtypes="f")
elementwise("isinf", _isinf, "Infinite.", dtypes="f")
elementwise("isfinite", _isfinite, "Neither infinite nor NaN.", dtypes="f")
elementwise("signbit", _signbit, "The sign bit is set.", dtypes="f")
elementwise(
    "deg2rad",
    lambda x: x * (x.dtype.type(np.pi) / x.dtype.type(180)),
    "Degrees to radians.",
    spellings=("numpy.deg2rad", "numpy.radians"),
    dtypes="f",
    derivative=("0.017453292519943295",),
)
elementwise(
    "rad2deg",
    lambda x: x * (x.dtype.type(180) / x.dtype.type(np.pi)),
    "Radians to degrees.",
    spellings=("numpy.rad2deg", "numpy.degrees"),
    dtypes="f",
    derivative=("57.29577951308232",),
)
