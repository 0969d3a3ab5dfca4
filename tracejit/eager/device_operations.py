"""NumPy's functions on arrays of a device: each is compiled as a function of its own when it is first called.

np.sin(x)      ->      the kernel of sin, by `jit`; kept for calls of the same structure
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.driver.function import Jitted
from tracejit.driver.host_code import MISS
from tracejit.eager.structure import Call, take_apart
from tracejit.runtime.device import DeviceMismatch
from tracejit.runtime.device_array import OPERATIONS, DeviceArray

KEPT = 1024
"""Compiled operations kept; past it the older half is forgotten."""

_COMPILED: dict[tuple[Call, Any], Jitted] = {}


def run(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], dynamic_ints: bool) -> Any:
    """A function on arrays of a device among its arguments; results are DeviceArrays.

    Raises DeviceMismatch where there are arrays of several devices among them, NoDeviceForm where there is no kernel.
    """
    leaves: list[Any] = []
    call = Call(function, take_apart((args, options), leaves, (), dynamic_ints))
    devices = {leaf.device: None for leaf in leaves if type(leaf) is DeviceArray}
    device, *others = devices
    if others or any(isinstance(leaf, np.ndarray) and leaf.ndim for leaf in leaves):
        raise DeviceMismatch(_mismatch(call.name, leaves))
    compiled = _COMPILED.get((call, device))
    if compiled is None:
        if len(_COMPILED) >= KEPT:
            for old in list(_COMPILED)[: KEPT // 2]:
                del _COMPILED[old]
        compiled = _COMPILED[call, device] = Jitted(_body(call), (), False, False, device)
    result = compiled.attempt(tuple(leaves), {})
    return compiled.run_plain(tuple(leaves), {}) if result is MISS else result


def _body(call: Call) -> Callable[..., Any]:
    def body(*leaves: Any) -> Any:
        return call(leaves)

    body.__name__ = body.__qualname__ = call.name
    return body


def _mismatch(name: str, leaves: list[Any]) -> str:
    shown = [
        f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}] on {leaf.device}"
        for leaf in leaves
        if isinstance(leaf, (np.ndarray, DeviceArray))
    ]
    return (
        f"{name} is given arrays of different devices: {', '.join(shown)}. Arrays move only when they are told to: "
        'tracejit.device_put(x, "cuda"), or x.to("cpu")'
    )


def _ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    function = ufunc if method == "__call__" else getattr(ufunc, method)
    return _stored(function, inputs, options, method == "__call__")


def _function(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return _stored(function, args, options, False)


def _stored(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], dynamic_ints: bool) -> Any:
    """The result, in `out=` if that is given."""
    out = options.get("out")
    if out is None:
        return run(function, args, options, dynamic_ints)
    targets = out if isinstance(out, tuple) else (out,)
    result = run(function, args, {key: item for key, item in options.items() if key != "out"}, dynamic_ints)
    for target, value in zip(targets, result if isinstance(result, tuple) else (result,), strict=True):
        if type(target) is not DeviceArray:
            raise DeviceMismatch(f"out= is of the host, and {function.__name__} runs on {value.device}")
        target[...] = value
    return targets[0] if len(targets) == 1 else targets


def call_method(array: Any, name: str, *args: Any, **options: Any) -> Any:
    """A method of NumPy's arrays."""
    return getattr(array, name)(*args, **options)


def get_property(array: Any, name: str) -> Any:
    """A property of NumPy's arrays."""
    return getattr(array, name)


def set_item(array: Any, key: Any, value: Any) -> None:
    """array[key] = value."""
    array[key] = value


OPERATIONS.update(
    ufunc=_ufunc,
    function=_function,
    method=lambda array, name, *args, **options: _stored_method(array, name, args, options),
    property=lambda array, name: run(get_property, (array, name), {}, False),
    assign=lambda array, key, value: run(set_item, (array, key, value), {}, True),
)


def _stored_method(array: DeviceArray, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return _stored(call_method, (array, name, *args), options, False)
