"""What the structured functions mean, as plain Python on NumPy arrays: under `disable_jit`, and where nothing traces.

As in the compiled loop, carries, operands and slices are arrays of the body's own (writing to one changes no caller's
array), and Python numbers in a carry are NumPy scalars.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.trace.bodies import Structure, require_function
from tracejit.trace.looping import pair


def _own(value: Any) -> Any:
    """A pytree with arrays copied and Python numbers as NumPy scalars."""
    structure, leaves = Structure.of(value)
    return structure.rebuild([leaf.copy() if _is_array(leaf) else np.asarray(leaf)[()] for leaf in leaves])


def _is_array(value: Any) -> bool:
    """NumPy's, or one with derivatives of its own (`tracejit.Array`)."""
    return isinstance(value, np.ndarray) or hasattr(type(value), "__jitted_call__")


def fori_loop(low: Any, high: Any, body: Callable[..., Any], initial: Any) -> Any:
    require_function(body, "the body of fori_loop")
    carry = _own(initial)
    for i in range(operator.index(low), operator.index(high)):
        carry = _own(body(i, carry))
    return carry


def while_loop(condition: Callable[..., Any], body: Callable[..., Any], initial: Any) -> Any:
    require_function(condition, "the condition of while_loop")
    require_function(body, "the body of while_loop")
    carry = _own(initial)
    while condition(carry):
        carry = _own(body(carry))
    return carry


def scan(body: Callable[..., Any], initial: Any, xs: Any, length: Any = None, reverse: bool = False) -> tuple[Any, Any]:
    require_function(body, "the body of scan")
    return _scan("scan", lambda carry, x: pair(body(carry, x)), initial, xs, length, reverse)


def map_leading(function: Callable[..., Any], xs: Any) -> Any:
    require_function(function, "the function of map")
    return _scan("map", lambda _, x: (None, function(x)), None, xs, None, False)[1]


def _scan(name: str, step: Callable[..., Any], initial: Any, xs: Any, length: Any, reverse: bool) -> tuple[Any, Any]:
    structure, leaves = Structure.of(xs)
    arrays = [leaf if _is_array(leaf) else np.asarray(leaf) for leaf in leaves]
    count = _length(name, arrays, structure.paths("xs"), length)
    carry, places = _own(initial), range(count)
    collected: list[tuple[Structure, list[Any]]] = []
    for place in reversed(places) if reverse else places:
        carry, y = _own(step(carry, structure.rebuild([_own(array[place]) for array in arrays])))
        collected.append(Structure.of(y))
    if reverse:
        collected.reverse()
    if not collected:
        return carry, _nothing(step, carry, structure, arrays)
    columns = zip(*(leaves for _, leaves in collected), strict=True)
    return carry, collected[0][0].rebuild([np.stack(column) for column in columns])


def _nothing(step: Callable[..., Any], carry: Any, structure: Structure, arrays: Sequence[Any]) -> Any:
    """Empty ys: the body says of what type, on zeros."""
    zeros = [np.zeros(np.shape(array)[1:], np.asarray(array).dtype)[()] for array in arrays]
    ys, leaves = Structure.of(step(_own(carry), structure.rebuild(zeros))[1])
    return ys.rebuild([np.empty((0, *np.shape(leaf)), np.asarray(leaf).dtype) for leaf in leaves])


def _length(name: str, arrays: Sequence[Any], paths: Sequence[str], length: Any) -> int:
    """The common length of the leading axes; the errors are those of the recorded scan."""
    count = None if length is None else operator.index(length)
    if count is None and not arrays:
        raise ValueError(f"tracejit.{name} has no xs to take its length from: pass length=")
    source = "length"
    for array, path in zip(arrays, paths, strict=True):
        if not np.ndim(array):
            raise ValueError(f"tracejit.{name} goes along the first axis, but {path} has no axes (its shape is ())")
        own = np.shape(array)[0]
        if count is None:
            count, source = own, path
        elif own != count:
            raise ValueError(
                f"tracejit.{name} goes along first axes of one length: {path} has length {own}, "
                f"{source} {'is' if source == 'length' else 'has length'} {count}"
            )
    assert count is not None
    if count < 0:
        raise ValueError(f"tracejit.{name} needs a length of at least 0, not {count}")
    return count


def cond(predicate: Any, true_function: Callable[..., Any], false_function: Callable[..., Any], *operands: Any) -> Any:
    require_function(true_function, "the true function of cond")
    require_function(false_function, "the false function of cond")
    return _own((true_function if predicate else false_function)(*_own(list(operands))))


def switch(index: Any, functions: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    functions = tuple(functions)
    if not functions:
        raise ValueError("tracejit.switch needs at least one function")
    for number, function in enumerate(functions):
        require_function(function, f"function {number} of switch")
    place = min(max(operator.index(index), 0), len(functions) - 1)
    return _own(functions[place](*_own(list(operands))))
