"""NumPy calls along a batch axis: once for the whole batch where the function can, else once for each example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Any

import numpy as np

from tracejit.autodiff.batch_axis import BatchAxis
from tracejit.autodiff.batched_rules import BatchedCall
from tracejit.ir.node import Node
from tracejit.ir.size import Dimension
from tracejit.ops.table import OPS
from tracejit.trace.opaque import Call, Expression, Slot
from tracejit.trace.pytree import Tree, flatten, rebuild

_ELEMENTWISE = frozenset({np.real, np.imag})
"""Functions, besides ufuncs, that treat every element alike."""

_ALONG_AXIS: dict[Callable[..., Any], int] = {
    **dict.fromkeys((np.sort, np.argsort, np.argmax, np.argmin), 1),
    **dict.fromkeys((np.partition, np.argpartition), 2),
}
"""Functions along an axis (the last unless told), which can as well be a later one: the place of that argument."""


class NotBatchable(TypeError):
    """Something has to be known that differs from example to example; the text says what, where, and the mend."""


@dataclass(frozen=True, eq=False)
class Each:
    """In the arguments of a mapped call: an array that gives one element to each example.

    level: of which mapping it is, where one is mapped again.
    """

    array: Any
    level: int


def with_each(call: Call, mapping: Callable[..., Any], flags: Sequence[bool], *given: Any) -> Call:
    """The call `mapping(level, function, args, options, *given)`, operands marked in `flags` given as `Each`."""
    level = call.args[0] + 1 if call.function in (mapped, call_each) else 0

    def marked(item: Any) -> Any:
        if isinstance(item, Slot):
            return Call(Each, (item, level), {}, "each") if flags[item.position] else item
        if isinstance(item, Call):
            return Call(item.function, tuple(map(marked, item.args)), item.options, item.name)
        return type(item)(map(marked, item)) if type(item) in (tuple, list) else item

    options = tuple((key, marked(value)) for key, value in call.options.items())
    return Call(mapping, (level, call.function, marked(call.args), options, *given), {}, f"mapped {call.name}")


def mapped(
    level: int, function: Callable[..., Any], args: Any, options: Any, shape: tuple[int, ...], dtype: Any
) -> Any:
    """The results of a function, stacked, for arguments with `Each` in places; `shape` is that of the result."""
    stacked = np.empty(shape, dtype)
    for place in range(shape[0]):
        chosen, named = _picked((args, options), level, place)
        stacked[place] = function(*chosen, **dict(named))
    return stacked


def call_each(level: int, function: Callable[..., Any], args: Any, options: Any) -> Any:
    """Likewise for a function of any result: a pytree of stacked arrays, the rest as the first example has it."""
    rows: list[list[Any]] = []
    trees: list[Tree] = []
    for place in range(_length((args, options), level)):
        chosen, named = _picked((args, options), level, place)
        rows.append([])
        trees.append(flatten(function(*chosen, **dict(named)), rows[-1]))
    name = getattr(args[0] if function in (mapped, call_each) else function, "__name__", "a function")
    if not rows or any(tree != trees[0] for tree in trees):
        raise NotBatchable(f"{name}, inside vmap, gives results that cannot be stacked")
    return rebuild(trees[0], [_stacked(name, values) for values in zip(*rows, strict=True)])


def _picked(item: Any, level: int, place: int) -> Any:
    """One example's arguments."""
    if isinstance(item, Each):
        return item.array[place] if item.level == level else Each(_picked(item.array, level, place), item.level)
    if type(item) in (tuple, list):
        return type(item)(_picked(value, level, place) for value in item)
    if isinstance(item, slice):
        return slice(*(_picked(part, level, place) for part in (item.start, item.stop, item.step)))
    return item


def _length(item: Any, level: int) -> int:
    """The number of examples, which some `Each` tells."""
    if isinstance(item, Each):
        return len(item.array) if item.level == level else _length(item.array, level)
    items = (item.start, item.stop, item.step) if isinstance(item, slice) else item
    return max((_length(part, level) for part in items), default=0) if isinstance(items, (tuple, list)) else 0


def _stacked(name: str, values: Sequence[Any]) -> Any:
    if not isinstance(values[0], (np.ndarray, np.generic, int, float, complex)):
        return values[0]
    shapes = list(dict.fromkeys(map(np.shape, values)))
    if len(shapes) > 1:
        raise NotBatchable(
            f"{name}, inside vmap, gives results of different shapes for different examples "
            f"({', '.join(map(str, shapes[:3]))}), which cannot be stacked"
        )
    return np.stack(values)


class BatchedCalls(BatchAxis):
    """The part of the batching context that re-makes call nodes."""

    def batched_call(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> Node:
        """A call of NumPy for every example."""
        call: Call = node["call"]
        if isinstance(call.function, np.ufunc) or call.function in _ELEMENTWISE:
            return self.batched_stacks(node, inputs, flags)
        whole = _later_axis(call) if call.function in _ALONG_AXIS else None
        if call.function is np.einsum:
            whole = _extended_einsum(call, flags)
        return self._called(node, whole, inputs) if whole else self._one_by_one(node, inputs, flags)

    def batched_stacks(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> Node:
        """A call of a function that takes any axes before its own, as many of its own in each operand."""
        rank = 1 + max(len(source.shape) for source in node.inputs)
        aligned = [self.aligned(s, rank) if flag else s for s, flag in zip(inputs, flags, strict=True)]
        return self._called(node, node["call"], aligned)

    def _called(self, node: Node, call: Call, inputs: Sequence[Node]) -> Node:
        return self.builder.node(node.op, tuple(inputs), {"call": call}, self.along(node.type), self.line)

    def _one_by_one(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> Node:
        """The function called for each example in turn; where it has derivative rules, so has the node."""
        shape, type = tuple(map(_host_number, (self.size, *node.shape))), self.along(node.type)
        if OPS[node.op].vjp is None:
            params = {"call": with_each(node["call"], mapped, flags, shape, node.dtype)}
            return self.builder.node("call", tuple(inputs), params, type, self.line)
        wide = tuple(self.widened(source, flag) for source, flag in zip(inputs, flags, strict=True))
        call = with_each(node["call"], mapped, [True] * len(wide), shape, node.dtype)
        return self.builder.node("mapped", wide, {"call": call, "rule": BatchedCall(self, node)}, type, self.line)


def _later_axis(call: Call) -> Call | None:
    """The same call with its axis moved behind the batch axis."""
    place = _ALONG_AXIS[call.function]
    before, axis = call.args[:place], (*call.args[place:], call.options.get("axis", -1))[0]
    if type(axis) is not int or len(call.args) > place + 1:
        return None
    options = {**call.options, "axis": axis if axis < 0 else axis + 1}
    return Call(call.function, before, options, call.name)


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
