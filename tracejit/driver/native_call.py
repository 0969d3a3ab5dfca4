"""A traced segment as a native call: the same guards, steps and results as its host function, for emitted code.

Only what a hot small call consists of: plain arguments, guards on sizes, numbers and surroundings, kernels, matrix
products, views, fresh results.  Whatever else a segment does - NumPy calls, host loops - is refused with `NotNative`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from tracejit.driver.arguments import Arguments
from tracejit.driver.cpu_target import flag_test
from tracejit.driver.host_code import ALIGNED
from tracejit.driver.native_steps import Steps, Table, canonical, constants, fails_after_writing
from tracejit.driver.segment_code import essential, origin_of
from tracejit.lower.call_plan import (
    Argument,
    ArrayLeaf,
    CallPlan,
    Captured,
    Constant,
    FreshArray,
    FreshScalar,
    FreshView,
    Item,
    Items,
    NumberLeaf,
    Outside,
    Packed,
    Result,
    SameLeaf,
    ScalarLeaf,
)
from tracejit.lower.linking import NotNative
from tracejit.records import dataclass
from tracejit.runtime.machine_code import LoadedKernel
from tracejit.runtime.vectorcall import CallDraft
from tracejit.schedule.steps import Buffer, Program
from tracejit.trace.number import HostNumber
from tracejit.trace.pytree import Tree
from tracejit.trace.state import Leaf, Trace
from tracejit.trace.tracer import Tracer


def draft_call(
    trace: Trace,
    arguments: Arguments,
    environment: Sequence[tuple[str, Any, str, Any]],
    layouts: Mapping[int, str],
    program: Program,
    kernels: Sequence[LoadedKernel],
    tree: Tree,
    results: Sequence[tuple[Any, Any]],
) -> CallDraft:
    """The draft of a segment that takes a whole call; raises NotNative where it is none for emitted code.

    results: for each leaf of the result's tree the traced value, and the buffer of its own that holds it, if any.
    """
    mutated = {leaf for leaf, _ in program.writebacks}
    table = Table()
    leaves = _Leaves(trace, layouts, mutated, table, iter([leaf for leaf in trace.leaves if not leaf.captured]))
    positional, keywords = arguments.tree.children
    number = iter(zip(arguments.leaves, arguments.dynamic, strict=True))
    items = [leaves.item(child, number) for child in (*positional.children, *keywords.children)]
    found = [leaf for leaf in trace.leaves if leaf.captured and leaf.kind == "array"]
    captured = [leaves.captured(leaf) for leaf in found] + constants(table, program)
    giver = _Results(table, program, iter(results))
    result = giver.result(tree)
    _refuse_writebacks(program)
    kept = {origin_of(buffer, program) for buffer in (*program.outputs, *(b for _, b in program.writebacks))}
    steps = Steps(table, layouts, giver.scalars, giver.objects, kept).steps(program, kernels)
    return CallDraft(
        CallPlan(
            tuple(items[: len(positional.children)]),
            tuple(zip(map(table.slot, keywords.keys), items[len(positional.children) :], strict=True)),
            tuple(_outside(table, *entry) for entry in environment),
            tuple(captured),
            tuple(essential(list(trace.guards))),
            tuple(trace.definitions.items()),
            _apart(trace, mutated),
            tuple(steps),
            result,
            tuple(leaves.borrowed),
            _integers(trace),
        ),
        tuple(table.entries),
    )


def _integers(trace: Trace) -> tuple[tuple[str, str], ...]:
    """The arrays of which elements are read as numbers."""
    arrays = {text.partition(".")[0] for text in trace.elements}
    leaves = [leaf for leaf in trace.leaves if f"a{leaf.position}" in arrays]
    return tuple((f"a{leaf.position}", leaf.value.dtype.str[1:]) for leaf in leaves)


def _apart(trace: Trace, mutated: set[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arrays that are written to, and the others."""
    arrays = [leaf.position for leaf in trace.leaves if leaf.kind == "array"]
    written, others = ([a for a in arrays if (a in mutated) == wanted] for wanted in (True, False))
    return tuple(f"a{a}" for a in written), tuple(f"a{a}" for a in others)


def _refuse_writebacks(program: Program) -> None:
    """No index is out of bounds once an argument has been written to, for a call that fails is made again.

    What is copied to an argument at the end must be no argument itself.
    """
    if fails_after_writing(program, {leaf for leaf, _ in program.writebacks}):
        raise NotNative("a kernel that can fail, and writes to an argument")
    if any(origin_of(b, program).kind != "allocated" for leaf, b in program.writebacks if b.name != f"a{leaf}"):
        raise NotNative("an argument that takes a copy of what is no new memory")


# ---- arguments


@dataclass(eq=False, repr=False)
class _Leaves:
    """The leaves of a call, in the order of the trace."""

    trace: Trace
    layouts: Mapping[int, str]
    mutated: set[int]
    table: Table
    dynamic: Any
    borrowed: list[str] = field(default_factory=list)

    def item(self, tree: Tree, values: Any, held: bool = True) -> Item:
        """One argument; values: the leaves of all arguments, and whether each enters the trace.

        held: whether it stays for as long as the call takes, whatever other threads do to lists and dicts.
        """
        if tree.kind is not None:
            if tree.kind not in (tuple, list, dict):
                raise NotNative(f"an argument of type {tree.kind.__name__}")
            held = held and tree.kind is tuple
            items = tuple(self.item(child, values, held) for child in tree.children)
            keys = tuple(map(self.table.slot, tree.keys)) if tree.kind is dict else ()
            return Items(tree.kind.__name__, items, keys)
        value, dynamic = next(values)
        if not dynamic:
            return SameLeaf(self.table.slot(value))
        leaf = next(self.dynamic)
        name = f"a{leaf.position}"
        if not held and leaf.kind in ("array", "generic"):
            self.borrowed.append(name)
        if leaf.kind == "number":
            if type(leaf.value) not in (int, float, bool):
                raise NotNative(f"a {type(leaf.value).__name__}")
            return NumberLeaf(name, type(leaf.value).__name__)
        if leaf.kind == "generic":
            dtype = leaf.value.dtype
            return ScalarLeaf(name, self.table.slot(dtype.type), self.table.slot(canonical(dtype)), ALIGNED)
        if leaf.kind != "array":
            raise NotNative(f"an argument of kind {leaf.kind}")
        return self._array(leaf, name)

    def _array(self, leaf: Leaf, name: str) -> ArrayLeaf:
        array, layout_class = leaf.value, self.layouts[leaf.position]
        bits, expected = flag_test(array, layout_class, leaf.position in self.mutated)
        first = array.itemsize if layout_class == "C" and array.ndim == 1 else None
        last = array.itemsize if layout_class == "unit" else None
        descriptor = self.table.slot(canonical(array.dtype))
        return ArrayLeaf(name, descriptor, array.itemsize, self._axes(leaf), (bits, expected), first, last)

    def captured(self, leaf: Leaf) -> Captured:
        """An array that the function finds outside its arguments."""
        return Captured(f"a{leaf.position}", self.table.slot(leaf.value), leaf.value.itemsize, self._axes(leaf))

    def _axes(self, leaf: Leaf) -> tuple[str, ...]:
        names = {origin: name for name, origin in self.trace.origins.items()}
        return tuple(names.get((leaf.position, axis), "") for axis in range(np.ndim(leaf.value)))


def _outside(table: Table, kind: str, owner: Any, key: str, value: Any) -> Outside:
    if kind not in ("global", "cell", "attribute"):
        raise NotNative("a guard on the items of a container")
    return Outside(kind, table.slot(owner), table.slot(key), table.slot(value))


# ---- results


@dataclass(eq=False, repr=False)
class _Results:
    """What the call gives out.

    scalars: buffers that are only ever a NumPy scalar; objects: those that are arrays, or looked at by one.
    """

    table: Table
    program: Program
    leaves: Any
    scalars: set[Buffer] = field(default_factory=set)
    objects: set[Buffer] = field(default_factory=set)
    _viewed: set[Buffer] = field(default_factory=set)

    def result(self, tree: Tree) -> Result:
        """The leaves, which stand in order, in their containers."""
        if tree.kind is None:
            return self._leaf(*next(self.leaves))
        if tree.kind not in (tuple, list, dict):
            raise NotNative(f"a result of type {tree.kind.__name__}")
        keys = tuple(map(self.table.slot, tree.keys)) if tree.kind is dict else ()
        return Packed(tree.kind.__name__, tuple(self.result(child) for child in tree.children), keys)

    def _leaf(self, value: Any, buffer: Buffer | None) -> Result:
        if isinstance(value, HostNumber):
            raise NotNative("a result that is a number of the host")
        if not isinstance(value, Tracer):
            return Constant(self.table.slot(value))
        if buffer is None:
            if value.storage.leaf is None or value.steps or value.scalar:
                raise NotNative("a result that is a view")
            return Argument(f"a{value.storage.leaf}")
        base = origin_of(buffer, self.program)
        if base.kind != "allocated":
            raise NotNative("a result that is no new memory")
        if not value.scalar and buffer is not base:
            return self._view(buffer, base)
        if not value.scalar:
            self.objects.add(buffer)
            return FreshArray(buffer.name)
        if buffer is not base:
            raise NotNative("a scalar in a larger result")
        self.scalars.add(buffer)
        return FreshScalar(buffer.name, self.table.slot(canonical(buffer.dtype)))

    def _view(self, buffer: Buffer, base: Buffer) -> FreshView:
        """A result that looks at memory which nobody else gets."""
        if base in self.program.outputs or base in self._viewed:
            raise NotNative("two results in the same memory")
        self._viewed.add(base)
        self.objects.add(base)
        return FreshView(buffer.name, base.name, self.table.slot(canonical(buffer.dtype)), len(buffer.shape))
