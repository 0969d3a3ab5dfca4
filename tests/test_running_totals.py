"""np.cumsum and its kin as kernels: NumPy's bits along any axis, fused with what stands before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracejit as tj
from tests.comparing import assert_bit_equal

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cumsum": np.cumsum,
    "cumprod": np.cumprod,
    "nancumsum": np.nancumsum,
    "add": np.add.accumulate,
    "multiply": np.multiply.accumulate,
    "maximum": np.maximum.accumulate,
    "minimum": np.minimum.accumulate,
}
DTYPES = ("bool", "int8", "int32", "uint16", "int64", "uint64", "float16", "float32", "float64")
SPECIAL = (0.0, -0.0, np.nan, np.inf, -np.inf)

_jitted: dict[Any, Callable[[Any], Any]] = {}


def jitted(name: str, axis: Any) -> Callable[[Any], Any]:
    if (name, axis) not in _jitted:
        _jitted[name, axis] = tj.jit(lambda x: FUNCTIONS[name](x, axis=axis))
    return _jitted[name, axis]


@st.composite
def cases(draw: Any) -> tuple[str, Any, np.ndarray]:
    """A function, an axis and an array: rows short, long or empty, in any layout."""
    shape = tuple(draw(st.lists(st.sampled_from((0, 1, 2, 3, 8, 9, 33, 70)), min_size=1, max_size=3)))
    name = draw(st.sampled_from(sorted(FUNCTIONS)))
    axes: tuple[Any, ...] = tuple(range(-1, len(shape)))
    if name in ("cumsum", "cumprod", "nancumsum"):
        axes = (None, *axes)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    with np.errstate(invalid="ignore"):
        x = (random.normal(size=shape) * draw(st.sampled_from((1, 20)))).astype(dtype)
    if dtype.kind == "f" and draw(st.booleans()):
        x[random.random(shape) < 0.1] = draw(st.sampled_from(SPECIAL))
    if draw(st.booleans()):
        x = x[..., ::-1] if draw(st.booleans()) else x.T
    return name, draw(st.sampled_from(axes)), x


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=400, deadline=None)
@given(cases())
def test_numpys_bits(case: Any) -> None:
    name, axis, x = case
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name](x, axis=axis)
    # Which of two equal zeros an extremum is, NumPy leaves open.
    assert_bit_equal(jitted(name, axis)(x), expected, f"{name} {axis}", zero_signs=name not in ("maximum", "minimum"))


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64", "complex128"])
@pytest.mark.parametrize("function", [np.cumsum, np.cumprod], ids=["cumsum", "cumprod"])
def test_dtype_and_out(function: Any, dtype: str) -> None:
    x = np.arange(1, 13, dtype="int16").reshape(3, 4) % 5
    assert_bit_equal(tj.jit(lambda a: function(a, 1, dtype))(x), function(x, 1, dtype))

    def into(a: Any, out: Any) -> Any:
        return function(a, axis=0, dtype=dtype, out=out)

    out, expected = np.zeros((3, 4), dtype), np.zeros((3, 4), dtype)
    into(x, expected)
    assert tj.jit(into)(x, out) is out
    assert_bit_equal(out, expected)


def test_into_its_own_argument() -> None:
    def add_up(x: Any) -> None:
        np.cumsum(x, axis=1, out=x)
        x[1:] = np.maximum.accumulate(x[:-1], axis=0)

    x = np.random.default_rng(0).normal(size=(20, 30))
    expected = x.copy()
    add_up(expected)
    tj.jit(add_up)(x)
    assert_bit_equal(x, expected)


def test_errors_are_numpys() -> None:
    x = np.ones((2, 3))
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds"):
        tj.jit(lambda a: np.cumsum(a, axis=2))(x)
    with pytest.raises(np.exceptions.AxisError, match="axis -3 is out of bounds"):
        tj.jit(lambda a: np.maximum.accumulate(a, axis=-3))(x)


FUSED: dict[str, tuple[Callable[[Any], Any], dict[int, int]]] = {
    # kernels for each axis of an array of three axes, and of a vector (-1)
    "before and after": (lambda x, axis: np.cumsum(x * 2 + 1, axis) / 3, {0: 1, 1: 1, 2: 1, -1: 1}),
    "much work": (lambda x, axis: np.exp(np.cumsum(np.tanh(x), axis)), {0: 1, 1: 1, 2: 1, -1: 3}),
    "two totals": (lambda x, axis: (np.cumsum(x, axis), np.minimum.accumulate(x + 1, axis)), {0: 1, 1: 1, 2: 1, -1: 1}),
    "then summed": (lambda x, axis: np.sum(np.cumsum(x, axis) ** 2, axis), {0: 1, 1: 1, 2: 1, -1: 2}),
    "of the sum": (lambda x, axis: np.cumsum(x / np.sum(x, axis, keepdims=True), axis), {2: 1, -1: 2}),
    "totals of totals": (lambda x, axis: np.cumsum(np.cumprod(x, axis) + 1, axis), {0: 1, 1: 1, 2: 1, -1: 1}),
    "other axes": (lambda x, axis: np.cumsum(np.cumsum(x, axis), 0), {1: 2, 2: 2}),
    "turned": (lambda x, axis: np.flip(np.cumsum(np.flip(x, axis), axis), axis), {}),
    "drawdown": (lambda x, axis: np.min(x - np.maximum.accumulate(x, axis), axis), {0: 1, 1: 1, 2: 1, -1: 2}),
}


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_fusion(name: str, axis: int) -> None:
    function, kernels = FUSED[name]
    random = np.random.default_rng(0)
    for shape in ((9, 40, 20), (3, 100, 64)) if axis >= 0 else ((5000,), (3,)):
        x = random.uniform(0.5, 1.5, size=shape) / shape[axis]
        compiled = tj.jit(lambda a: function(a, axis))
        for result, expected in zip(_tuple(compiled(x)), _tuple(function(x, axis)), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)
        if axis in kernels:
            assert len(compiled.explain(x).kernels) == kernels[axis]
            assert not compiled.explain(x).opaque


def _tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("axis", [0, 1])
def test_any_number_of_threads_gives_the_same_bits(axis: int) -> None:
    x = np.random.default_rng(0).normal(size=(700, 3000))
    for threads in (1, 2, 3):
        with tj.set_num_threads(threads):
            assert_bit_equal(jitted("cumsum", axis)(x), np.cumsum(x, axis))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name: str) -> None:
    x = np.random.default_rng(3).normal(size=(4, 5))
    for axis in (0, 1):
        function = FUNCTIONS[name]
        tj.check_grads(lambda a: np.sin(function(a, axis=axis)), (x,), order=2)  # noqa: B023


def test_derivative_of_running_maximum_goes_to_the_last_of_equal_elements() -> None:
    x = np.array([1.0, 3.0, 2.0, 3.0, np.inf, 0.0])
    jacobian = tj.jacobian(np.maximum.accumulate)(x)
    expected = np.zeros((6, 6))
    expected[range(6), [0, 1, 1, 3, 4, 4]] = 1
    np.testing.assert_array_equal(jacobian, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_batches(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    for axis in (0, 1, -1):
        mapped = tj.vmap(lambda a: FUNCTIONS[name](a, axis=axis), in_axes=1, out_axes=1)  # noqa: B023
        expected = np.stack([FUNCTIONS[name](x[:, i], axis=axis) for i in range(4)], 1)
        np.testing.assert_array_equal(mapped(x), expected)


def test_in_a_loop() -> None:
    """A body that adds up a row for each step."""

    def smooth(x: Any) -> Any:
        return tj.fori_loop(0, 5, lambda i, a: np.cumsum(a, axis=1) / (i + 2), x)

    x = np.random.default_rng(0).normal(size=(6, 7))
    np.testing.assert_allclose(tj.jit(smooth)(x), smooth(x), rtol=1e-13)


def test_source_runs() -> None:
    """The printed kernel computes the same."""
    x = np.random.default_rng(0).normal(size=(3, 4))
    compiled = tj.jit(lambda a: np.cumsum(a + 1, axis=1) * 2)
    expected = compiled(x)
    (source,) = compiled.explain(x).sources
    names: dict[str, Any] = {"np": np, "tj": tj}
    exec(source, names)
    out = np.empty_like(x)
    names["kernel"](x, out, *x.shape)
    np.testing.assert_array_equal(out, expected)


SEVERAL: dict[str, Callable[..., Any]] = {
    "side by side": lambda x, a, b: (np.cumsum(x, a), np.cumprod(x + 1, b)),
    "summed": lambda x, a, b: np.sum(np.cumsum(x, a), b),
    "of each other": lambda x, a, b: np.cumsum(np.cumsum(x, a) + 1, b) * 2,
    "added": lambda x, a, b: (np.cumsum(x, a) + 1, np.cumprod(x, b), np.cumsum(x, a) + np.cumprod(x, b)),
}


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("shape", [(6, 6, 6), (5, 1, 5)])
def test_along_different_axes_of_one_length(name: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    for a in range(3):
        for b in range(3):
            result = _tuple(tj.jit(lambda x: SEVERAL[name](x, a, b))(x))  # noqa: B023
            for ours, numpys in zip(result, _tuple(SEVERAL[name](x, a, b)), strict=True):
                np.testing.assert_allclose(ours, numpys, rtol=1e-12, atol=1e-12)
