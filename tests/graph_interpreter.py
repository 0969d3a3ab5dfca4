"""Graphs evaluated with plain NumPy, node by node: what a graph means, apart from passes, kernels and machine code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.driver.segments import trace_leaf
from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph, literal
from tracejit.ir.node import SEVERAL, Indices, Node
from tracejit.ops.table import OPS
from tracejit.passes.erase_markers import erase_markers
from tracejit.trace.opaque import Call, Expression, Slot
from tracejit.trace.pytree import Tree, flatten, rebuild
from tracejit.trace.record import as_tracer
from tracejit.trace.state import ACTIVE, Trace


@dataclass
class Recording:
    """A function's graph, and how its arguments and results are taken apart."""

    trace: Trace
    graph: Graph
    tree: Tree
    leaves: list[Any]

    def results(self) -> Any:
        """What the graph computes from the arguments that it was recorded with."""
        environment = {"math": math, **self.trace.numbers}
        values = Interpreter(self.trace.numbers, environment).outputs(
            erase_markers(self.graph), {id(n): self.trace.leaves[n["position"]].value for n in self.graph.inputs}
        )
        return rebuild(self.tree, list(values))


def record(function: Callable[..., Any], *arguments: Any) -> Recording:
    """Run a function on tracers, in a trace of its own that cannot be interrupted."""
    trace = Trace()
    outer = ACTIVE.trace
    ACTIVE.enter(trace)
    try:
        given: list[Any] = []
        tree = flatten(arguments, given)
        result = function(*rebuild(tree, [trace_leaf(trace, value) for value in given]))
        leaves: list[Any] = []
        tree = flatten(result, leaves)
        nodes = tuple(as_tracer(trace, leaf).node for leaf in leaves)
        inputs = tuple(trace.inputs[position] for position in sorted(trace.inputs))
        return Recording(trace, Graph(inputs, nodes), tree, leaves)
    finally:
        ACTIVE.enter(outer)


def interpreted(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function's graph computes."""
    with np.errstate(all="ignore"):
        return record(function, *arguments).results()


class Interpreter:
    """Evaluates nodes; `numbers` are the sizes of this run, `environment` what host expressions name."""

    def __init__(self, numbers: Mapping[str, Any], environment: dict[str, Any]) -> None:
        self.numbers, self.environment = numbers, environment

    def outputs(self, graph: Graph, known: Mapping[int, Any]) -> list[Any]:
        """The outputs of a graph whose inputs have values by identity."""
        done = dict(known)
        for node in graph.nodes:
            if id(node) not in done:
                value = self._value(node, [done[id(source)] for source in node.inputs])
                if node.type != SEVERAL:
                    value = np.asarray(value)
                    assert value.dtype == node.dtype, f"{node!r} has dtype {value.dtype}"
                    assert value.shape == self._shape(node), (
                        f"{node!r} has shape {value.shape}, not {self._shape(node)}"
                    )
                done[id(node)] = value
        return [done[id(output)] for output in graph.outputs]

    def _size(self, dimension: Any) -> int:
        return sizes.evaluate(dimension, self.numbers)

    def _shape(self, node: Node) -> tuple[int, ...]:
        return tuple(map(self._size, node.shape))

    def _host(self, text: str) -> Any:
        return eval(text, self.environment)  # noqa: S307 - an expression of the tracer's making

    def _value(self, node: Node, inputs: list[Any]) -> Any:
        named = getattr(self, f"_{node.op}", None)
        if named is not None:
            return named(node, *inputs)
        op = OPS[node.op]
        if op.position_of:
            return op.reference(inputs[0])  # type: ignore[misc]
        if op.kind == "reduce":
            return op.resolve.reduce(inputs[0], axis=node["axes"], dtype=node.dtype)  # type: ignore[union-attr]
        if op.kind == "accumulate":
            return op.resolve.accumulate(inputs[0], axis=node["axis"], dtype=node.dtype)  # type: ignore[union-attr]
        if op.kind == "call":
            return self._called(node["call"], inputs)
        if op.name.startswith("convolution"):
            params = {**dict(node.params), "groups": self._size(node["groups"])}
            params["padding"] = [tuple(map(self._size, pair)) for pair in node["padding"]]
            return op.reference(*inputs, self._shape(node), **params)
        assert op.kind in ("elementwise", "contract") and op.reference is not None, node.op
        return np.asarray(op.reference(*inputs)).astype(node.dtype)

    # ---- sources

    def _constant(self, node: Node) -> Any:
        return literal(node)

    def _scalar(self, node: Node) -> Any:
        return np.asarray(self._host(node["expression"]), node.dtype)

    def _empty(self, node: Node) -> Any:
        return np.full(self._shape(node), 77).astype(node.dtype)

    def _iota(self, node: Node) -> Any:
        shape = self._shape(node)
        along = [1] * len(shape)
        along[node["axis"]] = -1
        return np.broadcast_to(np.arange(shape[node["axis"]], dtype=node.dtype).reshape(along), shape)

    def _parameter(self, node: Node) -> Any:
        raise AssertionError(f"a parameter without a value: {node!r} {node.params}")

    # ---- elementwise without a NumPy function

    def _cast(self, node: Node, x: Any) -> Any:
        return x.astype(node.dtype)

    def _where(self, node: Node, test: Any, yes: Any, no: Any) -> Any:
        return np.where(test, yes, no)

    # ---- views

    def _places(self, indices: Indices, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """An affine view as index arrays."""
        grid = np.ogrid[tuple(slice(length) for length in shape)]
        zero = np.zeros([1] * len(shape), int)
        return tuple(self._size(i.start) + (i.step * grid[i.axis] if i.axis is not None else zero) for i in indices)

    def _view(self, node: Node, source: Any) -> Any:
        shape = self._shape(node)
        if 0 in shape:
            return np.empty(shape, node.dtype)
        return np.broadcast_to(source[self._places(node["indices"], shape)] if source.ndim else source, shape)

    def _reshape(self, node: Node, source: Any) -> Any:
        return source.reshape(self._shape(node))

    def _update(self, node: Node, base: Any, value: Any) -> Any:
        result = base.copy()
        if value.size:
            result[self._places(node["indices"], value.shape)] = value
        return result

    def _gather(self, node: Node, source: Any, *indices: Any) -> Any:
        axes, at, rank = node["axes"], node["at"], node["rank"]
        moved = np.moveaxis(source, axes, range(len(axes)))
        return np.moveaxis(moved[indices], range(rank), range(at, at + rank))

    # ---- calls

    def _called(self, call: Call, operands: Sequence[Any]) -> Any:
        def fill(item: Any) -> Any:
            if isinstance(item, Slot):
                return operands[item.position]
            if isinstance(item, Expression):
                return self._host(item.text)
            if isinstance(item, Call):
                return item.function(*map(fill, item.args))
            return type(item)(map(fill, item)) if type(item) in (tuple, list) else item

        return call.function(*map(fill, call.args), **{key: fill(value) for key, value in call.options.items()})

    # ---- control

    def _part(self, node: Node, results: Sequence[Any]) -> Any:
        return results[node["index"]]

    def _body(self, graph: Graph, *arguments: Any) -> list[Any]:
        return self.outputs(graph, {id(n): value for n, value in zip(graph.inputs, arguments, strict=True)})

    def _branch(self, node: Node, selector: Any, *operands: Any) -> Any:
        return self._body(node["branches"][int(selector)], *operands)

    def _loop(self, node: Node, *inputs: Any) -> Any:
        first, last = node["constants"], node["constants"] + node["carries"]
        constants, carries, xs = inputs[:first], list(inputs[first:last]), inputs[last:]
        rows: list[list[Any]] = []
        counter = 0
        length = None if node["length"] is None else self._size(node["length"])
        while counter != length:
            place = length - 1 - counter if node["reverse"] and length is not None else counter
            if node["condition"] is not None and not self._body(node["condition"], *constants, *carries)[0]:
                break
            results = self._body(node["body"], np.asarray(place), *constants, *carries, *(x[place] for x in xs))
            carries = results[: len(carries)]
            rows.append(results[len(carries) :])
            counter += 1
        rows = rows[::-1] if node["reverse"] else rows
        types = [output.type for output in node["body"].outputs[len(carries) :]]
        empty = [np.empty((0, *map(self._size, t.shape)), t.dtype) for t in types]
        return [*carries, *([np.stack(column) for column in zip(*rows, strict=True)] if rows else empty)]
