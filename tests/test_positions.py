"""np.argmax and np.argmin against NumPy's: ties, zeros, NaN, any axis, views and fused producers; and what fuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracejit as tj
from tracejit.driver.function import HOT_CALLS

_DTYPES = "?bhilqBHILQefd"

_PRODUCERS: dict[str, Callable[[Any], Any]] = {
    "memory": lambda x: x,
    "reversed": lambda x: x[..., ::-1],
    "transposed": lambda x: x.T,
    "every second": lambda x: x[::2],
    "cheap": lambda x: x == x[..., :1],
    "expensive": lambda x: np.where(x > 0, np.exp(np.sin(x)), x),
}

_jitted: dict[Any, Callable[[Any], Any]] = {}


def _agrees(name: str, producer: str, axis: Any, keepdims: bool, x: Any) -> None:
    function = getattr(np, name)

    def plain(x: Any) -> Any:
        return function(_PRODUCERS[producer](x), axis=axis, keepdims=keepdims)

    with np.errstate(all="ignore"):
        expected = plain(x)
    jitted = _jitted.setdefault((name, producer, axis, keepdims), tj.jit(plain))
    got = jitted(x)
    assert type(got) is type(expected)
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)


@st.composite
def _cases(draw: Any) -> tuple[str, Any, bool, Any]:
    shape = tuple(draw(st.lists(st.sampled_from((1, 2, 3, 8, 31, 33, 70)), min_size=1, max_size=3)))
    axis = draw(st.sampled_from((None, *range(-len(shape), len(shape)))))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = np.dtype(draw(st.sampled_from(_DTYPES)))
    few = draw(st.booleans())
    x = random.integers(0, 3, shape).astype(dtype) if few else (random.normal(size=shape) * 50).astype(dtype)
    if dtype.kind == "f" and draw(st.booleans()):
        odd = random.random(shape) < draw(st.sampled_from((0.05, 0.6, 1.0)))
        special = draw(
            st.sampled_from(((0.0, -0.0), (np.nan,), (np.inf, -np.inf), (-np.inf,), (np.nan, np.inf, -np.inf)))
        )
        x = np.where(odd, random.choice(np.array(special, dtype), shape), x)
    return draw(st.sampled_from(("argmax", "argmin"))), axis, draw(st.booleans()), x


@pytest.mark.parametrize("producer", ["memory", "reversed", "transposed", "every second", "cheap"])
@given(case=_cases())
@settings(max_examples=40, deadline=None)
def test_positions_are_those_of_numpy(producer: str, case: Any) -> None:
    name, axis, keepdims, x = case
    _agrees(name, producer, axis, keepdims, x)


@pytest.mark.parametrize("fastmath", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_of_what_is_computed_point_into_it(name: str, axis: Any, fastmath: bool) -> None:
    """What is computed may differ from NumPy's in the last place, so the positions are those of our own values."""
    x, scale = np.random.default_rng(3).normal(size=(9, 40, 50)), 0.3 + np.arange(50.0)

    def both(x: Any, scale: Any) -> Any:
        y = np.exp(x) / scale * 3 + x / scale
        return y, getattr(np, name)(y, axis=axis)

    def alone(x: Any, scale: Any) -> Any:
        return both(x, scale)[1]

    values, found = tj.jit(both, fastmath=fastmath)(x, scale)
    assert np.array_equal(found, getattr(np, name)(values, axis=axis))
    assert np.array_equal(tj.jit(alone, fastmath=fastmath)(x, scale), found)


def test_rows_are_one_kernel_and_an_expensive_value_is_computed_once() -> None:
    x = np.random.default_rng(0).normal(size=(20, 300))
    for producer in ("memory", "cheap", "expensive"):
        function = tj.jit(lambda x, producer=producer: np.argmax(_PRODUCERS[producer](x), axis=1))
        assert np.array_equal(function(x), np.argmax(_PRODUCERS[producer](x), axis=1))
        assert str(function.explain(x)).count("def kernel(") == 1
        assert str(function.explain(x)).split("kernel 1 (")[1].count("np.exp(") == (producer == "expensive")


def test_empty_and_unknown_axes_raise_what_numpy_does() -> None:
    for shape, axis in (((0,), None), ((3, 0), 1), ((0, 3), 0), ((3,), 1)):
        for function in (np.argmax, np.argmin):
            x = np.zeros(shape)
            with pytest.raises((ValueError, np.exceptions.AxisError)) as expected:
                function(x, axis=axis)
            with pytest.raises(type(expected.value)) as found:
                tj.jit(lambda x, function=function, axis=axis: function(x, axis=axis))(x)
            assert str(found.value).splitlines()[0] == str(expected.value)
    assert tj.jit(lambda x: np.argmax(x, axis=0))(np.zeros((3, 0))).shape == (0,)


def test_other_dtypes_are_left_to_numpy() -> None:
    x = np.array([[1 + 2j, 3, 3 + 1j], [0, np.nan, 1]])
    assert np.array_equal(tj.jit(lambda x: np.argmax(x, axis=1))(x), np.argmax(x, axis=1))


def test_positions_are_written_where_out_says() -> None:
    x, out = np.random.default_rng(0).normal(size=(5, 7)), np.zeros(5, np.intp)
    tj.jit(lambda x, out: np.argmin(x, axis=1, out=out))(x, out)
    assert np.array_equal(out, np.argmin(x, axis=1))


def test_positions_along_a_batch_and_under_a_derivative() -> None:
    x = np.random.default_rng(0).normal(size=(4, 5, 6))
    assert np.array_equal(tj.vmap(lambda x: np.argmax(np.abs(x), axis=0))(x), np.argmax(np.abs(x), axis=1))
    assert np.array_equal(tj.vmap(lambda x: np.argmin(x, axis=1))(x), np.argmin(x, axis=2))
    slope = tj.grad(lambda x: np.sum(np.take_along_axis(x, np.argmax(x, axis=1)[:, None], 1) ** 2))(x[0])
    assert np.allclose(slope, np.where(x[0] == x[0].max(1, keepdims=True), 2 * x[0], 0))


@pytest.mark.parametrize("dtype", ["?", "b", "i", "L", "e", "f", "d"])
@pytest.mark.parametrize("shape", [(1,), (5000,), (200_001,), (300, 301), (70_000, 3), (3, 70_000)])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_in_whole_arrays(name: str, shape: tuple[int, ...], dtype: str) -> None:
    """In one pass: ties within and across blocks and chunks, NaN anywhere, nothing but the least number there is."""
    random, function = np.random.default_rng(1), getattr(np, name)
    jitted = _jitted.setdefault((name, "whole"), tj.jit(lambda x: (function(x), function(x[::-1]) + 1)))
    for case in range(5):
        x = random.integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)
        if case == 0:
            x[...] = True if dtype == "?" else np.finfo(dtype).min if dtype in "efd" else np.iinfo(dtype).min
        elif case in (1, 2) and dtype in "efd":
            x.flat[random.integers(0, x.size, case)] = np.nan
        elif case == 3:
            x[...] = dtype == "?" and name == "argmin"
            x.flat[-1] = not x.flat[-1]
        elif case == 4:
            x = x.T
        assert jitted(x) == (function(x), function(x[::-1]) + 1)
    text = str(jitted.explain(x))
    assert "NumPy is called for" not in text


def test_whole_arrays_are_read_once_with_what_is_computed_from_them() -> None:
    function = tj.jit(lambda x: (np.argmax(np.abs(x)), np.max(np.abs(x))))
    x = np.random.default_rng(0).normal(size=100_000)
    assert function(x) == (np.argmax(np.abs(x)), np.max(np.abs(x)))
    assert "if first_max" in str(function.explain(x))


def test_native_calls_find_positions() -> None:
    function = tj.jit(lambda x: np.argmin(x))
    x = np.array([3.0, 1.0, np.nan, 0.0])
    for _ in range(HOT_CALLS + 2):
        function(x)
    assert str(function.explain(x)).count("served by machine code: yes")
    for x in (np.array([3.0, 1.0, 1.0]), np.array([np.nan]), np.arange(1000.0)[::-1].copy()):
        assert function(x) == np.argmin(x)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("name", ["nanargmax", "nanargmin"])
def test_positions_that_leave_nan_out(name: str, axis: int | None) -> None:
    function = getattr(np, name)
    jitted = tj.jit(lambda x: (function(x, axis=axis), function(x, axis=axis, keepdims=True)), fullgraph=True)
    random = np.random.default_rng(5)
    for dtype in (np.float64, np.float32, np.float16, np.int32, np.bool_):
        x = (random.normal(size=(30, 40)) * 3).astype(dtype)
        if x.dtype.kind == "f":
            x[random.random(x.shape) < 0.5] = np.nan
            x[3] = -np.inf
            x[3, 0] = np.nan
        for got, expected in zip(
            jitted(x), (function(x, axis=axis), function(x, axis=axis, keepdims=True)), strict=True
        ):
            assert type(got) is type(expected) and np.array_equal(got, expected)
    x = np.ones((3, 4))
    x[1] = x[:, 2] = np.nan
    if axis is not None:
        for _ in range(3):
            with pytest.raises(ValueError, match="All-NaN slice encountered"):
                jitted(x)
    with pytest.raises(ValueError, match="All-NaN slice encountered"):
        tj.jit(lambda x: function(x))(np.full(3, np.nan))
    with pytest.raises(ValueError, match=f"attempt to get {name[3:]} of an empty sequence"):
        tj.jit(lambda x: function(x))(np.zeros(0))
    assert np.array_equal(
        tj.vmap(lambda x: function(x))(np.array([[np.nan, 1.0, 2.0], [4.0, np.nan, 3.0]])) < 3, [1, 1]
    )


def test_nothing_but_nan_gives_no_warning_in_any_call() -> None:
    """As `docs/errors.md` says; what NumPy would warn of is in the result."""
    x = np.full((2, 3), np.nan)
    function = tj.jit(lambda x: (np.nanmax(x, axis=1), np.nanmean(x, axis=0), np.nanvar(x), np.mean(x[:0]), np.log(-x)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert all(np.isnan(result).all() for result in function(x))
