"""Matrix products whose right operand is put together from pieces: found here, and never written to memory whole.

columns = np.stack([p[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)], 2)    # (b, c, 9, h, w)
y = weights @ columns.reshape(b, c * 9, h * w)

Nine copies of the images would go to memory and come back.  A kernel of the form `panels` makes a few columns at a
time, a panel that stays in cache, and multiplies it there.  That convolution is such a product: Chellapilla, Puri and
Simard, High Performance Convolutional Neural Networks for Document Processing (2006).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph
from tracejit.ir.node import Index, Node, Shape, identity_indices
from tracejit.schedule.grouping import memory_reads

DTYPES = ("float32", "float64")


@dataclass(frozen=True, eq=False)
class PanelProduct:
    """A matmul node `left @ right`, where right is the last of `joins` (updates, in order), seen as a matrix.

    batch, depth, columns: the axes of the joined array: those of the stack, those summed over, those that stay.
    hidden: identities of the nodes that get no memory: the joins, their base, and the reshape to matrices.
    """

    node: Node
    joins: tuple[Node, ...]
    batch: Shape
    depth: Shape
    columns: Shape
    hidden: frozenset[int]

    @property
    def left(self) -> Node:
        return self.node.inputs[0]

    @property
    def shape(self) -> Shape:
        """The result's shape with the columns' axes apart."""
        return (*self.batch, self.node.shape[-2], *self.columns)

    def is_result(self, node: Node) -> bool:
        """Whether a node is the product, or a look at it with the columns' axes apart."""
        return node is self.node or (node.op == "reshape" and node.inputs[0] is self.node and node.shape == self.shape)


def panel_products(graph: Graph) -> dict[int, PanelProduct]:
    """The products of a graph that make their right operand by panels, by the identity of their node."""
    readers = graph.uses()
    outputs = {id(node) for node in graph.outputs}

    def alone(node: Node) -> bool:
        return len(readers[id(node)]) == 1 and id(node) not in outputs

    found = {}
    for node in graph.nodes:
        product = _product(node, alone) if node.kind == "contract" else None
        if product is not None:
            found[id(node)] = product
    return found


def _product(node: Node, alone: Callable[[Node], bool]) -> PanelProduct | None:
    left, right = node.inputs
    if len(left.shape) < 2 or len(right.shape) < 2 or node.dtype.name not in DTYPES or not alone(right):
        return None
    hidden = [right]
    joined = right
    if right.op == "reshape":
        joined = right.inputs[0]
    joins: list[Node] = []
    while joined.op == "update" and alone(joined):
        joins.append(joined)
        hidden.append(joined)
        joined = joined.inputs[0]
    if len(joins) < 2 or joined.op != "empty":
        # One write into zeros (np.pad) is cheaper done once than for each of the rows that read it.
        return None
    split = _split(joins[0].shape, right.shape)
    if split is None or right.shape[:-2] != node.shape[:-2]:
        return None
    rank, shape = len(right.shape) - 2, joins[0].shape
    if not all(_covers_columns(join, rank, split) for join in joins):
        return None
    identities = frozenset(id(n) for n in (*hidden, joined))
    return PanelProduct(node, tuple(joins[::-1]), shape[:rank], shape[rank:split], shape[split:], identities)


def _split(shape: Shape, matrices: Shape) -> int | None:
    """Where the axes of the columns begin in an array that is reshaped to a stack of matrices.

    The others then make up the depth, in whatever words: where the matrices have elements, there are as many.
    """
    rank = len(matrices) - 2
    if shape[:rank] != matrices[:rank]:
        return None
    for place in range(rank + 1, len(shape)):
        if sizes.product(shape[place:]) == matrices[-1]:
            return place
    return None


def epilogue(product: PanelProduct, graph: Graph, memory: set[int]) -> list[Node]:
    """The elementwise values that are computed from the product's elements while they are in cache."""
    return [node for node in graph.nodes if id(node) in memory and _follows(node, product, memory)]


def _follows(node: Node, product: PanelProduct, memory: set[int]) -> bool:
    if node.kind != "elementwise" or node.shape != product.shape:
        return False
    reads = memory_reads(node, memory)
    own = [read for read in reads if product.is_result(read.source)]
    if not own or any(r.source.shape != node.shape or r.indices != identity_indices(node.shape) for r in own):
        return False
    return not _reaches([read.source for read in reads if not product.is_result(read.source)], product.node)


def _reaches(sources: list[Node], goal: Node) -> bool:
    """Whether a value goes into any of the sources."""
    pending, seen = list(sources), set()
    while pending:
        node = pending.pop()
        if node is goal:
            return True
        if id(node) not in seen:
            seen.add(id(node))
            pending.extend(node.inputs)
    return False


def _covers_columns(join: Node, batch: int, split: int) -> bool:
    """Whether a piece fills the axes of the stack and of the columns, each by an axis of its own."""
    value, indices = join.inputs[1], join["indices"]
    used = [index.axis for index in indices if index.axis is not None]
    if len(set(used)) != len(used):
        return False
    for place, (index, length) in enumerate(zip(indices, join.shape, strict=True)):
        if batch <= place < split:
            continue
        if index != Index(index.axis) or length != (1 if index.axis is None else value.shape[index.axis]):
            return False
    return all(axis in used for axis, length in enumerate(value.shape) if length != 1)
