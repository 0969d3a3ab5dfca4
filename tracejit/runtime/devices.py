"""The devices of this process, and moving values between them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tracejit.runtime.device import CPU, Device, NoDevice
from tracejit.runtime.device_array import DeviceArray
from tracejit.runtime.device_memory import MemoryStats


def cuda_home(index: int) -> Any:
    """The `CudaDevice` of a number; raises NoDevice.  It is imported when a GPU is first asked for."""
    return import_module("tracejit.runtime.cuda_device").cuda_device(index)


def devices() -> list[Device]:
    """The devices of this machine: the CPU, then the GPUs.

    >>> import tracejit as tj
    >>> tj.devices()[0]
    Device('cpu')
    """
    try:
        count = import_module("tracejit.runtime.cuda_adapter").cuda_driver().count()
    except NoDevice:
        count = 0
    return [CPU, *(Device("cuda", index) for index in range(count))]


def moved(value: Any, device: Device) -> Any:
    """An array or scalar on a device: a copy, or itself where it is there already."""
    if type(value) is DeviceArray:
        if value.device == device:
            return value
        value = value.read()
    return value if device.kind == "cpu" else cuda_home(device.index).upload(np.asarray(value))


def memory_stats(device: str | Device = "cuda") -> MemoryStats:
    """What the allocator of a GPU holds.

    Raises NoDevice where there is no such GPU, ValueError for the CPU, whose memory has none.
    """
    return gpu(device, "memory_stats").memory.stats()  # type: ignore[no-any-return]


def set_memory_limit(limit: int | None, device: str | Device = "cuda") -> None:
    """The most bytes that arrays on a GPU, and memory kept for later ones, may take; None: what the GPU has."""
    gpu(device, "set_memory_limit").memory.limit = limit


def synchronize(device: str | Device = "cuda") -> None:
    """Wait until all work of a GPU is done; calls return before it is."""
    gpu(device, "synchronize").synchronize()


def gpu(device: str | Device, name: str) -> Any:
    """The `CudaDevice` that a function of this name is asked for; raises ValueError for the CPU."""
    where = Device(device)
    if where.kind == "cpu":
        raise ValueError(f'{name} is of GPUs, as "cuda"; the CPU has nothing of the kind')
    return cuda_home(where.index)
