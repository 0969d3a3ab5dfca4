"""Reductions with `where=` and `initial=`, and comparisons of whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj

RNG = np.random.default_rng(0)
M = RNG.normal(size=(5, 7))
MASK = M[::-1] > 0
CALLS: list[Callable[..., Any]] = [
    lambda m, k: np.sum(m, where=k),
    lambda m, k: np.sum(m, axis=0, where=k, initial=3, keepdims=True),
    lambda m, k: np.prod(m, axis=1, where=k),
    lambda m, k: np.max(m, axis=0, where=k, initial=-9),
    lambda m, k: np.min(m, initial=-9.5),
    lambda m, k: np.any(m > 1, axis=1, where=k),
    lambda m, k: np.all(m < 1, axis=1, where=k[:, :1]),
    lambda m, k: m.sum(where=k[0]),
    lambda m, k: np.sum(m[:0], initial=2.0),
    lambda m, k: np.max(m[:0], axis=0, initial=2.0),
    lambda m, k: np.mean(m, where=k),
    lambda m, k: np.mean(m, axis=1, where=k, keepdims=True),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
def test_elements_left_out(number: int, dtype: str) -> None:
    function, m = CALLS[number], np.abs(M * 2).astype(dtype) if dtype != "bool" else M > 0
    try:
        wanted = function(m, MASK)
    except (TypeError, ValueError, OverflowError) as error:
        with pytest.raises(type(error)):
            tj.jit(function)(m, MASK)
        return
    found = tj.jit(function)(m, MASK)
    assert np.asarray(found).dtype == np.asarray(wanted).dtype and np.shape(found) == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, 1e-5 if dtype == "float32" else 1e-12)


def test_a_sum_of_what_a_mask_chooses_is_one_kernel() -> None:
    jitted = tj.jit(CALLS[0], fullgraph=True)
    jitted(M, MASK)
    assert jitted.stats.kernels_compiled + jitted.stats.cache_hits == 1


def test_comparisons() -> None:
    special = np.array([1.0, np.nan, np.inf, -np.inf, 0.0, 1e-9])
    other = np.array([1.0 + 1e-6, np.nan, np.inf, np.inf, 1e-9, 1.0])
    calls: list[Callable[..., Any]] = [
        lambda a, b: np.isclose(a, b),
        lambda a, b: np.isclose(a, b, rtol=0, atol=1e-3, equal_nan=True),
        lambda a, b: np.isclose(a[:, None], b),
        lambda a, b: np.allclose(a, b),
        lambda a, b: np.allclose(a, a * (1 + 1e-7), equal_nan=True),
        lambda a, b: np.array_equal(a, b),
        lambda a, b: np.array_equal(a, a, equal_nan=True),
        lambda a, b: np.array_equal(a[2:], a[2:]),
        lambda a, b: np.array_equal(a, a[1:]),
        lambda a, b: np.isclose(np.arange(3), np.array([0, 1, 5])),
    ]
    for function in calls:
        with np.errstate(all="ignore"):
            found, wanted = tj.jit(function)(special, other), function(special, other)
        assert type(found) is type(wanted)
        np.testing.assert_array_equal(found, wanted)
