"""NumPy calls whose result's type is known beforehand stand in the graph: they end no segment."""

from __future__ import annotations

import numpy as np
import pytest

import tracejit as tj


def one_segment(function, *arguments):
    """The result of a jitted function, which is NumPy's, and that all of it is one segment."""
    jitted = tj.jit(function)
    found, expected = jitted(*arguments), function(*arguments)
    for a, b in zip(
        found if isinstance(found, tuple) else (found,),
        expected if isinstance(expected, tuple) else (expected,),
        strict=True,
    ):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)
    assert jitted.roots[0].following is None
    return jitted


VALUES = np.random.default_rng(0).random(100)
EDGES = np.linspace(0.0, 1.0, 6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8"])
def test_histogram_over_edges(dtype):
    a = (VALUES * 10).astype(dtype)
    one_segment(lambda a, edges: np.histogram(a, edges), a, EDGES * 10)
    one_segment(lambda a, edges, w: np.histogram(a * 2, bins=edges, weights=w), a, EDGES * 10, a)
    one_segment(lambda a, edges: np.histogram(a.reshape(10, 10), bins=edges)[0] * 2, a, EDGES[:1])


@pytest.mark.parametrize("options", [(4,), (EDGES, None, True), ([0.0, 0.5, 1.0],), (3, (0.2, 0.7))])
def test_histogram_of_other_kinds_is_numpys(options):
    found, expected = tj.jit(lambda a: np.histogram(a, *options))(VALUES), np.histogram(VALUES, *options)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_histogram_errors_are_numpys():
    with pytest.raises(ValueError, match="monotonically"):
        tj.jit(lambda a, edges: np.histogram(a, edges)[0])(VALUES, EDGES[::-1].copy())

    def caught(a, edges):
        try:
            return np.histogram(a, edges)[0]
        except ValueError:
            return a

    np.testing.assert_array_equal(tj.jit(caught)(VALUES, EDGES[::-1].copy()), VALUES)


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
def test_complex_systems(dtype):
    generator = np.random.default_rng(1)
    a = (generator.random((4, 4)) + 1j * generator.random((4, 4)) + 4 * np.eye(4)).astype(dtype)
    b = generator.random((4, 2))
    one_segment(lambda a, b: np.linalg.solve(a, b.astype(np.float32)), a, b)
    one_segment(lambda a, b: np.linalg.solve(a, b[:, 0]) + 1, a, b)
    one_segment(lambda a: np.linalg.inv(a), a)
    one_segment(lambda a: np.linalg.det(a), a)
    one_segment(lambda a: np.linalg.cholesky(a @ a.conj().T + 4 * np.eye(4, dtype=a.dtype)), a)


@pytest.mark.parametrize("exponent", [2, 2.0, 1, 0.5, -1, 3, 1.5])
def test_powers_of_complex_arrays_are_those_of_numpys_operator(exponent):
    z = np.array([0, 1, -1, 1j, 2 - 3j, np.inf, complex(np.nan, 1), complex(-0.0, -2)])
    with np.errstate(all="ignore"):
        one_segment(lambda z: z**exponent, z)
        one_segment(lambda z: z[4] ** exponent, z)
