"""How tests compare a compiled result with NumPy's: type, dtype, shape, values, NaN and the sign of zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def assert_same_kind(actual: Any, expected: Any, label: str) -> None:
    """The same Python type (array or scalar), dtype and shape."""
    assert isinstance(actual, np.ndarray) == isinstance(expected, np.ndarray), f"{label}: {type(actual)}"
    assert np.asarray(actual).dtype == np.asarray(expected).dtype, f"{label}: {actual.dtype} is not {expected.dtype}"
    assert np.shape(actual) == np.shape(expected), f"{label}: {np.shape(actual)} is not {np.shape(expected)}"


def assert_bit_equal(actual: Any, expected: Any, label: str = "", zero_signs: bool = True) -> None:
    """Equal to the bit, but for the payload of NaN; `zero_signs=False` also takes 0.0 for -0.0."""
    assert_same_kind(actual, expected, label)
    np.testing.assert_array_equal(actual, expected, err_msg=label)
    if zero_signs and np.asarray(expected).dtype.kind == "f":
        real = ~np.isnan(expected)
        np.testing.assert_array_equal(
            np.signbit(actual) & real, np.signbit(expected) & real, err_msg=f"{label}: sign bits"
        )


def assert_within_ulp(actual: Any, expected: Any, exact: Any, ulp: float, label: str = "") -> None:
    """Within `ulp` units in the last place of `exact` (a more precise value), or of NumPy's own rounding of it."""
    assert_same_kind(actual, expected, label)
    actual, expected = np.atleast_1d(actual), np.atleast_1d(expected)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), err_msg=f"{label}: NaN")
    with np.errstate(all="ignore"):
        unit = np.maximum(np.spacing(np.abs(expected)), np.finfo(expected.dtype).smallest_subnormal)
        unit = np.where(np.isfinite(expected), unit, np.spacing(np.finfo(expected.dtype).max)).astype(np.longdouble)
        error = np.abs(actual.astype(np.longdouble) - np.atleast_1d(exact).astype(np.longdouble)) / unit
    # An infinity may stand for a value within the error bound of the largest number, and the other way round.
    bad = ~((error <= ulp) | (actual == expected) | np.isnan(expected))
    assert not bad.any(), f"{label}: {error[bad].max()} ULP: {actual[bad][:4]} in place of {expected[bad][:4]}"


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, type[Exception] | None]:
    """The result of a call, or the type of the exception that it raised."""
    with np.errstate(all="ignore"):
        try:
            return function(*args, **kwargs), None
        except Exception as error:
            return None, type(error)
