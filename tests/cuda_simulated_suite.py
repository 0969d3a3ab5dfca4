"""What runs in the simulator (see `cuda_simulated`): every op of the table, and whole functions, at small sizes.

pytest does not collect this file by itself: `test_cuda_lowering_simulated.py` runs it in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.cuda_rig import simulate
from tests.test_op_table import (
    DTYPES,
    ELEMENTWISE,
    REDUCE,
    accepted,
    apply_in_one_kernel,
    arity,
    check_call,
    draw_array,
    dtype_groups,
    spelt,
)
from tracejit.lower.cuda.kernel import Variant
from tracejit.lower.cuda.lowering import lower
from tracejit.ops import Op
from tracejit.runtime.device_matmul import product

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_op(op: Op) -> None:
    """All dtypes, mixed ones and Python numbers, special values among the elements; then a strided operand."""
    groups = dtype_groups(op, np.random.default_rng(1), 21)
    groups = [group for group in groups if accepted(op, [group])[0]]
    check_call(op, groups, tj.jit(apply_in_one_kernel(op)), "simulated:")
    dtype = next(group[0].dtype for group in groups[::-1] if isinstance(group[0], np.ndarray))
    rng = np.random.default_rng(2)
    pair = [draw_array(rng, op, dtype, (4, 6)).T, draw_array(rng, op, dtype, (12, 4))[::-2]]
    check_call(op, [tuple(pair[: arity(op)])], tj.jit(apply_in_one_kernel(op)), "strided:")


@pytest.mark.parametrize("op", REDUCE, ids=lambda op: op.name)
def test_reduction(op: Op) -> None:
    """Rows, columns, middle axes and everything, of every dtype that NumPy takes."""
    function = spelt(op)
    for number, dtype in enumerate(DTYPES):
        low, high = (0, 2) if op.name == "prod" else (-4, 5)
        low = max(0, low) if dtype.kind in "bu" else low
        x = np.random.default_rng(number).integers(low, high, (2, 3, 5)).astype(dtype)
        try:
            function(x)
        except TypeError:
            continue
        axes = ((None, 2), (0,), (1, (1, 2)), ((0, 2),))[number % 4]
        jitted = tj.jit(lambda a, axes=axes: [function(a, axis=axis) for axis in axes])
        for got, axis in zip(jitted(x), axes, strict=True):
            wanted = function(x, axis=axis)
            assert np.asarray(got).dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)


def softmax(x: Any) -> Any:
    power = np.exp(x - np.max(x, axis=1, keepdims=True))
    return power / np.sum(power, axis=1, keepdims=True)


def layernorm(x: Any, scale: Any) -> Any:
    centred = x - np.mean(x, axis=1, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True) + 1e-5) * scale


def column_statistics(x: Any) -> Any:
    return np.mean(x, axis=0), np.var(x, axis=0), np.max(x, axis=0)


def moments(x: Any) -> Any:
    return np.sum(x), np.mean(x), np.var(x), np.min(x), np.any(x > 2), np.all(x < 9)


def stencil(u: Any) -> Any:
    out = u.copy()
    out[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
    return out


def distances(x: Any) -> Any:
    return np.sqrt(np.sum((x[:, None, :] - x[None, :, :]) ** 2, axis=-1))


def gathered(table: Any, places: Any) -> Any:
    return table[places] * 2, table[places, np.arange(3)]


def in_place(x: Any) -> Any:
    x += 1
    x[::2] *= 3
    return x.sum()


def escape_time(re: Any, im: Any) -> Any:
    def step(i: Any, state: Any) -> Any:
        zr, zi, count = state
        near = zr * zr + zi * zi < 4
        return np.where(near, zr * zr - zi * zi + re, zr), np.where(near, 2 * zr * zi + im, zi), count + near

    return tj.fori_loop(0, 12, step, (re * 0, im * 0, np.zeros(re.shape, int)))[2]


def newton(x: float) -> Any:
    return tj.while_loop(lambda y: abs(y * y - x) > 1e-12, lambda y: 0.5 * (y + x / y), x)


def piecewise(x: float) -> Any:
    return tj.cond(x > 0, lambda: np.log(x), lambda: x * x)


def running(x: Any) -> Any:
    return tj.scan(lambda total, value: (total * 0.5 + value, total), 0.0, x)


def half_precision(x: Any) -> Any:
    return np.exp(x) * x + 1, np.sum(x, axis=1), np.max(x, axis=0)


def moved(z: Any, mask: Any) -> Any:
    return np.where(mask, z, z[::-1]), np.concatenate([z, z[::-1]])


def all_products(x: Any, y: Any) -> Any:
    return np.sum(x[:, None, :] * y[None, :, :], axis=2) + 1


def positions(x: Any) -> Any:
    return np.argmax(x, axis=1), np.argmin(x, axis=0)


def windows(x: Any, w: Any) -> Any:
    taps = [x[:, :, i : i + 4, j : j + 3] for i in range(2) for j in range(2)]
    columns = np.stack(taps, axis=2).reshape(2, 12, 12)
    return np.maximum(w @ columns, 0)


def draw(dtype: str, *shape: int) -> Any:
    return RNG.normal(size=shape).astype(dtype)


CASES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    *((softmax, (draw(d, 5, n),)) for d in ("f4", "f8") for n in (3, 40, 77)),
    *((layernorm, (draw(d, 4, n), draw(d, n))) for d in ("f4", "f8") for n in (8, 36)),
    *((column_statistics, (draw(d, n, m),)) for d in ("f4", "f8") for n, m in ((9, 33), (40, 3))),
    *((moments, (draw(d, n),)) for d in ("f4", "f8") for n in (1, 150)),
    (moments, (draw("f8", 9, 8).T[::2],)),
    (stencil, (draw("f8", 7, 9),)),
    (distances, (draw("f4", 6, 3),)),
    (gathered, (draw("f8", 4, 3), np.array([3, -1, 0]))),
    (in_place, (draw("f8", 11),)),
    (escape_time, (np.linspace(-2, 1, 20), np.linspace(-1, 1, 20))),
    (newton, (2.0,)),
    (piecewise, (3.0,)),
    (piecewise, (-3.0,)),
    (running, (draw("f8", 9),)),
    (half_precision, (draw("f2", 5, 6),)),
    (moved, (draw("f8", 8) + 1j * draw("f8", 8), RNG.random(8) < 0.5)),
    (all_products, (draw("f4", 9, 20), draw("f4", 5, 20))),
    (positions, (draw("f8", 5, 9),)),
    (windows, (draw("f4", 2, 3, 5, 4), draw("f4", 5, 12))),
    (softmax, (np.zeros((0, 4)),)),
    (stencil, (draw("f8", 3, 3)[::-1, ::-1],)),
]


@pytest.mark.parametrize(("function", "arguments"), CASES, ids=lambda x: getattr(x, "__name__", ""))
def test_function(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The function by itself and jitted, twice: the kernels take other variants each time."""
    jitted = tj.jit(function)
    for _ in range(2):
        copies = [tuple(x.copy() if isinstance(x, np.ndarray) else x for x in arguments) for _ in range(2)]
        with np.errstate(all="ignore"):
            expected, found = function(*copies[0]), jitted(*copies[1])
        for got, wanted in zip(_parts(found), _parts(expected), strict=True):
            narrow = np.asarray(wanted).dtype.itemsize
            tolerance = {2: 2e-3, 4: 2e-6}.get(narrow, 1e-13)
            np.testing.assert_allclose(got, wanted, tolerance, tolerance)
            assert np.asarray(got).dtype == np.asarray(wanted).dtype
        for got, wanted in zip(copies[1], copies[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


def _parts(value: Any) -> list[Any]:
    return [part for x in value for part in _parts(x)] if isinstance(value, tuple | list) else [value]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool", "float16"])
def test_product_of_matrices(dtype: str) -> None:
    """The kernel that stands in for a library's, stacks of matrices and tiles at the edges."""
    for shape in ((9, 70, 20), (2, 5, 3, 17)):
        *batch, rows, columns, depth = shape
        x, y = (draw("f8", *batch, *s) * 3 for s in ((rows, depth), (depth, columns)))
        x, y, out = x.astype(dtype), y.astype(dtype), np.empty((*batch, rows, columns), dtype)
        assert simulate(lower(product(len(shape) - 1, dtype), Variant(32, block=32)), [x, y, out], shape) == 0
        if dtype == "bool":
            np.testing.assert_array_equal(out, x @ y)
        else:
            expected = x.astype("f8") @ y.astype("f8")
            np.testing.assert_allclose(out.astype("f8"), expected, 1e-2 if dtype == "float16" else 1e-5, 1e-2)


def test_an_index_out_of_bounds_is_an_error() -> None:
    with pytest.raises(IndexError):
        tj.jit(lambda table, places: table[places] + 1.0)(np.arange(4.0), np.array([0, 4, 1]))
