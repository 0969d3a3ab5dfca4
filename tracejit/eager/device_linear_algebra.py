"""np.linalg on a GPU, as far as elimination goes: systems of equations, inverses, determinants; and np.convolve.

A block has a matrix, which is made for many small ones.  One that is singular is an error when a value is next read
back.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tracejit.eager.device_operations import run
from tracejit.eager.device_selection import sliding_window_view
from tracejit.ops import linear_algebra as library
from tracejit.runtime.device import no_device_form
from tracejit.runtime.device_array import DEVICE_CALLS, DeviceArray
from tracejit.runtime.device_library import eliminate
from tracejit.trace.standin import arange


def _computed_in(*operands: DeviceArray) -> np.dtype[Any]:
    if any(operand.dtype.kind == "c" for operand in operands):
        raise no_device_form("np.linalg of complex numbers", operands[0].device)
    return np.dtype("f" if all(operand.dtype == np.float32 for operand in operands) else "d")


def _own(a: DeviceArray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
    """A copy that may be overwritten."""
    target: DeviceArray = a.home.empty(shape, dtype)
    target[...] = a
    return target


def solve(a: DeviceArray, b: DeviceArray) -> DeviceArray:
    """np.linalg.solve of matrices or stacks of them."""
    dtype, stack = _computed_in(a, b), np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    result = _own(b, (*stack, *b.shape[-2:]), dtype)
    eliminate(_own(a, (*stack, *a.shape[-2:]), dtype), result, True)
    return result


def _identities(a: Any) -> Any:
    places = arange(a.shape[-1])
    return np.broadcast_to((places[:, None] == places).astype(a.dtype), a.shape)


def inv(a: DeviceArray) -> DeviceArray:
    """np.linalg.inv."""
    return solve(a, run(_identities, (_own(a, a.shape, _computed_in(a)),), {}, False))


def _factored(a: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """The triangular factor of each matrix and the sign of its permutation."""
    factor = _own(a, a.shape, _computed_in(a))
    signs = eliminate(factor, a.home.empty((*a.shape[:-1], 0), factor.dtype), False)
    return factor, signs


def _determinant(factor: Any, signs: Any) -> Any:
    return signs * np.prod(np.diagonal(factor, axis1=-2, axis2=-1), axis=-1)


def det(a: DeviceArray) -> Any:
    """np.linalg.det."""
    return run(_determinant, _factored(a), {}, False)


def _sign_and_logarithm(factor: Any, signs: Any) -> Any:
    diagonal = np.diagonal(factor, axis1=-2, axis2=-1)
    parts = signs * np.prod(np.sign(diagonal), axis=-1), np.sum(np.log(np.abs(diagonal)), axis=-1)
    return np.stack(parts, axis=-1)


def slogdet(a: DeviceArray) -> Any:
    """np.linalg.slogdet, packed as the library has it."""
    return run(_sign_and_logarithm, _factored(a), {}, False)


def cofactors(a: DeviceArray) -> Any:
    """The derivative of the determinant by each element, of matrices that have an inverse."""
    return run(_scaled, (inv(a), det(a)), {}, False)


def _scaled(inverse: Any, determinant: Any) -> Any:
    return np.swapaxes(inverse, -1, -2) * determinant[..., None, None]


def multi_dot(arrays: Any) -> Any:
    """The products from left to right."""
    return functools.reduce(np.matmul, arrays)


# ---- sums of products


def _at_each_place(windows: Any, weights: Any) -> Any:
    return np.sum(windows * weights, axis=-1)


def _padded(a: Any, wide: Any) -> Any:
    length = a.shape[0]
    return np.concatenate([np.zeros_like(wide[1:]), a, np.zeros_like(wide[1:])]) if length else a


def correlate(a: DeviceArray, v: DeviceArray, mode: str = "valid") -> Any:
    """np.correlate: a sum of products of the shorter array for each place."""
    if a.size < v.size:
        return run(np.flip, (correlate(v, a, mode),), {}, False)
    if a.dtype.kind == "c" or v.dtype.kind == "c" or a.dtype == v.dtype == np.bool_:
        raise no_device_form(f"np.correlate of {a.dtype}", a.device)
    count, few = a.size, v.size
    padded = run(_padded, (a, v), {}, False)
    whole = run(_at_each_place, (sliding_window_view(padded, few), v), {}, False)
    first = {"full": 0, "same": few - 1 - few // 2, "valid": few - 1}[mode]
    length = {"full": count + few - 1, "same": count, "valid": count - few + 1}[mode]
    dtype = np.result_type(a.dtype, v.dtype)
    return whole[first : first + length].astype(dtype, copy=False)


def convolve(a: DeviceArray, v: DeviceArray, mode: str = "full") -> Any:
    """np.convolve."""
    return correlate(a, v[::-1], mode) if a.size >= v.size else correlate(v, a[::-1], mode)


DEVICE_CALLS.update(
    {
        np.convolve: convolve,
        np.correlate: correlate,
        np.linalg.multi_dot: multi_dot,
        library.cofactors: cofactors,
        np.linalg.solve: solve,
        np.linalg.inv: inv,
        np.linalg.det: det,
        library.slogdet: slogdet,
    }
)
