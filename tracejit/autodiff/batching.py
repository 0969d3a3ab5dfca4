"""Batching: nodes re-made along a new leading axis, by rules that stand in the op table.

    p0: f64                                        x: f64[n]          (p0 stands for one element of x)
    v0: f64 = sin(p0)                      ->      v0: f64[n] = sin(x)
    v1: f64 = v0 * 2.0                             v1: f64[n] = v0 * 2.0[]

What does not depend on a batched node stays as it is, and is broadcast only where it meets one that does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from tracejit.autodiff.batch_axis import Batched
from tracejit.autodiff.batching_calls import BatchedCalls, NotBatchable
from tracejit.autodiff.batching_control import BatchedControl
from tracejit.ir.node import SEVERAL, ArrayType, Node, Shape, broadcast_indices
from tracejit.ir.size import Dimension
from tracejit.ops.table import OPS
from tracejit.trace.opaque import Call, Slot
from tracejit.trace.state import Trace

_MASKED = frozenset({"gather", "scatter_add", "loop", "branch"})
"""Ops that must not act for an example that is not there: they could raise, or never end."""


class Batching(BatchedCalls, BatchedControl):
    """Re-makes nodes along a leading axis of `size`; also the context that batching rules are written with.

    known: what stands for nodes, by identity: batched parameters, and whatever else is to be replaced.
    since: nodes made before it (a count of the builder's nodes) depend on nothing in `known`.
    """

    def __init__(
        self,
        trace: Trace,
        size: Dimension,
        known: Mapping[int, Batched],
        active: Node | None = None,
        since: int = 0,
    ) -> None:
        super().__init__(trace, size, active)
        self.done.update(known)
        self._since = since
        self._parts: dict[int, Sequence[Batched]] = {}
        self._sources: list[Node] = []

    def results(self, outputs: Sequence[Node]) -> list[Batched]:
        """What becomes of each output."""
        for output in outputs:
            stack = [output]
            while stack:
                node = stack[-1]
                sources = node.inputs if node.serial >= self._since else ()
                missing = [source for source in sources if id(source) not in self.done]
                if id(node) in self.done or not missing:
                    stack.pop()
                    if id(node) not in self.done:
                        self.done[id(node)] = self._remade(node)
                        # An identity is one node's only while that node lives.
                        self._sources.append(node)
                else:
                    stack.extend(reversed(missing))
        return [self.done[id(output)] for output in outputs]

    def _remade(self, node: Node) -> Batched:
        self.line = node.line
        if node.serial < self._since:
            return node, False
        inputs, flags = [self.done[id(s)][0] for s in node.inputs], [self.done[id(s)][1] for s in node.inputs]
        if node.op == "part":
            parts = self._parts.get(id(node.inputs[0]))
            return parts[node["index"]] if parts else (self.builder.part(inputs[0], node["index"], node.type), False)
        if not any(flags) and (self.active is None or node.op not in _MASKED):
            same = all(new is old for new, old in zip(inputs, node.inputs, strict=True))
            return (node if same else self.builder.rebuilt(node, tuple(inputs))), False
        rule = OPS[node.op].batch
        if rule is None and node.kind == "elementwise":
            return self._elementwise(node, inputs, flags), True
        if rule is None:
            raise NotBatchable(f"{node.op} has no batching rule (at {node.line}): vmap cannot map it")
        if node.type == SEVERAL:
            self._parts[id(node)] = rule(self, node, inputs, flags)
            return node, False
        return rule(self, node, inputs, flags), True

    def _elementwise(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> Node:
        operands = tuple(self.widened(source, flag) for source, flag in zip(inputs, flags, strict=True))
        return self.builder.node(node.op, operands, dict(node.params), self.along(node.type), node.line)

    # ---- products

    def batched_matmul(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> Node:
        """np.matmul of operands of which some are batched, in as few library calls as there are."""
        (a, b), (left, right) = inputs, flags
        ranks = [len(source.shape) for source in node.inputs]
        shape = (self.size, *node.shape)
        if ranks == [1, 1] and left and right:
            return self.reduce("sum", self.apply("multiply", a, b), (1,))
        if right and not left and ranks[1] == 1 and ranks[0] <= 2:
            # One product of matrices: (n, k) @ (k,) for each row of b is b @ (n, k).T
            return self._product(b, a if ranks[0] == 1 else self.transposed(a, (1, 0)), shape)
        if left and not right and ranks[0] == 1 and ranks[1] <= 2:
            return self._product(a, b, shape)
        a = self.with_axis(a, len(a.shape) - 1) if ranks[0] == 1 else a
        b = self.with_axis(b, len(b.shape)) if ranks[1] == 1 else b
        rank = 1 + max(2, *ranks)
        a, b = self.aligned(a, rank) if left else a, self.aligned(b, rank) if right else b
        batch = self.along(node.type).shape[: rank - 2]
        product = self._product(a, b, (*batch, a.shape[-2], b.shape[-1]))
        product = self.without_axis(product, rank - 1) if ranks[1] == 1 else product
        return self.without_axis(product, rank - 2) if ranks[0] == 1 else product

    def _product(self, a: Node, b: Node, shape: Shape) -> Node:
        return self.builder.node("matmul", (a, b), {}, ArrayType(a.dtype, shape), self.line)

    # ---- computed positions

    def places(self, node: Node, indices: Sequence[Node], flags: Sequence[bool]) -> tuple[list[Node], bool]:
        """The index arrays of a gather or scatter, all batched or none; those of absent examples are 0."""
        if self.active is None and not any(flags):
            return list(indices), False
        spread = [self.widened(index, flag) for index, flag in zip(indices, flags, strict=True)]
        if self.active is not None:
            zero = self.zeros(spread[0].type)
            spread = [self.select(self.active, index, zero) for index in spread]
        return spread, True

    def numbers(self, rank: int) -> Node:
        """Each example's place in the batch, under a shape of the batch axis and `rank` others."""
        int64 = np.dtype(np.int64)
        return self.builder.node("iota", (), {"axis": 0}, ArrayType(int64, (self.size, *[1] * rank)), self.line)

    def batched_gather(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> Node:
        """Elements at computed positions, where source, positions or both are batched."""
        source, *indices = inputs
        axes, at, rank = node["axes"], node["at"], node["rank"]
        indices, each = self.places(node, indices, flags[1:])
        if not each:
            params = {"axes": tuple(axis + 1 for axis in axes), "at": at + 1, "rank": rank}
            return self.builder.node("gather", (source, *indices), params, self.along(node.type), self.line)
        if flags[0]:
            axes = (0, *(axis + 1 for axis in axes))
            indices = [self._spread_numbers(indices[0]), *indices]
        shape = (*node.shape[:at], self.size, *node.shape[at:])
        params = {"axes": axes, "at": at, "rank": rank + 1}
        type = ArrayType(node.dtype, shape)
        return self.moved(self.builder.node("gather", (source, *indices), params, type, self.line), at, 0)

    def batched_scatter(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> Node:
        """Values added at computed positions, where base, values, positions or several of them are batched."""
        base, values, *indices = inputs
        axes, at, rank = tuple(axis + 1 for axis in node["axes"]), node["at"] + 1, node["rank"]
        base, values = self.widened(base, flags[0]), self.widened(values, flags[1])
        indices, each = self.places(node, indices, flags[2:])
        if each:
            axes, at, rank = (0, *axes), at - 1, rank + 1
            indices, values = [self._spread_numbers(indices[0]), *indices], self.moved(values, 0, at)
        slots = tuple(Slot(position) for position in range(2 + len(indices)))
        function = OPS["scatter_add"].reference
        assert function is not None
        params = {"axes": axes, "at": at, "rank": rank, "call": Call(function, (axes, at, *slots), {}, "scatter_add")}
        return self.builder.node("scatter_add", (base, values, *indices), params, self.along(node.type), self.line)

    def _spread_numbers(self, like: Node) -> Node:
        numbers = self.numbers(len(like.shape) - 1)
        return self.view(numbers, broadcast_indices(numbers.shape, like.shape), like.shape)

    def inner(self, known: Mapping[int, Batched], active: Node | None) -> Self:
        """Batching of another graph along the same axis."""
        return type(self)(self.trace, self.size, known, active)


def batch(
    trace: Trace, outputs: Sequence[Node], batched: Mapping[int, Node], size: Dimension, since: int = 0
) -> list[Batched]:
    """The outputs with the parameters in `batched` (by identity) replaced by nodes with a leading axis of `size`."""
    known = {key: (node, True) for key, node in batched.items()}
    return Batching(trace, size, known, since=since).results(outputs)


__all__ = ["Batching", "NotBatchable", "batch"]
