"""A GPU as a target: arrays in device memory, launches that return before they are done, no step that is NumPy's."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from tracejit.driver.host_code import Code, operand
from tracejit.driver.placing import array_type, device_value
from tracejit.driver.target import Target
from tracejit.runtime.cuda_device import CudaDevice, cuda_device
from tracejit.runtime.device import NoDeviceForm
from tracejit.runtime.device_array import DEVICE_CALLS, DeviceArray
from tracejit.runtime.device_matmul import matmul
from tracejit.runtime.overlap import overlap
from tracejit.schedule.steps import CallInPlace, CallNumpy, Launch, Program, walk
from tracejit.trace.opaque import Call
from tracejit.trace.state import Leaf

READS = (bool, int, float, complex, operator.index)
"""What a break may do on a GPU: read one value back."""


@cache
def cuda_target(ordinal: int, placed: bool) -> Target:
    """The target of traces that run on a GPU; raises NoDevice where there is none.

    placed: because the caller says so, and then arrays of the host are copied there; not because the arguments are.
    """
    home = cuda_device(ordinal)
    return Target(
        home.device,
        {
            "empty": home.empty,
            "np_empty": home.empty,
            "copyto": home.copy_into,
            "copy_around": lambda target, source, box: home.copy_into(target, source),
            "ascontiguousarray": _contiguous,
            "asarray": partial(_as_array, home),
            "broadcast_to": lambda array, shape: array.broadcast_to(shape),
            "matmul": matmul,
            "together": _one_by_one,
            "may_share_memory": lambda a, b: np.may_share_memory(a.shadow, b.shadow),
            "overlap": lambda written, read: overlap([a.shadow for a in written], [a.shadow for a in read]),
        },
        home.upload,
        DEVICE_CALLS,
        home.kernels.get,
        partial(_write_launch, home),
        partial(_write_argument, partial(placed_there, home) if placed else device_value),
        _write_captured,
        _result,
        partial(_refuse, home),
    )


def _contiguous(array: DeviceArray) -> DeviceArray:
    return array if array.contiguous else array.copy()


def _as_array(home: CudaDevice, value: Any, dtype: Any = None, order: str = "K") -> DeviceArray:
    """np.asarray: what is of the host, a scalar, goes to the device."""
    if not isinstance(value, DeviceArray):
        return home.upload(np.asarray(value, dtype))
    return _contiguous(value) if order == "C" else value


def _write_launch(
    home: CudaDevice, code: Code, step: Launch, kernel: Any, raise_index: Callable[[int, Launch], None]
) -> None:
    """The kernel is queued; what it reports is looked at when a value is read back."""
    arrays = [operand(code, buffer) for buffer in step.buffers if buffer.kind != "partial"]
    numbers = [*map(str, step.extents), *map(str, step.integers), *step.scalars]
    error = home.errors.word(lambda number: raise_index(number, step)) if kernel.can_fail else home.errors.none
    code.lines.append(f"{code.constant(kernel.entry)}({_tuple(arrays)}, {_tuple(numbers)}, {error})")


def _one_by_one(elements: int, *calls: Callable[[], Any]) -> list[Any]:
    """The device takes its work in order; launching costs the host little."""
    return [call() for call in calls]


def _tuple(texts: Sequence[str]) -> str:
    return f"({', '.join(texts)}{',' * (len(texts) == 1)})"


def placed_there(home: CudaDevice, value: Any, written: bool) -> Any:
    """As `device_value`; arrays of the host are copied to the device, but not to be written to."""
    if written and not hasattr(type(value), "__device_value__"):
        return None
    found = value if isinstance(value, np.ndarray) else device_value(value, written)
    return home.upload(found).freeze() if isinstance(found, np.ndarray) else found


def _write_argument(place: Callable[..., Any], code: Code, leaf: Leaf, layout: str, mutated: bool) -> None:
    name, array = f"a{leaf.position}", leaf.value
    code.namespace.update(place=place, DeviceArray=DeviceArray, Array=array_type())
    value = f"place({name}, {mutated})"
    if not mutated:
        # What `place` finds out, without the calls, for an Array that nothing is known of but its value.
        plain = f"type({name}) is Array and {name}._tracked is None and {name}._memory is None"
        value = f"{name}._value if {plain} else {value}"
    code.lines.append(f"if type({name}) is not DeviceArray: {name} = {value}")
    dtype = code.constant(array.dtype)
    test = f"type({name}) is not DeviceArray or ({name}.dtype is not {dtype} and {name}.dtype != {dtype})"
    test += f" or len({name}.shape) != {array.ndim} or {name}.home is not {code.constant(array.home)}"
    if layout == "C":
        test += f" or not {name}.contiguous"
    elif not array.contiguous:
        test += f" or {name}.contiguous"
    if layout == "unit":
        test += f" or {name}.strides[-1] != {array.itemsize}"
    if mutated:
        test += f" or not {name}.writeable"
    code.lines.append(f"if {test}: return MISS")


def _write_captured(code: Code, name: str, array: Any) -> None:
    """An array of the host that is no argument is read anew at each call, so it is copied at each."""
    code.use("asarray")
    code.lines.append(f"{name} = asarray({code.constant(array)})")


def _result(code: Code, text: str, own: bool) -> str:
    """Results are memory that nobody else holds."""
    return text if own else f"{text}.copy()"


def _refuse(home: CudaDevice, program: Program, call: Call | None, line: str) -> None:
    for step in walk(program):
        if not isinstance(step, (CallNumpy, CallInPlace)) or step.call is None:
            continue
        function = step.call.function.in_place if isinstance(step, CallInPlace) else step.call.function
        if function not in DEVICE_CALLS:
            raise NoDeviceForm(_no_form(home, step.call.name, step.line))
    if call is not None and call.function not in READS and call.function not in DEVICE_CALLS:
        raise NoDeviceForm(_no_form(home, call.name, line))


def _no_form(home: CudaDevice, name: str, line: str) -> str:
    return (
        f"{name} has no kernel, and NumPy does not reach arrays on {home.device} (at {line}). Compute it outside of "
        f'the function on x.to("cpu"), or write it with functions that have kernels (docs/ops.md).'
    )
