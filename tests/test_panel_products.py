"""Matrix products whose right operand is made by panels in cache: values, what is fused, sizes at the edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracejit as tj
from tests.native_calls import run_python
from tracejit.lower.abi import panel_steps, panel_units
from tracejit.schedule.kernel import PANEL_WIDTH

RNG = np.random.default_rng(0)


def windows(x: Any, height: int, width: int) -> Any:
    """The (batch, channel * height * width, places) columns of images, and the shape of the places."""
    batch, channels, rows, columns = x.shape
    h, w = rows - height + 1, columns - width + 1
    taps = [x[:, :, i : i + h, j : j + w] for i in range(height) for j in range(width)]
    return np.stack(taps, axis=2).reshape(batch, channels * height * width, h * w), (h, w)


def convolution(x: Any, w: Any) -> Any:
    columns, shape = windows(x, w.shape[2], w.shape[3])
    flat = w.reshape(w.shape[0], w.shape[1] * w.shape[2] * w.shape[3])
    return (flat @ columns).reshape(x.shape[0], w.shape[0], *shape)


def forms(function: Any, *arguments: Any) -> list[str]:
    """The forms of the kernels that a function has for arguments."""
    return [kernel.form for kernel in function.explain(*arguments).kernels]


def check(function: Any, *arguments: Any, tolerance: float = 1e-5) -> Any:
    jitted = tj.jit(function)
    found, expected = jitted(*arguments), function(*arguments)
    np.testing.assert_allclose(found, expected, tolerance, tolerance * max(1.0, np.abs(expected).max(initial=0)))
    assert found.dtype == expected.dtype and found.shape == expected.shape
    return jitted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 3, 3, 1), (2, 3, 8, 9, 5), (1, 2, 70, 5, 8), (3, 1, 5, 300, 13), (2, 16, 14, 14, 32), (1, 700, 6, 6, 3)],
)
def test_values(dtype: str, shape: tuple[int, ...]) -> None:
    batch, channels, height, width, outputs = shape
    x = RNG.standard_normal((batch, channels, height, width)).astype(dtype)
    w = RNG.standard_normal((outputs, channels, 3, 3)).astype(dtype)
    jitted = check(convolution, x, w, tolerance=1e-5 if dtype == "float32" else 1e-12)
    assert "panels" in forms(jitted, x, w)


SHARED = """
import sys, numpy as np, tracejit as tj
from tests.test_panel_products import convolution
x, w = np.random.default_rng(0).random((2, 3, 8, 9)), np.random.default_rng(1).random((5, 3, 3, 3))
first, second = tj.jit(convolution), tj.jit(lambda x, w: np.tanh(convolution(x, w)))
assert np.allclose(first(x, w), convolution(x, w)) and np.allclose(second(x, w), np.tanh(convolution(x, w)))
print(first.stats.kernels_compiled + second.stats.kernels_compiled, "tracejit.lower.cpu" in sys.modules)
"""


def test_kernels_share_the_function_that_multiplies(tmp_path: Path) -> None:
    """It is compiled once, and found on disk like the kernels: a second process compiles nothing."""
    first, second = (run_python("-c", SHARED, TRACEJIT_CACHE_DIR=str(tmp_path)).split() for _ in range(2))
    assert int(first[0]) >= 2 and first[1] == "True"
    assert second == ["0", "False"]
    assert len(list(tmp_path.glob("*-tj_tile_float64.kernel"))) == 1


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(0, 4)] * 2, st.integers(2, 40), st.integers(2, 40), st.integers(0, 20)))
def test_one_kernel_for_all_sizes(sizes: tuple[int, ...]) -> None:
    batch, channels, height, width, outputs = sizes
    x, w = RNG.standard_normal((batch, channels, height, width)), RNG.standard_normal((outputs, channels, 2, 2))
    np.testing.assert_allclose(_any_size(x, w), convolution(x, w), 1e-12, 1e-12)


_any_size = tj.jit(convolution)


def test_other_dtypes_go_another_way() -> None:
    x, w = RNG.integers(0, 9, (2, 3, 8, 9)), RNG.integers(0, 9, (4, 3, 3, 3))
    jitted = check(convolution, x, w)
    assert "panels" not in forms(jitted, x, w)


def test_what_follows_is_in_the_kernel() -> None:
    def layer(x: Any, w: Any, b: Any, more: Any) -> Any:
        return np.maximum(convolution(x, w) + b[:, None, None], 0) * more

    x, w = RNG.standard_normal((2, 3, 9, 10)), RNG.standard_normal((5, 3, 3, 3))
    b, more = RNG.standard_normal(5), RNG.standard_normal((2, 5, 7, 8))
    jitted = check(layer, x, w, b, more, tolerance=1e-12)
    assert forms(jitted, x, w, b, more) == ["panels"]


def test_a_product_that_is_wanted_too() -> None:
    def layer(x: Any, w: Any) -> Any:
        z = convolution(x, w)
        return np.concatenate([z.ravel(), (np.exp(z) - np.max(z)).ravel(), np.tanh(z).ravel()])

    check(layer, RNG.standard_normal((2, 3, 9, 10)), RNG.standard_normal((5, 3, 3, 3)), tolerance=1e-12)


def test_what_follows_two_products() -> None:
    def both(x: Any, y: Any, w: Any) -> Any:
        first, second = convolution(x, w), convolution(y, w)
        return first + second, np.exp(first) * second.max(), np.exp(second) * first.max()

    x, y, w = RNG.standard_normal((2, 3, 9, 10)), RNG.standard_normal((2, 3, 9, 10)), RNG.standard_normal((5, 3, 3, 3))
    for found, expected in zip(tj.jit(both)(x, y, w), both(x, y, w), strict=True):
        np.testing.assert_allclose(found, expected, 1e-11)


def test_left_operand_of_any_layout() -> None:
    def product(w: Any, x: Any) -> Any:
        return w @ windows(x, 2, 2)[0]

    x = RNG.standard_normal((3, 2, 6, 7))
    stored = RNG.standard_normal((24, 30))
    for left in (stored[:5, :8], stored[::2, 3:27:3], stored[::-3, 7::-1], stored.T[:9, :8], stored[3:4, :8]):
        check(product, left, x, tolerance=1e-12)
    check(lambda w, x: product(w.T, x), RNG.standard_normal((8, 5)), x, tolerance=1e-12)
    check(lambda w, x: product(w[:, ::-1], x), RNG.standard_normal((5, 8)), x, tolerance=1e-12)
    check(product, RNG.standard_normal((3, 5, 8)), x, tolerance=1e-12)
    check(product, RNG.standard_normal((1, 5, 8)), x, tolerance=1e-12)


def test_pieces_of_several_depths_and_computed() -> None:
    def product(w: Any, x: Any, y: Any) -> Any:
        return w @ np.concatenate([np.exp(x), y * 2, x[:3]])

    x, y = RNG.standard_normal((6, 500)), RNG.standard_normal((4, 500))
    w = RNG.standard_normal((7, 13))
    jitted = check(product, w, x, y, tolerance=1e-12)
    assert forms(jitted, w, x, y) == ["panels"]
    check(product, w, x[:, ::-1], y[:, ::-1], tolerance=1e-12)


def test_pieces_side_by_side_are_put_together_first() -> None:
    def product(w: Any, x: Any, y: Any) -> Any:
        return w @ np.concatenate([x, y], axis=1)

    check(product, RNG.standard_normal((7, 6)), RNG.standard_normal((6, 50)), RNG.standard_normal((6, 3)))


def test_columns_used_twice() -> None:
    def product(w: Any, x: Any) -> Any:
        columns = windows(x, 2, 2)[0]
        return w @ columns + columns.sum()

    check(product, RNG.standard_normal((5, 8)), RNG.standard_normal((3, 2, 6, 7)), tolerance=1e-12)


def test_subnormals_and_specials() -> None:
    x = RNG.standard_normal((1, 2, 9, 10))
    x[0, 0, 3, 4], x[0, 1, 7, 7] = np.inf, np.nan
    w = RNG.standard_normal((4, 2, 3, 3))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isnan(tj.jit(convolution)(x, w)), np.isnan(convolution(x, w)))


def test_the_same_bits_for_any_threads() -> None:
    x, w = RNG.standard_normal((3, 8, 40, 41)), RNG.standard_normal((8, 8, 3, 3))
    jitted = tj.jit(convolution)
    with tj.set_num_threads(1):
        alone = jitted(x, w)
    with tj.set_num_threads(4):
        np.testing.assert_array_equal(jitted(x, w), alone)


def test_printed_kernel_computes_the_same() -> None:
    x, w = RNG.standard_normal((2, 3, 6, 7)), RNG.standard_normal((5, 12))

    def product(w: Any, x: Any) -> Any:
        return w @ windows(x, 2, 2)[0]

    text = str(tj.jit(product).explain(w, x))
    namespace: dict[str, Any] = {"np": np}
    exec(text[text.index("def kernel") :].split("\n\n\n")[0], namespace)
    out = np.empty((2, 5, 5, 6))
    names = namespace["kernel"].__code__.co_varnames[: namespace["kernel"].__code__.co_argcount]
    extents = {"n0": 2, "n1": 5, "n2": 6, "n3": 5, "n4": 12, "n5": 3, "n6": 4}
    arrays = {"out0": out} | dict(zip([n for n in names if n.startswith("x")], (x, w), strict=True))
    namespace["kernel"](*(arrays[n] if n in arrays else extents[n] for n in names))
    np.testing.assert_allclose(out.reshape(2, 5, 30), product(w, x))


@given(st.integers(1, 10**5), st.integers(0, 500), st.integers(0, 10**4))
def test_tiles_cover_the_axis(tiled: int, inner: int, depth: int) -> None:
    steps = panel_steps(tiled, inner, depth)
    assert 1 <= steps <= tiled and steps * inner <= max(PANEL_WIDTH[1], inner)
    assert (
        (panel_units(1, tiled, inner, depth, 1) - 1) * steps < tiled <= panel_units(1, tiled, inner, depth, 1) * steps
    )
