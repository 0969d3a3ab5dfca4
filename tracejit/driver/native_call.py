"""A traced segment as a native call: the same guards, steps and results as its host function, for emitted code.

Only what a hot small call consists of: plain arguments, guards on sizes, numbers and surroundings, kernels, fresh
results.  Whatever else a segment does - NumPy calls, views, host loops - is refused with `NotNative`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracejit.driver.arguments import Arguments
from tracejit.driver.cpu_target import flag_test
from tracejit.driver.host_code import ALIGNED
from tracejit.driver.segment_code import essential, overlapping_pairs
from tracejit.lower.abi import FINAL, MAIN, has_final, layout
from tracejit.lower.call_plan import (
    Allocation,
    Argument,
    ArrayLeaf,
    CallPlan,
    Captured,
    Constant,
    FreshArray,
    FreshScalar,
    Item,
    Items,
    KernelCall,
    NumberLeaf,
    Outside,
    Packed,
    Result,
    SameLeaf,
    ScalarLeaf,
)
from tracejit.lower.launch_cost import launch_cost
from tracejit.lower.linking import NotNative
from tracejit.runtime.machine import machine
from tracejit.runtime.machine_code import LoadedKernel
from tracejit.runtime.vectorcall import Address, CallDraft
from tracejit.schedule.kernel import Gather, Kernel, Loop
from tracejit.schedule.steps import Allocate, Buffer, Launch, Program
from tracejit.trace.number import HostNumber
from tracejit.trace.pytree import Tree
from tracejit.trace.state import Leaf, Trace
from tracejit.trace.tracer import Tracer


@dataclass(eq=False, repr=False)
class _Table:
    """Objects and addresses, each with a slot of its own."""

    entries: list[Any] = field(default_factory=list)
    _slots: dict[int, int] = field(default_factory=dict)

    def slot(self, value: Any) -> int:
        """The slot of an object."""
        if id(value) not in self._slots:
            self._slots[id(value)] = self.address(value)
        return self._slots[id(value)]

    def address(self, value: Any) -> int:
        """A new slot."""
        self.entries.append(value)
        return len(self.entries) - 1


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
    table = _Table()
    leaves = _Leaves(trace, layouts, mutated, table, iter([leaf for leaf in trace.leaves if not leaf.captured]))
    positional, keywords = arguments.tree.children
    number = iter(zip(arguments.leaves, arguments.dynamic, strict=True))
    items = [leaves.item(child, number) for child in (*positional.children, *keywords.children)]
    captured = [leaves.captured(leaf) for leaf in trace.leaves if leaf.captured] + _constants(table, program)
    giver = _Results(table, program, iter(results))
    result = giver.result(tree)
    _refuse_writebacks(program)
    steps = _steps(table, program, kernels, giver.scalars)
    return CallDraft(
        CallPlan(
            tuple(items[: len(positional.children)]),
            tuple(zip(map(table.slot, keywords.keys), items[len(positional.children) :], strict=True)),
            tuple(_outside(table, *entry) for entry in environment),
            tuple(captured),
            tuple(essential(list(trace.guards))),
            tuple(trace.definitions.items()),
            tuple((f"a{a}", f"a{b}") for a, b in overlapping_pairs(trace.leaves, mutated)),
            tuple(steps),
            result,
            not leaves.borrowed,
        ),
        tuple(table.entries),
    )


# ---- arguments


@dataclass(eq=False, repr=False)
class _Leaves:
    """The leaves of a call, in the order of the trace."""

    trace: Trace
    layouts: Mapping[int, str]
    mutated: set[int]
    table: _Table
    dynamic: Any
    borrowed: bool = False

    def item(self, tree: Tree, values: Any) -> Item:
        """One argument; values: the leaves of all arguments, and whether each enters the trace."""
        if tree.kind is not None:
            if tree.kind not in (tuple, list):
                raise NotNative(f"an argument of type {tree.kind.__name__}")
            self.borrowed |= tree.kind is list
            return Items(tree.kind.__name__, tuple(self.item(child, values) for child in tree.children))
        value, dynamic = next(values)
        if not dynamic:
            return SameLeaf(self.table.slot(value))
        leaf = next(self.dynamic)
        name = f"a{leaf.position}"
        if leaf.kind == "number":
            if type(leaf.value) not in (int, float, bool):
                raise NotNative(f"a {type(leaf.value).__name__}")
            return NumberLeaf(name, type(leaf.value).__name__)
        if leaf.kind == "generic":
            dtype = leaf.value.dtype
            return ScalarLeaf(name, self.table.slot(dtype.type), self.table.slot(_canonical(dtype)), ALIGNED)
        if leaf.kind != "array":
            raise NotNative(f"an argument of kind {leaf.kind}")
        return self._array(leaf, name)

    def _array(self, leaf: Leaf, name: str) -> ArrayLeaf:
        array, layout_class = leaf.value, self.layouts[leaf.position]
        bits, expected = flag_test(array, layout_class, leaf.position in self.mutated)
        first = array.itemsize if layout_class == "C" and array.ndim == 1 else None
        last = array.itemsize if layout_class == "unit" else None
        descriptor = self.table.slot(_canonical(array.dtype))
        return ArrayLeaf(name, descriptor, array.itemsize, self._axes(leaf), (bits, expected), first, last)

    def captured(self, leaf: Leaf) -> Captured:
        """An array that the function finds outside its arguments."""
        return Captured(f"a{leaf.position}", self.table.slot(leaf.value), leaf.value.itemsize, self._axes(leaf))

    def _axes(self, leaf: Leaf) -> tuple[str, ...]:
        names = {origin: name for name, origin in self.trace.origins.items()}
        return tuple(names.get((leaf.position, axis), "") for axis in range(np.ndim(leaf.value)))


def _canonical(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The one object that nearly every array of a dtype has."""
    return np.dtype(dtype.type) if dtype.isnative else dtype


def _outside(table: _Table, kind: str, owner: Any, key: str, value: Any) -> Outside:
    if kind not in ("global", "cell", "attribute"):
        raise NotNative("a guard on the items of a container")
    return Outside(kind, table.slot(owner), table.slot(key), table.slot(value))


def _constants(table: _Table, program: Program) -> list[Captured]:
    """Arrays that the graph itself holds; there is nothing to guard."""
    launched = [buffer for step in program.steps if isinstance(step, Launch) for buffer in step.buffers]
    constants = dict.fromkeys(buffer for buffer in launched if buffer.kind == "constant")
    return [Captured(b.name, table.slot(np.array(b.data)), b.dtype.itemsize, ()) for b in constants]


# ---- steps


def _refuse_writebacks(program: Program) -> None:
    """Arguments are written to in place, by kernels that cannot fail (a call that fails is made again)."""
    if any(buffer.name != f"a{leaf}" for leaf, buffer in program.writebacks):
        raise NotNative("an argument that takes a copy of a result")
    if program.writebacks and any(_can_fail(kernel) for kernel in program.kernels):
        raise NotNative("a kernel that can fail, and writes to an argument")


def _can_fail(kernel: Kernel) -> bool:
    gathers = any(isinstance(line.body, Gather) for line in kernel.instructions)
    return gathers or any(operand.role == "scratch" for operand in kernel.operands)


def _steps(
    table: _Table, program: Program, kernels: Sequence[LoadedKernel], scalars: set[Buffer]
) -> list[Allocation | KernelCall]:
    loaded = iter(kernels)
    steps: list[Allocation | KernelCall] = []
    for step in program.steps:
        if isinstance(step, Allocate):
            shape = tuple(map(str, step.target.shape))
            dtype = step.target.dtype
            slot = table.slot(_canonical(dtype))
            steps.append(Allocation(step.target.name, slot, dtype.itemsize, shape, step.target in scalars))
        elif isinstance(step, Launch):
            steps.append(_kernel_call(table, step, next(loaded)))
        else:
            raise NotNative(f"a step of type {type(step).__name__}")
    return steps


def _kernel_call(table: _Table, step: Launch, loaded: LoadedKernel) -> KernelCall:
    kernel, code = step.kernel, loaded.keep_alive
    if any(buffer.kind not in ("argument", "allocated", "partial", "constant") for buffer in step.buffers):
        raise NotNative("a kernel on a view")
    if kernel.form == "panels":
        raise NotNative("a product by panels")
    final = Address(code.address(FINAL + kernel.structure)) if has_final(kernel) else None
    table.slot(code)
    passed = [operand for operand in kernel.operands if operand.role != "scratch"]
    sharing, first, reduced = _sharing(kernel)
    return KernelCall(
        layout(kernel),
        table.address(Address(code.address(MAIN + kernel.structure))),
        None if final is None else table.address(final),
        tuple("" if buffer.kind == "partial" else buffer.name for buffer in step.buffers),
        tuple(operand.rank for operand in passed),
        tuple(map(str, step.extents)),
        tuple(map(str, step.integers)),
        tuple((text, np.dtype(dtype).kind) for text, dtype in zip(step.scalars, kernel.scalars, strict=True)),
        launch_cost(kernel, machine().vector).nanoseconds,
        any(isinstance(line.body, Loop) and line.body.axis is None for line in kernel.instructions),
        sharing,
        first,
        reduced,
    )


def _sharing(kernel: Kernel) -> tuple[str, int | None, tuple[int, ...]]:
    """What a unit of work is (see `KernelCall`)."""
    if kernel.form == "reduce_all":
        axes = kernel.stages[0].axes
        return "chunk", axes[0] if axes else None, axes
    tiles = kernel.form == "reduce_columns" and len(kernel.outer) == 1
    return "tiles" if tiles else "each", kernel.outer[0], ()


# ---- results


@dataclass(eq=False, repr=False)
class _Results:
    """What the call gives out; `scalars`: buffers that are only ever a NumPy scalar."""

    table: _Table
    program: Program
    leaves: Any
    scalars: set[Buffer] = field(default_factory=set)

    def result(self, tree: Tree) -> Result:
        """The leaves, which stand in order, in their containers."""
        if tree.kind is None:
            return self._leaf(*next(self.leaves))
        if tree.kind not in (tuple, list):
            raise NotNative(f"a result of type {tree.kind.__name__}")
        return Packed(tree.kind.__name__, tuple(self.result(child) for child in tree.children))

    def _leaf(self, value: Any, buffer: Buffer | None) -> Result:
        if isinstance(value, HostNumber):
            raise NotNative("a result that is a number of the host")
        if not isinstance(value, Tracer):
            return Constant(self.table.slot(value))
        if buffer is None:
            if value.storage.leaf is None or value.steps or value.scalar:
                raise NotNative("a result that is a view")
            return Argument(f"a{value.storage.leaf}")
        if buffer.kind != "allocated":
            raise NotNative("a result that is no new memory")
        if not value.scalar:
            return FreshArray(buffer.name)
        self.scalars.add(buffer)
        return FreshScalar(buffer.name, self.table.slot(_canonical(buffer.dtype)))
