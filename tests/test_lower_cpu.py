"""Compiled kernels against NumPy."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests import kernels
from tracejit.lower import partial_dtypes, units
from tracejit.lower.cpu import assembly, compile_kernels
from tracejit.lower.python_source import python_source
from tracejit.runtime.disk_cache import DiskCache
from tracejit.runtime.kernel_cache import KernelCache
from tracejit.runtime.machine_code import MachineCode, native_entry, portable_entry
from tracejit.runtime.thread_pool import start_pool
from tracejit.schedule.kernel import (
    CHUNK,
    TILE,
    Index,
    Integer,
    IntegerValue,
    Kernel,
    Position,
)

_cache: KernelCache


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    global _cache
    _cache = KernelCache(DiskCache(tmp_path_factory.mktemp("kernels")))
    yield
    del _cache


def run(kernel: Kernel, *arguments: Any, extents: tuple[int, ...], threads: int = 1, integers: Any = ()) -> Any:
    """Call a kernel as the runtime does, on `operands... , scalars...`; partial operands are made here."""
    (loaded,) = _cache.get_kernels([kernel])
    count = units(kernel, extents)
    partials = [np.empty(count, dtype) for dtype in partial_dtypes(kernel)]
    given = sum(operand.role not in ("partial", "scratch") for operand in kernel.operands)
    operands, scalars = arguments[:given], arguments[given:]
    full = [*operands, *partials, *extents, *integers, *scalars]
    assert threads == 1 or start_pool()
    return loaded.entry(*full, count, threads)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32", "int8", "uint16", "float16"])
@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_elementwise(dtype: str, n: int) -> None:
    x, y = (RNG.uniform(0, 50, n).astype(dtype) for _ in range(2))
    out = np.empty(n, dtype)
    assert run(kernels.binary("add", dtype), x, y, out, extents=(n,)) is None
    np.testing.assert_array_equal(out, x + y)


def test_bool_and_comparison() -> None:
    x, y = RNG.integers(0, 2, (2, 100)).astype(bool)
    out = np.empty(100, bool)
    run(kernels.binary("add", "bool"), x, y, out, extents=(100,))
    np.testing.assert_array_equal(out, x + y)
    u, v = RNG.normal(size=(2, 100))
    u[3] = np.nan
    run(kernels.binary("less", result="bool"), u, v, out, extents=(100,))
    np.testing.assert_array_equal(out, u < v)


def test_strided_broadcast_and_backward() -> None:
    kernel = kernels.binary("add", rank=2, unit=False)
    base = RNG.normal(size=(60, 80))
    out = np.empty((20, 40))
    for x in (base[::3, ::2], base[::-3, 78::-2], base.T[:20, :40], np.broadcast_to(base[0, :40], (20, 40))):
        y = np.broadcast_to(base[:20, :1], (20, 40))
        run(kernel, x, y, out, extents=(20, 40))
        np.testing.assert_array_equal(out, x + y)


def test_index_start_and_step() -> None:
    lines = kernels.Lines()
    back = lines.load(0, (Index(0, -1, Integer(0)),))
    fixed = lines.load(0, (Index(None, 1, 2),))
    position = lines.apply("cast", lines.line(Position(0), "int64"))
    size = lines.apply("cast", lines.line(IntegerValue(0), "int64"))
    total = lines.apply("add", lines.apply("add", back, fixed), lines.apply("add", position, size))
    lines.store(1, (Index(0, 2, 1),), total)
    lines.stage()
    operands = (kernels.operand("float64", 1), kernels.operand("float64", 1, "out"))
    kernel = Kernel("map", 1, (0,), tuple(lines.stages), operands, integers=1)
    x, out = RNG.normal(size=10), np.zeros(21)
    run(kernel, x, out, extents=(10,), integers=(9,))
    np.testing.assert_array_equal(out[1::2], x[::-1] + x[2] + (np.arange(10) + 9.0))
    assert not out[::2].any()


def test_literals_keep_their_bits() -> None:
    payload = np.array(0x7FF800000000BEEF, "u8").view("f8")
    for number in (-0.0, 0.0, np.inf, payload, 0.1):
        lines = kernels.Lines()
        lines.store(0, (0,), lines.literal(number))
        lines.stage()
        kernel = Kernel("map", 1, (0,), tuple(lines.stages), (kernels.operand("float64", 1, "out"),))
        out = np.empty(3)
        run(kernel, out, extents=(3,))
        np.testing.assert_array_equal(out.view("u8"), np.full(3, number).view("u8"))


@pytest.mark.parametrize("dtype,tolerance", [("float64", 1e-15), ("float32", 1e-6)])
def test_softmax_with_scratch(dtype: str, tolerance: float) -> None:
    x = RNG.normal(size=(33, 1000)).astype(dtype)
    out = np.empty_like(x)
    for threads in (1, 2):
        assert run(kernels.softmax(dtype), x, out, extents=x.shape, threads=threads) is None
        power = np.exp(x - x.max(1, keepdims=True))
        np.testing.assert_allclose(out, power / power.sum(1, keepdims=True), rtol=16 * tolerance)
    run(kernels.softmax(dtype), x[:, :0], out[:, :0], extents=(33, 0))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [0, 1, 5, 511, 513, CHUNK + 3, 300_001])
def test_sum_is_the_same_for_any_threads(dtype: str, n: int) -> None:
    x = RNG.normal(size=n).astype(dtype)
    kernel = kernels.reduce_all("sum", dtype, partial="float64")
    results = []
    for threads in (1, 2, 3, 4):
        out = np.empty((), dtype)
        run(kernel, x, out, extents=(n,), threads=threads)
        results.append(out.tobytes())
    assert len(set(results)) == 1
    np.testing.assert_allclose(out, math.fsum(x), rtol=1e-6 if dtype == "float32" else 1e-13, atol=1e-30)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [100, 512, 5000, 200_000])
def test_sum_is_as_accurate_as_numpy(dtype: str, n: int) -> None:
    kernel = kernels.reduce_all("sum", dtype, result="float64", partial="float64")
    ours, numpys, random = 0.0, 0.0, np.random.default_rng(1)
    for _ in range(400 if n < 10_000 else 20):
        x = random.normal(size=n).astype(dtype)
        out, exact = np.empty(()), math.fsum(x)
        run(kernel, x, out, extents=(n,))
        ours += (float(out) - exact) ** 2
        numpys += (float(x.sum()) - exact) ** 2
    assert ours <= 1.3 * numpys  # of the squares, over random draws


def test_sum_of_special_values() -> None:
    kernel = kernels.reduce_all("sum", partial="float64")
    for x in ([0.0, -0.0], [np.inf, 1.0], [np.inf, -np.inf], [np.nan, 1.0], [1e308, 1e308], [1.0, -1.0]):
        array, out = np.array(x), np.empty(())
        run(kernel, array, out, extents=(2,))
        with np.errstate(all="ignore"):
            expected = array.sum()
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("op,dtype", [("max", "float64"), ("min", "float32"), ("sum", "int64"), ("prod", "float64")])
def test_reduce_all(op: str, dtype: str) -> None:
    x = RNG.uniform(0.99, 1.01, 100_000).astype(dtype)
    out = np.empty((), dtype)
    kernel = kernels.reduce_all(op, dtype, partial=partial_dtypes(kernels.reduce_all(op, dtype))[0])
    run(kernel, x, out, extents=x.shape, threads=2)
    np.testing.assert_allclose(out, getattr(np, op)(x), rtol=1e-11)
    if op in ("max", "min"):
        x[77_777] = np.nan
        run(kernel, x, out, extents=x.shape)
        assert np.isnan(out)


@pytest.mark.parametrize("op", ["any", "all"])
def test_reduce_bool(op: str) -> None:
    kernel = kernels.reduce_all(op, "bool")
    for x in (np.zeros(1000, bool), np.ones(1000, bool), np.arange(1000) == 567):
        out = np.empty((), bool)
        run(kernel, x, out, extents=x.shape)
        assert out == getattr(np, op)(x)


def test_reduce_all_over_two_axes() -> None:
    x = RNG.normal(size=(300, 1000))[:, :777]
    out = np.empty(())
    kernel = kernels.reduce_all("sum", rank=2)
    assert units(kernel, x.shape) == -(-300 // (CHUNK // 777))
    run(kernel, x, out, extents=x.shape, threads=2)
    np.testing.assert_allclose(out, math.fsum(x.ravel()), rtol=1e-15)


@pytest.mark.parametrize("op", ["sum", "max"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "float16"])
def test_columns(op: str, dtype: str) -> None:
    x = (RNG.normal(size=(50, 2 * TILE + 9)) * 20).astype(dtype)
    expected = x.sum(0, dtype="float64").astype(dtype) if op == "sum" else x.max(0)
    for threads in (1, 2):
        out = np.empty(x.shape[1], dtype)
        run(kernels.reduce_columns(op, dtype), x, out, extents=x.shape, threads=threads)
        rtol, atol = {"float16": (1e-3, 1e-12), "float32": (1e-6, 5e-5)}.get(dtype, (1e-11, 1e-12))
        np.testing.assert_allclose(out, expected, rtol=rtol, atol=atol)
    cube = x[:, : 2 * 3 * 100].reshape(50, 2, 3, 100)[:, 0]
    out = np.empty((50, 100), dtype)
    run(kernels.reduce_columns(op, dtype, 3), cube, out, extents=cube.shape, threads=2)
    expected = np.sum(cube, axis=1, dtype="float64").astype(dtype) if op == "sum" else cube.max(1)
    np.testing.assert_allclose(out, expected, rtol=1e-3)


def test_columns_with_three_stages() -> None:
    """out = x - mean of each column, twice the column's maximum kept aside."""
    lines = kernels.Lines()
    value = lines.load(0, (0, 1))
    total, largest = lines.reduce("sum", value), lines.reduce("max", value)
    lines.stage(0)
    count = lines.literal(40.0)
    mean = lines.apply("divide", total, count)
    lines.store(1, (0, 1), lines.apply("subtract", lines.load(0, (0, 1)), mean))
    lines.stage(0)
    lines.store(2, (1,), lines.apply("add", largest, largest))
    lines.stage()
    operands = (*(kernels.operand("float64", 2, role) for role in ("in", "out")), kernels.operand("float64", 1, "out"))
    kernel = Kernel("reduce_columns", 2, (1,), tuple(lines.stages), operands)
    x = RNG.normal(size=(40, TILE + 100))
    out, top = np.empty_like(x), np.empty(x.shape[1])
    run(kernel, x, out, top, extents=x.shape, threads=2)
    np.testing.assert_allclose(out, x - x.mean(0), atol=1e-14)
    np.testing.assert_array_equal(top, 2 * x.max(0))


def test_gather() -> None:
    kernel = kernels.take()
    x, out = RNG.normal(size=(9, 5)), np.empty((4, 5))
    rows = np.array([0, 8, -1, -9])
    assert run(kernel, x, rows, out, extents=(4, 5)) is None
    np.testing.assert_array_equal(out, x[rows])
    for wrong in (9, -10):
        assert run(kernel, x, np.array([0, wrong, 1, 2]), out, extents=(4, 5)) == 2
    assert run(kernel, x[:0], rows, out, extents=(4, 5)) == 2
    assert run(kernel, x[:0], rows[:0], out[:0], extents=(0, 5)) is None


def test_fastmath_is_part_of_the_structure_and_keeps_nan() -> None:
    plain = kernels.binary("add")
    fast = Kernel(plain.form, plain.axes, plain.outer, plain.stages, plain.operands, fastmath=True)
    assert fast.structure != plain.structure
    x, out = np.array([np.nan, np.inf, 1.0]), np.empty(3)
    run(fast, x, x, out, extents=(3,))
    np.testing.assert_array_equal(out, x + x)


def test_portable_entry_equals_native() -> None:
    kernel = kernels.axpy()
    code = MachineCode(compile_kernels([kernel]))
    x, y = RNG.normal(size=(2, 100))
    results = []
    for make in (native_entry, portable_entry):
        out = np.empty(100)
        assert make(kernel, code)(x, y, out, 100, 2, 100, 1) is None
        results.append(out)
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(results[0], 2 * x + y)
    total = kernels.reduce_all("sum", partial="float64")
    code = MachineCode(compile_kernels([total]))
    out, partial = np.empty(()), np.empty(1)
    portable_entry(total, code)(x, out, partial, 100, 1, 1)
    np.testing.assert_allclose(out, x.sum(), rtol=1e-15)
    take = kernels.take()
    code = MachineCode(compile_kernels([take]))
    assert portable_entry(take, code)(np.ones((3, 3)), np.array([5]), np.empty((1, 3)), 1, 3, 1, 1) == 2


def test_entry_raises_what_conversion_raises() -> None:
    (loaded,) = _cache.get_kernels([kernels.axpy()])
    x = np.ones(3)
    with pytest.raises(TypeError):
        loaded.entry(x, x, x, 3, "two", 3, 1)


def test_entry_keeps_no_references() -> None:

    (loaded,) = _cache.get_kernels([kernels.axpy()])
    x, y, out, a = np.ones(8), np.ones(8), np.empty(8), 2.5
    before = [sys.getrefcount(v) for v in (x, y, out, a, None)]
    for _ in range(100_000):
        loaded.entry(x, y, out, 8, a, 8, 1)
    after = [sys.getrefcount(v) for v in (x, y, out, a, None)]
    assert all(abs(p - q) < 50 for p, q in zip(before, after, strict=True))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="looks at x86 registers")
def test_loops_are_vectorized() -> None:
    for kernel in (
        kernels.axpy(),
        kernels.reduce_all("sum", "float32", partial="float64"),
        kernels.reduce_columns("sum"),
    ):
        text = assembly([kernel])
        assert "addps" in text or "addpd" in text, kernel


@pytest.mark.parametrize(
    "kernel,shapes,extents,extra",
    [
        (kernels.axpy(), ((5,), (5,), (5,)), (5,), (2.5,)),
        (kernels.binary("add", rank=2), ((3, 4), (3, 4), (3, 4)), (3, 4), ()),
        (kernels.softmax(), ((3, 4), (3, 4)), (3, 4), ()),
        (kernels.reduce_all("sum", partial="float64"), ((7,), ()), (7,), ()),
        (kernels.reduce_all("max"), ((7,), ()), (7,), ()),
        (kernels.reduce_columns("sum"), ((4, 3), (3,)), (4, 3), ()),
        (kernels.reduce_columns("min", rank=3), ((2, 4, 3), (2, 3)), (2, 4, 3), ()),
    ],
)
def test_printed_kernel_computes_the_same(kernel: Kernel, shapes: Any, extents: Any, extra: Any) -> None:
    *inputs, compiled = [RNG.normal(size=shape) for shape in shapes]
    printed = np.empty_like(compiled)
    run(kernel, *inputs, compiled, *extra, extents=extents)
    namespace: dict[str, Any] = {"np": np}
    exec(python_source(kernel), namespace)
    namespace["kernel"](*inputs, printed, *extents, *extra)
    np.testing.assert_allclose(printed, compiled, rtol=1e-14)


def test_printed_kernel_is_short() -> None:
    assert python_source(kernels.axpy()) == (
        "def kernel(x0, x1, out0, n0, s0):\n    for i in range(n0):\n        out0[i] = s0 * x0[i] + x1[i]\n"
    )
    assert python_source(kernels.take()) == (
        "def kernel(x0, x1, out0, n0, n1):\n    for i in range(n0):\n        v0 = x1[i]\n"
        "        for j in range(n1):\n            out0[i, j] = x0[v0, j]\n"
    )


def test_printed_loads_stay_before_the_store() -> None:
    """out = x; x = y; the load of x must not move behind the store into it."""
    lines = kernels.Lines()
    old = lines.load(0, (0,))
    lines.store(0, (0,), lines.load(1, (0,)))
    lines.store(1, (0,), old)
    lines.stage()
    kernel = Kernel("map", 1, (0,), tuple(lines.stages), (kernels.operand("float64", 1, "inout"),) * 2)
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    namespace: dict[str, Any] = {"np": np}
    exec(python_source(kernel), namespace)
    namespace["kernel"](x, y, 2)
    np.testing.assert_array_equal([x, y], [[3.0, 4.0], [1.0, 2.0]])
    run(kernel, x, y, extents=(2,))
    np.testing.assert_array_equal([x, y], [[1.0, 2.0], [3.0, 4.0]])
