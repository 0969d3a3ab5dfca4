"""Computed matrices times vectors as sums that fuse; stacks times one matrix as one product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj

RNG = np.random.default_rng(3)


def ops(jitted: Any) -> list[str]:
    return [node.op for node in jitted.roots[0].graph.nodes]


def check(function: Callable[..., Any], *args: Any, rtol: float = 1e-12) -> Any:
    """The jitted function, whose results are NumPy's."""
    jitted = tj.jit(function)
    with np.errstate(invalid="ignore", over="ignore"):
        found, wanted = jitted(*args), function(*args)
    for one, other in zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]:
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-12)
    return jitted


# ---- expand_matrix_vector


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 5), (5, 1), (3, 4), (40, 300), (300, 40)], ids=str)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i2", "u1"])
def test_computed_matrices_are_never_written(shape: tuple[int, int], dtype: str) -> None:
    def function(a: Any, x: Any, y: Any) -> Any:
        return (a * 3 + 1) @ x, y @ (a * 2)

    a, x, y = ((RNG.random(size) * 9).astype(dtype) for size in (shape, shape[1], shape[0]))
    jitted = check(function, a, x, y, rtol=1e-5 if dtype == "f4" else 1e-12)
    assert "matmul" not in ops(jitted)


def test_a_matrix_in_memory_stays_with_blas() -> None:
    a, x = RNG.random((5, 6)), RNG.random(6)
    assert "matmul" in ops(check(lambda a, x: a @ x, a, x))
    assert "matmul" in ops(check(lambda a, x: (b := a * 2, b @ x), a, x))  # a result
    assert "matmul" in ops(check(lambda a, x: (b := a * 2) @ x + (b @ b.T) @ (b @ x), a, x))  # an operand of BLAS


def test_one_kernel_for_what_is_around_the_product() -> None:
    jitted = check(lambda a, b, x: 2.0 * a @ x + 3.0 * b @ x, RNG.random((7, 8)), RNG.random((7, 8)), RNG.random(8))
    assert len(jitted.roots[0].program.kernels) == 1


def test_special_values() -> None:
    a = np.array([[np.inf, 0.0], [np.nan, 1.0], [-np.inf, 2.0]])
    check(lambda a, x: (a * 1.0) @ x, a, np.array([0.0, 1.0]))
    check(lambda a, x: (a * 1.0) @ x, a, np.array([1.0, -1.0]))


def test_strided_and_transposed() -> None:
    a, x = RNG.random((9, 10)), RNG.random(10)
    check(lambda a, x: (a * 2) @ x[::2], a[::-1, ::2], x)
    check(lambda a, x: x[:9] @ (a + 1), a, x)
    check(lambda a, x: (np.exp(a.T) @ x[:9], x @ np.exp(a.T)), a, x)


def test_derivatives() -> None:
    a, x = RNG.random((4, 5)), RNG.random(5)
    tj.check_grads(lambda a, x: np.sum(np.sin(np.tanh(a * 2) @ x)), (a, x))


# ---- flatten_stacks


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (4,)),
        ((2, 1, 4), (4, 5)),
        ((1, 1, 4), (4, 5)),
        ((3, 2, 3, 4), (4, 1)),
        ((0, 3, 4), (4, 5)),
        ((2, 3, 0), (0, 5)),
        ((2, 3, 4), (4, 0)),
    ],
    ids=str,
)
def test_stacks_become_one_product(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = RNG.random(shapes[0]), RNG.random(shapes[1])
    jitted = check(lambda a, b: np.tanh(a * 2 @ b + 1), a, b)
    products = [node for node in jitted.roots[0].graph.nodes if node.op == "matmul"]
    assert all(len(node.inputs[0].shape) == 2 for node in products)


@pytest.mark.parametrize("layout", ["rows", "columns", "strided", "backwards", "swapped"])
def test_stacks_of_any_layout(layout: str) -> None:
    a = RNG.random((4, 6, 8))
    laid = {
        "rows": a,
        "columns": np.asfortranarray(a),
        "strided": np.repeat(a, 2, axis=1)[:, ::2],
        "backwards": a[::-1, :, ::-1],
        "swapped": np.swapaxes(a, 0, 1),
    }[layout]
    check(lambda a, b: a @ b, laid, RNG.random((8, 3)))
    check(lambda a, b: a[1:] @ b, laid, RNG.random((8, 3)))
    check(lambda a, b: np.swapaxes(a, 0, 1) @ b, laid, RNG.random((8, 3)))


def test_gradients_through_stacks() -> None:
    x, w = RNG.random((2, 3, 4)), RNG.random((4, 5))
    tj.check_grads(lambda x, w: np.sum(np.sin(x @ w)), (x, w))


# ---- reshapes of what does not lie in order


RESHAPES: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda p: np.swapaxes(p, 0, 1).reshape(-1),
    "transposed twice": lambda p: np.swapaxes(np.swapaxes(p, 0, 1).reshape(p.shape[1], -1), 0, 1).reshape(2, -1),
    "two shapes": lambda p: np.swapaxes(p, 0, 1).reshape(-1) * np.swapaxes(p, 0, 1).reshape(1, -1)[0],
    "a part in front": lambda p: p[2:].reshape(-1) + p[:-2].reshape(-1),
    "a part behind": lambda p: p[:, 2:].reshape(-1),
    "a part inside": lambda p: p[1][2:].reshape(2, -1),
    "every second": lambda p: p[::2].reshape(-1),
    "backwards": lambda p: p[::-1].reshape(-1),
    "a diagonal": lambda p: np.diagonal(p).reshape(2, -1),
    "repeated": lambda p: np.broadcast_to(p, (3, *p.shape)).reshape(-1),
}


@pytest.mark.parametrize("name", RESHAPES)
def test_reshapes_of_products(name: str) -> None:
    def function(a: Any) -> Any:
        return RESHAPES[name](a @ a.T), RESHAPES[name](a * 2) @ np.ones(RESHAPES[name](a).shape[-1])

    a = RNG.random((6, 6))
    jitted = check(function, a)
    if "a part in" not in name:  # which NumPy can view as it is
        assert "ascontiguousarray" not in jitted.sources()
    check(function, np.asfortranarray(a))
    check(function, a[::-1, ::-1])


# ---- results that go straight into arguments


OUTS: dict[str, Callable[..., Any]] = {
    "elementwise": lambda out, a: out.__setitem__(slice(None), a * 2),
    "a product": lambda out, a: out.__setitem__(slice(None), a @ a),
    "matmul with out": lambda out, a: (np.matmul(a, a, out=out), None)[1],
    "columns": lambda out, a: out.__setitem__(slice(None), a.sum(axis=0)),
    "twice": lambda out, a: (out.__setitem__(slice(None), a * 2), out.__setitem__(slice(None), a + 1))[1],
    "and returned": lambda out, a: (b := a * 2, out.__setitem__(slice(None), b))[0],
    "and itself returned": lambda out, a: (out.__setitem__(slice(None), a @ a), out)[1],
    "and used later": lambda out, a: (out.__setitem__(slice(None), a @ a), (out + 1).sum(axis=1))[1],
    "and a view of it": lambda out, a: (out.__setitem__(slice(None), a @ a), out[1:])[1],
}


@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
@pytest.mark.parametrize("name", OUTS)
def test_results_written_to_an_argument(name: str, layout: str) -> None:
    def memory() -> Any:
        whole = np.zeros((6, 12))
        return {"rows": np.zeros((6, 6)), "columns": np.zeros((6, 6)).T, "strided": whole[:, ::2]}[layout]

    jitted, a = tj.jit(OUTS[name]), RNG.random((6, 6))
    for _ in range(3):
        found, wanted = memory(), memory()
        returned, expected = jitted(found, a), OUTS[name](wanted, a)
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
        assert (returned is None) == (expected is None)
        if expected is not None:
            np.testing.assert_allclose(returned, expected, rtol=1e-13)
            assert np.shares_memory(returned, found) == np.shares_memory(expected, wanted)
    if name in ("elementwise", "a product", "matmul with out") and layout == "rows":
        assert "empty(" not in jitted.sources() and "a0[...]" not in jitted.sources()
    overlapping, same = a.copy(), a.copy()
    jitted(overlapping, overlapping)
    OUTS[name](same, same)
    np.testing.assert_allclose(overlapping, same, rtol=1e-13)


def test_an_index_out_of_bounds_leaves_the_argument_as_it_is() -> None:
    def function(out: Any, a: Any, places: Any) -> None:
        out[:] = a[places] * 2

    jitted, a = tj.jit(function), RNG.random(8)
    out = np.zeros(3)
    jitted(out, a, np.array([1, 2, 3]))
    np.testing.assert_array_equal(out, a[1:4] * 2)
    with pytest.raises(IndexError):
        jitted(out, a, np.array([4, 2, 9]))
    np.testing.assert_array_equal(out, a[1:4] * 2)


PASSING: dict[str, Callable[..., Any]] = {
    "rows, then all": lambda x, a: (x.__setitem__(0, x[0] + 1), x.__imul__(2.0), None)[2],
    "a copy that passes": lambda x, a: (t := x.copy(), t.__setitem__(0, 5.0), x.__setitem__(slice(None), t * a), None)[
        3
    ],
    "a copy that is given out": lambda x, a: (
        t := x.copy(),
        t.__setitem__(0, 5.0),
        x.__setitem__(slice(None), t * a),
    )[0],
    "a view of it given out": lambda x, a: (
        t := x.copy(),
        t.__setitem__(0, 5.0),
        x.__setitem__(slice(None), t * a),
    )[0][1:],
    "turned": lambda x, a: (x.__setitem__(0, 7.0), x.__setitem__(slice(None), x[::-1] * a), None)[2],
    "transposed": lambda x, a: (x.__setitem__(0, 7.0), x.__setitem__(slice(None), x.T * a), None)[2],
    "a product of it": lambda x, a: (x.__setitem__(0, 7.0), x.__setitem__(slice(None), x @ a), None)[2],
    "the old value later": lambda x, a: (
        old := x.copy(),
        x.__setitem__(0, 7.0),
        x.__imul__(2.0),
        x.__iadd__(old),
        None,
    )[4],
    "two copies": lambda x, a: (
        t := x.copy(),
        u := x.copy(),
        t.__setitem__(0, 1.0),
        u.__setitem__(1, 2.0),
        x.__setitem__(slice(None), t @ u),
        None,
    )[5],
    "another argument": lambda x, a: (x.__setitem__(0, a[1]), a.__setitem__(slice(None), x * 2), x.__imul__(a), None)[
        3
    ],
}


@pytest.mark.parametrize("name", PASSING)
def test_copies_in_the_memory_of_an_argument(name: str) -> None:
    jitted = tj.jit(PASSING[name])
    for _ in range(3):
        x, a = RNG.random((5, 5)), RNG.random((5, 5))
        mine, same = (x.copy(), a.copy()), (x.copy(), a.copy())
        found, wanted = jitted(*mine), PASSING[name](*same)
        for one, other in zip(mine, same, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13)
        if wanted is not None:
            np.testing.assert_allclose(found, wanted, rtol=1e-13)
            assert not np.shares_memory(found, mine[0])


def test_an_error_leaves_the_argument_as_it_is() -> None:
    def function(x: Any, places: Any) -> None:
        t = x.copy()
        t[0] = 5.0
        x[:] = t[places]

    jitted, x = tj.jit(function), RNG.random(4)
    jitted(x, np.array([0, 1, 2, 3]))
    before = x.copy()
    with pytest.raises(IndexError):
        jitted(x, np.array([3, 2, 1, 9]))
    np.testing.assert_array_equal(x, before)
