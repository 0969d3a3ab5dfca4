"""`DeviceArray`: memory of a GPU as an array; what a `tracejit.Array` on a device holds.

It has what generated host code asks of NumPy's arrays: views, copies, assignment, one value read back.  Views are
made by NumPy itself, of an array at the address of the device memory, whose elements nobody touches (`shadow`).
Operations are not here: NumPy's protocols go to what `OPERATIONS` holds, which compiles them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracejit.runtime.device import DeviceMismatch

VECTOR_BYTES = 16
"""What an address is a multiple of where a kernel loads vectors from it."""

OPERATIONS: dict[str, Callable[..., Any]] = {}
"""`ufunc`: (ufunc, method, inputs, options); `function`: (function, args, options); `method`: (array, name, *args,
**options); `property`: (array, name); `assign`: (array, key, value).  Filled by what compiles them."""


DEVICE_CALLS: dict[Any, Callable[..., Any]] = {}
"""What stands on a GPU for functions that NumPy does between kernels; filled in by `tracejit.eager`."""


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array in device memory.

    home: the `CudaDevice` whose memory it is; block: what keeps the memory, and says which stream uses it.
    contiguous: whether elements lie side by side in C order.
    words: address and strides, as kernels take them; form: what a launch is planned by, besides sizes.
    writeable: whether a function that is given the array may write to it.
    """

    __slots__ = (
        *("_shadow", "address", "block", "contiguous", "dtype", "form", "home", "shape", "strides", "words"),
        "writeable",
    )
    __array_priority__ = 950

    def __init__(
        self,
        home: Any,
        block: Any,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        strides: tuple[int, ...],
        contiguous: bool,
    ) -> None:
        self.home, self.block, self.address = home, block, address
        self.shape, self.dtype, self.strides, self.contiguous = shape, dtype, strides, contiguous
        self.words = (address, *strides)
        self.form = (strides, address % VECTOR_BYTES)
        self.writeable = True
        self._shadow: np.ndarray[Any, Any] | None = None

    def freeze(self) -> DeviceArray:
        """From now on nobody may write to the array, who is given it; returns it."""
        if self.writeable:
            self.writeable, self._shadow = False, None
        return self

    def opened(self) -> DeviceArray:
        """The same memory for somebody who may write to it."""
        return DeviceArray(self.home, self.block, self.address, self.shape, self.dtype, self.strides, self.contiguous)

    # ---- what it is

    @property
    def device(self) -> Any:
        """Where the memory is."""
        return self.home.device

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def shadow(self) -> np.ndarray[Any, Any]:
        """An array of NumPy's of the same address, shape and strides.  Its elements must not be touched."""
        if self._shadow is None:
            self._shadow = np.asarray(_Memory(self))
        return self._shadow

    @property
    def flags(self) -> Any:
        return self.shadow.flags

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray({np.array2string(self.read(), separator=', ', prefix='DeviceArray(')}, {self.device})"

    # ---- views

    def viewed(self, shadow: np.ndarray[Any, Any]) -> DeviceArray:
        """A view of this memory, as a view of the shadow has it."""
        address = shadow.__array_interface__["data"][0]
        view = DeviceArray(
            self.home, self.block, address, shadow.shape, shadow.dtype, shadow.strides, shadow.flags.c_contiguous
        )
        view._shadow, view.writeable = shadow, shadow.flags.writeable
        return view

    def __getitem__(self, key: Any) -> Any:
        if type(key) is tuple and not key:
            return self
        if not is_basic(key):
            return OPERATIONS["function"](operator.getitem, (self, key), {})
        shadow = self.shadow
        # With an ellipsis NumPy gives a view of one element, too, where it would read a scalar.
        return self.viewed(shadow[key if has_ellipsis(key) else (*key, ...) if type(key) is tuple else (key, ...)])

    def reshape(self, *shape: Any) -> DeviceArray:
        """A view of another shape, or of a copy where no view has it."""
        wanted = shape[0] if len(shape) == 1 else shape
        source = self if self.contiguous else self.copy()
        return source.viewed(source.shadow.reshape(wanted, copy=False))

    def transpose(self, *axes: Any) -> DeviceArray:
        return self.viewed(self.shadow.transpose(*axes))

    @property
    def T(self) -> DeviceArray:  # noqa: N802
        return self.transpose()

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> DeviceArray:
        return self.viewed(self.shadow.diagonal(offset, axis1, axis2))

    def view_as(self, dtype: Any) -> DeviceArray:
        """The same bits as another dtype of the same size."""
        return self.viewed(self.shadow.view(dtype))

    def broadcast_to(self, shape: Sequence[int]) -> DeviceArray:
        """A view in which elements repeat."""
        return self.viewed(np.broadcast_to(self.shadow, tuple(shape)))

    # ---- elements

    def copy(self, order: str = "C") -> DeviceArray:
        """The same values in memory of their own."""
        found: DeviceArray = self.home.empty(self.shape, self.dtype)
        self.home.copy_into(found, self)
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        if not is_basic(key):
            OPERATIONS["assign"](self, key, value)
        elif isinstance(value, np.ndarray) and value.ndim:
            raise DeviceMismatch(
                f"an array on {self.device} is assigned an array of NumPy's; move it first: "
                f'tracejit.device_put(x, "{self.device}")'
            )
        else:
            self.home.copy_into(self[key], value)

    def read(self) -> np.ndarray[Any, Any]:
        """The values in memory of the host; waits for the work that makes them."""
        found: np.ndarray[Any, Any] = self.home.download(self)
        return found

    def item(self, *position: Any) -> Any:
        """One element as a Python number."""
        if not position and self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        if len(position) == 1 and type(position[0]) is not tuple:
            position = tuple(int(x) for x in np.unravel_index(position[0], self.shape))
        elif len(position) == 1:
            position = position[0]
        return (self[position] if position else self).read().item()

    def tolist(self) -> Any:
        return self.read().tolist()

    def __bool__(self) -> bool:
        return bool(self.read())

    def __int__(self) -> int:
        return int(self.read())

    def __float__(self) -> float:
        return float(self.read())

    def __complex__(self) -> complex:
        return complex(self.read())

    def __index__(self) -> int:
        return operator.index(self.read()[()])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("an array on a device has no NumPy array without a copy")
        values = self.read()
        return values if dtype is None else values.astype(dtype, copy=False)

    def __getattr__(self, name: str) -> Any:
        """What else NumPy's arrays have is compiled."""
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"'DeviceArray' object has no attribute {name!r}")
        if callable(getattr(np.ndarray, name)):
            return partial(OPERATIONS["method"], self, name)
        return OPERATIONS["property"](self, name)

    # ---- others' protocols

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3.  The stream is the one that the memory's last work was queued on."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None if self.contiguous else self.strides,
            "stream": self.block.stream or None,
            "version": 3,
        }

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return OPERATIONS["ufunc"](ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function in _FACTS:
            return _FACTS[function](*args, **options)
        return OPERATIONS["function"](function, args, options)


_FACTS: dict[Any, Callable[..., Any]] = {
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: len(a.shape),
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
}
"""Functions that need no look at the elements."""


class _Memory:
    """An address as NumPy takes it."""

    def __init__(self, array: DeviceArray) -> None:
        # It does not hold the array, which holds the shadow: a cycle would keep the memory.
        self.__array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.address, not array.writeable),
            "strides": array.strides,
            "version": 3,
        }


def is_basic(key: Any) -> bool:
    """Whether an index is made of ints, slices, None and ellipses."""
    if type(key) is tuple:
        return all(map(is_basic, key))
    return key is None or key is Ellipsis or type(key) in (int, slice) or isinstance(key, np.integer)


def has_ellipsis(key: Any) -> bool:
    """Whether an index says `...` somewhere."""
    return any(item is Ellipsis for item in (key if type(key) is tuple else (key,)))


def is_array(value: Any) -> bool:
    """Is it an array, of NumPy's or on a device, and no scalar?"""
    return type(value) is np.ndarray or type(value) is DeviceArray
