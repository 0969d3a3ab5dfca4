"""Graph -> program: what gets memory, what shares a kernel, and the order of the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tracejit.ir.graph import Graph, literal
from tracejit.ir.node import Node
from tracejit.schedule.collapse import collapse
from tracejit.schedule.grouping import Group, group, memory_reads
from tracejit.schedule.kernel_builder import BuiltKernel, KernelBuilder, Memory
from tracejit.schedule.materialize import materialized, numpy_viewable
from tracejit.schedule.memory_plan import plan_memory
from tracejit.schedule.steps import Allocate, Buffer, CallNumpy, Copy, Launch, Multiply, Program, Step, View

NANOSECONDS = 0.12
"""Time that one scalar instruction of a vectorized kernel takes, roughly; decides serial or parallel."""


def schedule(
    graph: Graph,
    layouts: Mapping[int, str] | None = None,
    writebacks: Sequence[tuple[int, int]] = (),
    fastmath: bool = False,
) -> Program:
    """The steps that compute a graph.

    layouts: for each leaf "C" (contiguous), "unit" (unit stride in the last axis) or "any".
    writebacks: (leaf, output number) pairs: the output's value belongs in the argument's memory.
    """
    written = {graph.outputs[number]["position"] for _, number in writebacks if graph.outputs[number].op == "input"}
    written |= {leaf for leaf, _ in writebacks}
    return _Scheduler(graph, dict(layouts or {}), fastmath, written).program(tuple(writebacks))


@dataclass
class _Scheduler:
    graph: Graph
    layouts: dict[int, str]
    fastmath: bool
    written: set[int]
    buffers: dict[int, Buffer] = field(default_factory=dict)
    views: dict[int, Buffer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    read_by: dict[int, list[Node]] = field(default_factory=dict)

    def program(self, writebacks: tuple[tuple[int, int], ...]) -> Program:
        memory = self._memory()
        kernel_roots = [n for n in self.graph.nodes if id(n) in memory and _computed_by_kernel(n)]
        levels = self._levels(kernel_roots)
        groups: list[Group] = []
        for level in range(max(levels.values(), default=0) + 1):
            roots = [root for root in kernel_roots if levels[id(root)] == level]
            groups.extend(group(roots, memory))
        self._emit_all(groups, memory)
        outputs = tuple(self.buffers[id(node)] for node in self.graph.outputs)
        program = Program(tuple(self.steps), outputs, tuple((leaf, outputs[n]) for leaf, n in writebacks))
        return plan_memory(program, {leaf for leaf, layout in self.layouts.items() if layout == "C"})

    def _memory(self) -> set[int]:
        """What is materialized; the value of an update that reads the updated memory elsewhere is too."""
        memory = materialized(self.graph)
        for node in self.graph.nodes:
            if node.kind == "update" and id(node.inputs[1]) not in memory and not _is_constant(node.inputs[1]):
                base, value = node.inputs
                if base.op == "input" and base["position"] not in self.written:
                    continue
                if any(read.source is base for read in memory_reads(node, memory)):
                    memory.add(id(value))
        return memory

    def _levels(self, roots: list[Node]) -> dict[int, int]:
        """How many NumPy calls, reshapes and updates stand before each root; only roots of one level share kernels."""
        level: dict[int, int] = {}
        for node in self.graph.nodes:
            below = max((level[id(source)] for source in node.inputs), default=0)
            host = node.kind in ("contract", "call", "update") or node.op == "reshape"
            level[id(node)] = below + (1 if host else 0)
        return {id(root): level[id(root)] for root in roots}

    def _emit_all(self, groups: list[Group], memory: set[int]) -> None:
        """Steps in dependency order: each group, or value that the host makes, after all that it reads."""
        owner = {id(root): g for g in groups for root in g.roots}
        emitted: set[int] = set()
        for goal in (*(n for n in self.graph.nodes if id(n) in owner), *self.graph.outputs):
            stack = [goal]
            while stack:
                current = stack[-1]
                group_here = owner.get(id(current))
                roots = group_here.roots if group_here else [current]
                missing = [s for root in roots for s in self._reads(root, memory) if id(s) not in emitted]
                missing = [s for s in missing if group_here is None or owner.get(id(s)) is not group_here]
                if id(current) in emitted:
                    stack.pop()
                elif missing:
                    stack.extend(reversed(missing))
                else:
                    stack.pop()
                    if group_here:
                        self._launch(group_here, memory)
                    else:
                        self._host_step(current, memory)
                    emitted.update(id(root) for root in roots)

    def _reads(self, node: Node, memory: set[int]) -> list[Node]:
        """The values in memory that a root's kernel, or the host for a value of its own, reads."""
        if id(node) not in self.read_by:
            if _computed_by_kernel(node):
                found = [read.source for read in memory_reads(node, memory)]
                found += [node.inputs[0]] if node.kind == "update" else []
            else:
                found = [s.inputs[0] if s.op == "view" and id(s) not in memory else s for s in node.inputs]
            self.read_by[id(node)] = found
        return self.read_by[id(node)]

    # One step

    def _new(self, node: Node, kind: str = "allocated") -> Buffer:
        buffer = Buffer(self._next_number(), kind, node.dtype, node.shape)
        self.buffers[id(node)] = buffer
        return buffer

    def _host_step(self, node: Node, memory: set[int]) -> None:
        if id(node) in self.buffers:
            return
        if node.op == "input":
            self.buffers[id(node)] = Buffer(self._next_number(), "argument", node.dtype, node.shape, node["position"])
        elif node.op == "constant":
            self.buffers[id(node)] = Buffer(self._next_number(), "constant", node.dtype, node.shape, data=literal(node))
        elif node.op == "empty":
            self.steps.append(Allocate(self._new(node)))
        elif node.op == "reshape":
            source = self._view_of(node.inputs[0])
            self.steps.append(View(source, self._new(node, "view"), None))
        elif node.kind == "contract":
            left, right = (self._view_of(source) for source in node.inputs)
            target = self._new(node)
            self.steps += (
                [Allocate(target), Multiply(left, right, target)]
                if node.shape
                else [CallNumpy(None, (left, right), target)]
            )
        elif node.kind == "call":
            operands = tuple(self._view_of(source) for source in node.inputs)
            self.steps.append(CallNumpy(node["call"], operands, self._new(node, "result")))

    def _view_of(self, node: Node) -> Buffer:
        """The buffer of an operand of NumPy: its own, or a view of one (which kernels do not see)."""
        found = self.buffers.get(id(node)) or self.views.get(id(node))
        if found is not None:
            return found
        assert node.op == "view" and numpy_viewable(node), node
        source = self._view_of(node.inputs[0])
        target = self.views[id(node)] = Buffer(self._next_number(), "view", node.dtype, node.shape)
        self.steps.append(View(source, target, node["indices"]))
        return target

    def _next_number(self) -> int:
        return len(self.buffers) + len(self.views)

    def _launch(self, target: Group, memory: set[int]) -> None:
        stored = self._stored(target, memory)
        for root in target.roots:
            if root.kind == "update":
                self._update_target(root)
            elif id(root) in stored:
                self.steps.append(Allocate(self._new(root)))
        held = Memory(self.buffers, self.layouts)
        built = collapse(KernelBuilder(target, held, stored, self.fastmath).build())
        self.steps.append(self._launch_step(built, target))

    def _stored(self, target: Group, memory: set[int]) -> set[int]:
        """The roots of a group that something outside it needs."""
        inside = {id(root) for root in target.roots}
        needed = {id(node) for node in self.graph.outputs}
        for reader in self.graph.nodes:
            if id(reader) in memory and id(reader) not in inside:
                needed.update(id(source) for source in self._reads(reader, memory) if id(source) in inside)
        return {id(root) for root in target.roots if id(root) in needed or root.kind == "update"}

    def _update_target(self, root: Node) -> None:
        """The memory that an update writes: a copy of its base, or the base itself where the memory plan allows."""
        base = self._view_of(root.inputs[0])
        target = self._new(root)
        self.steps += [Allocate(target), Copy(base, target)]

    def _launch_step(self, built: BuiltKernel, target: Group) -> Launch:
        return Launch(
            built.kernel,
            built.buffers,
            built.extents,
            built.integers,
            built.scalars,
            NANOSECONDS * (built.cost + 4 * len(built.buffers)),
            tuple(target.roots),
        )


def _computed_by_kernel(node: Node) -> bool:
    return (
        node.kind in ("elementwise", "reduce", "gather", "update")
        or node.op in ("view", "iota")
        or (node.op in ("constant", "scalar") and not node.shape)
    )


def _is_constant(node: Node) -> bool:
    while node.op == "view":
        node = node.inputs[0]
    return node.op in ("constant", "scalar") and not node.shape
