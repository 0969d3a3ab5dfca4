"""Elements at computed positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ops.table import Op, register


def scatter_add(axes: tuple[int, ...], at: int, base: Any, values: Any, *indices: Any) -> Any:
    """A copy of `base` with `values` added where a gather by `indices` of `axes` would read; repeats add up."""
    total = np.array(base)
    moved = np.moveaxis(total, axes, range(len(axes)))
    rank = np.ndim(indices[0])
    np.add.at(moved, indices, np.moveaxis(values, range(at, at + rank), range(rank)))
    return total


def _gather_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    return None if tangents[0] is None else rules.gather(tangents[0], node.inputs[1:], node)


def _gather_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    source, *indices = node.inputs
    return [rules.scatter_add(rules.zeros(source.type), cotangent, indices, node), *[None] * len(indices)]


def _scatter_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    pairs = zip(tangents[:2], node.inputs[:2], strict=True)
    base, values = (t if t is not None else rules.zeros(s.type) for t, s in pairs)
    return rules.scatter_add(base, values, node.inputs[2:], node)


def _scatter_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    indices = node.inputs[2:]
    return [cotangent, rules.gather(cotangent, indices, node), *[None] * len(indices)]


def _gather_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_gather(node, inputs, batched)


def _scatter_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_scatter(node, inputs, batched)


register(
    Op(
        "gather",
        "gather",
        jvp=_gather_jvp,
        vjp=_gather_vjp,
        batch=_gather_batch,
        doc="Elements at computed positions of some axes.",
        cost=4,
    )
)
register(
    Op(
        "scatter_add",
        "call",
        reference=scatter_add,
        jvp=_scatter_jvp,
        vjp=_scatter_vjp,
        batch=_scatter_batch,
        doc="The base with values added at computed positions of some axes.",
    )
)
