"""Loops over small arrays become loops over scalars, with the same values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.loops import (
    B,
    N,
    T,
    argument,
    branch,
    loop,
    op,
    run,
    take,
    typed,
)
from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Index, Node
from tracejit.ir.verify import verify
from tracejit.passes.scalarize_loops import scalarize_loops
from tracejit.schedule.native_control import is_native

RNG = np.random.default_rng(0)


def scalarized(outputs: Sequence[Node]) -> list[Node]:
    """The outputs with loops over small arrays rewritten: each loop is native then, and was not before."""
    before = Graph((), tuple(outputs))
    assert not any(is_native(node) for node in before.nodes if node.op == "loop")
    inputs = tuple(node for node in before.nodes if node.op == "input")
    after = verify(scalarize_loops(Graph(inputs, before.outputs)))
    assert all(is_native(node) for node in after.nodes if node.op == "loop")
    return list(after.outputs)


def matmul(left: Node, right: Node) -> Node:
    shape = (*left.shape[:-1], *right.shape[1:])
    return B.node("matmul", (left, right), {}, ArrayType(left.dtype, shape))


def total(source: Node, op_name: str = "sum") -> Node:
    axes = tuple(range(len(source.shape)))
    return B.node(op_name, (source,), {"axes": axes}, ArrayType(source.dtype, ()))


def test_recurrence_of_a_vector_and_a_matrix() -> None:
    """v' = A v + x, P' = A P; ys are vectors."""
    a, x = argument(0, "f8", 3, 3), argument(1, "f8", T, 3)
    v, p = argument(2, "f8", 3), argument(3, "f8", 3, 3)
    parts = loop(lambda i, a, v, p, x: [op("add", matmul(a, v), x), matmul(a, p), op("add", v, x)], [v, p], [x], T, [a])
    matrix, data = RNG.normal(size=(3, 3)) / 2, RNG.normal(size=(7, 3))
    start, first = RNG.normal(size=3), np.eye(3)
    results = run(scalarized(parts), matrix, data, start, first, t=7)
    v, p, kept = start, first, []
    for row in data:
        kept.append(v + row)
        v, p = matrix @ v + row, matrix @ p
    np.testing.assert_allclose(results[0], v, rtol=1e-12)
    np.testing.assert_allclose(results[1], p, rtol=1e-12)
    np.testing.assert_allclose(results[2], kept, rtol=1e-12)


def test_power_iteration_stops_at_a_norm() -> None:
    """Reductions in the body and in the condition of a while loop; float32 sums are as good as kernels'."""
    a, v = argument(0, "f4", 4, 4), argument(1, "f4", 4)

    def normed(i: Node, a: Node, v: Node, old: Node) -> list[Node]:
        w = matmul(a, v)
        return [op("divide", w, B.view(op("sqrt", total(op("multiply", w, w))), (), (4,))), v]

    parts = loop(
        normed,
        [v, B.constant(np.zeros(4, "f4"))],
        constants=[a],
        condition=lambda a, v, old: op("greater", total(op("absolute", op("subtract", v, old)), "max"), 1e-4),
    )
    base = RNG.normal(size=(4, 4))
    matrix = (base @ base.T).astype("f4")
    (result,) = run(scalarized(parts[:1]), matrix, np.full(4, 0.5, "f4"))
    _, vectors = np.linalg.eigh(matrix)
    assert abs(abs(result @ vectors[:, -1]) - 1) < 1e-4


def test_views_updates_reshapes_and_gathers_of_small_arrays() -> None:
    """c' = reversed c with one element replaced, looked up and summed by rows."""
    c, w = argument(0, "i8", 2, 3), argument(1, "i8", N)

    def body(i: Node, w: Node, c: Node) -> list[Node]:
        back = B.view(c, (Index(0, -1, 1), Index(1, -1, 2)), (2, 3))
        flat = B.node("reshape", (back,), {}, typed("i8", 6))
        picked = take(flat, B.constant(np.array([4, -1])))
        rows = B.node("sum", (back,), {"axes": (1,)}, typed("i8", 2))
        changed = B.node(
            "update", (back, op("add", rows, take(w, picked))), {"indices": (Index(0), Index(None, 1, 1))}, back.type
        )
        return [op("remainder", changed, 5), op("multiply", rows, 2)]

    parts = loop(body, [c], length=4, constants=[w])
    start, table = np.array([[1, 2, 3], [4, 0, 1]]), np.array([5, 3, 8, 1, 2])
    results = run(scalarized(parts), start, table, n=5)
    c, kept = start, []
    for _ in range(4):
        c = c[::-1, ::-1].copy()
        rows = c.sum(axis=1)
        kept.append(rows * 2)
        c[:, 1] = rows + table[c.ravel()[[4, -1]]]
        c = c % 5
    np.testing.assert_array_equal(results[0], c)
    np.testing.assert_array_equal(results[1], kept)


def test_loop_and_branch_inside_a_loop_over_small_arrays() -> None:
    a, v = argument(0, "f8", 2, 2), argument(1, "f8", 2)

    def body(i: Node, a: Node, v: Node) -> list[Node]:
        (turned,) = loop(lambda j, a, v: [matmul(a, v)], [v], length=2, constants=[a])
        large = op("greater", total(op("multiply", turned, turned)), 4.0)
        return branch(large, [lambda v: [op("add", v, 1.0)], lambda v: [op("multiply", v, 0.25)]], turned)

    parts = loop(body, [v], length=T, constants=[a])
    matrix, start = RNG.normal(size=(2, 2)), RNG.normal(size=2)
    (result,) = run(scalarized(parts), matrix, start, t=9)
    v = start
    for _ in range(9):
        v = matrix @ (matrix @ v)
        v = v * 0.25 if v @ v > 4 else v + 1.0
    np.testing.assert_allclose(result, v, rtol=1e-12)


def test_loops_that_are_not_scalarized() -> None:
    """Of symbolic size, too large, uniform anyway, or with a position that is data."""
    n = argument(0, "f8", N)
    large, small, whole = argument(1, "f8", 65), argument(2, "f8", 8), argument(3, "i8", 4)
    for parts in (
        loop(lambda i, c: [op("multiply", c, B.view(total(c), (), c.shape))], [n], length=3),
        loop(lambda i, c: [op("multiply", c, B.view(total(c), (), c.shape))], [large], length=3),
        loop(lambda i, c: [op("multiply", c, 2)], [small], length=3),
        loop(
            lambda i, c: [op("add", take(c, op("remainder", c, 4)), B.view(total(c), (), c.shape))], [whole], length=3
        ),
    ):
        graph = Graph(tuple(m for m in Graph((), tuple(parts)).nodes if m.op == "input"), tuple(parts))
        assert len(scalarize_loops(graph).nodes) == len(graph.nodes)
