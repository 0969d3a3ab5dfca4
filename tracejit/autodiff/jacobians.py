"""Jacobians inside a trace: one cotangent or tangent in general, then filled in for a whole basis at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.autodiff.batching import batch
from tracejit.autodiff.derivation import Derivation
from tracejit.autodiff.traced import Recorded
from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Index, Node
from tracejit.ir.size import Dimension
from tracejit.trace.pytree import rebuild
from tracejit.trace.tracer import fresh


def jacobian_of(recorded: Recorded, mode: str) -> Any:
    """The Jacobian of each output leaf by each variable, of shape output's + variable's: a pytree of pytrees."""
    rules = Derivation(recorded.trace)
    outputs = [node for node in recorded.outputs if node is not None]
    if mode == "auto":
        wide = recorded.trace.less(_elements(recorded.nodes), _elements(outputs))
        mode = "forward" if wide else "reverse"
    rows = _by_columns(rules, recorded, outputs) if mode == "forward" else _by_rows(rules, recorded, outputs)
    shown = iter(rows)
    leaves = [
        None
        if node is None
        else rebuild(recorded.tree, [fresh(recorded.trace, entry, scalar=not entry.shape) for entry in next(shown)])
        for node in recorded.outputs
    ]
    return rebuild(recorded.result_tree, leaves)


def _elements(nodes: list[Node]) -> Dimension:
    total: Dimension = 0
    for node in nodes:
        total = sizes.add(total, sizes.product(node.shape))
    return total


def _by_rows(rules: Derivation, recorded: Recorded, outputs: list[Node]) -> list[list[Node]]:
    """Reverse mode: a row of the Jacobian for each element of an output."""
    found = []
    for output in outputs:
        (seed,) = rules.builder.parameters([output.type])
        pulled = rules.pull([output], [rules.mark(seed)], recorded.nodes)
        rows = _filled(rules, seed, pulled, recorded.nodes)
        found.append([rules.reshape(r, (*output.shape, *v.shape)) for r, v in zip(rows, recorded.nodes, strict=True)])
    return found


def _by_columns(rules: Derivation, recorded: Recorded, outputs: list[Node]) -> list[list[Node]]:
    """Forward mode: a column for each element of a variable."""
    columns: list[list[Node]] = []
    for variable in recorded.nodes:
        (direction,) = rules.builder.parameters([variable.type])
        pushed = rules.push(outputs, [variable], [direction])
        stacked = _filled(rules, direction, pushed, outputs)
        moved = [rules.transposed(c, (*range(1, len(c.shape)), 0)) for c in stacked]
        columns.append([rules.reshape(c, (*o.shape, *variable.shape)) for c, o in zip(moved, outputs, strict=True)])
    return [list(row) for row in zip(*columns, strict=True)]


def _filled(rules: Derivation, seed: Node, results: Sequence[Node | None], likes: Sequence[Node]) -> list[Node]:
    """Results that depend on a seed, along a new leading axis: one for each unit vector in the seed's place.

    likes: what the results are derivatives of or by; where nothing connects one with the seed, the result is zero.
    """
    count = sizes.product(seed.shape)
    present = [node for node in results if node is not None]
    basis = _basis(rules, seed.type, count)
    made = iter(batch(rules.trace, present, {id(seed): basis}, count))
    filled: list[Node] = []
    for node, like in zip(results, likes, strict=True):
        if node is None:
            filled.append(rules.zeros(ArrayType(like.dtype, (count, *like.shape))))
            continue
        new, batched = next(made)
        filled.append(new if batched else rules.spread(new, (0,), (count, *new.shape)))
    return filled


def _basis(rules: Derivation, type: ArrayType, count: Dimension) -> Node:
    """Every unit vector of a shape, along a new leading axis."""
    if not type.shape:
        return rules.constant(1, ArrayType(type.dtype, (1,)))
    positions = rules.builder.node("iota", (), {"axis": 0}, ArrayType(np.dtype(np.int64), (count,)))
    shape = (count, *type.shape)
    own = rules.view(positions, (Index(None) if count == 1 else Index(0),), shape)
    place = rules.reshape(positions, type.shape)
    others = rules.spread(place, (0,), shape)
    return rules.cast(rules.apply("equal", own, others), type.dtype)
