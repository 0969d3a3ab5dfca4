"""NumPy calls along a batch axis: once for the whole batch where the function can, else once for each example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Any

import numpy as np

from tracejit.autodiff.batch_axis import BatchAxis
from tracejit.ir.node import Node
from tracejit.ir.size import Dimension
from tracejit.trace.opaque import Call, Expression, Slot
from tracejit.trace.pytree import Tree, flatten, rebuild

_ELEMENTWISE = frozenset({np.real, np.imag})
"""Functions, besides ufuncs, that treat every element alike."""

_ALONG_AXIS = frozenset({np.sort, np.argsort, np.cumsum, np.cumprod, np.argmax, np.argmin})
"""Functions of an array and an axis, which can as well be a later one."""


class NotBatchable(TypeError):
    """Something has to be known that differs from example to example; the text says what, where, and the mend."""


@dataclass(frozen=True, eq=False)
class Each:
    """In the arguments of a mapped call: an array that gives one element to each example."""

    array: Any


def with_each(call: Call, mapping: Callable[..., Any], flags: Sequence[bool], *given: Any) -> Call:
    """The call `mapping(function, *given, args, options)`, operands marked in `flags` given as `Each`."""

    def marked(item: Any) -> Any:
        if isinstance(item, Slot):
            return Call(Each, (item,), {}, "each") if flags[item.position] else item
        if isinstance(item, Call):
            return Call(item.function, tuple(map(marked, item.args)), item.options, item.name)
        return type(item)(map(marked, item)) if type(item) in (tuple, list) else item

    options = tuple((key, marked(value)) for key, value in call.options.items())
    return Call(mapping, (call.function, *given, marked(call.args), options), {}, f"mapped {call.name}")


def mapped(function: Callable[..., Any], shape: tuple[int, ...], dtype: Any, args: Any, options: Any) -> Any:
    """The results of a function, stacked, for arguments with `Each` in places; `shape` is that of the result."""
    stacked = np.empty(shape, dtype)
    for place in range(shape[0]):
        stacked[place] = function(*_picked(args, place), **{key: _picked(value, place) for key, value in options})
    return stacked


def call_each(function: Callable[..., Any], args: Any, options: Any) -> Any:
    """Likewise for a function of any result: a pytree of stacked arrays, the rest as the first example has it."""
    rows: list[list[Any]] = []
    trees: list[Tree] = []
    for place in range(_length((args, options))):
        rows.append([])
        result = function(*_picked(args, place), **{key: _picked(value, place) for key, value in options})
        trees.append(flatten(result, rows[-1]))
    if not rows or any(tree != trees[0] for tree in trees):
        raise NotBatchable(f"{function.__name__}, inside vmap, gives results that cannot be stacked")
    return rebuild(trees[0], [_stacked(function, values) for values in zip(*rows, strict=True)])


def _stacked(function: Callable[..., Any], values: Sequence[Any]) -> Any:
    if not isinstance(values[0], (np.ndarray, np.generic, int, float, complex)):
        return values[0]
    shapes = list(dict.fromkeys(map(np.shape, values)))
    if len(shapes) > 1:
        raise NotBatchable(
            f"{function.__name__}, inside vmap, gives results of different shapes for different examples "
            f"({', '.join(map(str, shapes[:3]))}), which cannot be stacked"
        )
    return np.stack(values)


def _length(item: Any) -> int:
    """The number of examples, which some `Each` tells."""
    if isinstance(item, Each):
        return len(item.array)
    items = (item.start, item.stop, item.step) if isinstance(item, slice) else item
    return max(map(_length, items), default=0) if isinstance(items, (tuple, list)) else 0


def _picked(item: Any, place: int) -> Any:
    """One example's arguments."""
    if isinstance(item, Each):
        return item.array[place]
    if type(item) in (tuple, list):
        return type(item)(_picked(value, place) for value in item)
    if isinstance(item, slice):
        return slice(_picked(item.start, place), _picked(item.stop, place), _picked(item.step, place))
    return item


class BatchedCalls(BatchAxis):
    """The part of the batching context that re-makes call nodes."""

    def batched_call(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> Node:
        """A call of NumPy for every example."""
        call: Call = node["call"]
        if isinstance(call.function, np.ufunc) or call.function in _ELEMENTWISE:
            rank = 1 + len(node.shape)
            inputs = [self.aligned(s, rank) if flag else s for s, flag in zip(inputs, flags, strict=True)]
            return self._called(node, call, inputs)
        whole = self._later_axis(call) if call.function in _ALONG_AXIS else None
        if call.function is np.einsum:
            whole = _extended_einsum(call, flags)
        return self._called(node, whole or self._one_by_one(node, call, flags), inputs)

    def _called(self, node: Node, call: Call, inputs: Sequence[Node]) -> Node:
        return self.builder.node("call", tuple(inputs), {"call": call}, self.along(node.type), self.line)

    @staticmethod
    def _later_axis(call: Call) -> Call | None:
        """The same call with its axis moved behind the batch axis."""
        first, *args = call.args
        axis = args[0] if args else call.options.get("axis", -1)
        if type(axis) is not int or len(args) > 1:
            return None
        later = axis if axis < 0 else axis + 1
        return Call(call.function, (first,), {**call.options, "axis": later}, call.name)

    def _one_by_one(self, node: Node, call: Call, flags: Sequence[bool]) -> Call:
        """The function called for each example in turn."""
        shape = tuple(map(_host_number, (self.size, *node.shape)))
        return with_each(call, mapped, flags, shape, node.dtype)


def _host_number(dimension: Dimension) -> Any:
    return dimension if isinstance(dimension, int) else Expression(f"({dimension})")


def _extended_einsum(call: Call, flags: Sequence[bool]) -> Call | None:
    """np.einsum with one more letter for the batch axis."""
    formula, *operands = call.args
    inputs, arrow, output = formula.replace(" ", "").partition("->")
    letter = next((c for c in ascii_letters if c not in inputs), None)
    if letter is None or not all(isinstance(item, Slot) for item in operands):
        return None
    if not arrow:
        output = "".join(sorted(c for c in set(inputs) - {","} if inputs.count(c) == 1))
    terms = [
        letter + term if flags[slot.position] else term for term, slot in zip(inputs.split(","), operands, strict=True)
    ]
    return Call(call.function, (f"{','.join(terms)}->{letter}{output}", *operands), call.options, call.name)
