"""Matrix products that kernels of ours compute, by panels.

Those whose right operand is put together from pieces, which then is never written to memory whole:

columns = np.stack([p[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)], 2)    # (b, c, 9, h, w)
y = weights @ columns.reshape(b, c * 9, h * w)

Nine copies of the images would go to memory and come back.  A kernel of the form `panels` makes a few columns at a
time, a panel that stays in cache, and multiplies it there.  That convolution is such a product: Chellapilla, Puri and
Simard, High Performance Convolutional Neural Networks for Document Processing (2006).

And those that the caller says are so large that the kernel is faster than BLAS; their only piece is the operand.  There
the panel is what every fast product copies of an operand anyway (see `lower.register_tile`), and what follows the
product is done while the result is in cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph
from tracejit.ir.node import Index, Indices, Node, Shape, identity_indices
from tracejit.records import dataclass
from tracejit.schedule.grouping import memory_reads

DTYPES = ("float32", "float64")


def is_matrix_product(node: Node) -> bool:
    """Whether a node is a product of two matrices, or stacks of them, of a dtype that kernels multiply."""
    return node.kind == "contract" and node.dtype.name in DTYPES and min(len(s.shape) for s in node.inputs) >= 2


def never(node: Node) -> bool:
    """No product is done by a kernel but one whose operand is put together from pieces."""
    return False


@dataclass(frozen=True)
class Piece:
    """A part of a product's right operand: a value, and where it is in the whole, which has a shape."""

    value: Node
    indices: Indices
    whole: Shape

    def covers(self, axis: int) -> bool:
        """Whether the piece fills an axis of the whole."""
        index = self.indices[axis]
        length = 1 if index.axis is None else self.value.shape[index.axis]
        return index == Index(index.axis) and self.whole[axis] == length


@dataclass(frozen=True, eq=False)
class PanelProduct:
    """A matmul node `left @ right`, where right is put together from `pieces`, in order, and seen as a matrix.

    batch, depth, columns: the axes of the whole: those of the stack, those summed over, those that stay.
    hidden: identities of the nodes that get no memory: the joins, their base, and the looks at them as matrices.
    """

    node: Node
    pieces: tuple[Piece, ...]
    batch: tuple[int, ...]
    depth: tuple[int, ...]
    columns: tuple[int, ...]
    hidden: frozenset[int]

    @property
    def left(self) -> Node:
        return self.node.inputs[0]

    def lengths(self, axes: tuple[int, ...]) -> Shape:
        """The lengths of axes of the whole."""
        return tuple(self.pieces[0].whole[axis] for axis in axes)

    @cached_property
    def shape(self) -> Shape:
        """The result's shape with the columns' axes apart."""
        return (*self.lengths(self.batch), self.node.shape[-2], *self.lengths(self.columns))

    def is_result(self, node: Node) -> bool:
        """Whether a node is the product, or a look at it with the columns' axes apart."""
        return node is self.node or (node.op == "reshape" and node.inputs[0] is self.node and node.shape == self.shape)


def panel_products(graph: Graph, by_kernel: Callable[[Node], bool] = never) -> dict[int, PanelProduct]:
    """The products of a graph that make their right operand by panels, by the identity of their node.

    by_kernel: of the others, which are to be computed by kernels too.
    """
    readers = graph.uses()
    outputs = {id(node) for node in graph.outputs}

    def alone(node: Node) -> bool:
        return len(readers[id(node)]) == 1 and id(node) not in outputs

    found = {}
    for node in graph.nodes:
        if not is_matrix_product(node):
            continue
        product = _joined(node, alone)
        if product is None and by_kernel(node):
            product = _whole(node)
        if product is not None:
            found[id(node)] = product
    return found


def _whole(node: Node) -> PanelProduct | None:
    """The product by panels of an operand in memory."""
    right = node.inputs[1]
    rank = len(right.shape) - 2
    if right.shape[:-2] != node.shape[:-2]:
        return None
    piece = Piece(right, identity_indices(right.shape), right.shape)
    return PanelProduct(node, (piece,), tuple(range(rank)), (rank,), (rank + 1,), frozenset())


def _joined(node: Node, alone: Callable[[Node], bool]) -> PanelProduct | None:
    """The product by panels of an operand that is put together for it."""
    right = node.inputs[1]
    if not alone(right):
        return None
    hidden = [right]
    if turned := right.op == "view" and _is_transpose(right):
        hidden.append(right.inputs[0])
    matrices = hidden[-1]
    if matrices.op == "reshape":
        hidden.append(matrices.inputs[0])
    joins: list[Node] = []
    while hidden[-1].op == "update" and alone(hidden[-1]):
        joins.append(hidden[-1])
        hidden.append(hidden[-1].inputs[0])
    if len(joins) < 2 or hidden[-1].op != "empty" or not all(map(alone, hidden)):
        # One write into zeros (np.pad) is cheaper done once than for each of the rows that read it.
        return None
    rank, whole = len(right.shape) - 2, joins[0].shape
    split = _split(whole, matrices.shape)
    if split is None or right.shape[:-2] != node.shape[:-2]:
        return None
    rows, columns = tuple(range(rank, split)), tuple(range(split, len(whole)))
    depth, columns = (columns, rows) if turned else (rows, columns)
    batch = tuple(range(rank))
    pieces = tuple(Piece(join.inputs[1], join["indices"], join.shape) for join in joins[::-1])
    if not all(_goes_along(piece) and all(map(piece.covers, (*batch, columns[0]))) for piece in pieces):
        return None
    return PanelProduct(node, pieces, batch, depth, columns, frozenset(map(id, hidden)))


def _is_transpose(view: Node) -> bool:
    """Whether a view shows the transposes of a stack of matrices."""
    rank, shape = len(view.shape), view.inputs[0].shape
    order = (*range(rank - 2), rank - 1, rank - 2)
    if len(shape) != rank or view.shape != tuple(shape[axis] for axis in order):
        return False
    expected = tuple(Index(None) if length == 1 else Index(axis) for axis, length in zip(order, shape, strict=True))
    return bool(view["indices"] == expected)


def _split(shape: Shape, matrices: Shape) -> int | None:
    """Where the second axis of the matrices begins in an array that is reshaped to a stack of them.

    The axes before make up the first, in whatever words: where the matrices have elements, there are as many.
    """
    rank = len(matrices) - 2
    if shape[:rank] != matrices[:rank]:
        return None
    for place in range(rank + 1, len(shape)):
        if sizes.product(shape[place:]) == matrices[-1]:
            return place
    return None


def _goes_along(piece: Piece) -> bool:
    """Whether each axis of a piece goes along one of the whole's."""
    used = [index.axis for index in piece.indices if index.axis is not None]
    return sorted(used) == [axis for axis, length in enumerate(piece.value.shape) if length != 1]


def epilogue(product: PanelProduct, graph: Graph, memory: set[int], levels: Mapping[int, int]) -> list[Node]:
    """The elementwise values that are computed from the product's elements while they are in cache.

    levels: how many steps of the host stand before each node.  What else these values read is of a lower level than the
    product, so that it waits for nothing that comes after the product.
    """
    return [node for node in graph.nodes if id(node) in memory and _follows(node, product, memory, levels)]


def _follows(node: Node, product: PanelProduct, memory: set[int], levels: Mapping[int, int]) -> bool:
    if node.kind != "elementwise" or node.shape != product.shape:
        return False
    reads = memory_reads(node, memory)
    own = [read for read in reads if product.is_result(read.source)]
    if not own or any(r.source.shape != node.shape or r.indices != identity_indices(node.shape) for r in own):
        return False
    others = [read.source for read in reads if not product.is_result(read.source)]
    return all(levels[id(source)] < levels[id(product.node)] for source in others)
