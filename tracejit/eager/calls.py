"""Functions called with Arrays that are one operation: compiled ones, and those with derivative rules of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.driver.function import Jitted
from tracejit.driver.host_code import MISS
from tracejit.eager.core import (
    Eager,
    each_array,
    listeners,
    owner,
    record,
    refresh,
    structured,
    value_at,
    value_of,
    wrap,
)
from tracejit.eager.recording import Tracked
from tracejit.runtime.device_array import DeviceArray
from tracejit.trace.pytree import flatten, rebuild


def jitted_call(jitted: Jitted, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A jitted function called with Arrays: one operation where it can be traced, else those that it consists of."""
    tracked: list[Tracked] = []
    values, named = value_of(args, tracked), value_of(options, tracked)
    given: list[Any] = []
    flatten((values, named), given)
    if any(type(value) is DeviceArray for value in given) and listeners(tracked) is None:
        # Nothing is recorded, so that the function may write to the memory of Arrays that nobody else looks at.
        values, named = _untracked(args), _untracked(options)
    try:
        result = jitted.attempt(values, named)
    except ValueError as error:
        # Values are read-only: a function that writes to its arguments writes to the Arrays, op by op.
        if "read-only" not in str(error):
            raise
        result = MISS
    if result is MISS:
        return jitted.function(*args, **options)
    call, leaves = structured(jitted, args, options, not jitted.static_names)
    return record(call, leaves, listeners(tracked) if tracked else None, _own(result, leaves))


def _untracked(value: Any) -> Any:
    """A pytree with the values of those Arrays that derivatives know."""
    leaves: list[Any] = []
    tree = flatten(value, leaves)
    return rebuild(tree, [x._value if isinstance(x, Eager) and x._tracked is not None else x for x in leaves])


def one_operation(function: Any, plain_function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """A call of a function that has derivative rules of its own: on Arrays one operation, whose derivative is theirs.

    function: what a trace is to call; plain_function: what computes the value.
    """
    tracked: list[Tracked] = []
    result = plain_function(*value_of(args, tracked))
    given: list[Any] = []
    flatten(args, given)
    if not any(isinstance(leaf, Eager) for leaf in given):
        return result
    call, leaves = structured(function, args, {}, True)
    return record(call, leaves, listeners(tracked) if tracked else None, _own(result, leaves))


def _own(result: Any, leaves: list[Any]) -> Any:
    """A call's result in memory of its own: a function may return what it was given."""
    owners = [owner(value) for leaf in leaves if isinstance(value := value_at(leaf), np.ndarray)]

    def convert(leaf: Any, place: int) -> Any:
        return leaf.copy() if type(leaf) is np.ndarray and any(owner(leaf) is item for item in owners) else leaf

    return each_array(result, convert)


def detached(value: Any) -> Any:
    """A pytree with its Arrays as constants of the same value."""
    leaves: list[Any] = []
    tree = flatten(value, leaves)
    return rebuild(tree, [_detached(leaf) if isinstance(leaf, Eager) else leaf for leaf in leaves])


def _detached(array: Eager) -> Any:
    """Both may be written to, so neither writes to the memory that they share."""
    refresh(array)
    array._saved = True
    if array._memory is not None:
        array._memory.saved = True
    result = wrap(array._value)
    result._saved = True
    return result
