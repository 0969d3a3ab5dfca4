"""Results written past the cache: the same values wherever a row begins, and however long it is."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import kernels
from tracejit.lower.cpu import compile_kernels, optimized
from tracejit.runtime.machine_code import MachineCode, native_entry
from tracejit.runtime.threads import start_pool
from tracejit.schedule.kernel import Index, Integer, Kernel, ScalarParameter

DTYPES = ("float64", "float32", "int64", "int32", "int16", "uint8", "float16", "int8")

RNG = np.random.default_rng(0)


@lru_cache
def streamed(kernel: Kernel) -> Any:
    """The entry of a kernel that takes every cache for full."""
    return native_entry(kernel, MachineCode(compile_kernels([kernel], cache_bytes=0)))


def two_results(first: str, second: str) -> Kernel:
    """out[i] = x[i] + y[i]; below[i] = x[i] < y[i], of other dtypes"""
    lines = kernels.Lines()
    x, y = lines.load(0, (0,), first), lines.load(1, (0,), first)
    lines.store(2, (0,), lines.apply("add", x, y, dtype=first))
    less = lines.apply("less", x, y, dtype="bool")
    lines.store(3, (0,), less if second == "bool" else lines.apply("cast", less, dtype=second))
    lines.stage()
    operands = [kernels.operand(dtype, 1) for dtype in (first, first)]
    operands += [kernels.operand(dtype, 1, "out") for dtype in (first, second)]
    return Kernel("map", 1, (0,), tuple(lines.stages), tuple(operands))


def stencil(dtype: str) -> Kernel:
    """out[1 + i, 1 + j] = x[i, 1 + j] + x[2 + i, 1 + j] + x[1 + i, j] + x[1 + i, 2 + j]"""
    lines = kernels.Lines()
    places = ((0, 1), (2, 1), (1, 0), (1, 2))
    loads = [lines.load(0, (Index(0, 1, a), Index(1, 1, b)), dtype) for a, b in places]
    total = loads[0]
    for load in loads[1:]:
        total = lines.apply("add", total, load, dtype=dtype)
    lines.store(1, (Index(0, 1, 1), Index(1, 1, Integer(0))), total)
    lines.stage()
    operands = (kernels.operand(dtype, 2), kernels.operand(dtype, 2, "out"))
    return Kernel("map", 2, (0, 1), tuple(lines.stages), operands, integers=1)


def array(dtype: str, *shape: int) -> Any:
    return RNG.integers(-50, 50, shape).astype(dtype)


def test_the_stores_are_non_temporal() -> None:
    code = optimized([kernels.axpy()])
    assert "!nontemporal" in code and "fence" in code
    assert "!nontemporal" not in optimized([kernels.softmax()])


def test_numbers_of_the_host_cost_nothing_an_element() -> None:
    """x[i] + c1 + c2 + c3 + c4, each of the four a number that is converted before the loop."""
    lines = kernels.Lines()
    numbers = [lines.apply("cast", lines.line(ScalarParameter(k), "float64"), dtype="float32") for k in range(4)]
    total = lines.load(0, (0,), "float32")
    for number in numbers:
        total = lines.apply("add", total, number, dtype="float32")
    lines.store(1, (0,), total)
    lines.stage()
    operands = (kernels.operand("float32", 1), kernels.operand("float32", 1, "out"))
    kernel = Kernel("map", 1, (0,), tuple(lines.stages), operands, scalars=("float64",) * 4)
    assert "!nontemporal" in optimized([kernel])


@settings(deadline=None, max_examples=60)
@given(
    dtype=st.sampled_from(DTYPES),
    n=st.integers(0, 700),
    offsets=st.tuples(*[st.integers(0, 40)] * 3),
)
def test_rows_begin_anywhere(dtype: str, n: int, offsets: tuple[int, int, int]) -> None:
    """Any alignment of each array; what stands around the result stays as it is."""
    kernel = kernels.binary("add", dtype)
    x, y, around = (array(dtype, 800) for _ in range(3))
    expected, out = around.copy(), around[offsets[2] :][:n]
    first, second = x[offsets[0] :][:n], y[offsets[1] :][:n]
    expected[offsets[2] :][:n] = first + second
    assert streamed(kernel)(first, second, out, n, n, 1) is None
    np.testing.assert_array_equal(around, expected)


@pytest.mark.parametrize("second", ["bool", "float32", "float64", "int16"])
@pytest.mark.parametrize("first", ["float64", "float32", "int8"])
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 500])
@pytest.mark.parametrize("offset", [0, 3])
def test_results_of_different_widths(first: str, second: str, n: int, offset: int) -> None:
    x, y = array(first, n), array(first, n)
    out, below = np.zeros(n + 9, first)[offset:][:n], np.zeros(n + 9, second)[8:][:n]
    assert streamed(two_results(first, second))(x, y, out, below, n, n, 1) is None
    np.testing.assert_array_equal(out, x + y)
    np.testing.assert_array_equal(below, (x < y).astype(second))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
@pytest.mark.parametrize("columns", [1, 2, 33, 64, 101, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_stencil(dtype: str, columns: int, threads: int) -> None:
    """Every row of the result begins elsewhere in a cache line."""
    assert threads == 1 or start_pool()
    rows, x = 20, array(dtype, 22, columns + 2)
    out = array(dtype, 22, columns + 2)
    expected = out.copy()
    expected[1:-1, 1:-1] = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    assert streamed(stencil(dtype))(x, out, rows, columns, 1, rows, threads) is None
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("shift", [0, 8])
def test_result_in_the_place_of_an_operand(shift: int) -> None:
    x, y = array("float64", 1000), array("float64", 1000)
    expected = x[shift:] + y[shift:]
    out = x[shift:]
    assert streamed(kernels.binary("add"))(x[shift:], y[shift:], out, 1000 - shift, 1000 - shift, 1) is None
    np.testing.assert_array_equal(out, expected)


def test_threads_write_parts_of_one_result() -> None:
    assert start_pool()
    n = 100_003
    x, y, out = array("float64", n), array("float64", n), np.empty(n + 1)[1:]
    assert streamed(kernels.binary("multiply"))(x, y, out, n, n, 2) is None
    np.testing.assert_array_equal(out, x * y)
