"""Integers among an argument's elements as sizes and places: `x[starts[i]:starts[i + 1]]` needs no break.

The element becomes a number among the leaves, which the segment reads before it does anything else (`a7 = a0.item(3)`),
and which later segments find there, also where the argument has been written to meanwhile.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.graph import literal
from tracejit.ir.node import Indices, Node, compose
from tracejit.ir.size import Dimension
from tracejit.trace.number import as_dimension
from tracejit.trace.state import Trace
from tracejit.trace.tracer import Tracer

_SUMS = {"add": sizes.add, "subtract": sizes.subtract}


def as_place(trace: Trace, value: Any) -> Dimension | None:
    """The size that an integer is, also one that comes from elements of arguments; None for any other value."""
    return element(trace, value) if isinstance(value, Tracer) else as_dimension(value)


def element(trace: Trace, value: Tracer) -> Dimension | None:
    """An integer element of an argument, or a sum of such, as a size; None for what is anything else."""
    if value.ndim or value.dtype.kind not in "iu" or trace.known is None:
        return None
    return _size(trace, value.node)


def _size(trace: Trace, node: Node) -> Dimension | None:
    if node.op == "scalar":
        return trace.sizes.get(node["expression"])
    if node.op == "constant":
        return int(literal(node))
    if node.op == "cast":
        widens = np.can_cast(node.inputs[0].dtype, node.dtype) and node.inputs[0].dtype.kind != "b"
        return _size(trace, node.inputs[0]) if widens else None
    if node.op in _SUMS and node.dtype == np.int64:
        return _sum(trace, node)
    return _element(trace, node)


def _sum(trace: Trace, node: Node) -> Dimension | None:
    """A sum is the mathematical one as long as it is one of int64."""
    left, right = (_size(trace, source) for source in node.inputs)
    if left is None or right is None:
        return None
    result = _SUMS[node.op](left, right)
    low, high = -(2**63), 2**63 - 1
    if not low <= trace.value(result) <= high:
        return None
    if not isinstance(result, int):
        trace.guard(f"{low} <= {result} <= {high}")
    return result


def _element(trace: Trace, node: Node) -> Dimension | None:
    indices: Indices | None = None
    while node.op == "view":
        indices = node["indices"] if indices is None else compose(node["indices"], indices)
        node = node.inputs[0]
    if node.op != "input" or trace.leaves[node["position"]].kind == "carried":
        return None
    return sizes.symbol(trace.read_element(node["position"], [index.start for index in indices or ()]))
