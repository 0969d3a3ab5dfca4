"""`ufunc.reduceat`: NumPy's own in the graph, without a break where the result's type is plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, bool])
def test_as_numpy(ufunc: Any, dtype: Any) -> None:
    def segments(x: Any, places: Any) -> Any:
        return ufunc.reduceat(x, places), ufunc.reduceat(x * x, places[:-1], axis=1) + 1

    x = (np.random.default_rng(0).random((6, 5)) * 10).astype(dtype)
    compiled = tj.jit(segments)
    for places in (np.array([0, 2, 4]), np.array([3, 1, 0])):
        for found, expected in zip(compiled(x, places), segments(x, places), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_one_segment() -> None:
    def rows(values: Any, starts: Any) -> Any:
        return np.add.reduceat(values * 2, starts[:-1])

    compiled = tj.jit(rows)
    compiled(np.arange(6.0), np.array([0, 2, 6]))
    assert "go_on" not in compiled.roots[0].source


def test_errors_are_numpys() -> None:
    compiled = tj.jit(lambda x, places: np.add.reduceat(x, places))
    with pytest.raises(IndexError, match="out-of-bounds"):
        compiled(np.arange(3.0), np.array([0, 7]))
    with pytest.raises((TypeError, IndexError)):
        compiled(np.arange(3.0), np.array([0.5, 1.5]))
