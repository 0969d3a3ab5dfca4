"""Structured control flow: each function against the plain Python loop or branch that it means."""

from __future__ import annotations

import dataclasses
import functools
import gc
import re
import types
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracejit as tj
from tracejit.control.looping import _fori
from tracejit.control.running import CAPACITY
from tracejit.trace.pytree import flatten

X = np.linspace(0.5, 2.0, 7)
M = np.arange(12.0).reshape(3, 4) / 7
S = np.diag([2.0, 3.0, 4.0]) + 0.25


def same(found: Any, wanted: Any, exact: bool = True) -> None:
    """One structure, and each leaf of the dtype, shape and values of the other's."""
    mine: list[Any] = []
    theirs: list[Any] = []
    assert flatten(found, mine) == flatten(wanted, theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype, (a, b)
        assert np.shape(a) == np.shape(b)
        if exact:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def three_ways(function: Callable[..., Any], *args: Any, exact: bool = True) -> Any:
    """The function jitted, not jitted, and under disable_jit: all alike; returns the last."""
    with tj.disable_jit():
        plain = function(*args)
    same(function(*args), plain, exact)
    jitted = tj.jit(function, fullgraph=True)
    same(jitted(*args), plain, exact)
    same(jitted(*args), plain, exact)
    assert jitted.plain_reason is None
    return plain


# ---- fori_loop


def plain_fori(low, high, body, carry):
    for i in range(low, high):
        carry = body(i, carry)
    return carry


@pytest.mark.smoke
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_fori_loop(count: int) -> None:
    def body(i, x):
        return 0.5 * x + i * np.cos(x)

    found = three_ways(lambda x, n: tj.fori_loop(0, n, body, x), X, count, exact=False)
    same(found, plain_fori(0, count, body, X), exact=False)


@pytest.mark.parametrize(("low", "high"), [(2, 6), (-3, 2), (4, 4), (5, 1)])
def test_fori_loop_from(low: int, high: int) -> None:
    found = three_ways(lambda x, a, b: tj.fori_loop(a, b, lambda i, c: c + i * x, x), X, low, high)
    same(found, plain_fori(low, high, lambda i, c: c + i * X, X))


def test_fori_loop_of_a_size() -> None:
    three_ways(lambda x: tj.fori_loop(0, len(x), lambda i, c: c + x[i] * i, 0.0), X)
    three_ways(lambda x: tj.fori_loop(1, x.shape[0] - 1, lambda i, c: c + np.roll(x, 1), x), X)


@pytest.mark.parametrize("bounds", [(0, 5), (2, 2), (3, -1), (-2, 3)])
def test_fori_loop_with_traced_bounds(bounds: tuple[int, int]) -> None:
    def f(x, limits):
        return tj.fori_loop(limits[0], limits[1], lambda i, c: c * 0.5 + i, x)

    same(three_ways(f, X, np.array(bounds)), plain_fori(*bounds, lambda i, c: c * 0.5 + i, X))


def test_the_counter_is_a_python_number() -> None:
    """It takes the dtype of what it meets, as `i` of a `for` does."""
    single = X.astype(np.float32)
    assert three_ways(lambda x: tj.fori_loop(0, 4, lambda i, c: c * i + x, x), single).dtype == np.float32
    assert three_ways(lambda x: tj.fori_loop(0, 4, lambda i, c: c + (2 * i + 1) / 2, x), single).dtype == np.float32
    small = np.arange(5, dtype=np.int16)
    assert three_ways(lambda x: tj.fori_loop(0, 4, lambda i, c: np.where(x > i, c, i), x), small).dtype == np.int16


# ---- while_loop


@pytest.mark.smoke
def test_while_loop_newton() -> None:
    def root(a):
        return tj.while_loop(lambda c: abs(c * c - a) > 1e-12, lambda c: 0.5 * (c + a / c), a)

    assert abs(three_ways(root, 2.0, exact=False) - np.sqrt(2.0)) < 1e-12


def test_while_loop_over_arrays() -> None:
    def f(x):
        return tj.while_loop(lambda c: c[0].max() < 50, lambda c: (c[0] + c[1], c[0]), (x, x + 1))

    three_ways(f, X)
    three_ways(f, X + 100)


def test_while_loop_that_never_runs() -> None:
    same(three_ways(lambda x: tj.while_loop(lambda c: c.sum() < 0, lambda c: c * 2, x), X), X)


def test_collatz() -> None:
    def steps(n):
        return tj.while_loop(
            lambda c: c[0] != 1, lambda c: (np.where(c[0] % 2 == 0, c[0] // 2, 3 * c[0] + 1), c[1] + 1), (n, 0)
        )[1]

    assert three_ways(steps, 27) == 111


# ---- scan and map


def cumulative(carry, x):
    carry = carry + x
    return carry, carry * 2


@pytest.mark.smoke
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("xs", [X, M, X[:0], M[:0], X[:1], M[:, ::2], M.T], ids=lambda a: f"{a.shape}")
def test_scan(xs: Any, reverse: bool) -> None:
    def f(xs):
        return tj.scan(cumulative, np.zeros(xs.shape[1:]), xs, reverse=reverse)

    carry, ys = three_ways(f, xs)
    order = xs[::-1] if reverse else xs
    sums = np.array([order[: n + 1].sum(axis=0) for n in range(len(xs))]).reshape(xs.shape)
    np.testing.assert_allclose(ys, 2 * (sums[::-1] if reverse else sums))
    np.testing.assert_allclose(carry, xs.sum(axis=0))


def test_scan_without_xs() -> None:
    def f(x, n):
        return tj.scan(lambda c, _: (c * 1.5, c.sum()), x, None, length=n)

    for n in (0, 1, 5):
        _, ys = three_ways(f, X, n)
        assert ys.shape == (n,)


def test_scan_that_collects_nothing() -> None:
    assert three_ways(lambda x: tj.scan(lambda c, x: (c + x, None), 0.0, x), X)[1] is None


def test_scan_gives_the_carry_it_got() -> None:
    """y is the old carry, or a constant, or the slice itself."""
    three_ways(lambda m: tj.scan(lambda c, x: (c + x, (c, x, m[0], 1.0)), m[0], m), M)


def test_scan_of_a_big_body() -> None:
    rng = np.random.default_rng(3)
    big = rng.random((6, 300, 200))  # no sums that cancel: ours are more exact than NumPy's along the first axis
    three_ways(lambda a: tj.scan(lambda c, x: (np.maximum(c, x), np.sum(c * x, axis=0)), a[0], a), big, exact=False)


def test_map() -> None:
    three_ways(lambda m: tj.map(lambda row: row / row.sum(), m), M + 1, exact=False)
    three_ways(lambda m, x: tj.map(lambda p: {"a": p[0].max(), "b": p[1] * x}, (m, m[:, 0])), M, X)
    three_ways(lambda s: tj.map(np.linalg.inv, np.stack([s, 2 * s])), S, exact=False)


# ---- cond and switch


@pytest.mark.smoke
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cond(sign: float) -> None:
    def f(x, y):
        return tj.cond(x.sum() > 0, lambda a, b: (a + b, a.sum()), lambda a, b: (a * b, b.max()), x, y)

    three_ways(f, sign * X, X**2)


@pytest.mark.parametrize("predicate", [True, False, 3, 0, 0.0, np.bool_(True), np.float32(2)])
def test_cond_known_beforehand(predicate: Any) -> None:
    same(
        three_ways(lambda p, x: tj.cond(p, lambda x: x + 1, lambda x: x - 1, x), predicate, X),
        X + (1 if predicate else -1),
    )


@pytest.mark.parametrize("predicate", [np.array(True), np.array(2), np.array([0.0])])
def test_cond_on_an_array(predicate: Any) -> None:
    three_ways(lambda p, x: tj.cond(p, lambda: x + 1, lambda: x - 1), predicate, X)


def test_cond_promotes() -> None:
    single = X.astype(np.float32)
    f = tj.jit(lambda x: tj.cond(x.sum() > 0, lambda: x, lambda: np.zeros(7)))
    assert f(single).dtype == f(-single).dtype == np.float64
    f = tj.jit(lambda x: tj.cond(x.sum() > 0, lambda: x[0], lambda: 0))
    assert f(single).dtype == f(-single).dtype == np.float32
    assert f(-single) == 0


@pytest.mark.parametrize("index", [-7, 0, 1, 2, 99])
@pytest.mark.parametrize("kind", [int, np.int64, np.array, lambda k: np.array(k, np.int8)])
def test_switch(index: int, kind: Callable[[int], Any]) -> None:
    def f(k, x):
        return tj.switch(k, [np.sin, lambda x: x * 2, np.negative], x)

    wanted = [np.sin, lambda x: x * 2, np.negative][min(max(index, 0), 2)](X)
    same(three_ways(f, kind(index), X, exact=False), wanted, exact=False)


def test_switch_of_one() -> None:
    three_ways(lambda k, x: tj.switch(k, [np.negative], x), np.array(4), X)


def test_only_the_taken_branch_is_computed() -> None:
    singular = np.zeros((3, 3))
    f = tj.jit(lambda a: tj.cond(np.abs(a).sum() > 0, lambda: np.linalg.inv(a), lambda: a + 1), fullgraph=True)
    same(f(S), np.linalg.inv(S))
    same(f(singular), singular + 1)
    with pytest.raises(np.linalg.LinAlgError):
        tj.jit(lambda a: tj.cond(np.abs(a).sum() == 0, lambda: np.linalg.inv(a), lambda: a + 1))(singular)


def test_work_for_one_branch_sinks_into_it() -> None:
    """Also a chain of work, and through operands; what both branches use stays outside."""

    def f(a):
        inverse = np.linalg.inv(a)
        twice = inverse @ inverse
        shared = np.sort(a)
        return tj.cond(a.sum() > 0, lambda t, s: t + s, lambda t, s: s * 2, twice, shared)

    jitted = tj.jit(f, fullgraph=True)
    singular = np.zeros((3, 3))
    same(jitted(singular), singular)
    with tj.disable_jit():
        same(jitted(S), f(S), exact=False)
    graph = jitted.explain(S).segments[0].graph
    outside = [node["call"].name for node in graph.nodes if node.kind == "call"]
    assert outside == ["np.sort"], graph
    branch = next(node for node in graph.nodes if node.op == "branch")
    inside = [[node["call"].name for node in body.nodes if node.kind == "call"] for body in branch["branches"]]
    assert inside == [[], ["np.linalg.inv"]]


def test_the_predicate_does_not_sink() -> None:
    def f(a):
        inverse = np.linalg.inv(a)
        return tj.cond(inverse.sum() > 0, lambda: inverse, lambda: a)

    three_ways(f, S, exact=False)
    with pytest.raises(np.linalg.LinAlgError):
        tj.jit(f)(np.zeros((3, 3)))


# ---- carries


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class State:
    position: Any
    speed: Any


def test_pytrees() -> None:
    def body(i, carry):
        state, extra = carry
        speed = state.speed - 0.1 * state.position
        return State(state.position + 0.1 * speed, speed), {
            "p": Pair(extra["p"].b, extra["p"].a),
            "n": [extra["n"][0] + i],
        }

    def f(x):
        return tj.fori_loop(0, 5, body, (State(x, x * 0), {"p": Pair(1.0, x), "n": [3]}))

    with pytest.raises(TypeError, match="shape"):
        f(X)  # the pair's members have different shapes, and are swapped

    def g(x):
        return tj.fori_loop(0, 5, body, (State(x, x * 0), {"p": Pair(x + 1, x), "n": [3]}))

    three_ways(g, X)


def test_empty_carries() -> None:
    assert three_ways(lambda x: tj.scan(lambda c, x: (c, x * 2), (), x), X)[0] == ()
    assert three_ways(lambda x: tj.scan(lambda c, x: ((None, c[1] + x), None), (None, 0.0), x), X)[0][0] is None


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float32", "float64"])
def test_dtypes(dtype: str) -> None:
    x = np.array([1, 0, 2, 1, 1]).astype(dtype)
    three_ways(lambda x: tj.scan(lambda c, v: (c + v, c), x[0], x), x)
    three_ways(lambda x: tj.fori_loop(0, 3, lambda i, c: c + x, x), x)
    three_ways(lambda x: tj.cond(x.sum() != 0, lambda: x + x, lambda: x), x)


def test_complex_carries_run_as_the_plain_loop() -> None:
    z = X + 1j
    for f in (lambda z: tj.fori_loop(0, 3, lambda i, c: c * z, z), lambda z: tj.scan(cumulative, 0j, z)):
        with tj.disable_jit():
            wanted = f(z)
        same(f(z), wanted)
        same(tj.jit(f)(z), wanted)


def test_a_carry_becomes_as_wide_as_it_comes_out() -> None:
    assert three_ways(lambda x: tj.fori_loop(0, 3, lambda i, c: c + 0.5, 0), X) == 1.5
    three_ways(lambda x: tj.fori_loop(0, 3, lambda i, c: c + x, 0), X)
    three_ways(lambda x: tj.fori_loop(0, 3, lambda i, c: c + x, np.zeros(1, np.float32)), X)
    three_ways(lambda x: tj.while_loop(lambda c: c[1].sum() < 9, lambda c: (c[1], c[0] + c[1]), (1, x)), X)


def test_numbers_are_numpy_scalars() -> None:
    for wanted, start in ((np.float64, 1.0), (np.int64, 1), (np.bool_, True)):
        result = three_ways(lambda c: tj.fori_loop(0, 2, lambda i, c: c, c), start)
        assert type(result) is wanted
        assert type(tj.jit(lambda c: tj.fori_loop(0, 2, lambda i, c: c, c))(start)) is wanted


def test_carries_that_stay_or_swap() -> None:
    three_ways(lambda x, y: tj.fori_loop(0, 3, lambda i, c: (c[1], c[0]), (x, y)), X, X * 2)
    three_ways(lambda x, y: tj.fori_loop(0, 3, lambda i, c: (c[0], c[0]), (x, y)), X, X * 2)
    three_ways(lambda x, y: tj.fori_loop(0, 3, lambda i, c: (c[1], c[0] + c[1]), (x, x)), X, X * 2)
    three_ways(lambda x, y: tj.fori_loop(0, 3, lambda i, c: (y, c[0], x), (x, y, y)), X, X * 2)
    three_ways(lambda x: tj.fori_loop(0, 3, lambda i, c: x, x * 2), X)
    three_ways(lambda x: tj.fori_loop(0, 3, lambda i, c: np.array([1.0, 2.0]), np.zeros(2)), X)


@pytest.mark.parametrize("count", [0, 3])
def test_results_are_memory_of_their_own(count: int) -> None:
    """Nothing of a result is an argument's memory, a constant's, or another result's."""
    x = X.copy()
    f = tj.jit(lambda x, n: tj.fori_loop(0, n, lambda i, c: (c[0], c[0], c[2]), (x, x, np.array([1.0, 2.0]))))
    for _ in range(2):
        results = f(x, count)
        for n, result in enumerate(results):
            assert not np.shares_memory(result, x)
            assert not any(np.shares_memory(result, other) for other in results[:n])
            result[...] = -1
    same(x, X)
    same(f(x, count)[2], np.array([1.0, 2.0]))
    branch = tj.jit(lambda x, p: tj.cond(p, lambda: (x, x), lambda: (x, x + 1)))
    for a, b in (branch(x, np.array(True)), branch(x, np.array(False))):
        assert not np.shares_memory(a, b) and not np.shares_memory(a, x)


# ---- in-place code


def test_writes_in_a_body_are_its_own() -> None:
    def body(i, c):
        c[1:] += c[:-1]
        c *= 0.5
        return c

    x = X.copy()
    three_ways(lambda x: tj.fori_loop(0, 4, body, x), x)
    same(x, X)
    m = M.copy()

    def along(c, row):
        row += c
        c += row.sum()
        return c, row

    three_ways(lambda m: tj.scan(along, np.zeros(1), m), m)
    same(m, M)

    def doubled(a):
        a *= 2
        return a

    three_ways(lambda x: (tj.cond(x.sum() > 0, doubled, np.negative, x), x + 0), x)
    same(x, X)


def test_in_place_updates_copy_nothing() -> None:
    """A carry that is written to is its own memory from iteration to iteration."""

    def body(i, c):
        c[1:-1] = 0.5 * (c[:-2] + c[2:])
        return c

    f = tj.jit(lambda x: tj.fori_loop(0, 50, body, x))
    wanted = X.copy()
    for _ in range(50):
        body(0, wanted)
    same(f(X), wanted)


def test_an_argument_is_written_after_a_loop() -> None:
    @tj.jit
    def f(x):
        x[...] = tj.fori_loop(0, 3, lambda i, c: c * 2, x)

    x = X.copy()
    f(x)
    same(x, X * 8)
    f(x)
    same(x, X * 64)


def test_loops_in_sequence_and_values_used_after() -> None:
    def f(x):
        a = tj.fori_loop(0, 3, lambda i, c: c * 2, x)
        b = tj.fori_loop(0, 2, lambda i, c: c + a, a)
        c, ys = tj.scan(lambda c, v: (c + v, c), 0.0, b)
        return a + x, b, c + ys

    three_ways(f, X)


# ---- nesting and closures


def test_scan_in_scan() -> None:
    def rows(carry, row):
        inner, ys = tj.scan(lambda c, v: (c * 0.5 + v, c), carry, row)
        return inner, ys.sum()

    three_ways(lambda m: tj.scan(rows, 0.0, m), M, exact=False)


def test_cond_in_scan_in_cond() -> None:
    def body(c, row):
        return tj.cond(row[0] > 1, lambda: c + row.sum(), lambda: c - 1), c

    def f(m):
        return tj.cond(m.sum() > 0, lambda: tj.scan(body, 0.0, m), lambda: (1.0, m[:, 0]))

    three_ways(f, M, exact=False)
    three_ways(f, -M, exact=False)


def test_while_in_fori_with_big_arrays() -> None:
    def f(x):
        def body(i, c):
            return tj.while_loop(lambda v: v.max() > 1 + i, lambda v: v * 0.75, c + i)

        return tj.fori_loop(0, 4, body, x)

    three_ways(f, np.linspace(0, 5, 1000))


def test_closures() -> None:
    """Arrays of the jitted function, of the module, constants, sizes and numbers; what is invariant is hoisted."""
    table = np.array([1.0, 2.0, 3.0])

    def f(x, alpha):
        local = np.exp(x)

        def body(i, c):
            return c * alpha + local * table[1] + M[0, 2] + x.shape[0] + np.arange(len(x)) + np.exp(x)

        return tj.fori_loop(0, 3, body, x)

    three_ways(f, X, 0.5, exact=False)
    jitted = tj.jit(f)
    jitted(X, 0.5)
    graph = jitted.explain(X, 0.5).segments[0].graph
    (loop,) = (node for node in graph.nodes if node.op == "loop")
    assert "exp" not in {node.op for node in loop["body"].nodes}, graph


def test_a_changed_closure_is_seen() -> None:
    held = {"scale": 2.0}
    factor = 2.0

    def inner(x):
        return tj.fori_loop(0, 2, lambda i, c: c * factor + held["scale"], x)

    jitted = tj.jit(inner)
    for f in (inner, jitted):
        held["scale"], factor = 2.0, 2.0
        same(f(X), (X * 2 + 2) * 2 + 2)
        factor = 3.0
        same(f(X), (X * 3 + 2) * 3 + 2)
        held["scale"] = 1.0
        same(f(X), (X * 3 + 1) * 3 + 1)


def test_views_as_constants() -> None:
    three_ways(lambda m: tj.fori_loop(0, 3, lambda i, c: c + m[:, 1] * m[1, ::-1][:3] + m.T[2], m[:, 0]), M)
    three_ways(lambda m: tj.scan(lambda c, r: (c + r @ m.T, m[::-1, 1]), np.zeros(3), m), M, exact=False)


def test_indexing_by_the_counter() -> None:
    three_ways(lambda x: tj.fori_loop(0, len(x), lambda i, c: c + x[i] * x[-1 - i], 0.0), X)
    three_ways(lambda m: tj.fori_loop(0, 3, lambda i, c: c + m[i], np.zeros(4)), M)

    def body(i, c):
        c[i] = c[i - 1] * 2
        return c

    three_ways(lambda x: tj.fori_loop(1, len(x), body, x), X)


# ---- ordinary programs


def test_jacobi() -> None:
    def sweep(i, grid):
        new = grid.copy()
        new[1:-1, 1:-1] = 0.25 * (grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:])
        return new

    grid = np.zeros((60, 70))
    grid[0] = 1.0
    three_ways(lambda g: tj.fori_loop(0, 25, sweep, g), grid)


def test_power_iteration() -> None:
    def body(i, v):
        w = S @ v
        return w / np.sqrt(np.sum(w * w))

    found = three_ways(lambda v: tj.fori_loop(0, 80, body, v), np.ones(3), exact=False)
    np.testing.assert_allclose(abs(found), abs(np.linalg.eigh(S)[1][:, -1]), rtol=1e-10)


def test_conjugate_gradients() -> None:
    def solve(a, b):
        def body(state):
            x, r, p, k = state
            ap = a @ p
            step = (r @ r) / (p @ ap)
            x, new = x + step * p, r - step * ap
            return x, new, new + (new @ new) / (r @ r) * p, k + 1

        return tj.while_loop(lambda s: s[1] @ s[1] > 1e-20, body, (b * 0, b, b, 0))

    x, _, _, count = three_ways(solve, S, np.array([1.0, 2.0, 3.0]), exact=False)
    np.testing.assert_allclose(S @ x, [1.0, 2.0, 3.0])
    assert count <= 4


# ---- what is not needed


def loop_of(function: Callable[..., Any], *args: Any) -> Any:
    """The one loop of a jitted function's optimized graph."""
    graph = tj.jit(function).explain(*args).segments[0].graph
    (loop,) = (node for node in graph.nodes if node.op == "loop")
    return loop


def test_dead_results_are_not_computed() -> None:
    def f(x, m):
        def body(c, row):
            a, b, unused = c
            return (a + row.sum(), a * b, np.cos(unused) + m.sum()), (a, np.sin(row), x * b)

        (a, _, _), (firsts, _, _) = tj.scan(body, (0.0, 1.0, x), m)
        return a, firsts

    three_ways(f, X, M)
    loop = loop_of(f, X, M)
    assert (loop["constants"], loop["carries"], loop["xs"], len(loop["body"].outputs)) == (0, 1, 1, 2)


def test_a_carry_of_the_condition_is_kept() -> None:
    def f(x):
        return tj.while_loop(lambda c: c[1] < 4, lambda c: (c[0] * 2, c[2], c[1] + 1, c[3] + c[0]), (x, 0, 1, x))[0]

    three_ways(f, X)
    assert loop_of(f, X)["carries"] == 3


def test_dead_results_of_branches() -> None:
    def f(x, y):
        return tj.cond(x.sum() > 0, lambda: (x + 1, np.linalg.inv(y)), lambda: (x - 1, y))[0]

    jitted = tj.jit(f)
    for sign in (1, -1):
        same(jitted(sign * X, np.zeros((2, 2))), sign * X + sign)


# ---- compiling once


def test_new_sizes_and_counts_do_not_trace_again() -> None:
    @tj.jit
    def f(x, n):
        carry = tj.fori_loop(0, n, lambda i, c: np.sort(c * 0.5 + i), x)
        return tj.scan(lambda c, v: (c + v, c), 0.0, carry)

    f(X, 3)
    traces, kernels = f.stats.traces, f.stats.kernels_compiled
    for size, n in ((8, 3), (100, 0), (3, 40)):
        f(np.ones(size), n)
    assert (f.stats.traces, f.stats.kernels_compiled) == (traces, kernels)
    assert f.stats.plain_calls == 0


def traces() -> int:
    """How often a fori_loop outside of jit was traced, so far."""
    return sum(jitted.stats.traces for _, jitted in _fori._compiled.values())


def test_a_call_outside_of_jit_compiles_once() -> None:
    def body(i, c):
        return c + i

    before = traces()
    for n in (3, 5, 8):
        same(tj.fori_loop(0, n, body, X), X + n * (n - 1) / 2)
    assert traces() == before + 1


def test_a_function_made_anew_is_known() -> None:
    def call(scale):
        def body(i, c):
            return c * scale

        return tj.fori_loop(0, 2, body, X)

    before = traces()
    for _ in range(3):
        same(call(3), X * 9)
    assert traces() == before + 1
    same(call(2), X * 4)
    same(call(3), X * 9)


class Model:
    def __init__(self, scale):
        self.scale = scale

    def step(self, i, c):
        return c * self.scale + np.zeros(len(c))


def test_methods_and_partials() -> None:
    """They are known again at the next call, and what they read is guarded."""
    model = Model(2.0)
    before = traces()
    for _ in range(3):
        same(tj.fori_loop(0, 2, model.step, X), X * 4)
    assert traces() == before + 1
    model.scale = 3.0
    same(tj.fori_loop(0, 2, model.step, X), X * 9)

    def scaled(factor, i, c):
        return c * factor[0] + np.zeros(len(c))

    factor = [2.0]
    before = traces()
    for _ in range(3):
        same(tj.fori_loop(0, 2, functools.partial(scaled, factor), X), X * 4)
    assert traces() == before + 1
    factor[0] = 3.0
    same(tj.fori_loop(0, 2, functools.partial(scaled, factor), X), X * 9)


def test_loops_between_breaks() -> None:
    """Loops in several segments of one function, and arguments written to in between."""

    def f(x):
        a = tj.fori_loop(0, 3, lambda i, c: c * 0.5 + x, x)
        if a.sum() > 5:
            x += a
        b, ys = tj.scan(lambda c, v: (c + v, c * x[0]), 0.0, a)
        return a, b, ys if b > 0 else -ys

    for sign in (1, -1, 1, -1, 0.1):
        mine, theirs = sign * X, sign * X
        found = tj.jit(f)(mine)
        with tj.disable_jit():
            same(found, f(theirs), exact=False)
        same(mine, theirs, exact=False)


def test_functions_are_not_kept_for_ever() -> None:
    def unlike_others(number):
        return types.FunctionType(cumulative.__code__.replace(co_name=f"body{number}"), {})

    def call():
        body = unlike_others(0)
        with pytest.raises(TypeError, match="structure"):
            tj.fori_loop(0, 1, body, 1.0)
        return weakref.ref(body)

    first = call()
    for number in range(CAPACITY + 1):
        with pytest.raises(TypeError, match="structure"):
            tj.fori_loop(0, 1, unlike_others(number), 1.0)
    gc.collect()
    assert len(_fori._compiled) <= CAPACITY
    assert first() is None


# ---- seeing


def test_explain_lists_the_kernels_inside() -> None:
    def f(x):
        return tj.fori_loop(0, 3, lambda i, c: tj.cond(c.sum() > 0, lambda: np.sort(c), lambda: np.roll(c, 1)), x)

    explained = tj.jit(f).explain(X)
    assert len(explained.kernels) == len(explained.sources) >= 2
    text = str(explained)
    assert "a loop run by the host, 3 times" in text and "one of 2 branches" in text and "NumPy's np.sort" in text
    assert re.search(r"loop 3 times\(.*\n +do\(", text) and re.search(r"branch on .*\n +else\(", text)


def test_drawing(tmp_path: Any) -> None:
    f = tj.jit(lambda x: tj.scan(lambda c, v: (np.sort(c) + v, tj.cond(v > 0, lambda: v, lambda: 0.0)), x, x))
    text = f.explain(X).save(tmp_path / "graph.dot").read_text()
    assert 'label="do of' in text and 'label="if of' in text and text.count("{") == text.count("}")


# ---- errors

OUTER = np.ones(3)


def branching(i, c):
    return c if c[0] > 0 else -c  # here


def converting(i, c):
    return c + float(c[0])  # here


def unknown_shape(i, c):
    return c + np.unique(c)[0]  # here


def printing(i, c):
    print(c)  # here
    return c


def growing(i, c):
    return np.concatenate([c, c])


def other_structure(i, c):
    return (c, c)


def not_array(i, c):
    return "carry"


ERRORS: list[tuple[str, Callable[[Any], Any], type[Exception], str]] = [
    (
        "if",
        lambda x: tj.fori_loop(0, 2, branching, x),
        TypeError,
        r"body of tracejit.fori_loop uses `if`.*tracejit.cond .*for `if`",
    ),
    (
        "float",
        lambda x: tj.fori_loop(0, 2, converting, x),
        TypeError,
        r"uses float\(\) of a traced value .*needs no float",
    ),
    ("unique", lambda x: tj.fori_loop(0, 2, unknown_shape, x), TypeError, r"uses np.unique, whose result's shape"),
    ("print", lambda x: tj.fori_loop(0, 2, printing, x), TypeError, r"uses print\(\).*disable_jit"),
    (
        "grow",
        lambda x: tj.fori_loop(0, 2, growing, x),
        TypeError,
        r"carry of tracejit.fori_loop goes .* as float64\[3\] and comes out as float64\[6\].*keeps its shape",
    ),
    (
        "structure",
        lambda x: tj.fori_loop(0, 2, other_structure, x),
        TypeError,
        r"another structure .*\(array, array\) in place of array",
    ),
    (
        "text",
        lambda x: tj.fori_loop(0, 2, not_array, x),
        TypeError,
        r"carry from the body of tracejit.fori_loop is 'carry', of type str",
    ),
    (
        "path",
        lambda x: tj.fori_loop(
            0, 2, lambda i, c: {"a": c["a"], "b": [c["b"][0], growing(i, x)]}, {"a": x, "b": [x, x]}
        ),
        TypeError,
        r"carry\['b'\]\[1\] of tracejit.fori_loop goes",
    ),
    ("initial", lambda x: tj.fori_loop(0, 2, branching, "x"), TypeError, r"carry of fori_loop is 'x', of type str"),
    (
        "bound",
        lambda x: tj.fori_loop(0, 2.5, branching, x),
        TypeError,
        r"`high` of a loop must be an integer, not float",
    ),
    (
        "traced bound",
        lambda x: tj.fori_loop(0, x[0], branching, x),
        TypeError,
        r"`high` of a loop must be an integer, not float64",
    ),
    (
        "condition",
        lambda x: tj.while_loop(lambda c: c > 1, lambda c: c, x),
        ValueError,
        r"condition of tracejit.while_loop is an array of shape \(3,\)",
    ),
    (
        "predicate",
        lambda x: tj.cond(x > 1, np.sin, np.cos, x),
        ValueError,
        r"predicate of tracejit.cond is an array of shape \(3,\).*ambiguous",
    ),
    ("branches", lambda x: tj.cond(x.sum() > 1, lambda: (x, x), lambda: x), TypeError, r"return different structures"),
    (
        "branch shapes",
        lambda x: tj.cond(x.sum() > 1, lambda: {"a": x}, lambda: {"a": 0.0}),
        TypeError,
        r"result\['a'\] of tracejit.cond is float64 from the false function and float64\[3\] from the true one",
    ),
    (
        "index",
        lambda x: tj.switch(x[0], [np.sin, np.cos], x),
        TypeError,
        r"index of tracejit.switch must be an integer, not float64",
    ),
    ("pair", lambda x: tj.scan(lambda c, v: c + v, 0.0, x), TypeError, r"must return a pair \(carry, y\), not"),
    (
        "leak",
        lambda x: (tj.fori_loop(0, 2, lambda i, c: LEAKS.append(c + 1) or c, x), LEAKS.pop())[1] + 1,
        TypeError,
        r"used after the body has ended",
    ),
]
LEAKS: list[Any] = []

BOTH: list[tuple[str, Callable[[Any], Any], type[Exception], str]] = [
    ("no function", lambda x: tj.fori_loop(0, 2, x, x), TypeError, r"the body of fori_loop must be a function, not"),
    (
        "no condition",
        lambda x: tj.while_loop(1, np.sin, x),
        TypeError,
        r"condition of while_loop must be a function, not int",
    ),
    (
        "no branch",
        lambda x: tj.cond(True, np.sin, 3, x),
        TypeError,
        r"false function of cond must be a function, not int",
    ),
    ("no functions", lambda x: tj.switch(0, [], x), ValueError, r"at least one function"),
    (
        "lengths",
        lambda x: tj.scan(lambda c, v: (c, v), 0, {"p": x, "q": x[:2]}),
        ValueError,
        r"xs\['q'\] has length 2, xs\['p'\] has length 3",
    ),
    ("length", lambda x: tj.scan(lambda c, v: (c, v), 0, x, length=4), ValueError, r"xs has length 3, length is 4"),
    ("no length", lambda x: tj.scan(lambda c, v: (c, v), x, None), ValueError, r"pass length="),
    ("0-d", lambda x: tj.scan(lambda c, v: (c, v), 0, (x, x[0])), ValueError, r"xs\[1\] has no axes"),
    ("map 0-d", lambda x: tj.map(np.sin, x[0]), ValueError, r"xs has no axes"),
]


@pytest.fixture
def _messages_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEJIT_DEBUG", raising=False)


@pytest.mark.usefixtures("_messages_for_users")
@pytest.mark.parametrize(("name", "function", "kind", "message"), ERRORS + BOTH, ids=[e[0] for e in ERRORS + BOTH])
def test_errors(name: str, function: Callable[[Any], Any], kind: type[Exception], message: str) -> None:
    """The same inside and outside of jit; short, and without tracejit's insides."""
    for called in (tj.jit(function), tj.jit(function, fullgraph=True), function):
        if name == "leak" and called is function:
            continue
        with pytest.raises(kind) as caught:
            called(OUTER)
        text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert re.search(message, text, re.DOTALL), text
        assert len(text.splitlines()) <= 8
        if name in ("if", "float", "unique", "print"):
            assert "test_control.py" in text and "# here" in text


@pytest.mark.parametrize(("name", "function", "kind", "message"), BOTH, ids=[e[0] for e in BOTH])
def test_errors_of_the_plain_loop(name: str, function: Any, kind: type[Exception], message: str) -> None:
    with tj.disable_jit(), pytest.raises(kind, match=message):
        function(OUTER)


@pytest.mark.usefixtures("_messages_for_users")
@pytest.mark.parametrize("outer", ["argument", "local"])
def test_a_write_to_an_outer_array(outer: str) -> None:
    def f(x):
        target = {"argument": x, "local": x * 2}[outer]

        def body(i, c):
            target[0] = 5.0
            return c + target

        return tj.fori_loop(0, 2, body, x)

    with pytest.raises(TypeError, match=r"writes to an array from outside it \(at .*test_control.py:\d+\).*as a carry"):
        tj.jit(f)(np.ones(3))


def test_a_write_to_an_array_outside_of_the_function() -> None:
    """Such a function has no graph: it runs as the plain loop, and writes as that does."""
    target = np.zeros(3)

    def body(i, c):
        target[0] += 1
        return c + target

    wanted = np.array([7.0, 1.0, 1.0])
    same(tj.fori_loop(0, 3, body, OUTER), wanted)
    same(tj.jit(lambda x: tj.fori_loop(0, 3, body, x))(OUTER), wanted + np.array([9.0, 0.0, 0.0]))
    assert target[0] == 6


def test_a_trace_goes_on_after_an_error_in_a_body() -> None:
    """The state of the trace is what it was: a body's failure can be caught."""

    @tj.jit
    def f(x):
        try:
            return tj.fori_loop(0, 2, branching, x)
        except TypeError:
            return x + 1 if x.sum() > 0 else x

    same(f(OUTER), OUTER + 1)
    same(f(-OUTER), -OUTER)


def test_functions_that_cannot_be_traced_run_as_the_plain_loop() -> None:
    names = np.array(["a", "b"], dtype=object)

    def f(x):
        return tj.fori_loop(0, 2, lambda i, c: c + len(names.astype(str)[0]), x)

    same(f(OUTER), OUTER + 2)
    same(tj.jit(f)(OUTER), OUTER + 2)
    assert list(tj.fori_loop(0, 2, lambda i, c: c + c, names)) == ["aaaa", "bbbb"]
