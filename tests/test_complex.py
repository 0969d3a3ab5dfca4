"""Complex arrays: kernels move them, NumPy computes with them; results are NumPy's, assignments among them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

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
