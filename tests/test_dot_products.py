"""Products of vectors as sums that fuse."""

from __future__ import annotations

import numpy as np
import pytest

import tracejit as tj
from tracejit.ir.graph import Graph


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def normalized(a, x, y):
    z = a * x + y
    return z / np.sqrt(z @ z)


def test_fuses_with_what_makes_the_vector():
    function = tj.jit(normalized)
    x, y = np.arange(50.0), np.ones(50)
    np.testing.assert_allclose(function(1.5, x, y), normalized(1.5, x, y), rtol=1e-14)
    assert "matmul" not in ops(function.roots[0].graph)


def test_two_arguments_stay_with_blas():
    function = tj.jit(lambda x, y: x @ y)
    assert function(np.arange(5.0), np.arange(5.0)) == 30.0
    assert "matmul" in ops(function.roots[0].graph)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "uint16", "bool", "complex128"])
@pytest.mark.parametrize("length", [0, 1, 2, 7, 300])
def test_values_and_types_are_numpys(dtype, length):
    def function(x, y):
        return np.dot(x[1:], y[:-1]), np.vdot(x[::-1], y)

    generator = np.random.default_rng(length)
    x, y = (generator.integers(0, 2 if dtype == "bool" else 20, length + 1).astype(dtype) for _ in range(2))
    for found, expected in zip(tj.jit(function)(x, y), function(x, y), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-2 if dtype == "float16" else 1e-6)


def test_special_values():
    def function(x, y):
        return (x + 0.0) @ y

    for x in ([np.inf, 1.0], [np.nan, 1.0], [np.inf, -np.inf]):
        for y in ([0.0, 1.0], [1.0, 1.0]):
            with np.errstate(invalid="ignore"):
                expected = function(np.array(x), np.array(y))
            np.testing.assert_equal(tj.jit(function)(np.array(x), np.array(y)), expected)


def test_lengths_that_differ_raise():
    with pytest.raises(ValueError, match="mismatch"):
        tj.jit(lambda x, y: (x + 1) @ y)(np.zeros(3), np.zeros(4))


def test_triangular_solve_is_kernels_alone():
    def solve(L, x, b):
        for i in range(x.shape[0]):
            x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]

    generator = np.random.default_rng(0)
    L, b = np.tril(generator.random((6, 6))) + 3 * np.eye(6), generator.random(6)
    found, expected = np.zeros(6), np.zeros(6)
    function = tj.jit(solve)
    function(L, found, b)
    solve(L, expected, b)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert "matmul" not in function.sources()
