"""Writing to Arrays in place, as NumPy does: views see it, and what records have kept does not change.

y = x[1:]               x and y share a Memory; y knows the step from x to itself
y[0] = 5.0              the Memory gets a new value (or is written to, if no record holds it), x and y take it over
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.eager.core import Eager, Step, Viewing, apply, listeners, owner, refresh, refuse_trace, value_of, wrap
from tracejit.eager.recording import STATE, Tracked
from tracejit.runtime.device_array import DeviceArray, is_array
from tracejit.trace.state import ACTIVE


def set_item(array: Any, key: Any, value: Any) -> Any:
    """The array after `array[key] = value`."""
    result = array.copy()
    result[key] = value
    return result


def changed_by(array: Any, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """The array after `function(array, *args)`, which changes it in place."""
    result = array.copy()
    function(result, *args, **options)
    return result


def changed_by_method(array: Any, name: str, *args: Any, **options: Any) -> Any:
    """The array after one of its methods that changes it in place."""
    result = array.copy()
    getattr(result, name)(*args, **options)
    return result


def write_view(array: Any, value: Any, viewing: Viewing, *leaves: Any) -> Any:
    """The array after `value` is written to a view of it."""
    result = array.copy()
    viewing(result, leaves)[...] = value
    return result


def write_item(array: Eager, key: Any, value: Any) -> None:
    """array[key] = value."""
    if ACTIVE.trace is not None:
        refuse_trace()
    tracked: list[Tracked] = []
    plain_key, plain_value = value_of(key, tracked), value_of(value, tracked)
    if _begin(array, tracked):
        _in_memory(array, lambda target: target.__setitem__(plain_key, plain_value))
    else:
        _replace(array, apply(set_item, (array, key, value), None, True))


def change(array: Eager, function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    """function(array, *args), or the method of that name, which changes the array in place."""
    if ACTIVE.trace is not None:
        refuse_trace()
    tracked: list[Tracked] = []
    value_of((args, options), tracked)
    _begin(array, tracked)
    by = changed_by_method if isinstance(function, str) else changed_by
    _replace(array, apply(by, (array, function, *args), options))


def assign(array: Eager, result: Any) -> Eager:
    """array[...] = result, by the casting rule of `out=` and of augmented assignment; returns the array."""
    value = result._value if isinstance(result, Eager) else np.asarray(result)
    refresh(array)
    if not np.can_cast(value.dtype, array._value.dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast the result from {value.dtype!r} to {array._value.dtype!r} with casting rule 'same_kind'"
        )
    if np.broadcast_shapes(value.shape, array._value.shape) != array._value.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {array._value.shape} doesn't match the broadcast shape "
            f"{np.broadcast_shapes(value.shape, array._value.shape)}"
        )
    same = value.dtype == array._value.dtype and value.shape == array._value.shape and type(value) is np.ndarray
    if array._memory is None and same and isinstance(result, Eager) and result._memory is None:
        # Nobody sees the memory but this Array: it takes the result over.
        _begin(array, [result._tracked] if result._tracked is not None else [])
        _replace(array, result)
    else:
        write_item(array, ..., result)
    return array


def _begin(array: Eager, tracked: list[Tracked]) -> bool:
    """Check that the array may be written to; whether its memory itself may be."""
    refresh(array)
    memory = array._memory
    base = array._tracked if memory is None else memory.tracked
    if not is_array(array._value):
        raise TypeError(f"'{type(array._value).__name__}' object does not support item assignment")
    if any(stride == 0 and length > 1 for stride, length in zip(array._value.strides, array._value.shape, strict=True)):
        raise ValueError("assignment destination is read-only")
    if base is not None and base.requires and base.record is None and STATE.enabled:
        what = "a view of a variable" if memory is not None and array._steps else "a variable"
        raise RuntimeError(
            f"{what} with requires_grad=True is written to in place, which its gradient could not follow. Write "
            "inside `with tracejit.no_grad():` (an update), or to a copy (x.copy())."
        )
    known = [*tracked, *([base] if base is not None else [])]
    recorded = listeners(known) is not None
    return not recorded and not (array._saved if memory is None else memory.saved)


def _in_memory(array: Eager, write: Callable[[Any], Any]) -> None:
    """Write to the memory that the array and its views show."""
    if type(array._value) is DeviceArray:
        write(array._value.opened())
        return
    memory = owner(array._value)
    try:
        memory.setflags(write=True)
        target = array._value.view()
        target.setflags(write=True)
        write(target)
    finally:
        memory.setflags(write=False)


def _replace(array: Eager, result: Any) -> None:
    """The array's elements are those of `result` now; its views, and what it views, see that."""
    recorded = STATE.enabled
    memory = array._memory
    if memory is None:
        array._value, array._saved = result._value, result._saved
        if recorded:
            array._tracked = result._tracked
        return
    for place in range(len(array._steps) - 1, -1, -1):
        result = _written_through(array, array._steps[:place], array._steps[place], result)
    memory.value, memory.saved, memory.version = result._value, False, memory.version + 1
    if recorded:
        memory.tracked = result._tracked


def _written_through(array: Eager, before: tuple[Step, ...], step: Step, result: Any) -> Any:
    """What a step views after `result` is written to the view."""
    memory = array._memory
    assert memory is not None
    source = wrap(memory.value, memory.tracked)
    source._saved = True
    source._memory, source._steps, source._version = memory, before, -1
    refresh(source)
    return apply(write_view, (source, result, step.viewing, *step.leaves), None, True)
