"""Which values get memory of their own; all others are computed inside the kernels that use them.

Memory is given to what a kernel cannot hold (outputs, operands of NumPy calls, reductions, updates) and to what would
be computed again and again: an expensive value used in two iteration spaces, or broadcast along an outer loop.  What a
reduction and one after it read is used in two spaces even where they are alike: y = exp(x); any(y == max(y)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tracejit.ir.graph import Graph
from tracejit.ir.node import Indices, Node, compose, identity_indices, in_order
from tracejit.ops.table import OPS
from tracejit.records import dataclass
from tracejit.schedule.grouping import CHAINED, along_row, work
from tracejit.schedule.native_control import survey
from tracejit.schedule.panel_products import PanelProduct

DUPLICATE_LIMIT = 8
"""Scalar instructions that may be computed twice before storing and loading the value is cheaper."""

BROADCAST_LIMIT = 2
"""Instructions that may be computed again along an outer loop (a load costs about as much)."""

_MANY = 6


@dataclass(frozen=True)
class Use:
    """A value inside a kernel: the iteration space of the kernel's root, and where the value is looked up in it.

    after: of a reduction, how many stand before it, one after the other.
    level: of the root (see `levels`): roots of two levels have two kernels, also where their spaces are alike.
    """

    space: tuple[object, ...]
    indices: Indices
    after: int = 0
    level: int = 0

    def at(self, indices: Indices) -> Use:
        """The same use, looked up elsewhere."""
        return replace(self, indices=indices)


def in_memory_by_nature(node: Node) -> bool:
    """Values that no kernel computes inline."""
    if node.op in ("constant", "scalar"):
        return bool(node.shape)
    if node.op in ("loop", "branch"):
        return survey(node) is None
    memory_ops = ("input", "parameter", "empty", "scalars", "reshape", "part")
    return node.kind in ("reduce", "accumulate", "update", "contract", "call") or node.op in memory_ops


def levels(graph: Graph) -> dict[int, int]:
    """How many NumPy calls, reshapes and updates stand before each node; only roots of one level share kernels."""
    level: dict[int, int] = {}
    for node in graph.nodes:
        below = max((level[id(source)] for source in node.inputs), default=0)
        host = node.kind in ("contract", "call", "update") or node.op in ("reshape", "loop", "branch")
        level[id(node)] = below + (1 if host else 0)
    return level


def iteration_space(node: Node) -> tuple[object, ...]:
    """What tells apart the loop nests that compute roots: shape, and for a reduction its axes."""
    if node.kind == "reduce":
        return (*node.inputs[0].shape, "over", node["axes"])
    if node.kind == "accumulate":
        return (*node.shape, "over", (node["axis"],))
    if node.kind == "update":
        return node.inputs[1].shape
    return node.shape


def materialized(graph: Graph, products: Mapping[int, PanelProduct], fastmath: bool) -> set[int]:
    """Identities of the nodes that get memory; `products` make an operand of theirs by panels.

    fastmath: computed again, a value may come out with other bits, and an element would not be equal to the maximum.
    """
    hidden = {key for product in products.values() for key in product.hidden}
    memory = {id(node) for node in graph.nodes if in_memory_by_nature(node) and id(node) not in hidden}
    memory |= {id(node) for node in graph.outputs}
    for node in graph.nodes:
        if id(node) in products:
            memory |= {id(viewed(source)) for source in node.inputs if id(source) not in hidden}
        elif id(node) not in hidden:
            memory |= {id(source) for source in _needs_memory(node)}
        if fastmath and OPS[node.op].position_of:
            memory.add(id(_unviewed(node.inputs[0])))
    costs = _inline_costs(graph, memory)
    depths, level = _reductions_before(graph), levels(graph)
    uses: dict[int, set[Use]] = {}
    for node in reversed(graph.nodes):
        key = id(node)
        memory |= {id(source) for source in _heavy_before_chain(node, memory)}
        if key not in memory and node.kind in ("elementwise", "gather"):
            found = uses.get(key, set())
            if _repeats(found, costs[key]) or (fastmath and len({use.after for use in found if use.after}) > 1):
                memory.add(key)
        if key in products:
            for piece in products[key].pieces:
                space = (node, piece.indices)
                uses.setdefault(id(piece.value), set()).add(Use(space, identity_indices(piece.value.shape)))
        elif key not in hidden:
            _spread_uses(node, key in memory, (depths[key], level[key]), uses)
    return memory


def _needs_memory(node: Node) -> tuple[Node, ...]:
    """The inputs that a node can only take from memory."""
    if node.kind == "call" or node.kind == "contract":
        # A plain view of memory is handed over as a NumPy view; what it views is what needs memory.
        return tuple(viewed(source) for source in node.inputs)
    if node.op == "reshape":
        # Elements that lie apart would be copied first: better by a kernel, and once for all who want them.
        source = node.inputs[0]
        lies_apart = source.op == "view" and not in_order(source["indices"], source.shape, source.inputs[0].shape)
        return (source if lies_apart else viewed(source),)
    if node.op in ("loop", "branch"):
        found = survey(node)
        return node.inputs if found is None else tuple(lookup.node for lookup in found if lookup.memory)
    if node.kind == "gather":
        return node.inputs[:1]
    return node.inputs[:1] if node.kind == "update" else ()


def _heavy_before_chain(node: Node, memory: set[int]) -> tuple[Node, ...]:
    """What a running total along a row adds up, if that is worth a vector loop; the running total is a chain."""
    if node.kind != "accumulate" or not along_row(node):
        return ()
    source = _unviewed(node.inputs[0])
    return (source,) if source.kind == "elementwise" and work(source, memory) > CHAINED else ()


def _unviewed(node: Node) -> Node:
    """What a view, or a view of one, looks at."""
    while node.op == "view":
        node = node.inputs[0]
    return node


def viewed(node: Node) -> Node:
    """The node whose memory NumPy can view as `node`: the source of a view without broadcasting, else itself."""
    return node.inputs[0] if node.op == "view" and numpy_viewable(node) else node


def numpy_viewable(node: Node) -> bool:
    """Whether an affine view is basic indexing and a transpose: each axis once, none broadcast."""
    axes = [index.axis for index in node["indices"] if index.axis is not None]
    missing = [axis for axis in range(len(node.shape)) if axis not in axes and node.shape[axis] != 1]
    return len(set(axes)) == len(axes) and not missing


def _inline_costs(graph: Graph, memory: set[int]) -> dict[int, int]:
    """Instructions that computing each value inside a kernel takes, down to what is in memory."""
    costs: dict[int, int] = {}
    for node in graph.nodes:
        below = sum(1 if id(source) in memory else costs[id(source)] for source in node.inputs)
        own = OPS[node.op].cost if node.kind in ("elementwise", "gather") else 0
        costs[id(node)] = min(own + below, 1 if _once_a_row(node) else 10**6) if node.inputs else 0
    return costs


def _once_a_row(node: Node) -> bool:
    """Whether a value is the same along the innermost axis, outside of which it is then computed."""
    if node.op != "view":
        return False
    last = max((axis for axis, dimension in enumerate(node.shape) if dimension != 1), default=None)
    return last is not None and all(index.axis != last for index in node["indices"])


def _reductions_before(graph: Graph) -> dict[int, int]:
    """The longest chain of reductions that ends in each node."""
    depths: dict[int, int] = {}
    for node in graph.nodes:
        below = max((depths[id(source)] for source in node.inputs), default=0)
        depths[id(node)] = below + (node.kind == "reduce")
    return depths


def _repeats(uses: set[Use], cost: int) -> bool:
    """Whether inlining would compute the value too often."""
    if len(uses) > 1 and cost >= DUPLICATE_LIMIT:
        return True
    return cost > BROADCAST_LIMIT and any(_repeated_by_outer_loop(use) for use in uses)


def _repeated_by_outer_loop(use: Use) -> bool:
    """Whether an axis outside the deepest one that the value depends on does not change it."""
    space = [d for d in use.space if d != "over" and not isinstance(d, tuple)]
    used = {index.axis for index in use.indices if index.axis is not None}
    return bool(used) and any(axis not in used and dimension != 1 for axis, dimension in enumerate(space[: max(used)]))


def _spread_uses(node: Node, is_root: bool, before: tuple[int, int], uses: dict[int, set[Use]]) -> None:
    """Tell a node's inputs where they are looked up through it; before: the reductions up to it, and its level."""
    if node.op in ("loop", "branch"):
        for lookup in survey(node) or ():
            if lookup.indices is not None:
                uses.setdefault(id(lookup.node), set()).add(Use((node,), lookup.indices))
        return
    if is_root:
        if node.kind not in ("elementwise", "view", "gather", "reduce", "accumulate", "update") or node.op == "reshape":
            return
        domain = (
            node.inputs[0].shape
            if node.kind == "reduce"
            else node.inputs[-1].shape
            if node.kind == "update"
            else node.shape
        )
        after = before[0] if node.kind == "reduce" else 0
        own = {Use(iteration_space(node), identity_indices(domain), after, before[1])}
    else:
        own = uses.get(id(node), set())
    if node.op == "view":
        own = {use.at(compose(node["indices"], use.indices)) for use in own}
    sources = node.inputs[-1:] if node.kind == "update" else node.inputs
    if node.kind == "gather":
        sources = node.inputs[1:]
        at, rank = node["at"], node["rank"]
        own = {use.at(use.indices[at : at + rank]) for use in own}
    for source in sources:
        known = uses.setdefault(id(source), set())
        if len(known) < _MANY or {use.after for use in own} - {use.after for use in known}:
            known |= own
