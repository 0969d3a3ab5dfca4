"""`gradients`: the derivative of tensors by tensors, as nodes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from tracejit.graph.errors import GraphError
from tracejit.graph.graph import graph_of
from tracejit.graph.inference import Inferred
from tracejit.graph.nodes import Node, Place, Read
from tracejit.graph.program import Evaluation, reachable
from tracejit.graph.tensor import Tensor
from tracejit.transform.gradients import vjp


@dataclass(eq=False, repr=False)
class Gradients(Node):
    """The cotangents of `xs` for given cotangents of `ys`, one for each x: the nodes that read it, added up."""

    ys: tuple[Node, ...] = ()
    xs: tuple[tuple[Node, ...], ...] = ()
    cotangents: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        # The nodes that lead from xs to ys run once more, on variables of the derivative; equal work is merged after.
        self._places = tuple(node for places in self.xs for node in places)
        changing = set(self._places)
        for node in reachable(self.ys, set(self._places)):
            if any(source in changing for source in (*node.needs, *node.may_need)):
                changing.add(node)
        self._between = changing

    @property
    def inputs(self) -> tuple[Node, ...]:
        given = tuple(c.node for c in self.cotangents if isinstance(c, Tensor))
        return (*self.ys, *self._places, *given)

    def run(self, evaluation: Evaluation) -> Any:
        def function(*values: Any) -> tuple[Any, ...]:
            inner = evaluation.inner()
            for node in self._between:
                inner.values.pop(node, None)
            inner.values.update(zip(self._places, values, strict=True))
            return tuple(inner.fetch(self.ys))

        results, pullback = vjp(function, *(evaluation.values[node] for node in self._places))
        seeds = tuple(
            np.ones_like(y) if seed is None else evaluation.value(seed)
            for y, seed in zip(results, self.cotangents, strict=True)
        )
        found = iter(pullback(seeds))
        return tuple(reduce(operator.add, [next(found) for _ in places]) for places in self.xs)


def gradients(ys: Any, xs: Any, grad_ys: Any = None, name: str = "gradients") -> list[Any]:
    """The derivatives of the sum of all elements of `ys` by each of `xs`: a tensor of the shape of each x.

    ys, xs: a tensor or a list of them; floats.  grad_ys: weights of ys, of their shapes, in place of ones.
    None stands for an x that no y depends on.

    Raises GraphError for tensors that are not floats.  Reverse mode, by the rules of the op table (`tracejit.vjp`).

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as session:
    ...     x = tf.placeholder(tf.float64, ())
    ...     float(session.run(tf.gradients(x**3, x)[0], {x: 2.0}))
    12.0
    """
    outputs, inputs = _listed(ys), _listed(xs)
    seeds = [None] * len(outputs) if grad_ys is None else _listed(grad_ys)
    if len(seeds) != len(outputs):
        raise GraphError(f"gradients: {len(seeds)} grad_ys for {len(outputs)} ys")
    for tensor in (*outputs, *inputs):
        if not isinstance(tensor, Tensor):
            raise GraphError(f"gradients are of tensors by tensors, not of {type(tensor).__name__}")
        if tensor.dtype is not None and tensor.dtype.kind != "f":
            raise GraphError(f"gradients are of real floats, and {tensor.node.described()} is {tensor.dtype}")
    graph = graph_of(*outputs)
    below = reachable([y.node for y in outputs])
    places = {x: _places(x.node, below) for x in inputs}
    chosen = [x for x in inputs if places[x]]
    tensors = tuple(seed if seed is None else graph.tensor(seed) for seed in seeds)
    found: dict[Node, Tensor] = {}
    for together in _apart(chosen):
        read = tuple(places[x] for x in together)
        node = graph.add(name, partial(_node, outputs, read, tensors))
        parts = graph.results(node, Inferred(parts=tuple(Inferred(x.dtype, x.shape) for x in together)))
        found.update(zip((x.node for x in together), parts, strict=True))
    return [found.get(x.node) for x in inputs]


def _node(ys: Sequence[Tensor], xs: tuple[Any, ...], cotangents: tuple[Any, ...], place: Place) -> Gradients:
    return Gradients(place, ys=tuple(y.node for y in ys), xs=xs, cotangents=cotangents)


def _places(node: Node, below: Sequence[Node]) -> tuple[Node, ...]:
    """Where a tensor's value enters: its node; of a variable, all nodes that read it."""
    if not isinstance(node, Read):
        return (node,) if node in below else ()
    return tuple(other for other in below if isinstance(other, Read) and other.variable is node.variable)


def _apart(xs: list[Tensor]) -> list[list[Tensor]]:
    """All of xs at once; one at a time where one depends on another, whose derivative goes through it."""
    nodes = {x.node for x in xs}
    nested = any(nodes & set(reachable(x.node.needs)) for x in xs)
    return [[x] for x in xs] if nested else [xs] if xs else []


def _listed(value: Any) -> Sequence[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]
