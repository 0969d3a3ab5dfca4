"""Memory and device functions for a process without a GPU: the text of a kernel runs as Python, on NumPy scalars."""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

Dtype = np.dtype[Any]


class Pointer:
    """What the text sees of a word that is an address: elements of one dtype at places that may be negative.

    Memory outside of [begin, end) (addresses) is not touched: an IndexError says where the kernel went wrong.
    """

    def __init__(self, address: int, dtype: Any, begin: int, end: int) -> None:
        self.address, self.dtype = address, np.dtype(dtype)
        size = self.dtype.itemsize
        first = begin + (address - begin) % size
        count = max(0, (end - first) // size)
        memory = (ctypes.c_char * (count * size)).from_address(first) if count else b""
        self._elements = np.frombuffer(memory, self.dtype)
        self._start: int = (address - first) // size

    def _place(self, place: Any) -> int:
        index = self._start + int(place)
        if not 0 <= index < len(self._elements):
            raise IndexError(f"element {place} is outside of the memory that the address points into")
        return index

    def __getitem__(self, place: Any) -> Any:
        return self._elements[self._place(place)]

    def __setitem__(self, place: Any, value: Any) -> None:
        if getattr(value, "dtype", None) != self.dtype:
            raise TypeError(f"a value of type {getattr(value, 'dtype', type(value))} is stored as {self.dtype}")
        self._elements[self._place(place)] = value


def load_vector(lanes: int) -> Callable[..., tuple[Any, ...]]:
    """The elements of a vector at a place; its address is a multiple of its size."""

    def load(pointer: Pointer, place: Any) -> tuple[Any, ...]:
        _check_alignment(pointer, place, lanes)
        return tuple(pointer[int(place) + k] for k in range(lanes))

    return load


def store_vector(lanes: int) -> Callable[..., None]:
    """Write a vector at a place whose address is a multiple of its size."""

    def store(pointer: Pointer, place: Any, values: tuple[Any, ...]) -> None:
        _check_alignment(pointer, place, lanes)
        for k, value in enumerate(values):
            pointer[int(place) + k] = value

    return store


def _check_alignment(pointer: Pointer, place: Any, lanes: int) -> None:
    size = pointer.dtype.itemsize
    address = pointer.address + int(place) * size
    if address % (lanes * size):
        raise ValueError(f"a vector of {lanes * size} bytes at address {address:#x}, which is no multiple of that")


def shuffle_xor(value: Any, distance: Any, members: Any) -> Any:
    """The value of another thread of the block; all that are still running call it together."""
    thread: Any = threading.current_thread()
    board = vars(thread._manager).setdefault("tracejit_board", {})
    turn = vars(thread).setdefault("tracejit_turn", 0)
    thread.tracejit_turn += 1
    board[turn, thread.thread_id] = value
    thread.syncthreads()
    return board[turn, thread.thread_id ^ int(distance)]


_ALLOCATING = threading.Lock()


def shared_array(shared: Any, count: int, dtype: Dtype) -> Any:
    """The array in shared memory that a line of the text asks for, the same for all threads of a block.

    Numba's own looks whether there is one and then makes it, so that two threads may each get theirs.
    """
    if not count:
        return shared.array(count, dtype)  # all of what the launch asked for, which is there already
    thread: Any = threading.current_thread()
    line = sys._getframe(1).f_lineno
    with _ALLOCATING:
        arrays = vars(thread._manager).setdefault("tracejit_arrays", {})
        if line not in arrays:
            arrays[line] = np.empty(count, dtype)
        return arrays[line]


def sync_warp(members: Any) -> Any:
    """Threads wait for each other: here those of the whole block."""
    thread: Any = threading.current_thread()
    thread.syncthreads()
    return members


_ATOMIC = threading.Lock()
"""Simulated threads are threads of Python's."""


def atomic_max(pointer: Pointer, place: Any, value: Any) -> None:
    """Keep the larger."""
    with _ATOMIC:
        pointer[place] = max(pointer[place], value)


def atomic_add(pointer: Pointer, place: Any, value: Any) -> None:
    """Add to what is there."""
    with _ATOMIC:
        pointer[place] = pointer[place] + value


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c rounded once."""
    function = _C.fmaf if a.dtype.itemsize == 4 else _C.fma
    return a.dtype.type(function(float(a), float(b), float(c)))


def _c_library() -> Any:
    library = ctypes.CDLL("libm.so.6")
    for name, kind in (("fma", ctypes.c_double), ("fmaf", ctypes.c_float)):
        function = getattr(library, name)
        function.argtypes, function.restype = [kind] * 3, kind
    for name, kind in (("lgamma", ctypes.c_double), ("erf", ctypes.c_double), ("erfc", ctypes.c_double)):
        function = getattr(library, name)
        function.argtypes, function.restype = [kind], kind
    return library


_C = _c_library()


def ldexp(a: Any, n: Any) -> Any:
    """a * 2**n."""
    return np.ldexp(a, int(n)) if math.isfinite(n) else a


def minimum(a: Any, b: Any) -> Any:
    """IEEE 754-2019's minimum: -0.0 is less than 0.0."""
    if a == b and a.dtype.kind == "f":
        return a if np.signbit(a) else b
    return np.minimum(a, b)


def maximum(a: Any, b: Any) -> Any:
    """IEEE 754-2019's maximum."""
    if a == b and a.dtype.kind == "f":
        return b if np.signbit(a) else a
    return np.maximum(a, b)


def idiv(a: Any, b: Any) -> Any:
    """Integer quotient towards zero; 0 for a zero divisor, where anything may come."""
    dtype = np.result_type(a)
    if b == 0:
        return dtype.type(0)
    quotient = abs(int(a)) // abs(int(b))
    return _wrapped(-quotient if (a < 0) != (b < 0) else quotient, dtype)


def irem(a: Any, b: Any) -> Any:
    """Integer remainder with the sign of the dividend."""
    if b == 0:
        return a.dtype.type(0)
    remainder = abs(int(a)) % abs(int(b))
    return _wrapped(-remainder if a < 0 else remainder, a.dtype)


def _wrapped(number: int, dtype: Dtype) -> Any:
    return np.array(number & ((1 << 64) - 1), np.uint64).astype(dtype)[()]


def select(condition: Any, a: Any, b: Any) -> Any:
    """One of two values."""
    return a if condition else b


def bits(x: Any) -> Any:
    """A float's bits."""
    return x.view(f"i{x.dtype.itemsize}")


def from_bits(x: Any) -> Any:
    """The float of the bits."""
    return x.view(f"f{x.dtype.itemsize}")


def to_half(x: Any) -> Any:
    """The bits of the nearest float16."""
    return np.float16(x).view(np.uint16)


def from_half(x: Any) -> Any:
    """A float16, from its bits, as float32."""
    return np.float32(x.view(np.float16))


def cast(x: Any, dtype: Dtype) -> Any:
    """NumPy's conversion, which on x86-64 is the value that the GPU's code makes too."""
    return np.asarray(x).astype(dtype)[()]


_NUMPY_NAMES = {
    **{f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")},
    "pow": "power",
}


def libdevice(name: str) -> Callable[..., Any]:
    """What stands for a function of libdevice: NumPy's, or the C library's where NumPy has none."""
    function = getattr(np, _NUMPY_NAMES.get(name, name), None)
    if function is not None:
        return lambda *operands: operands[0].dtype.type(function(*operands))
    in_c = getattr(_C, name)
    return lambda x: x.dtype.type(in_c(float(x)))
