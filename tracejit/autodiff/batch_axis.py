"""What batching rules are written with: the vocabulary of derivative rules, and a batch axis."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self, TypeAlias

from tracejit.autodiff.context import Rules
from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Index, Indices, Node, broadcast_indices
from tracejit.ir.size import Dimension
from tracejit.trace.state import Trace

Batched: TypeAlias = tuple[Node, bool]
"""A node, and whether it has the batch axis."""


class BatchAxis(Rules, ABC):
    """Makes nodes along a leading axis of `size`.

    done: what nodes have become so far, by identity.
    active: a bool[size] node that says which examples there are (None: all); the others' results are thrown away.
    """

    def __init__(self, trace: Trace, size: Dimension, active: Node | None) -> None:
        super().__init__(trace)
        self.size = size
        self.active = active
        self.done: dict[int, Batched] = {}

    @abstractmethod
    def results(self, outputs: Sequence[Node]) -> list[Batched]:
        """What becomes of each node."""

    @abstractmethod
    def inner(self, known: Mapping[int, Batched], active: Node | None) -> Self:
        """Batching of another graph along the same axis."""

    def along(self, type: ArrayType) -> ArrayType:
        """The type with the batch axis in front."""
        return ArrayType(type.dtype, (self.size, *type.shape), type.weak)

    def shifted(self, indices: Indices) -> Indices:
        """A view's indices with the batch axis in front of source and view."""
        first = Index(None) if self.size == 1 else Index(0)
        return (first, *(Index(i.axis + 1, i.step, i.start) if i.axis is not None else i for i in indices))

    def widened(self, node: Node, batched: bool) -> Node:
        """The node along the batch axis: itself where it is so already, else broadcast."""
        if batched:
            return node
        if node.op == "empty":
            return self.builder.node("empty", (), {}, self.along(node.type), node.line)
        shape = (self.size, *node.shape)
        return self.view(node, broadcast_indices(node.shape, shape), shape)

    def moved(self, node: Node, source: int, target: int) -> Node:
        """The node with one axis at another place."""
        order = [axis for axis in range(len(node.shape)) if axis != source]
        order.insert(target, source)
        return node if source == target else self.transposed(node, order)

    def aligned(self, node: Node, rank: int) -> Node:
        """A batched node with axes of length one behind the batch axis, up to a rank."""
        extra = rank - len(node.shape)
        if extra <= 0:
            return node
        shape = (*node.shape[:1], *[1] * extra, *node.shape[1:])
        indices = [Index(None) if d == 1 else Index(a + extra if a else 0) for a, d in enumerate(node.shape)]
        return self.view(node, tuple(indices), shape)

    def merged(self, node: Node, axis: int) -> Node:
        """The node with an axis and the next as one."""
        return self.reshape(node, self.merged_type(node.type, axis).shape)

    @staticmethod
    def merged_type(type: ArrayType, axis: int) -> ArrayType:
        """The type with an axis and the next as one."""
        shape = type.shape
        both = sizes.multiply(shape[axis], shape[axis + 1])
        return ArrayType(type.dtype, (*shape[:axis], both, *shape[axis + 2 :]))

    def select(self, mask: Node, yes: Node, no: Node) -> Node:
        """`yes` for the examples of a bool[size] mask, `no` for the others; both batched, of one type."""
        return self.where(self.view(mask, self.shifted(()), yes.shape), yes, no, yes.type)

    def with_axis(self, node: Node, axis: int) -> Node:
        """The node with an axis of length one put in."""
        indices = [Index(None) if d == 1 else Index(a + (a >= axis)) for a, d in enumerate(node.shape)]
        return self.view(node, tuple(indices), (*node.shape[:axis], 1, *node.shape[axis:]))

    def without_axis(self, node: Node, axis: int) -> Node:
        """The node with an axis of length one left out."""
        indices = [Index(None) if d == 1 else Index(a - (a > axis)) for a, d in enumerate(node.shape)]
        return self.view(node, tuple(indices), (*node.shape[:axis], *node.shape[axis + 1 :]))
