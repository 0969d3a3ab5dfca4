"""One GPU of this process: its streams, its memory, copies from and to it."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from tracejit.runtime.cuda_adapter import cuda_driver
from tracejit.runtime.cuda_driver import CudaError
from tracejit.runtime.device import Device, DeviceMismatch, NoDevice
from tracejit.runtime.device_array import DeviceArray
from tracejit.runtime.device_errors import DeviceErrors
from tracejit.runtime.device_kernels import DeviceKernels
from tracejit.runtime.device_memory import DeviceAllocator
from tracejit.schedule.kernel import Apply, Index, Instruction, Kernel, Load, Operand, Stage, Store

KEPT_LAYOUTS = 4096
"""Shapes of which the strides are remembered."""


class _Current(threading.local):
    """The stream that this thread queues work on; zero for the device's own."""

    stream: int = 0


class CudaDevice:
    """A GPU that this process uses."""

    def __init__(self, ordinal: int) -> None:
        self.driver = cuda_driver()
        self.ordinal, self.device = ordinal, Device("cuda", ordinal)
        self.driver.activate(ordinal)
        self.capability: tuple[int, int] = self.driver.capability(ordinal)
        self.processors: int = self.driver.processors(ordinal)
        self.shared_bytes: int = self.driver.shared_bytes(ordinal)
        self.memory = DeviceAllocator(self.driver, ordinal)
        self._own_stream: int = self.driver.new_stream()
        self._current = _Current()
        self._free_streams: list[int] = []
        self.library: dict[Any, Any] = {}
        self._layouts: dict[tuple[tuple[int, ...], int], tuple[int, tuple[int, ...]]] = {}
        self.errors = DeviceErrors(self)
        self.kernels = DeviceKernels(self)

    # ---- streams

    @property
    def stream(self) -> int:
        """What this thread queues work on."""
        return self._current.stream or self._own_stream

    def queue_on(self, stream: int) -> int:
        """Let this thread queue on a stream, zero for the device's own; returns what it was."""
        before, self._current.stream = self._current.stream, stream
        return before

    def borrow_stream(self) -> int:
        """A stream for one user.  None is ever given back to the driver: memory remembers which it was used on."""
        self.driver.activate(self.ordinal)
        return self._free_streams.pop() if self._free_streams else int(self.driver.new_stream())

    def return_stream(self, stream: int) -> None:
        """The user needs it no more."""
        self._free_streams.append(stream)

    def begin_capture(self, stream: int) -> None:
        """What this thread queues on the stream is noted down from now on."""
        self.driver.activate(self.ordinal)
        self.driver.begin_capture(stream)
        self.memory.capturing = True

    def end_capture(self, stream: int) -> int:
        """The graph of what was noted down."""
        self.memory.capturing = False
        return int(self.driver.end_capture(stream))

    def _refuse_capture(self, what: str) -> None:
        if self.memory.capturing:
            raise CudaError(
                f"a function that is captured {what}, which no CUDA graph holds: give it arrays that are on the device "
                "already, and look at values after it"
            )

    def synchronize(self) -> None:
        """Wait for all work of the device."""
        self.driver.activate(self.ordinal)
        self.driver.synchronize()

    def use(self, array: DeviceArray, stream: int) -> None:
        """A stream is about to work on an array: after those that have done so."""
        if array.block.stream != stream:
            array.block.used_by(stream)

    # ---- memory

    def empty(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """An uninitialized array in C order."""
        if type(dtype) is not np.dtype:
            dtype = np.dtype(dtype)
        key = (tuple(shape), dtype.itemsize)
        size, strides = self._layouts.get(key) or self._layout(*key)
        block = self.memory.allocate(size, self._current.stream or self._own_stream)
        return DeviceArray(self, block, block.address, key[0], dtype, strides, True)

    def _layout(self, shape: tuple[int, ...], itemsize: int) -> tuple[int, tuple[int, ...]]:
        """The bytes and strides of a contiguous array, remembered."""
        size, strides = itemsize, []
        for length in reversed(shape):
            strides.append(size)
            size *= length
        if len(self._layouts) >= KEPT_LAYOUTS:
            self._layouts.clear()
        found = self._layouts[shape, itemsize] = size, tuple(reversed(strides))
        return found

    def upload(self, values: Any) -> DeviceArray:
        """An array of the host's in device memory."""
        self._refuse_capture("copies an array or a scalar of NumPy's to the device")
        source = np.ascontiguousarray(values).reshape(np.shape(values))
        found = self.empty(source.shape, source.dtype)
        if source.size:
            self.driver.activate(self.ordinal)
            self.driver.upload(found.address, source, self.stream)
        return found

    def download(self, array: DeviceArray) -> np.ndarray[Any, Any]:
        """The values of an array, in C order."""
        self._refuse_capture("looks at a value")
        source = array if array.contiguous else array.copy()
        found = np.empty(source.shape, source.dtype)
        if found.size:
            stream = self.stream
            self.driver.activate(self.ordinal)
            self.use(source, stream)
            self.driver.download(found, source.address, stream)
            self.errors.check()
        return found

    def copy_into(self, target: DeviceArray, value: Any) -> None:
        """target[...] = value, which is broadcast and cast as NumPy does it."""
        if not isinstance(value, DeviceArray):
            value = self.upload(np.asarray(value, target.dtype))
        elif value.home is not self:
            raise DeviceMismatch(f"an array on {target.device} is assigned one on {value.device}; move it with .to()")
        if value.shape != target.shape:
            value = value.broadcast_to(target.shape)
        if target.contiguous and value.contiguous and target.dtype == value.dtype:
            self._copy_bytes(target, value)
        else:
            if not target.ndim:
                target, value = target.reshape(1), value.reshape(1)
            (kernel,) = self.kernels.get([copying(target.ndim, value.dtype.name, target.dtype.name)])
            kernel.entry((value, target), target.shape, self.errors.none)

    def _copy_bytes(self, target: DeviceArray, source: DeviceArray) -> None:
        if not target.size:
            return
        stream = self.stream
        self.driver.activate(self.ordinal)
        self.use(target, stream)
        self.use(source, stream)
        self.driver.copy(target.address, source.address, math.prod(target.shape) * target.itemsize, stream)


@cache
def cuda_device(ordinal: int = 0) -> CudaDevice:
    """A GPU by its number; raises NoDevice where there is none of that number."""
    count = cuda_driver().count()
    if ordinal >= count:
        raise NoDevice(f"there is no device cuda:{ordinal}: NVIDIA's driver finds {count}, the first is cuda:0")
    return CudaDevice(ordinal)


@cache
def copying(rank: int, source: str, target: str) -> Kernel:
    """The kernel that copies elements between arrays of any strides."""
    indices = tuple(Index(axis) for axis in range(rank))
    lines = [Instruction(0, Load(0, indices), source)]
    if source != target:
        lines.append(Instruction(1, Apply("cast", (0,)), target))
    lines.append(Instruction(2, Store(1, indices, lines[-1].number), ""))
    unit = (False,) * rank
    operands = (Operand(source, rank, unit), Operand(target, rank, unit, "out"))
    return Kernel("map", rank, tuple(range(rank)), (Stage((), tuple(lines)),), operands)
