"""Random loops and branches in loops, compiled and printed, against an interpreter of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.loops import (
    B,
    N,
    T,
    argument,
    branch,
    execute,
    loop,
    op,
    printed,
    program_of,
)
from tracejit.ir.graph import Graph, literal
from tracejit.ir.node import Node, Shape
from tracejit.ops.table import OPS
from tracejit.runtime.kernel_cache import get_kernels
from tracejit.schedule.native_control import is_native

RNG = np.random.default_rng(0)


def interpret(graph: Graph, values: Sequence[Any]) -> list[Any]:
    """What a graph of the ops that `random_body` draws means."""
    known = {id(node): value for node, value in zip(graph.inputs, values, strict=True)}
    for node in graph.nodes:
        if id(node) not in known:
            known[id(node)] = interpreted(node, [known[id(source)] for source in node.inputs])
    return [known[id(output)] for output in graph.outputs]


def interpreted(node: Node, values: list[Any]) -> Any:
    if node.op == "constant":
        return literal(node)[()]
    if node.op == "view":
        return np.broadcast_to(values[0], [7] * len(node.shape))
    if node.op == "part":
        return values[0][node["index"]]
    if node.op == "branch":
        return interpret(node["branches"][int(values[0])], values[1:])
    if node.op == "loop":
        return interpreted_loop(node, values)
    if node.op == "where":
        return np.where(*values)
    if node.op == "cast":
        return np.asarray(values[0]).astype(node.dtype)[()]
    return OPS[node.op].reference(*values)  # type: ignore[misc]


def interpreted_loop(node: Node, values: list[Any]) -> list[Any]:
    first, last = node["constants"], node["constants"] + node["carries"]
    constants, carries, xs = values[:first], values[first:last], values[last:]
    ys: dict[int, list[Any]] = {}
    for i in range(5)[:: -1 if node["reverse"] else 1]:
        found = interpret(node["body"], [np.int64(i), *constants, *carries, *(x[i] for x in xs)])
        carries, ys[i] = found[: last - first], found[last - first :]
    return [*carries, *(np.array([ys[i][k] for i in range(5)]) for k in range(len(ys[0])))]


class Draw:
    """Draws the bodies of loops over values of one shape."""

    def __init__(self, seed: int, shape: Shape) -> None:
        self.random, self.shape = np.random.default_rng(seed), shape

    def pick(self, nodes: Sequence[Node]) -> Node:
        return nodes[self.random.integers(len(nodes))]

    def values(self, known: list[Node], count: int, depth: int) -> list[Node]:
        """Some values computed from known ones of the shape."""
        known = [node if node.shape == self.shape else B.view(node, (), self.shape) for node in known]
        for _ in range(self.random.integers(3, 9)):
            kind = self.random.integers(8 if depth else 6)
            a, b, c = (self.pick(known) for _ in range(3))
            if kind < 4:
                known.append(op(("add", "subtract", "maximum", "multiply")[kind], a, op("multiply", b, 0.5)))
            elif kind == 4:
                known.append(op("where", op("less", a, b), b, c))
            elif kind == 5:
                known.append(op("sqrt", op("absolute", a)))
            elif kind == 6:
                known += self.loop([a, b], [c], [], depth - 1)
            elif not self.shape:
                ways = [lambda *p: self.values(list(p), 2, depth - 1) for _ in range(2)]
                known += branch(op("less", a, b), ways, a, b, c)
        return [self.pick(known[-4:]) for _ in range(count)]

    def loop(self, carries: list[Node], constants: list[Node], xs: list[Node], depth: int) -> list[Node]:
        def body(i: Node, *parameters: Node) -> list[Node]:
            return self.values([*parameters, B.cast(i, np.dtype("f8"))], len(carries) + 2 * bool(xs), depth)

        length = T if xs else 5
        return loop(body, carries, xs, length, constants, reverse=bool(self.random.integers(2)))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("shape", [(), (N,)])
def test_random_loops(seed: int, shape: Shape) -> None:
    draw = Draw(seed, shape)
    starts = [argument(k, "f8", *shape) for k in range(2)]
    parts = draw.loop(starts, [argument(2, "f8")], [argument(3, "f8", T, *shape)], 2)
    assert is_native(parts[0].inputs[0])
    n = [7] * len(shape)
    arrays = [RNG.normal(size=n), RNG.normal(size=n), RNG.normal(), RNG.normal(size=(5, *n))]
    arrays = [np.array(array) for array in arrays]
    inputs = tuple(argument(k, "f8", *s) for k, s in enumerate((shape, shape, (), (T, *shape))))
    with np.errstate(all="ignore"):
        expected = interpret(Graph(inputs, tuple(parts)), arrays)
    program = program_of(parts)
    loaded = get_kernels(program.kernels)
    for entries in ([kernel.entry for kernel in loaded], printed(program)):
        with np.errstate(all="ignore"):
            results = execute(program, entries, arrays, {"t": 5, "n": 7})
        for result, value in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, value)
