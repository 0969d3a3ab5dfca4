"""DLPack for memory that is not NumPy's: capsules that lend an array, and arrays that borrow what a capsule lends.

The structures are those of dlpack.h, version 1.0: https://dmlc.github.io/dlpack/latest/c_api.html
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.runtime.device_array import DeviceArray

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
"""DLDeviceType."""

_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}
"""DLDataTypeCode and NumPy's kind."""

_READ_ONLY = 1
_NAMES = (b"dltensor", b"dltensor_versioned")


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _DELETER))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_LENT: dict[int, tuple[Any, ...]] = {}
"""What lives until its borrower gives it back, by the address of the structure that was handed out."""


def _forget(address: int) -> None:
    _LENT.pop(address, None)


def _drop_capsule(capsule: int) -> None:
    """A capsule dies; if nobody took what it lends, its name has not changed."""
    for name in _NAMES:
        if _is_valid(capsule, name):
            _LENT.pop(_pointer(capsule, name), None)


_give_back = _DELETER(_forget)
_destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_drop_capsule)


def _function(name: str, result: Any, *parameters: Any) -> Callable[..., Any]:
    # A prototype of one's own leaves the shared `ctypes.pythonapi.NAME` as others have set it up.
    return ctypes.PYFUNCTYPE(result, *parameters)((name, ctypes.pythonapi))


_is_valid = _function("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer = _function("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_new_capsule = _function("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_rename = _function("PyCapsule_SetName", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)


def dlpack_device(array: DeviceArray) -> tuple[int, int]:
    """`__dlpack_device__` of an array on a GPU."""
    return CUDA, array.device.index


def dlpack_capsule(
    array: DeviceArray, stream: Any, max_version: tuple[int, int] | None, dl_device: tuple[int, int] | None
) -> Any:
    """`__dlpack__` of an array on a GPU.

    stream: the consumer's; it waits for the array's work, and the memory is lent to nobody else before its own (-1: the
        consumer sees to that; None, 1: the default stream).
    max_version: what the consumer knows; below 1.0 it cannot be told that nobody may write.

    Raises BufferError for another device than the array's.
    """
    if dl_device is not None and tuple(dl_device) != dlpack_device(array):
        raise BufferError(f'an array on {array.device} is asked for on another device; move it with x.to("cpu") first')
    if stream != -1:
        # Streams 1 and 2 are the driver's names for its default streams.
        array.block.used_by(0 if stream is None else int(stream))
    return capsule_of(array, dlpack_device(array), max_version is not None and max_version[0] >= 1)


def capsule_of(array: Any, device: tuple[int, int], versioned: bool) -> Any:
    """A capsule that lends an array (of anything with address, shape, strides and dtype)."""
    lengths = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
    steps = (ctypes.c_int64 * max(1, array.ndim))(*(s // array.dtype.itemsize for s in array.strides))
    code, bits = _CODES[array.dtype.kind], 8 * array.dtype.itemsize
    tensor = _Tensor(array.address or None, *device, array.ndim, code, bits, 1, lengths, steps, 0)
    managed: Any = (
        _Versioned(1, 0, None, _give_back, 0 if array.writeable else _READ_ONLY, tensor)
        if versioned
        else _Managed(tensor, None, _give_back)
    )
    address = ctypes.addressof(managed)
    _LENT[address] = (managed, lengths, steps, array)
    return _new_capsule(address, _NAMES[versioned], ctypes.cast(_destructor, ctypes.c_void_p))


class Borrowed:
    """Memory that a capsule lent, given back when nothing refers to it any more; no allocator lends it on.

    stream: where the lender was told that it is used; others: where else it has been.
    """

    __slots__ = ("_home", "_managed", "address", "others", "stream")

    def __init__(self, home: Any, managed: Any, address: int) -> None:
        self._home, self._managed, self.address, self.stream = home, managed, address, home.stream
        self.others: set[int] = set()

    def used_by(self, stream: int) -> None:
        """Another stream uses the memory."""
        self._home.memory.order(self.stream, stream)
        self.others.add(stream)

    def __del__(self) -> None:
        managed = self._managed
        # The lender knows nothing of work that is still queued here.
        for stream in (self.stream, *self.others):
            self._home.driver.activate(self._home.ordinal)
            self._home.driver.wait(stream)
        if managed.deleter:
            managed.deleter(ctypes.addressof(managed))


def borrowed(capsule: Any, home_of: Callable[[int], Any]) -> DeviceArray:
    """The array on a GPU that a capsule lends, without a copy; `home_of` gives the GPU by its number.

    Raises BufferError for memory of another kind, and for a capsule that has been used.
    """
    handle = id(capsule)
    name = next((name for name in _NAMES if _is_valid(handle, name)), None)
    if name is None:
        raise BufferError("this DLPack capsule has been used already, or is none")
    kind = _Managed if name == _NAMES[0] else _Versioned
    managed: Any = kind.from_address(_pointer(handle, name))
    tensor = managed.tensor
    if tensor.device_type not in (CUDA, CUDA_MANAGED) or tensor.lanes != 1 or tensor.code not in _KINDS:
        raise BufferError(f"a DLPack tensor of device type {tensor.device_type} and type code {tensor.code}")
    _rename(handle, b"used_" + name)
    dtype = np.dtype(bool) if tensor.code == _CODES["b"] else np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    packed = np.empty(shape, np.uint8).strides if not tensor.strides else tensor.strides[: tensor.ndim]
    strides = tuple(int(step) * dtype.itemsize for step in packed)
    address = (tensor.data or 0) + tensor.byte_offset
    home = home_of(tensor.device_id)
    block = Borrowed(home, managed, address)
    found = DeviceArray(home, block, address, shape, dtype, strides, False)
    found.contiguous = found.shadow.flags.c_contiguous
    return found.freeze() if kind is _Versioned and managed.flags & _READ_ONLY else found
