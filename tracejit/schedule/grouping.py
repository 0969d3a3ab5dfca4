"""Which roots share a kernel: several outputs of one space, siblings, and the stages of a row."""

from __future__ import annotations

from dataclasses import field

from tracejit.ir.node import Index, Indices, Node, Shape, compose, identity_indices
from tracejit.ops.table import OPS
from tracejit.records import dataclass

MAX_ROOTS = 24
"""Roots in one kernel: past it, registers and load ports are what limits."""


FURTHEST = 64
"""Kernels back from the last one that a root is tried with; trying all would take the square of their number."""

CHAINED = 4
"""Instructions an element that may be done in the loop of a running total along a row, which is no vector loop."""


@dataclass
class StageDraft:
    """Roots computed in one loop nest over the inner axes (by length)."""

    inner: Shape
    roots: list[Node] = field(default_factory=list)


@dataclass
class Group:
    """The draft of one kernel: outer axes (by length), stages, and its form.

    costs: instructions an element of each root.
    """

    form: str
    outer: Shape
    stages: list[StageDraft]
    costs: dict[int, int] = field(default_factory=dict)

    @property
    def roots(self) -> list[Node]:
        return [root for stage in self.stages for root in stage.roots]


@dataclass(frozen=True)
class Domain:
    """A root's own loop nest: kept axes, reduced axes (lengths without the ones)."""

    form: str
    outer: Shape
    inner: Shape


@dataclass(frozen=True)
class Read:
    """A root that a root reads from memory, and where, in terms of the reader's domain shape."""

    source: Node
    indices: Indices


def domain(root: Node) -> Domain:
    """The loop nest that a root asks for when it is alone."""
    if root.kind not in ("reduce", "accumulate"):
        shape = root.inputs[1].shape if root.kind == "update" else root.shape
        return Domain("map", _long(shape), ())
    shape, axes = root.inputs[0].shape, root["axes"] if root.kind == "reduce" else (root["axis"],)
    kept = _long(tuple(d for axis, d in enumerate(shape) if axis not in axes))
    reduced = _long(tuple(d for axis, d in enumerate(shape) if axis in axes)) or (1,)
    if not kept:
        return Domain("reduce_all" if root.kind == "reduce" else "map", (), reduced)
    last = max((axis for axis, d in enumerate(shape) if d != 1), default=0)
    return Domain("map" if last in axes else "reduce_columns", kept, reduced)


def along_row(accumulation: Node) -> bool:
    """Whether a running total goes along the last of the axes, so that it is a chain; else it runs over whole rows."""
    return domain(accumulation).form == "map"


def _long(shape: Shape) -> Shape:
    return tuple(d for d in shape if d != 1)


def domain_shape(root: Node) -> Shape:
    """The shape that a root's body is looked up in."""
    if root.kind == "reduce":
        return root.inputs[0].shape
    return root.inputs[1].shape if root.kind == "update" else root.shape


def memory_reads(root: Node, memory: set[int]) -> list[Read]:
    """What a root's body reads from memory, and where."""
    found: dict[tuple[int, Indices], Read] = {}
    seen: set[tuple[int, Indices]] = set()

    pending: list[tuple[Node, Indices]] = [(root, identity_indices(domain_shape(root)))]
    while pending:
        node, indices = pending.pop()
        if (id(node), indices) in seen:
            continue
        seen.add((id(node), indices))
        if id(node) in memory and node is not root:
            found[(id(node), indices)] = Read(node, indices)
            continue
        if node.kind == "gather":
            found[(id(node.inputs[0]), ())] = Read(node.inputs[0], ())
        pending.extend((source, places) for source, places in inlined_sources(node, indices))
    return list(found.values())


def inlined_sources(node: Node, indices: Indices) -> list[tuple[Node, Indices]]:
    """What the body of a node looks up, and where, when the node itself is wanted at `indices`."""
    if node.op == "view":
        return [(node.inputs[0], compose(node["indices"], indices))]
    if node.kind == "gather":
        at, rank = node["at"], node["rank"]
        return [(source, indices[at : at + rank]) for source in node.inputs[1:]]
    if node.kind == "update":
        return [(node.inputs[1], indices)]
    return [(source, indices) for source in reversed(node.inputs)]


def group(roots: list[Node], memory: set[int]) -> list[Group]:
    """Roots in dependency order into kernels in dependency order."""
    groups: list[Group] = []
    place: dict[int, int] = {}
    readers: dict[int, list[Read]] = {id(root): memory_reads(root, memory) for root in roots}
    costs = {id(root): work(root, memory) for root in roots}
    for root in roots:
        reads = readers[id(root)]
        first = max([place[id(r.source)] for r in reads if id(r.source) in place], default=0)
        for number in range(len(groups) - 1, max(first, len(groups) - FURTHEST, 0) - 1, -1):
            if _joins(groups[number], root, reads, place, number, readers):
                place[id(root)] = number
                break
        else:
            own = domain(root)
            groups.append(Group(own.form, own.outer, [StageDraft(own.inner, [root])], costs))
            place[id(root)] = len(groups) - 1
    return groups


def _joins(
    target: Group, root: Node, reads: list[Read], place: dict[int, int], number: int, readers: dict[int, list[Read]]
) -> bool:
    """Add a root to a group if the result is a valid kernel and saves memory traffic."""
    inside = [read for read in reads if place.get(id(read.source)) == number]
    if len(target.roots) >= MAX_ROOTS or root.kind == "update" or any(r.kind == "update" for r in target.roots):
        return False
    if OPS[root.op].position_of or (root.kind == "reduce" and any(OPS[r.op].position_of for r in target.roots)):
        return False
    if any(not read.indices and read.source.shape for read in inside):
        return False
    if not inside and not _share_input(target, reads, readers):
        return False
    own = domain(root)
    if own.form == "map" and target.form == "map":
        return _join_rows(target, root, own, inside)
    if own.form == "reduce_all":
        return _join_full(target, root, own, inside)
    if own.form == target.form and own.outer == target.outer and own.inner == target.stages[0].inner:
        return _join_same_stage(target, root, inside)
    if own.form == "map" and not own.inner and _follows_running_totals(target, root):
        return _join_same_stage(target, root, inside)
    if own.form == "map" and not own.inner and target.form.startswith("reduce") and own.outer == target.outer:
        return _join_epilogue(target, root, inside)
    return False


def _share_input(target: Group, reads: list[Read], readers: dict[int, list[Read]]) -> bool:
    theirs = {id(read.source) for root in target.roots for read in readers[id(root)]}
    return any(id(read.source) in theirs for read in reads)


def _same_place(read: Read, shape: Shape) -> bool:
    """Whether a value is read exactly where it is computed: each long axis at its own position, in order."""
    axes = [axis for axis, dimension in enumerate(shape) if dimension != 1]
    wanted = iter(axes)
    for index, dimension in zip(read.indices, read.source.shape, strict=True):
        if dimension == 1:
            continue
        if index != Index(next(wanted, -1)):
            return False
    return True


def _outer_place(read: Read, shape: Shape, outer: Shape) -> bool:
    """Whether a read stays in its own row: the outer axes at their own positions."""
    long_axes = [axis for axis, dimension in enumerate(shape) if dimension != 1][: len(outer)]
    long_indices = [i for i, dimension in zip(read.indices, read.source.shape, strict=True) if dimension != 1]
    return long_indices[: len(outer)] == [Index(axis) for axis in long_axes]


def _join_rows(target: Group, root: Node, own: Domain, inside: list[Read]) -> bool:
    """Into a map group: as another output, as a reduction of what it computes, or as a further stage of its rows."""
    shape = domain_shape(root)
    rows = len(target.stages) > 1 or bool(target.stages[0].inner)
    if not rows and not own.inner:
        if own.outer != target.outer or not all(_same_place(read, shape) for read in inside):
            return False
        target.stages[0].roots.append(root)
        return True
    if own.inner:
        outer, inner = own.outer, own.inner
    else:
        outer, inner = own.outer[: len(target.outer)], own.outer[len(target.outer) :]
    if not rows:
        # A reduction joins an elementwise group by turning its trailing axes into the row.
        if not inside or target.outer != outer + inner or not all(_same_place(read, shape) for read in inside):
            return False
        if root.kind == "accumulate" and not outer:
            return False  # many threads compute what one of them then adds up
        target.outer, target.stages = outer, [StageDraft(inner, target.roots)]
        return _into_stage(target, root, inner, inside, shape)
    if outer != target.outer or not all(_outer_place(read, shape, outer) for read in inside):
        return False
    return _into_stage(target, root, inner, inside, shape)


def _into_stage(target: Group, root: Node, inner: Shape, inside: list[Read], shape: Shape) -> bool:
    """Into the first stage of the right axes after which all that the root reads is there; else a new one."""
    earliest = 0
    for read in inside:
        stage = next(n for n, s in enumerate(target.stages) if any(r is read.source for r in s.roots))
        same = read.source.kind != "reduce" and target.stages[stage].inner == inner and _same_place(read, shape)
        earliest = max(earliest, stage if same else stage + 1)
    for draft in target.stages[earliest:]:
        if draft.inner == inner and _in_one_loop(draft, root, target.costs):
            draft.roots.append(root)
            return True
    if not target.outer:
        return False
    target.stages.append(StageDraft(inner, [root]))
    return True


def _in_one_loop(draft: StageDraft, root: Node, costs: dict[int, int]) -> bool:
    """Whether a root may share the loop of a stage: the chain of a running total has room for little else."""
    roots = [*draft.roots, root]
    if not any(other.kind == "accumulate" for other in roots):
        return True
    return all(costs[id(other)] <= CHAINED for other in roots)


def work(root: Node, memory: set[int]) -> int:
    """Instructions an element that computing a root takes, down to what is in memory."""
    total, pending, seen = 0, [root], set()
    while pending:
        node = pending.pop()
        if id(node) in seen or (node is not root and id(node) in memory):
            continue
        seen.add(id(node))
        total += OPS[node.op].cost if node.kind in ("elementwise", "gather") else 0
        pending.extend(node.inputs)
    return total


def _follows_running_totals(target: Group, root: Node) -> bool:
    """Whether a root computes elements of the shape of the running totals in a group over columns."""
    if target.form != "reduce_columns":
        return False
    return any(other.kind == "accumulate" and _long(other.shape) == _long(root.shape) for other in target.roots)


def _summed(root: Node) -> tuple[int, ...]:
    """The axes that a reduction or a running total goes along, among those of its operand that are long."""
    axes = root["axes"] if root.kind == "reduce" else (root["axis"],)
    long = [axis for axis, dimension in enumerate(root.inputs[0].shape) if dimension != 1]
    return tuple(place for place, axis in enumerate(long) if axis in axes)


def _join_full(target: Group, root: Node, own: Domain, inside: list[Read]) -> bool:
    """A full reduction into a group over the same space: beside other full reductions, or of what a map computes."""
    shape = domain_shape(root)
    first = {id(r) for r in target.stages[0].roots if r.kind != "reduce"}
    if not all(id(read.source) in first and _same_place(read, shape) for read in inside):
        return False
    if target.form == "reduce_all" and target.stages[0].inner == own.inner:
        target.stages[0].roots.append(root)
        return True
    single = target.form == "map" and len(target.stages) == 1 and not target.stages[0].inner
    if single and inside and target.outer == own.inner:
        target.form, target.outer, target.stages = "reduce_all", (), [StageDraft(own.inner, [*target.roots, root])]
        return True
    return False


def _join_same_stage(target: Group, root: Node, inside: list[Read]) -> bool:
    """A reduction of columns beside others of the same input; running totals, and what is made of them in place."""
    shape, first = domain_shape(root), {id(r) for r in target.stages[0].roots if r.kind != "reduce"}
    if not all(id(read.source) in first and _same_place(read, shape) for read in inside):
        return False
    # Axes of one length are not yet one axis.
    roots = [other for other in (*target.stages[0].roots, root) if other.kind in ("reduce", "accumulate")]
    if inside and len({_summed(other) for other in roots}) > 1:
        return False
    target.stages[0].roots.append(root)
    return True


def _join_epilogue(target: Group, root: Node, inside: list[Read]) -> bool:
    """What follows a reduction, element by element of its result."""
    if not inside or not all(_same_place(read, domain_shape(root)) for read in inside):
        return False
    first = {id(r) for r in target.stages[0].roots if r.kind != "reduce"}
    if any(id(read.source) in first for read in inside):
        return False
    if len(target.stages) == 1:
        target.stages.append(StageDraft((), []))
    target.stages[-1].roots.append(root)
    return True
