"""Where a call runs: where its arguments are, or where `jit(device=...)` says; its arrays as the trace takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from tracejit.driver.cpu_target import CPU
from tracejit.driver.target import Target
from tracejit.runtime.device import Device, DeviceMismatch
from tracejit.runtime.device_array import DeviceArray
from tracejit.trace.pytree import flatten, rebuild


def device_value(value: Any, written: bool) -> Any:
    """What an Array, or whatever holds memory of a device, gives to compiled code; None where it needs more than that.

    written: it is to be written to.
    """
    give = getattr(type(value), "__device_value__", None)
    return None if give is None else give(value, written)


def placed(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], device: Device | None
) -> tuple[tuple[Any, ...], dict[str, Any], Target]:
    """The arguments of a call with device memory in place of Arrays, and the target.

    device: where to run; None: where the arguments are.

    Raises DeviceMismatch where arguments are on several devices, or on another one than `device`; NoDevice where
    there is no such device.
    """
    leaves: list[Any] = []
    tree = flatten((args, dict(kwargs)), leaves)
    values = [given if (given := on_device(leaf)) is not None else leaf for leaf in leaves]
    devices = {value.device: None for value in values if type(value) is DeviceArray}
    if device is None and not devices:
        return args, dict(kwargs), CPU
    where = device if device is not None else next(iter(devices))
    others = [other for other in devices if other != where]
    if others:
        raise DeviceMismatch(_mismatch(values, device))
    if where.kind == "cpu":
        return args, dict(kwargs), CPU
    if device is None and any(_is_host_array(value) for value in values):
        raise DeviceMismatch(_mismatch(values, device))
    import_module("tracejit.eager")  # what NumPy's functions do on arrays of a device
    target: Target = import_module("tracejit.driver.cuda_target").cuda_target(where.index, device is not None)
    # A copy is read-only: what the function wrote to it, the caller would not see.
    moved = [target.constant(value).freeze() if _is_host_array(value) else value for value in values]
    given, options = rebuild(tree, moved)
    return given, options, target


def on_device(leaf: Any) -> DeviceArray | None:
    """The device memory of a leaf that has some."""
    if type(leaf) is DeviceArray:
        return leaf
    for written in (True, False):
        value = device_value(leaf, written)
        if type(value) is DeviceArray:
            return value
    return None


def _is_host_array(value: Any) -> bool:
    """Is it an array of the host's memory, of NumPy's or ours?  A scalar goes wherever it is needed."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(device_value(value, False), np.ndarray)


def _mismatch(values: Sequence[Any], device: Device | None) -> str:
    shown = [
        f"{value.dtype}[{', '.join(map(str, value.shape))}] on {value.device if type(value) is DeviceArray else 'cpu'}"
        for value in values
        if type(value) is DeviceArray or _is_host_array(value)
    ]
    if device is not None:
        return f"a function jitted for {device} is given {', '.join(shown)}; move arrays with x.to({str(device)!r})"
    return (
        f"arrays of different devices meet: {', '.join(shown)}. Arrays move only when they are told to: "
        'tracejit.device_put(x, "cuda"), or x.to("cpu")'
    )


@cache
def _wrap() -> Any:
    return import_module("tracejit.eager.core").wrap


def array_type() -> Any:
    """`tracejit.Array`, which stands above the driver."""
    return import_module("tracejit.eager").Array


def shown(result: Any) -> Any:
    """A call's result as the caller sees it: device memory as Arrays."""
    wrap = _wrap()
    if type(result) is DeviceArray:
        return wrap(result)
    leaves: list[Any] = []
    tree = flatten(result, leaves)
    if not any(type(leaf) is DeviceArray for leaf in leaves):
        return result
    return rebuild(tree, [wrap(leaf) if type(leaf) is DeviceArray else leaf for leaf in leaves])
