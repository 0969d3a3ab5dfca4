"""Graph -> program: what gets memory, what shares a kernel, and the order of the steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import field

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph, literal
from tracejit.ir.node import ArrayType, Node, Shape
from tracejit.records import dataclass
from tracejit.schedule.collapse import collapse
from tracejit.schedule.control_builder import ControlBuilder
from tracejit.schedule.grouping import Group, StageDraft, group, memory_reads
from tracejit.schedule.host_loops import iteration, write_in_place
from tracejit.schedule.kernel_builder import KernelBuilder
from tracejit.schedule.kernel_draft import BuiltKernel, Memory
from tracejit.schedule.materialize import levels, materialized, numpy_viewable, viewed
from tracejit.schedule.memory_plan import plan_memory
from tracejit.schedule.native_control import is_native, result_shape, survey
from tracejit.schedule.panel_builder import PanelBuilder
from tracejit.schedule.panel_products import PanelProduct, epilogue, never, panel_products
from tracejit.schedule.reuse import reuse_memory
from tracejit.schedule.side_by_side import side_by_side
from tracejit.schedule.steps import (
    Allocate,
    Branch,
    Buffer,
    CallInPlace,
    CallNumpy,
    Copy,
    Launch,
    Loop,
    Multiply,
    Numbers,
    Program,
    Step,
    View,
)


def schedule(
    graph: Graph,
    layouts: Mapping[int, str] | None = None,
    writebacks: Sequence[tuple[int, int]] = (),
    fastmath: bool = False,
    by_kernel: Callable[[Node], bool] = never,
) -> Program:
    """The steps that compute a graph.

    layouts: for each leaf "C" (contiguous), "unit" (unit stride in the last axis) or "any".
    writebacks: (leaf, output number) pairs: the output's value belongs in the argument's memory.
    by_kernel: which of its products of matrices are computed by kernels (see `panel_products`), the rest by NumPy.
    """
    written = {graph.outputs[number]["position"] for _, number in writebacks if graph.outputs[number].op == "input"}
    written |= {leaf for leaf, _ in writebacks}
    return _Scheduler(graph, dict(layouts or {}), fastmath, written, by_kernel).program(tuple(writebacks))


@dataclass
class _Scheduler:
    graph: Graph
    layouts: dict[int, str]
    fastmath: bool
    written: set[int]
    by_kernel: Callable[[Node], bool]
    buffers: dict[int, Buffer] = field(default_factory=dict)
    views: dict[int, Buffer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    read_by: dict[int, list[Node]] = field(default_factory=dict)
    readers: dict[int, set[int]] | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)
    results: dict[int, tuple[Buffer, ...]] = field(default_factory=dict)
    products: dict[int, PanelProduct] = field(default_factory=dict)

    def program(self, writebacks: tuple[tuple[int, int], ...] = (), carries: Container[Buffer] = ()) -> Program:
        """`carries`: for the body of a loop, its carries, whose memory the program may write to."""
        self.products = panel_products(self.graph, self.by_kernel)
        memory = self._memory()
        kernel_roots = [n for n in self.graph.nodes if id(n) in memory and _computed_by_kernel(n)]
        level_of = levels(self.graph)
        products = [self._product_group(product, memory, level_of) for product in self.products.values()]
        taken = {id(root) for one in products for root in one.roots}
        kernel_roots = [root for root in kernel_roots if id(root) not in taken]
        groups: list[Group] = []
        by_level: dict[int, list[Node]] = {}
        for root in kernel_roots:
            by_level.setdefault(level_of[id(root)], []).append(root)
        for _, roots in sorted(by_level.items()):
            groups.extend(_control_groups([root for root in roots if root.op == "part"]))
            groups.extend(group([root for root in roots if root.op != "part"], memory))
        self._emit_all([*groups, *products], memory)
        outputs = tuple(self.buffers[id(node)] for node in self.graph.outputs)
        program = Program(tuple(self.steps), outputs, tuple((leaf, outputs[n]) for leaf, n in writebacks))
        planned = plan_memory(program, {leaf for leaf, layout in self.layouts.items() if layout == "C"}, carries)
        return side_by_side(reuse_memory(planned))

    def _memory(self) -> set[int]:
        """What is materialized; the value of an update that reads the updated memory in other places is too.

        Then the update needs no copy of the memory.  But where it writes nearly all of it, the copy is the cheaper one.
        """
        memory = materialized(self.graph, self.products, self.fastmath)
        for node in self.graph.nodes:
            if node.kind == "update" and id(node.inputs[1]) not in memory and not _is_constant(node.inputs[1]):
                base, value = node.inputs
                if id(node) not in memory:  # a piece of a panel
                    continue
                if base.op == "input" and base["position"] not in self.written:
                    continue
                if _nearly_covers(node) and not (base.op == "input" and node in self.graph.outputs):
                    continue
                reads = [read.indices for read in memory_reads(node, memory) if read.source is base]
                if any(indices != node["indices"] for indices in reads):
                    memory.add(id(value))
        return memory

    def _emit_all(self, groups: list[Group], memory: set[int]) -> None:
        """Steps in dependency order: each group, or value that the host makes, after all that it reads."""
        owner = {id(root): g for g in groups for root in g.roots}
        emitted: set[int] = set()
        for goal in (*(n for n in self.graph.nodes if id(n) in owner), *self.graph.outputs):
            stack = [goal]
            while stack:
                current = stack[-1]
                if id(current) in emitted:
                    stack.pop()
                    continue
                group_here = owner.get(id(current))
                roots = group_here.roots if group_here else [current]
                missing = [s for root in roots for s in self._reads(root, memory) if id(s) not in emitted]
                missing = [s for s in missing if group_here is None or owner.get(id(s)) is not group_here]
                if missing:
                    stack.extend(reversed(missing))
                else:
                    stack.pop()
                    if group_here:
                        self._launch(group_here, memory)
                    else:
                        self._host_step(current, memory)
                    emitted.update(id(root) for root in roots)

    def _product_group(self, product: PanelProduct, memory: set[int], level_of: dict[int, int]) -> Group:
        """The kernel of a product by panels, with what follows it element by element; sets down what they read."""
        after = epilogue(product, self.graph, memory, level_of)
        values = [piece.value for piece in product.pieces]
        pieces = [read.source for value in values for read in memory_reads(value, memory)]
        pieces += [value for value in values if id(value) in memory]
        self.read_by[id(product.node)] = [viewed(product.left), *pieces]
        for node in after:
            found = [read.source for read in memory_reads(node, memory)]
            self.read_by[id(node)] = [source for source in found if not product.is_result(source)]
        return Group("panels", product.shape, [StageDraft((), [product.node, *after])])

    def _reads(self, node: Node, memory: set[int]) -> list[Node]:
        """The values in memory that a root's kernel, or the host for a value of its own, reads."""
        if id(node) not in self.read_by:
            if node.op == "part" and is_native(node.inputs[0]):
                found = self._control_reads(node.inputs[0], memory)
            elif _computed_by_kernel(node):
                found = [read.source for read in memory_reads(node, memory)]
                found += [node.inputs[0]] if node.kind == "update" else []
            else:
                found = [s.inputs[0] if s.op == "view" and id(s) not in memory else s for s in node.inputs]
            self.read_by[id(node)] = found
        return self.read_by[id(node)]

    def _control_reads(self, control: Node, memory: set[int]) -> list[Node]:
        """The values in memory that the kernel of a loop or branch reads."""
        found: list[Node] = []
        for lookup in survey(control) or ():
            held = id(lookup.node) in memory or lookup.memory
            found += [lookup.node] if held else [read.source for read in memory_reads(lookup.node, memory)]
        return found

    # One step

    def _new(self, node: Node, kind: str = "allocated") -> Buffer:
        buffer = Buffer(next(self.numbers), kind, node.dtype, node.shape)
        self.buffers[id(node)] = buffer
        return buffer

    def _host_step(self, node: Node, memory: set[int]) -> None:
        if id(node) in self.buffers:
            return
        if node.op == "input":
            self.buffers[id(node)] = Buffer(next(self.numbers), "argument", node.dtype, node.shape, node["position"])
        elif node.op == "constant":
            self.buffers[id(node)] = Buffer(next(self.numbers), "constant", node.dtype, node.shape, data=literal(node))
        elif node.op == "empty":
            self.steps.append(Allocate(self._new(node)))
        elif node.op == "reshape":
            source = self._view_of(node.inputs[0])
            self.steps.append(View(source, self._new(node, "view"), None))
        elif node.kind == "contract":
            left, right = (self._view_of(source) for source in node.inputs)
            target = self._new(node)
            self.steps += [Allocate(target), Multiply(left, right, target)]
        elif node.op == "scalars":
            self.steps.append(Numbers(node["expressions"], self._new(node, "result")))
        elif node.kind == "call":
            self._call(node)
        elif node.op == "part":
            self.buffers[id(node)] = self.results[id(node.inputs[0])][node["index"]]
        elif node.op == "loop":
            self._loop(node)
        elif node.op == "branch":
            self._branch(node)

    def _call(self, node: Node) -> None:
        """NumPy's result; where a twin of the function can write in place, a copy, which the memory plan may spare."""
        operands = tuple(self._view_of(source) for source in node.inputs)
        if getattr(node["call"].function, "in_place", None) is None:
            self.steps.append(CallNumpy(node["call"], operands, self._new(node, "result"), node.line))
            return
        target = self._new(node)
        self.steps += [
            Allocate(target),
            Copy(operands[0], target),
            CallInPlace(node["call"], operands[1:], target, node.line),
        ]

    def _allocated(self, type: ArrayType) -> Buffer:
        """New memory for what is no node of this graph."""
        buffer = Buffer(next(self.numbers), "allocated", type.dtype, type.shape)
        self.steps.append(Allocate(buffer))
        return buffer

    def _inner(self, graph: Graph, buffers: Sequence[Buffer], carries: Sequence[Buffer] = ()) -> Program:
        """The program of a body whose inputs are in given buffers."""
        bound = {id(node): buffer for node, buffer in zip(graph.inputs, buffers, strict=True)}
        inner = _Scheduler(graph, self.layouts, self.fastmath, set(), self.by_kernel, bound, numbers=self.numbers)
        return inner.program(carries=carries)

    def _loop(self, node: Node) -> None:
        """A loop that the host runs: the carries begin as copies, so that their memory is the loop's own."""
        held = [self.buffers[id(source)] for source in node.inputs]
        first, last = node["constants"], node["constants"] + node["carries"]
        carries = tuple(self._allocated(source.type) for source in node.inputs[first:last])
        self.steps += [Copy(source, carry) for source, carry in zip(held[first:last], carries, strict=True)]
        counter = f"i{next(self.numbers)}"
        per_iteration = iteration(node, counter)
        inner = [*held[:first], *carries, *held[last:]]
        condition = None if node["condition"] is None else self._inner(node["condition"], inner[:last])
        body = self._inner(per_iteration, inner, carries)
        ys: tuple[Buffer, ...] = ()
        if node["length"] is not None:
            types = [output.type for output in per_iteration.outputs[len(carries) :]]
            ys = tuple(self._allocated(ArrayType(t.dtype, (node["length"], *t.shape))) for t in types)
            body = write_in_place(body, counter, len(carries), ys)
        self.steps.append(Loop(body, condition, node["length"], counter, carries, ys, node["reverse"]))
        self.results[id(node)] = (*carries, *ys)

    def _branch(self, node: Node) -> None:
        """A branch that the host takes."""
        selector, *operands = (self.buffers[id(source)] for source in node.inputs)
        programs = tuple(self._inner(graph, operands) for graph in node["branches"])
        types = [output.type for output in node["branches"][0].outputs]
        targets = tuple(Buffer(next(self.numbers), "allocated", t.dtype, t.shape) for t in types)
        self.steps.append(Branch(selector, programs, targets))
        self.results[id(node)] = targets

    def _view_of(self, node: Node) -> Buffer:
        """The buffer of an operand of NumPy: its own, or a view of one (which kernels do not see)."""
        found = self.buffers.get(id(node)) or self.views.get(id(node))
        if found is not None:
            return found
        assert node.op == "view" and numpy_viewable(node), node
        source = self._view_of(node.inputs[0])
        target = self.views[id(node)] = Buffer(next(self.numbers), "view", node.dtype, node.shape)
        self.steps.append(View(source, target, node["indices"]))
        return target

    def _launch(self, target: Group, memory: set[int]) -> None:
        stored = self._stored(target, memory)
        if target.form == "panels":
            self._launch_product(target, stored)
            return
        for root in target.roots:
            if root.kind == "update":
                self._update_target(root)
            elif id(root) in stored:
                self.steps.append(Allocate(self._new(root)))
        held = Memory(self.buffers, self.layouts)
        builder = ControlBuilder if target.roots[0].op == "part" else KernelBuilder
        built = collapse(builder(target, held, stored, self.fastmath).build())
        self.steps.append(self._launch_step(built, target))

    def _launch_product(self, target: Group, stored: set[int]) -> None:
        """A product by panels: its own value, if wanted, is stored with the axes of its columns apart."""
        product = self.products[id(target.roots[0])]
        for root in target.roots:
            if id(root) in stored:
                apart = Buffer(next(self.numbers), "allocated", root.dtype, product.shape)
                self.buffers[id(root)] = apart
                self.steps.append(Allocate(apart))
        held = Memory(self.buffers, self.layouts)
        built = PanelBuilder(target, product, held, stored, self.fastmath).build()
        self.steps.append(self._launch_step(built, target))
        if id(product.node) in stored and product.shape != product.node.shape:
            whole = self.buffers[id(product.node)]
            self.steps.append(View(whole, self._new(product.node, "view"), None))

    def _stored(self, target: Group, memory: set[int]) -> set[int]:
        """The roots of a group that something outside it needs."""
        inside = {id(root) for root in target.roots}
        readers = self._readers(memory)
        outputs = {id(node) for node in self.graph.outputs}
        return {
            id(root)
            for root in target.roots
            if root.kind == "update" or id(root) in outputs or not readers.get(id(root), set()) <= inside
        }

    def _readers(self, memory: set[int]) -> dict[int, set[int]]:
        """For each value the values in memory whose kernels, or host steps, read it."""
        if self.readers is None:
            self.readers = {}
            for reader in self.graph.nodes:
                if id(reader) in memory:
                    for source in self._reads(reader, memory):
                        self.readers.setdefault(id(source), set()).add(id(reader))
        return self.readers

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
            tuple(target.roots),
        )


MOST_BORDER = 8
"""Places along an axis that an update may leave as they are and still be one of nearly all of the memory."""


def _nearly_covers(update: Node) -> bool:
    """Whether an update writes all of its memory but for a border."""
    value = update.inputs[1].shape
    for index, length in zip(update["indices"], update.shape, strict=True):
        border = length if index.axis is None else sizes.subtract(length, value[index.axis])
        if index.step != 1 or not isinstance(border, int) or border > MOST_BORDER:
            return False
    return True


def _computed_by_kernel(node: Node) -> bool:
    return (
        node.kind in ("elementwise", "reduce", "accumulate", "gather", "update")
        or node.op in ("view", "iota")
        or (node.op == "part" and is_native(node.inputs[0]))
        or (node.op in ("constant", "scalar") and not node.shape)
    )


def _control_groups(parts: list[Node]) -> list[Group]:
    """For each loop or branch a kernel for its results of one shape."""
    groups: dict[tuple[int, Shape], Group] = {}
    for part in parts:
        shape = result_shape(part)
        key = (id(part.inputs[0]), shape)
        if key not in groups:
            groups[key] = Group("map", tuple(d for d in shape if d != 1), [StageDraft((), [])])
        groups[key].stages[0].roots.append(part)
    return list(groups.values())


def _is_constant(node: Node) -> bool:
    while node.op == "view":
        node = node.inputs[0]
    return node.op in ("constant", "scalar") and not node.shape
