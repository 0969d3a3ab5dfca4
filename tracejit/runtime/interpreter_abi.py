"""Is this the interpreter, and the NumPy, that emitted code knows?  Where are their functions?

What the code relies on is looked at in the memory of real objects: a build that differs takes the portable path.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import lru_cache
from types import CellType
from typing import Any

import numpy as np

from tracejit.lower import linking

_TYPES = {
    "PyArray_Type": np.ndarray,
    "PyBool_Type": bool,
    "PyDict_Type": dict,
    "PyFloat_Type": float,
    "PyList_Type": list,
    "PyLong_Type": int,
    "PyTuple_Type": tuple,
    "_Py_NoneStruct": None,
    "_Py_TrueStruct": True,
}


def portable() -> bool:
    """Does this process do without native entries: by the user's wish, or because they would not work?"""
    return os.environ.get("TRACEJIT_PORTABLE", "") not in ("", "0") or not native_entry_works()


FREE_THREADED = "t" in getattr(sys, "abiflags", "")
"""Whether this is a build without the GIL."""


@lru_cache(maxsize=1)
def native_entry_works() -> bool:
    """Is this the interpreter whose ABI the native entries are written for?"""
    known = platform.python_implementation() == "CPython" and not FREE_THREADED
    return known and ctypes.sizeof(ctypes.c_void_p) == 8 and _fields_are_known()


def addresses() -> dict[str, int]:
    """Where the functions and objects are that emitted code names."""
    found = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p) for name in linking.FUNCTIONS}
    table = _numpy_functions()
    numpy = {name: word(table + 8 * place) for name, (place, _) in linking.NUMPY_FUNCTIONS.items()}
    return {name: at.value or 0 for name, at in found.items()} | numpy | {n: id(_TYPES[n]) for n in linking.OBJECTS}


@lru_cache(maxsize=64)
def product_loop(dtype: np.dtype[Any]) -> int | None:
    """The address of the loop that np.matmul runs for arrays of a dtype; None where it is not found."""
    at, texts = id(np.matmul), [text.replace("->", "") for text in np.matmul.types]
    signatures = [bytes(np.dtype(kind).num for kind in text) for text in texts]
    wanted, known = bytes([dtype.num] * 3), b"".join(signatures)
    if not native_entry_works() or ctypes.c_int32.from_address(at + linking.UFUNC_COUNT).value != len(texts):
        return None
    if ctypes.string_at(word(at + linking.UFUNC_TYPES), len(known)) != known or wanted not in signatures:
        return None
    return word(word(at + linking.UFUNC_LOOPS) + 8 * signatures.index(wanted)) or None


def word(address: int) -> int:
    """Eight bytes of memory."""
    return ctypes.c_uint64.from_address(address).value


def _numpy_functions() -> int:
    """The table that NumPy gives to C extensions."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return int(get(np._core._multiarray_umath._ARRAY_API, None))  # type: ignore[attr-defined]


def _fields_are_known() -> bool:
    """Do objects look in memory as `lower.interpreter` says?"""
    array = np.arange(24.0).reshape(4, 6)[1:, ::2]
    at = id(array)
    pair: tuple[Any, ...] = (object(), object())
    items, cell = list(pair), CellType(array)
    expected = [
        (at + linking.TYPE, id(np.ndarray)),
        (at + linking.DATA, array.__array_interface__["data"][0]),
        (at + linking.DESCRIPTOR, id(array.dtype)),
        (id(pair) + linking.LENGTH, 2),
        (id(pair) + linking.TUPLE_ITEMS + 8, id(pair[1])),
        (id(items) + linking.LENGTH, 2),
        (word(id(items) + linking.LIST_ITEMS) + 8, id(items[1])),
        (id(cell) + linking.VALUE, at),
    ]
    half = [(at + linking.RANK, array.ndim), (at + linking.FLAGS, array.flags.num)]
    vectors = [(linking.DIMENSIONS, array.shape), (linking.STRIDES, array.strides)]
    scalars: list[tuple[Any, Any]] = [
        (np.float64(2.5), ctypes.c_double),
        (np.int16(-3), ctypes.c_int16),
        (np.bool_(True), ctypes.c_bool),
    ]
    return (
        all(word(address) == value for address, value in expected)
        and all(ctypes.c_int32.from_address(address).value == value for address, value in half)
        and all(tuple((ctypes.c_int64 * 2).from_address(word(at + field))) == value for field, value in vectors)
        and all(kind.from_address(id(scalar) + linking.VALUE).value == scalar for scalar, kind in scalars)
        and word(_numpy_functions() + 8 * 2) == id(np.ndarray)
    )
