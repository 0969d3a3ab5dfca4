"""Functions that are compositions of others: np.insert, np.delete, np.cov, np.corrcoef, np.divmod, np.modf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.comparing import assert_bit_equal

M = np.random.default_rng(0).normal(size=(5, 7))
SPECIAL = np.array([np.inf, -np.inf, np.nan, -0.0, 0.0, 2.5, -2.5])


def bit_equal(found: Any, wanted: Any) -> None:
    pairs = zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]
    for a, b in pairs:
        assert_bit_equal(a, b)


CALLS: dict[str, Callable[[Any], Any]] = {
    "insert a row": lambda m: np.insert(m, 2, 0.5, axis=0),
    "insert a given row": lambda m: np.insert(m, 2, m[0], axis=0),
    "insert a column": lambda m: np.insert(m, -1, m[:, 0], axis=1),
    "insert at the end": lambda m: np.insert(m, 7, np.arange(5), axis=1),
    "insert in all": lambda m: np.insert(m, 3, 1),
    "insert several": lambda m: np.insert(m[0], 2, [7.0, 8.0]),
    "insert, cast": lambda m: np.insert(np.arange(5), 1, 2.7),
    "insert rows": lambda m: np.insert(m, 1, m[:2], axis=0),
    "insert at several": lambda m: np.insert(m[0], [1, 2], 3),
    "delete a row": lambda m: np.delete(m, 1, axis=0),
    "delete the last column": lambda m: np.delete(m, -1, axis=1),
    "delete several": lambda m: np.delete(m, [1, 2]),
    "delete the rest": lambda m: np.delete(m, slice(2, None)),
    "delete between": lambda m: np.delete(m, slice(-3, -1), axis=1),
    "delete the first": lambda m: np.delete(m, slice(None, 2), axis=0),
    "compress, as a method": lambda m: m.compress([True, False, True], axis=0),
    "delete nothing": lambda m: np.delete(m, slice(3, 1), axis=0),
}


@pytest.mark.parametrize("name", CALLS)
def test_pieces_are_joined(name: str) -> None:
    bit_equal(tj.jit(CALLS[name])(M), CALLS[name](M))


@pytest.mark.parametrize("function", [lambda m: np.insert(m, 99, 1), lambda m: np.delete(m, 99)])
def test_a_place_out_of_bounds_is_an_error(function: Callable[[Any], Any]) -> None:
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 35"):
        tj.jit(function)(M)


@pytest.mark.parametrize(
    "function",
    [
        lambda m: np.cov(m),
        lambda m: np.cov(m, m[::-1]),
        lambda m: np.cov(m, rowvar=False, ddof=0),
        lambda m: np.cov(m.astype(np.float32), bias=True),
        lambda m: np.cov(m[0]),
        lambda m: np.cov(m, aweights=np.arange(1, 8)),
        lambda m: np.corrcoef(m, rowvar=False),
        lambda m: np.corrcoef(m[0], m[1])[0, 1],
    ],
)
def test_covariances(function: Callable[[Any], Any]) -> None:
    found, wanted = tj.jit(function)(M), function(M)
    assert np.shape(found) == np.shape(wanted) and found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, 1e-12, 1e-14)


def test_covariances_have_derivatives() -> None:
    tj.check_grads(lambda m: np.cov(m)[0, 1] + np.corrcoef(m)[1, 2], (M,))


def test_both_results_of_a_division_are_of_one_kernel() -> None:
    jitted = tj.jit(lambda x, y: np.divmod(x, y))
    bit_equal(jitted(M, M[::-1].copy()), np.divmod(M, M[::-1]))
    assert jitted.stats.kernels_compiled + jitted.stats.cache_hits == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_parts_of_special_values() -> None:
    for dtype in (np.float32, np.float64):
        values = SPECIAL.astype(dtype)
        whole = lambda x: np.modf(x)  # noqa: E731
        bit_equal(tj.jit(whole)(values), whole(values))
        for other in (2, 0.3, -1.5, 0):
            both = lambda x, other=other: (*divmod(x, other), *divmod(other, x))  # noqa: E731
            bit_equal(tj.jit(both)(values), both(values))
    bit_equal(tj.jit(lambda x: divmod(x, 3))(np.arange(-5, 5)), divmod(np.arange(-5, 5), 3))
