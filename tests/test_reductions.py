"""Reductions over any axes of any shape against NumPy, and sums against exact ones."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracejit as tj

SPECIAL = (0.0, -0.0, np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-30)


def _jitted(name: str, axis: Any, keepdims: bool) -> Callable[[Any], Any]:
    """One jitted function for each reduction, axes and keepdims, so that kernels are compiled once."""
    key = (name, axis, keepdims)
    if key not in _functions:
        reduction = getattr(np, name)
        _functions[key] = tj.jit(lambda x: reduction(x, axis=axis, keepdims=keepdims))
    return _functions[key]


_functions: dict[Any, Callable[[Any], Any]] = {}


@st.composite
def reductions(draw: Any, names: tuple[str, ...], dtypes: tuple[str, ...]) -> tuple[str, Any, bool, Any]:
    """A reduction, its axes, keepdims and an array; rows are short, long or empty."""
    shape = tuple(draw(st.lists(st.sampled_from((0, 1, 2, 3, 7, 8, 31, 33, 70)), min_size=1, max_size=3)))
    axis = draw(st.sampled_from((None, *range(len(shape)), *([(0, len(shape) - 1)] if len(shape) > 1 else []))))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    x = (random.normal(size=shape) * 50).astype(dtype)
    if dtype.kind == "f" and draw(st.booleans()):
        with np.errstate(over="ignore"):
            x[random.random(shape) < 0.05] = np.array(draw(st.sampled_from(SPECIAL))).astype(dtype)
    if draw(st.booleans()):
        x = x[..., ::-1] if draw(st.booleans()) else x.T
    return draw(st.sampled_from(names)), axis, draw(st.booleans()), x


def _expected(name: str, x: Any, axis: Any, keepdims: bool) -> Any:
    with np.errstate(all="ignore"):
        return getattr(np, name)(x, axis=axis, keepdims=keepdims)


def _same_or_same_error(name: str, axis: Any, keepdims: bool, x: Any, rtol: float) -> None:
    try:
        expected = _expected(name, x, axis, keepdims)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)[:20]):
            _jitted(name, axis, keepdims)(x)
        return
    result = _jitted(name, axis, keepdims)(x)
    assert result.dtype == expected.dtype and result.shape == expected.shape
    if rtol == 0:
        np.testing.assert_array_equal(result, expected)
    else:
        size = np.nanmax(np.abs(np.where(np.isfinite(x), x, 0)), initial=0) * max(x.size, 1)
        np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol * size)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(reductions(("max", "min", "any", "all"), ("float64", "float32", "float16", "int32", "uint8", "bool")))
def test_exact_reductions(case: Any) -> None:
    name, axis, keepdims, x = case
    _same_or_same_error(name, axis, keepdims, x, 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(reductions(("sum", "prod", "count_nonzero"), ("int64", "int8", "uint16", "bool")))
def test_integer_reductions(case: Any) -> None:
    name, axis, keepdims, x = case
    _same_or_same_error(name, axis, keepdims, x, 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(reductions(("sum", "mean", "var"), ("float64", "float32")))
def test_float_sums(case: Any) -> None:
    name, axis, keepdims, x = case
    if name == "var":
        x = np.where(np.abs(x) < 1e10, x, 1)
    _same_or_same_error(name, axis, keepdims, x, 1e-5 if x.dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "shape,axis",
    [((3000, length), 1) for length in (3, 7, 8, 16, 31, 100, 129, 1000)]
    + [((length, 3000), 0) for length in (3, 8, 31, 100, 1000)]
    + [((100, length, 30), 1) for length in (3, 8, 31, 100)],
)
def test_sums_are_as_accurate_as_numpys(dtype: str, shape: tuple[int, ...], axis: int) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    rows = np.moveaxis(x, axis, -1).reshape(-1, shape[axis])
    exact = np.array([math.fsum(row) for row in rows])
    ours = np.ravel(_jitted("sum", axis, False)(x)) - exact
    numpys = np.ravel(x.sum(axis)) - exact
    assert np.sum(ours**2) <= 1.3 * np.sum(numpys**2)  # of the squares, over random draws


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(4, 31), (70, 100), (70, 129), (70, 200), (40, 1000), (9, 5003), (200_003,)])
@pytest.mark.parametrize("products", [False, True], ids=["plain", "products"])
def test_few_long_sums_are_as_accurate_as_numpys(shape: tuple[int, ...], dtype: str, products: bool) -> None:
    """Rows that do not run side by side, of one sign, whose errors add up; over several draws."""
    random, total, theirs = np.random.default_rng(1), 0.0, 0.0
    function = (lambda x, y: np.sum(x * y, axis=-1)) if products else (lambda x, y: np.sum(x, axis=-1))
    jitted = tj.jit(function)
    for _ in range(60):
        x, y = random.random(size=(2, *shape)).astype(dtype)
        terms = (x * y if products else x).reshape(-1, shape[-1])
        exact = np.array([math.fsum(row) for row in terms])
        total += np.sum((np.ravel(jitted(x, y)) - exact) ** 2)
        theirs += np.sum((np.ravel(function(x, y)) - exact) ** 2)
    assert total <= 1.3 * theirs  # of the squares, over random draws


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["sum", "mean", "var", "max"])
@pytest.mark.parametrize(
    "shape,axis",
    [
        ((200_003,), None),
        ((5, 50_001), 1),
        ((20_011, 7), 1),
        ((50_001, 5), 0),
        ((700, 3000), 0),
        ((9, 300, 90), (0, 2)),
    ],
)
def test_any_number_of_threads_gives_the_same_bits(name: str, shape: Any, axis: Any, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    results = []
    for threads in (1, 2, 3, 5):
        with tj.set_num_threads(threads):
            results.append(_jitted(name, axis, False)(x).tobytes())
    assert len(set(results)) == 1


def test_rows_of_shared_operands() -> None:
    """What is copied for a tile gives what it gives when it is read in place."""
    random = np.random.default_rng(0)
    distances = tj.jit(lambda a, b: np.sqrt(np.sum((a[:, None, :] - b[None, :, :]) ** 2, axis=2)))
    softmax = tj.jit(lambda a, b: _softmax(a[:, None, :] * b[None, :, ::-1]))
    for rows, columns, length in ((5, 9, 3), (3, 700, 3), (40, 300, 31), (2, 8, 0), (1, 50, 7), (6, 5, 4), (0, 50, 3)):
        a, b = random.normal(size=(rows, length)), random.normal(size=(columns, length))
        expected = np.sqrt(np.sum((a[:, None, :] - b[None, :, :]) ** 2, axis=2))
        np.testing.assert_allclose(distances(a, b), expected, rtol=1e-15)
        if length:
            expected = _softmax(a[:, None, :] * b[None, :, ::-1])
            np.testing.assert_allclose(softmax(a, b), expected, rtol=1e-14)


def _softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(reductions(("nanmax", "nanmin", "nansum", "nanmean", "nanvar"), ("float64", "float32")))
def test_reductions_that_leave_nan_out(case: Any) -> None:
    name, axis, keepdims, x = case
    x = np.where(np.abs(x) < 1e10, x, np.nan if name in ("nanvar", "nanmean") else x)
    x[np.random.default_rng(x.size).random(x.shape) < 0.3] = np.nan
    if name in ("nanmax", "nanmin"):
        _same_or_same_error(name, axis, keepdims, x, 0)
        return
    expected = _expected(name, x, axis, keepdims)
    result = _jitted(name, axis, keepdims)(x)
    assert result.dtype == expected.dtype and result.shape == expected.shape
    rtol = 1e-4 if x.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol * 3000 * 50)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_nanmax_of_nothing_but_nan(axis: int | None) -> None:
    for shape in ((3, 70), (70, 3), (300, 300), (1, 1)):
        x = np.full(shape, np.nan)
        assert np.all(np.isnan(_jitted("nanmax", axis, False)(x)))
        x[0] = -np.inf
        np.testing.assert_array_equal(_jitted("nanmax", axis, False)(x), np.fmax.reduce(x, axis=axis))
        np.testing.assert_array_equal(_jitted("nanmin", axis, False)(x), np.fmin.reduce(x, axis=axis))


@pytest.mark.parametrize("name", ["any", "all"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_any_and_all_that_are_decided_early_or_late(name: str, axis: int | None) -> None:
    """Wherever the element stands that decides: in the first block, a later one, another chunk, nowhere."""
    function = getattr(np, name)
    jitted = tj.jit(lambda x, bound: function(x > bound, axis=axis))
    random = np.random.default_rng(2)
    for shape in ((1, 5), (3, 70_000), (70_000, 3), (400, 1000)):
        for others in (-1.0, 1.0):
            for place in (None, 0, -1, *random.integers(0, shape[0] * shape[1], 4)):
                x = np.full(shape, others)
                if place is not None:
                    x.flat[place] = -others
                for case in (x, x.T, x[::-1]):
                    np.testing.assert_array_equal(jitted(case, 0.0), function(case > 0, axis=axis))


def test_an_early_end_reads_no_further() -> None:
    """What lies behind the deciding element may not be read, in a process of its own, which that would end."""
    program = """
import ctypes, mmap
import numpy as np
import tracejit as tj

page, length = mmap.PAGESIZE, 1 << 22
x = np.frombuffer(mmap.mmap(-1, length), np.uint8)
x[: 2 * page] = 1
protect = ctypes.CDLL(None).mprotect
protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
found, all_other = tj.jit(lambda x: np.any(x == 1)), tj.jit(lambda x: np.all(x != 1))
with tj.set_num_threads(1):
    assert protect(x.ctypes.data + 2 * page, length - 2 * page, 0) == 0
    assert found(x) and not all_other(x)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


@pytest.mark.parametrize("dtype", ["d", "f", "i", "B", "?"])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "any", "prod"])
def test_few_columns(name: str, dtype: str) -> None:
    """Rows side by side, where they follow each other without a gap: whole blocks and what is left, gaps, a batch."""
    function, random = getattr(np, name), np.random.default_rng(3)
    columns = tj.jit(lambda x: function(x, axis=0))
    batch = tj.jit(lambda x: function(x, axis=1))
    fused = tj.jit(lambda x, shift: function(x * 2 + shift, axis=0) * 3)
    tolerance = {"d": 1e-12, "f": 1e-4}.get(dtype, 1e-12)
    for shape in ((64, 3), (65, 4), (1000, 2), (4097, 7), (511, 64), (511, 65), (63, 4), (1030, 30)):
        x = random.integers(0, 2, shape).astype(dtype) if dtype in "iB?" else (random.random(shape) + 0.5).astype(dtype)
        if dtype in "df":
            x = 1 + (x - 1) / 1000 if name == "prod" else x  # the product of all stays in range
            x[5, 1] = np.nan if name in ("max", "min") else 1
        for case in (x, x[::2], x[:, :-1], x[3:], np.asfortranarray(x)):
            if case.shape[1] > 1:
                expected = function(case, axis=0)
                np.testing.assert_allclose(columns(case), expected, rtol=tolerance)
                assert columns(case).dtype == expected.dtype
        np.testing.assert_allclose(batch(np.stack([x, x, x])), np.stack([function(x, axis=0)] * 3), rtol=tolerance)
        if dtype == "d":
            for shift in (-1.0, random.random(shape[1]) / 1000 - 1):
                np.testing.assert_allclose(fused(x, shift), function(x * 2 + shift, axis=0) * 3, rtol=1e-11)


def test_sums_of_few_columns_are_as_accurate_as_all_others() -> None:
    x = np.random.default_rng(4).standard_normal((100_007, 5)) * 10.0 ** np.arange(5)
    for dtype, own in ((np.float64, 2**-52), (np.float32, 2**-23)):
        given = x.astype(dtype)
        exact = np.array([math.fsum(column) for column in given.T.astype(float)])
        error = np.abs(tj.jit(lambda x: np.sum(x, axis=0))(given) - exact)
        assert np.all(error <= own * (np.abs(exact) + np.sum(np.abs(given), axis=0, dtype=float) / 100))


def test_stages_of_few_columns_that_read_other_things_too() -> None:
    """A row of weights between two stages of the table: what is reduced with it is known for the columns alone."""
    random = np.random.default_rng(5)

    def stages(x: Any, weights: Any) -> Any:
        mean = np.mean(x, axis=0)
        weighted = np.sum((x - mean) * weights, axis=0)
        return np.max(np.abs(x - weighted), axis=0), np.sum((x - mean) ** 2, axis=0), mean

    jitted = tj.jit(stages)
    for shape in ((64, 3), (301, 4), (1000, 30)):
        x, weights = random.standard_normal(shape), random.standard_normal(shape[1])
        for got, expected in zip(jitted(x, weights), stages(x, weights), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
