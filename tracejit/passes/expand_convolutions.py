"""Convolutions become matrix products of columns that are put together from shifted views of the images.

v2: f64[n0, n4, h, w] = convolution(x, v1)
    ->
v3: columns = update(update(empty, [n, c, 0, y, x] = x[n, c, y, x]), [n, c, 1, y, x] = x[n, c, y, 1 + x]) ...
v4: f64[n0, n4, h*w] = matmul(reshape(v1), reshape(v3))
v2: f64[n0, n4, h, w] = reshape(v4)

The scheduler then makes the columns by panels that stay in cache (`schedule.panel_products`).  Where each group has one
channel and one output (depthwise), the products are elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, TypeAlias

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Builder, Index, Indices, Node, Shape, identity_indices
from tracejit.ir.size import Dimension
from tracejit.records import dataclass

MOST_TAPS = 64
"""Places in a kernel for each of which the code has a loop of its own; columns of larger ones are gathered."""

Dimensions: TypeAlias = Sequence[Dimension]


def expand_convolutions(graph: Graph) -> Graph:
    return graph.rewritten(_rule)


def _rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    rules = {"convolution": _forward, "convolution_input": _input, "convolution_weights": _weights}
    if node.op not in rules:
        return builder.rebuilt(node, inputs)
    return rules[node.op](_Convolution(builder, node), *inputs)


@dataclass(frozen=True)
class _Convolution:
    """What an expansion is written with: the node that it stands for, and nodes of common forms."""

    builder: Builder
    node: Node

    def __getattr__(self, name: str) -> Any:
        return self.node[name]

    @property
    def taps(self) -> list[tuple[int, ...]]:
        """The places in the kernel, in C order."""
        return list(product(*map(range, self.node["kernel"])))

    def make(self, op: str, inputs: tuple[Node, ...], shape: Shape, **params: Any) -> Node:
        """A node of the convolution's dtype."""
        return self.builder.node(op, inputs, params, ArrayType(self.node.dtype, shape), self.node.line)

    def reshape(self, node: Node, *shape: Dimension) -> Node:
        return node if node.shape == shape else self.make("reshape", (node,), shape)

    def placed(self, node: Node, lengths: Sequence[Dimension], starts: Dimensions, steps: Sequence[int]) -> Node:
        """Images among zeros: element p of an axis at start + step * p of a longer one."""
        if all(start == 0 for start in starts) and tuple(lengths) == node.shape[2:]:
            return node
        shape = (*node.shape[:2], *lengths)
        zeros = self.builder.view(self.builder.constant(0, node.dtype), (), shape)
        rows = zip(node.shape[2:], steps, starts, strict=True)
        indices = identity_indices(node.shape[:2]) + tuple(
            _index(axis, length, step, start) for axis, (length, step, start) in enumerate(rows, 2)
        )
        return self.make("update", (zeros, node), shape, indices=indices)

    def padded(self, x: Node) -> Node:
        """The images with the zeros around them."""
        around = self.node["padding"]
        lengths = [sizes.add(n, sizes.add(low, high)) for n, (low, high) in zip(x.shape[2:], around, strict=True)]
        return self.placed(x, lengths, [low for low, _ in around], [1] * len(lengths))

    def grouped(self, node: Node, axis: int) -> Node:
        """The array with an axis cut into groups, if there are several."""
        groups = self.node["groups"]
        if groups == 1:
            return node
        each = sizes.floor_divide(node.shape[axis], groups)
        return self.reshape(node, *node.shape[:axis], groups, each, *node.shape[axis + 1 :])

    def shifted(self, x: Node, places: Shape, tap: Sequence[int], steps: Sequence[int], starts: Dimensions) -> Node:
        """What a place in the kernel meets, at every place of the result."""
        before = x.shape[: len(x.shape) - len(places)]
        rows = zip(places, tap, steps, starts, self.node["dilation"], strict=True)
        indices = identity_indices(before) + tuple(
            _index(axis, length, step, sizes.add(start, i * d))
            for axis, (length, i, step, start, d) in enumerate(rows, len(before))
        )
        return self.builder.view(x, indices, (*before, *places))

    def columns(self, x: Node, places: Shape, steps: Sequence[int], starts: Dimensions) -> Node:
        """(batch, [groups,] channels * taps, places): what the kernel meets, a column for each place of the result."""
        before = x.shape[: len(x.shape) - len(places)]
        shape = (*before, len(self.taps), *places)
        if len(self.taps) == 1:
            joined = self.shifted(x, places, self.taps[0], steps, starts)
        elif len(self.taps) > MOST_TAPS:
            joined = self._gathered(x, shape, steps, starts)
        else:
            joined = self.make("empty", (), shape)
            for number, tap in enumerate(self.taps):
                piece = self.shifted(x, places, tap, steps, starts)
                one = (*before, 1, *places)
                value = self.builder.view(piece, _spaced(piece.shape, len(before)), one)
                inside = list(identity_indices(one))
                inside[len(before)] = Index(None, 1, number)
                joined = self.make("update", (joined, value), shape, indices=tuple(inside))
        depth = sizes.multiply(before[-1], len(self.taps))
        return self.reshape(joined, *before[:-1], depth, sizes.product(places))

    def _gathered(self, x: Node, shape: Shape, steps: Sequence[int], starts: Dimensions) -> Node:
        rank = len(self.node["kernel"])
        block = shape[-rank - 1 :]
        indices = []
        for axis in range(rank):
            # place i of the kernel's axis, of the tap whose number the block's first axis counts
            inner = 1
            for length in self.node["kernel"][axis + 1 :]:
                inner *= length
            tap = self._arithmetic("floor_divide", self._positions(block, 0, 1, 0), inner)
            tap = self._arithmetic("remainder", tap, self.node["kernel"][axis])
            tap = self._arithmetic("multiply", tap, self.node["dilation"][axis])
            indices.append(
                self.builder.node(
                    "add",
                    (tap, self._positions(block, axis + 1, steps[axis], starts[axis])),
                    {},
                    tap.type,
                )
            )
        first = len(x.shape) - rank
        axes = tuple(range(first, len(x.shape)))
        return self.make("gather", (x, *indices), shape, axes=axes, at=first, rank=rank + 1)

    def _positions(self, block: Shape, axis: int, step: int, start: Dimension) -> Node:
        integers = ArrayType(self._integer(0).dtype, (sizes.add(start, sizes.multiply(block[axis], step)),))
        line = self.builder.node("iota", (), {"axis": 0}, integers)
        return self.builder.view(line, (_index(axis, block[axis], step, start),), block)

    def _arithmetic(self, op: str, a: Node, number: int) -> Node:
        other = self.builder.view(self._integer(number), (), a.shape)
        return self.builder.node(op, (a, other), {}, a.type)

    def _integer(self, number: int) -> Node:
        return self.builder.constant(number, "int64")

    def sum(self, terms: list[Node]) -> Node:
        """The elementwise sum, from left to right."""
        total = terms[0]
        for term in terms[1:]:
            total = self.make("add", (total, term), total.shape)
        return total

    def times(self, a: Node, weight: Node, tap: Sequence[int]) -> Node:
        """Images times one number a channel: the weights (channels, 1, kernel) at a place in the kernel."""
        channel = Index(None) if a.shape[1] == 1 else Index(1)
        indices = (channel, Index(None), *(Index(None, 1, i) for i in tap))
        return self.make("multiply", (a, self.builder.view(weight, indices, a.shape)), a.shape)


def _index(axis: int, length: Dimension, step: int, start: Dimension) -> Index:
    return Index(None, 1, start) if length == 1 else Index(axis, step, start)


def _spaced(shape: Shape, at: int) -> Indices:
    """The indices of a view that has an axis of length one more, at a place."""
    return tuple(Index(None) if d == 1 else Index(axis + (axis >= at)) for axis, d in enumerate(shape))


def _swapped(builder: Builder, node: Node) -> Node:
    """The stack of transposed matrices."""
    rank = len(node.shape)
    order = (*range(rank - 2), rank - 1, rank - 2)
    indices = tuple(Index(None) if node.shape[axis] == 1 else Index(order[axis]) for axis in range(rank))
    return builder.view(node, indices, tuple(node.shape[axis] for axis in order))


def _is_depthwise(node: Node, weights: Shape) -> bool:
    return weights[1] == 1 and weights[0] == node["groups"]


def _forward(c: _Convolution, x: Node, w: Node) -> Node:
    whole, places, zeros = c.padded(x), c.node.shape[2:], [0] * len(c.kernel)
    if _is_depthwise(c.node, w.shape):
        return c.sum([c.times(c.shifted(whole, places, tap, c.stride, zeros), w, tap) for tap in c.taps])
    columns = c.columns(c.grouped(whole, 1), places, c.stride, zeros)
    return c.reshape(_product(c, _matrices(c, w), columns), *c.node.shape)


def _matrices(c: _Convolution, w: Node) -> Node:
    """The weights as one matrix a group."""
    split = c.grouped(w, 0)
    rows = split.shape[: len(split.shape) - 1 - len(c.kernel)]
    return c.reshape(split, *rows, sizes.multiply(split.shape[len(rows)], len(c.taps)))


def _product(c: _Convolution, left: Node, right: Node) -> Node:
    return c.make("matmul", (left, right), (*right.shape[:-2], left.shape[-2], right.shape[-1]))


def _input(c: _Convolution, g: Node, w: Node) -> Node:
    """A convolution of the spread cotangent with the kernel turned around, inputs and outputs exchanged."""
    places = c.node.shape[2:]
    reach = [d * (k - 1) for d, k in zip(c.dilation, c.kernel, strict=True)]
    # Zeros that the padding would cut off again are left out where it is known to be no longer than the kernel.
    short = [all(isinstance(p, int) and p <= r for p in pair) for pair, r in zip(c.padding, reach, strict=True)]
    cut = [pair[0] if s else 0 for pair, s in zip(c.padding, short, strict=True)]
    lengths = [
        sizes.add(n, r if s else sizes.add(r, sizes.add(*pair)))
        for n, r, s, pair in zip(places, reach, short, c.padding, strict=True)
    ]
    spread = c.placed(g, lengths, [sizes.subtract(r, p) for r, p in zip(reach, cut, strict=True)], c.stride)
    starts = [sizes.subtract(pair[0], p) for pair, p in zip(c.padding, cut, strict=True)]
    ones = [1] * len(places)
    if _is_depthwise(c.node, w.shape):
        turned = [tuple(k - 1 - i for k, i in zip(c.kernel, tap, strict=True)) for tap in c.taps]
        pairs = zip(c.taps, turned, strict=True)
        return c.sum([c.times(c.shifted(spread, places, tap, ones, starts), w, other) for tap, other in pairs])
    columns = c.columns(c.grouped(spread, 1), places, ones, starts)
    split = c.grouped(w, 0)
    groups, (outputs, inputs) = split.shape[: -2 - len(places)], split.shape[-2 - len(places) : -len(places)]
    first = len(groups)
    indices = (
        *identity_indices(groups),
        _index(first + 1, outputs, 1, 0),
        _index(first, inputs, 1, 0),
        *(_index(first + 2 + n, k, -1, k - 1) for n, k in enumerate(c.kernel)),
    )
    turned_weights = c.builder.view(split, indices, (*groups, inputs, outputs, *c.kernel))
    matrix = c.reshape(turned_weights, *groups, inputs, sizes.multiply(outputs, len(c.taps)))
    return c.reshape(_product(c, matrix, columns), *c.node.shape)


def _weights(c: _Convolution, x: Node, g: Node) -> Node:
    """For each image cotangent @ columns.T, and the sum of these."""
    whole, places, zeros = c.padded(x), g.shape[2:], [0] * len(c.kernel)
    if _is_depthwise(c.node, c.node.shape):
        axes = (0, *range(2, len(g.shape)))
        total = c.make("empty", (), c.node.shape)
        for tap in c.taps:
            met = c.make("multiply", (c.shifted(whole, places, tap, c.stride, zeros), g), g.shape)
            value = c.make("sum", (met,), g.shape[1:2], axes=axes)
            channel = _index(0, g.shape[1], 1, 0)
            indices = (channel, Index(None), *(Index(None, 1, i) for i in tap))
            total = c.make("update", (total, value), c.node.shape, indices=indices)
        return total
    columns = c.columns(c.grouped(whole, 1), places, c.stride, zeros)
    split = c.grouped(g, 1)
    cotangent = c.reshape(split, *split.shape[: len(split.shape) - len(places)], sizes.product(places))
    each = _product(c, cotangent, _swapped(c.builder, columns))
    return c.reshape(c.make("sum", (each,), each.shape[1:], axes=(0,)), *c.node.shape)
