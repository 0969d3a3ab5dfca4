"""From a group of roots to a kernel: every value inlined down to memory, each instruction once."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir.node import Index as IrIndex
from tracejit.ir.node import Indices, Node, Shape, compose
from tracejit.ir.size import Dimension
from tracejit.ops.table import OPS
from tracejit.schedule import kernel as k
from tracejit.schedule.grouping import Group, inlined_sources
from tracejit.schedule.kernel_draft import BuiltKernel, KernelDraft, Memory
from tracejit.schedule.steps import Buffer

PARTIAL_DTYPES = {"float16": "float64", "float32": "float64"}
"""What a floating-point sum accumulates in (see lower)."""


class KernelBuilder(KernelDraft):
    """Builds one kernel; see `build`."""

    def __init__(self, group: Group, memory: Memory, stored: set[int], fastmath: bool) -> None:
        super().__init__(group.outer, memory, fastmath)
        self.group, self.stored = group, stored
        self.done: dict[tuple[Any, ...], int] = {}
        self.results: dict[int, int] = {}
        self.stage = 0
        self.inner_axes: dict[tuple[int, Dimension], int] = {}
        self.roots = {id(root): number for number, s in enumerate(group.stages) for root in s.roots}
        self.partials: list[int] = []
        self.row_places: dict[int, tuple[int, ...]] = {}

    def build(self) -> BuiltKernel:
        """The kernel of the group."""
        group = self.group
        if group.form == "map" and not group.outer:
            self.extents = [1]
        outer = tuple(range(len(self.extents)))
        stages: list[k.Stage] = []
        for self.stage, draft in enumerate(group.stages):
            self.lines = []
            axes = tuple(self._inner_axis(position, length) for position, length in enumerate(draft.inner))
            for root in draft.roots:
                self._root(root, outer[: len(group.outer)], axes)
            stages.append(k.Stage(axes, tuple(self.lines)))
            self.lines = []
            for root in draft.roots:
                if root.kind == "reduce" and id(root) in self.stored:
                    kept = tuple(i for a, i in enumerate(self._axes_of(root, outer, axes)) if a not in root["axes"])
                    self._store(root, root.shape, kept, self.results[id(root)])
            if self.lines:
                # What was reduced has its value once the loops of its stage are done.
                stages.append(k.Stage((), tuple(self.lines)))
        if group.form == "reduce_all":
            self._add_partials(stages[0])
        return self._built(group.form, outer if group.form != "reduce_all" else (), tuple(stages))

    def _inner_axis(self, position: int, length: Dimension) -> int:
        key = (position, length)
        if key not in self.inner_axes:
            self.inner_axes[key] = len(self.extents)
            self.extents.append(length)
        return self.inner_axes[key]

    # Roots

    def _root(self, root: Node, outer: tuple[int, ...], inner: tuple[int, ...]) -> None:
        axes = self._axes_of(root, outer, inner)
        if root.kind == "reduce":
            value = self._value(root.inputs[0], axes)
            number = self._emit(k.Reduce(root.op, value), root.dtype.name)
            self.results[id(root)] = number
            return
        if root.kind == "accumulate":
            value = self._emit(k.Accumulate(root.op, self._value(root.inputs[0], axes)), root.dtype.name)
            self.done[self._key(root, axes)] = value
        else:
            value = self._value(root.inputs[1] if root.kind == "update" else root, axes)
        if root.kind == "update":
            self._store(root, root.shape, compose(root["indices"], axes), value)
        elif id(root) in self.stored or self._needed_later(root):
            self._store(root, root.shape, axes, value)

    def _needed_later(self, root: Node) -> bool:
        """Whether a later stage of this kernel reads the row from memory (else it lives in registers only)."""
        return any(
            self.roots[id(r)] > self.stage for r in self.group.roots if root in r.inputs or self._reaches(r, root)
        )

    def _reaches(self, reader: Node, root: Node) -> bool:
        stack, seen = list(reader.inputs), set()
        while stack:
            node = stack.pop()
            if node is root:
                return True
            if id(node) in seen or id(node) in self.memory.buffers or id(node) in self.roots:
                continue
            seen.add(id(node))
            stack.extend(node.inputs)
        return False

    def _axes_of(self, root: Node, outer: tuple[int, ...], inner: tuple[int, ...]) -> Indices:
        """The kernel axis of each axis of the root's domain."""
        shape = (
            root.inputs[0].shape
            if root.kind == "reduce"
            else root.inputs[1].shape
            if root.kind == "update"
            else root.shape
        )
        if root.kind == "reduce":
            kept, reduced = iter(outer), iter(inner)
            sources = [reduced if axis in root["axes"] else kept for axis in range(len(shape))]
            return tuple(IrIndex(next(s)) if d != 1 else IrIndex(None) for s, d in zip(sources, shape, strict=True))
        along = self._along(root)
        if along is not None:
            kept, summed = iter(outer), iter(inner)
            places = [next(summed) if axis == along else next(kept) for axis, d in enumerate(shape) if d != 1]
            order = iter(places)
        else:
            order = iter((*outer, *inner))
        return tuple(IrIndex(next(order)) if d != 1 else IrIndex(None) for d in shape)

    def _along(self, root: Node) -> int | None:
        """The axis of the running totals that the root's stage computes over columns; None for any other stage."""
        if root.kind == "accumulate":
            return int(root["axis"])
        roots = self.group.stages[self.stage].roots
        found = next((other for other in roots if other.kind == "accumulate"), None)
        if found is None or self.group.form != "reduce_columns":
            return None
        # Shapes agree but for axes of length one.
        before = sum(d != 1 for d in found.shape[: found["axis"]])
        long = [axis for axis, d in enumerate(root.shape) if d != 1]
        return long[before] if found.shape[found["axis"]] != 1 else -1

    # Values

    def _value(self, node: Node, indices: Indices) -> int:
        """The instruction that computes `node` at `indices` (kernel axes), after all that it needs.

        Iterative, operands first: an expression may be deeper than Python's stack.
        """
        stack = [(node, indices, False)]
        while stack:
            current, places, ready = stack.pop()
            if ready:
                self._settled(current, places)
            elif self._known(current, places) is None:
                stack.append((current, places, True))
                if not self._from_memory(current):
                    stack.extend((s, i, False) for s, i in reversed(inlined_sources(current, places)))
        return self._settled(node, indices)

    def _known(self, node: Node, indices: Indices) -> int | None:
        if id(node) in self.results and node.kind == "reduce":
            return self.results[id(node)]
        return self.done.get(self._key(node, indices))

    def _key(self, node: Node, indices: Indices) -> tuple[Any, ...]:
        """Values of the outer axes alone are shared by the stages of a row kernel."""
        inner = any(i.axis is not None and i.axis >= len(self.group.outer) for i in indices)
        shared = not inner and bool(indices) and self.group.form == "map"
        return (-1 if shared else self.stage, id(node), indices)

    def _from_memory(self, node: Node) -> bool:
        """Whether a value is loaded, not computed, where it is wanted."""
        here = self.roots.get(id(node)) == self.stage or (node.op in ("constant", "scalar") and not node.shape)
        return not here and (id(node) in self.memory.buffers or id(node) in self.roots)

    def _settled(self, node: Node, indices: Indices) -> int:
        found = self._known(node, indices)
        if found is not None:
            return found
        number = self._load(node, indices) if self._from_memory(node) else self._compute(node, indices)
        self.done[self._key(node, indices)] = number
        return number

    def _compute(self, node: Node, indices: Indices) -> int:
        dtype = node.dtype.name
        if node.op == "view":
            return self._settled(node.inputs[0], compose(node["indices"], indices))
        if node.op == "constant":
            return self._emit(k.Literal(node["data"]), dtype)
        if node.op == "scalar":
            return self._scalar(node)
        if node.op == "iota":
            return self._iota(indices[node["axis"]])
        if node.kind == "gather":
            return self._gather(node, indices)
        if node.kind != "elementwise":
            raise AssertionError(f"{node!r} has no place inside a kernel")
        args = tuple(self._settled(source, indices) for source in node.inputs)
        return self._emit(k.Apply(node.op, args, node.params), dtype)

    def _gather(self, node: Node, indices: Indices) -> int:
        axes, at, rank = node["axes"], node["at"], node["rank"]
        block, rest = indices[at : at + rank], iter(indices[:at] + indices[at + rank :])
        places = iter([self._settled(source, block) for source in node.inputs[1:]])
        found: list[int | k.Index] = [
            next(places) if axis in axes else self._index(next(rest)) for axis in range(len(node.inputs[0].shape))
        ]
        return self._emit(k.Gather(self._operand(node.inputs[0], "in"), tuple(found)), node.dtype.name)

    # Memory

    def _load(self, node: Node, indices: Indices) -> int:
        if id(node) in self.roots and id(node) not in self.stored:
            operand = self.operand_of[("scratch", id(node))]
            indices = tuple(indices[place] for place in self.row_places[id(node)])
        else:
            return self._load_from(node, indices)
        return self._emit(k.Load(operand, tuple(map(self._index, indices))), node.dtype.name)

    def _store(self, root: Node, shape: Shape, indices: Indices, value: int) -> None:
        if id(root) in self.stored:
            self._store_to(root, indices, value)
            return
        operand, indices = self._scratch(root, indices)
        self._emit(k.Store(operand, tuple(map(self._index, indices)), value))

    def _scratch(self, root: Node, indices: Indices) -> tuple[int, Indices]:
        """A row of the kernel's own for a value that no one else needs."""
        places = [n for n, i in enumerate(indices) if i.axis is not None and i.axis >= len(self.group.outer)]
        self.row_places[id(root)] = tuple(places)
        inner = tuple(indices[place] for place in places)
        axes = tuple(i.axis for i in inner if i.axis is not None)
        unit = (False,) * (len(axes) - 1) + (True,) if axes else ()
        self.operand_of[("scratch", id(root))] = len(self.operands)
        self.operands.append(k.Operand(root.dtype.name, len(axes), unit, "scratch", axes))
        self.buffers.append(Buffer(-1, "scratch", root.dtype, ()))
        return len(self.operands) - 1, inner

    def _add_partials(self, stage: k.Stage) -> None:
        """The work arrays of a full reduction, one for each of its reductions."""
        for line in stage.instructions:
            if isinstance(line.body, k.Reduce):
                float_sum = OPS[line.body.op].compensated
                dtype = PARTIAL_DTYPES.get(line.dtype, line.dtype) if float_sum else line.dtype
                self.operands.append(k.Operand(dtype, 1, (True,), "partial"))
                self.buffers.append(Buffer(-2 - len(self.partials), "partial", np.dtype(dtype), ()))
                self.partials.append(len(self.operands) - 1)
