"""np.einsum and its kin under jit, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracejit as tj

RNG = np.random.default_rng(0)
LENGTHS = {"a": 2, "b": 3, "c": 4, "d": 1, "e": 5}


@st.composite
def formulas(draw: Any) -> str:
    terms = draw(st.lists(st.text("abcde", min_size=1, max_size=4), min_size=1, max_size=3))
    if draw(st.booleans()):
        return ",".join(terms)
    letters = sorted(set("".join(terms)))
    output = draw(st.permutations(letters))[: draw(st.integers(0, len(letters)))]
    return f"{','.join(terms)}->{''.join(output)}"


def check(formula: str, *arrays: Any, tolerance: float = 1e-11) -> None:
    expected = np.einsum(formula, *arrays)
    found = tj.jit(lambda *arrays: np.einsum(formula, *arrays))(*arrays)
    assert found.dtype == expected.dtype and np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, tolerance, tolerance)


@settings(max_examples=40, deadline=None)
@given(formulas(), st.sampled_from(["float64", "int64", "float32", "int16", "bool"]))
def test_any_formula(formula: str, dtype: str) -> None:
    terms = formula.split("->")[0].split(",")
    arrays = [RNG.integers(-3, 4, [LENGTHS[c] for c in term]).astype(dtype) for term in terms]
    check(formula, *arrays, tolerance=1e-4 if dtype == "float32" else 1e-11)


@pytest.mark.parametrize(
    "formula, shapes",
    [
        ("...ij,...jk", [(2, 3, 4), (4, 5)]),
        ("i...,i...->...", [(3, 2, 4), (3, 1, 4)]),
        ("ij,jk,kl,lm->im", [(2, 9), (9, 3), (3, 8), (8, 4)]),
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("bij,bjk,k->bi", [(2, 3, 4), (2, 4, 5), (5,)]),
        ("ij,ij->i", [(3, 4), (1, 4)]),
        ("ij,jk->ik", [(0, 4), (4, 3)]),
        ("ij,jk->ik", [(2, 0), (0, 3)]),
        ("i,j->", [(3,), (4,)]),
    ],
)
def test_formulas(formula: str, shapes: Any) -> None:
    check(formula, *(RNG.standard_normal(shape) for shape in shapes))


def test_products_go_to_blas_and_the_rest_to_one_kernel() -> None:
    x, y, z = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 4, 5)), RNG.standard_normal((2, 3, 5))
    whole = tj.jit(lambda x, y, z: np.einsum("bij,bjk,bik->b", x, y, z) + 1)
    np.testing.assert_allclose(whole(x, y, z), np.einsum("bij,bjk,bik->b", x, y, z) + 1)
    text = str(whole.explain(x, y, z))
    assert "NumPy is called" not in text and "np.matmul" in text
    assert len(whole.explain(x, y, z).kernels) == 1


def test_dot_and_inner_of_several_axes() -> None:
    x, y, z = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((5, 4, 6)), RNG.standard_normal((5, 6, 4))
    np.testing.assert_allclose(tj.jit(np.dot)(x, y), np.dot(x, y))
    np.testing.assert_allclose(tj.jit(np.inner)(x, z), np.inner(x, z))
    np.testing.assert_allclose(tj.jit(np.inner)(x, 2.0), np.inner(x, 2.0))
    with pytest.raises(ValueError):
        tj.jit(np.dot)(x, z)
    with pytest.raises(ValueError):
        tj.jit(np.inner)(x, y)


def test_errors() -> None:
    for formula, shapes in (("ij,jk->ik", [(2, 3), (4, 5)]), ("ijk->i", [(2, 3)])):
        arrays = [np.ones(shape) for shape in shapes]
        with pytest.raises(ValueError):
            np.einsum(formula, *arrays)
        with pytest.raises(ValueError):
            tj.jit(lambda *arrays, formula=formula: np.einsum(formula, *arrays))(*arrays)
