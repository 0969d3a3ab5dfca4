"""Complex arrays: kernels move them and know their arithmetic; results are NumPy's, assignments among them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import tracejit as tj


def _filled(z: Any) -> Any:
    return np.ones(z.shape, complex), np.full(z.shape, 1 - 2j), np.zeros_like(z), np.full_like(z, 3), z.copy()


def _written(z: Any) -> Any:
    made = np.empty_like(z)
    made[:] = z
    made[0] = 2j
    made[1] = z.real[1]
    made[2:] = np.arange(z.size - 2)
    return made


def _masked(z: Any) -> Any:
    z[z.real > 0.5] = 0
    z[np.abs(z) < 0.3] = 1j
    return np.where(z.imag > 0.5, z, -1j), np.where(z.imag > 0.5, z, z.real)


def _steps(z: Any) -> Any:
    total = np.zeros_like(z)
    for k in range(3):
        total[k:] += z[: z.size - k] * np.exp(1j * k)
    return total


def _joined(z: Any) -> Any:
    return np.concatenate([z, z.real]), np.stack([z, z])[:, ::-1], np.pad(z, 2), np.roll(z, 1), np.outer(z, z).T


def _discarded(z: Any) -> Any:
    x = np.zeros(z.size)
    x[:] = z.real
    return x, z[:, None] * np.ones(2), z[np.array([0, 2])]


def _number(z: Any, a: Any) -> Any:
    made = np.zeros_like(z)
    made[0] = a
    made[1:] = a * z[1:]
    return made


PROGRAMS: tuple[Callable[..., Any], ...] = (_filled, _written, _masked, _steps, _joined, _discarded)


def check(function: Callable[..., Any], *arguments: Any) -> None:
    mine, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
    compiled = tj.jit(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = function(*theirs)
        for _ in range(2):
            mine = copy.deepcopy(arguments)
            found = compiled(*mine)
            for f, e in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, expected)), strict=True):
                assert f.dtype == e.dtype
                np.testing.assert_allclose(f, e, rtol=1e-6 if f.dtype == np.complex64 else 1e-14)
            np.testing.assert_array_equal(mine[0], theirs[0])


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_as_numpy(program: Callable[..., Any], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    check(program, (rng.random(7) + 1j * rng.random(7)).astype(dtype))


@pytest.mark.parametrize("number", [2, 2.5, 1 - 3j, np.complex128(2j), np.float32(0.5)])
def test_numbers_among_the_arguments(number: Any) -> None:
    check(_number, np.arange(5) * (1 + 2j), number)


def test_memory_that_is_aligned_to_parts_only() -> None:
    """NumPy aligns complex128 to 8 bytes; the kernels must not ask for more."""
    flat = np.arange(41.0)
    for start in (0, 1):
        z = flat[start : start + 40].view(np.complex128)
        check(_written, z)
        check(_joined, z)


def test_other_dtypes_run_as_numpy() -> None:
    def label(x: Any) -> Any:
        names = np.array(["low", "high", "none"])
        names[0] = "new"
        return names, x + 1

    names, x = tj.jit(label)(np.arange(3.0))
    assert list(names) == ["new", "high", "none"]
    np.testing.assert_array_equal(x, np.arange(3.0) + 1)


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "sums": lambda a, b, r: (a + b, a - b, -a),
    "product": lambda a, b, r: a * b,
    "quotient": lambda a, b, r: a / b,
    "magnitude": lambda a, b, r: abs(a),
    "square": lambda a, b, r: a**2 + b,
    "equality": lambda a, b, r: (a == b, a != b, a == a.copy()),
    "with real numbers": lambda a, b, r: a * r + b * 2 - 1j * a + r / 3,
    "from real numbers": lambda a, b, r: (r + 1j * r[::-1], r.astype(a.dtype) * a),
    "choice": lambda a, b, r: np.where(abs(a) < r, a * b, a),
    "strided": lambda a, b, r: (a[::2] * b[::2])[::-1],
    "columns": lambda a, b, r: a[:, None] * b,
}


def _bits(value: Any) -> Any:
    """The parts of complex numbers, a NaN as it is printed: of its sign and payload NumPy makes no promise."""
    array = np.ascontiguousarray(value)
    parts = array.view(f"f{array.dtype.itemsize // 2}") if array.dtype.kind == "c" else array
    return [str(x) for x in parts.ravel()]


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.skipif(not llvm.get_host_cpu_features().get("fma"), reason="NumPy rounds products twice without FMA")
def test_arithmetic_has_the_bits_of_numpys_loops(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    special = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 3e38, 1e-38, 1e-44, 2.5])
    function = ARITHMETIC[name]
    compiled = tj.jit(function)
    for n in (0, 5, 33):
        for drawn in (rng.normal(size=(4, n)), rng.choice(special, (4, n))):
            a, b = np.empty(n, dtype), np.empty(n, dtype)
            a.real, a.imag, b.real, b.imag = drawn
            r = rng.normal(size=n).astype(a.real.dtype)
            with np.errstate(all="ignore"):
                found, expected = compiled(a, b, r), function(a, b, r)
            several = isinstance(found, tuple)
            for f, e in zip(found if several else (found,), expected if several else (expected,), strict=True):
                assert f.dtype == e.dtype and f.shape == e.shape
                assert _bits(f) == _bits(e)


def test_arithmetic_is_one_kernel() -> None:
    z, w = np.arange(50) * (1 + 2j), np.arange(50) * (2 - 1j)
    compiled = tj.jit(lambda z, w: np.where(abs(z) < 9.0, z * z + w, z))
    compiled(z, w)
    assert compiled.stats.kernels_compiled + compiled.stats.cache_hits == 1
    assert "NumPy is called" not in str(compiled.explain(z, w))


def test_complex_carries_of_a_loop() -> None:
    def steps(z: Any, c: Any) -> Any:
        for _ in range(500):
            z = np.where(abs(z) < 2.0, z * z + c, z)
        return z

    rng = np.random.default_rng(2)
    c = rng.normal(size=70) + 1j * rng.normal(size=70)
    compiled = tj.jit(steps)
    assert _bits(compiled(c * 0, c)) == _bits(steps(c * 0, c))
    assert sum(node.op == "loop" for node in compiled.roots[0].graph.nodes) == 1
