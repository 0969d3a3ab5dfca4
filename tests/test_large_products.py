"""Matrix products of a size that kernels of ours do: values, what is fused, when a function is traced once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.driver.large_products import VECTOR
from tracejit.lower.abi import panel_rows
from tracejit.lower.register_tile import registers
from tracejit.schedule.kernel import ENOUGH_PANELS, ROW_BLOCK

RNG = np.random.default_rng(0)

kernels_do_them = pytest.mark.skipif(registers().size != VECTOR, reason="BLAS does all products here")


def matrix(*shape: int, dtype: Any = float) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def forms(function: Any, *arguments: Any) -> list[str]:
    """The forms of the kernels that a function has for arguments."""
    return [kernel.form for kernel in function.explain(*arguments).kernels]


def close(found: Any, wanted: Any) -> None:
    tolerance = 1e-4 if wanted.dtype == np.float32 else 1e-11
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, tolerance, tolerance)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "every second column": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
}


@kernels_do_them
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_layouts(left: str, right: str, dtype: str) -> None:
    a, b = LAYOUTS[left](matrix(131, 142, dtype=dtype)), LAYOUTS[right](matrix(142, 157, dtype=dtype))
    jitted = tj.jit(np.matmul)
    close(jitted(a, b), a @ b)
    assert forms(jitted, a, b) == ["panels"]
    turned = tj.jit(lambda a, b: b.T @ a.T)
    close(turned(a, b), (a @ b).T)
    assert forms(turned, a, b) == ["panels"]


@pytest.mark.parametrize(
    "shape",
    [(300, 700, 9), (9, 700, 300), (700, 9, 300), (513, 64, 65), (8, 2000, 130), (130, 2000, 8), (40, 40, 1700)],
)
def test_narrow_and_ragged(shape: tuple[int, int, int]) -> None:
    rows, depth, columns = shape
    for dtype in ("f4", "f8"):
        a, b = matrix(rows, depth, dtype=dtype), matrix(depth, columns, dtype=dtype)
        close(tj.jit(lambda a, b: a @ b + 1)(a, b), a @ b + 1)


@kernels_do_them
def test_what_follows_is_in_the_kernel() -> None:
    def layer(x: Any, w: Any, b: Any, more: Any) -> Any:
        return np.tanh(x @ w + b) + more

    arguments = matrix(120, 130), matrix(130, 140), matrix(140), matrix(120, 140)
    jitted = tj.jit(layer)
    close(jitted(*arguments), layer(*arguments))
    assert forms(jitted, *arguments) == ["panels"]


@kernels_do_them
def test_traced_once_for_each_side_of_the_bound() -> None:
    jitted = tj.jit(lambda a, b: a @ b)
    for rows, traces in [(20, 1), (30, 1), (200, 2), (300, 2), (25, 2), (260, 2)]:
        a, b = matrix(rows, 101), matrix(101, 103)
        close(jitted(a, b), a @ b)
        assert jitted.stats.traces == traces
    assert forms(jitted, matrix(20, 101), matrix(101, 103)) == []


@kernels_do_them
def test_a_matrix_with_its_own_transpose_is_left_to_blas() -> None:
    jitted, a = tj.jit(lambda a: a @ a.T), matrix(200, 150)
    assert forms(jitted, a) == []
    np.testing.assert_array_equal(jitted(a), a @ a.T)


def test_stacks() -> None:
    for left, right in [((3, 110, 120), (120, 130)), ((3, 110, 120), (3, 120, 130)), ((110, 120), (2, 120, 130))]:
        a, b = matrix(*left), matrix(*right)
        close(tj.jit(lambda a, b: np.exp(-np.abs(a @ b)))(a, b), np.exp(-np.abs(a @ b)))


def test_an_operand_that_is_computed_or_written_to() -> None:
    def step(x: Any, w: Any) -> Any:
        h = np.maximum(x @ w, 0)
        w -= 0.01 * (x.T @ (h * 2))
        return h, (h - 1) @ w.T

    x, w = matrix(120, 110), matrix(110, 130)
    own, plain = w.copy(), w.copy()
    for found, wanted in zip(tj.jit(step)(x, own), step(x, plain), strict=True):
        close(found, wanted)
    close(own, plain)


def test_a_product_with_the_array_that_takes_it() -> None:
    def square(w: Any, u: Any) -> Any:
        w[...] = (w @ u) * 0.5 + w
        return w.sum()

    w, u = matrix(130, 130), matrix(130, 130)
    own, plain = w.copy(), w.copy()
    np.testing.assert_allclose(tj.jit(square)(own, u), square(plain, u), 1e-9)
    close(own, plain)


def test_derivatives() -> None:
    def loss(w: Any, v: Any, x: Any) -> Any:
        return np.mean((np.tanh(x @ w) @ v) ** 2)

    w, v, x = matrix(120, 110) / 10, matrix(110, 130) / 10, matrix(140, 120)
    h = np.tanh(x @ w)
    d = 2 * (h @ v) / (140 * 130)
    found = tj.jit(tj.grad(loss, argnums=(0, 1)))(w, v, x)
    close(found[0], x.T @ ((d @ v.T) * (1 - h * h)))
    close(found[1], h.T @ d)


def test_the_same_bits_for_any_threads() -> None:
    a, b = matrix(400, 150), matrix(150, 300)
    jitted = tj.jit(lambda a, b: np.exp(a @ b / 100))
    with tj.set_num_threads(1):
        alone = jitted(a, b)
    with tj.set_num_threads(4):
        np.testing.assert_array_equal(jitted(a, b), alone)


def test_infinities_stay_where_they_are() -> None:
    a, b = matrix(120, 110), matrix(110, 101)
    b[:, 100] = np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isfinite(tj.jit(np.matmul)(a, b)), np.isfinite(a @ b))


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 100, 255, 256, 257, 1000, 12345])
def test_blocks_cover_the_rows(rows: int) -> None:
    assert panel_rows(ENOUGH_PANELS, rows) >= rows
    block = panel_rows(1, rows)
    assert block % 8 == 0 and block > 0
    assert block >= min(rows, ROW_BLOCK)
