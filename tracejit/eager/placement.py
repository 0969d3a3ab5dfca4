"""Where an Array is: its device, moving it, and what other libraries ask of memory they are to share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.eager.core import Eager, refresh, wrap
from tracejit.runtime.device import CPU, Device
from tracejit.runtime.device_array import DeviceArray
from tracejit.runtime.devices import moved
from tracejit.runtime.dlpack import dlpack_capsule, dlpack_device


class Placed(Eager, abstract=True):
    """The part of an Array that knows of devices."""

    __slots__ = ()

    @property
    def device(self) -> Device:
        """Where the values are."""
        refresh(self)
        return self._value.device if type(self._value) is DeviceArray else CPU

    def to(self, device: str | Device) -> Any:
        """The array on a device: itself if it is there, else a copy.

        device: "cpu", "cuda", "cuda:1".

        Raises NoDevice where there is no such device, RuntimeError for an array that a derivative follows: a gradient
        would end at the copy.
        """
        where = Device(device)
        if where == self.device:
            return self
        if self._tracked is not None:
            raise RuntimeError("an array with requires_grad=True is moved; move it first, and ask for gradients there")
        return wrap(moved(self._value, where))

    def __device_value__(self, written: bool) -> Any:
        """What compiled code gets; None where the operation is to be recorded.

        written: the code writes to it, which it may if nothing else looks at the memory.
        """
        if self._memory is not None:
            refresh(self)
        if self._tracked is not None:
            return None
        value = self._value
        if written and type(value) is DeviceArray and self._memory is None and not self._saved:
            return value.opened()
        return value

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        refresh(self)
        if type(self._value) is not DeviceArray:
            raise AttributeError("an Array on the CPU has no __cuda_array_interface__")
        return {**self._value.__cuda_array_interface__}

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """The values as a DLPack capsule, without a copy unless one is asked for; nobody may write to them."""
        refresh(self)
        if type(self._value) is not DeviceArray:
            values = np.array(self._value) if copy or not isinstance(self._value, np.ndarray) else self._value
            return np.asarray(values).__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device)
        return dlpack_capsule(self._value.copy() if copy else self._value, stream, max_version, dl_device)

    def __dlpack_device__(self) -> tuple[int, int]:
        refresh(self)
        return dlpack_device(self._value) if type(self._value) is DeviceArray else (1, 0)
