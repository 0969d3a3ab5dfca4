"""Long Python loops become loops again: which do, which must not, and always the values of plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.ir.node import Index
from tracejit.passes import repetition
from tracejit.passes.even_steps import moving
from tracejit.schedule.steps import Copy

RNG = np.random.default_rng(3)


def euler(x: Any) -> Any:
    v = np.zeros_like(x)
    for _ in range(500):
        v = v - 0.01 * np.sin(x)
        x = x + 0.01 * v
    return x


def numbered(a: Any) -> Any:
    x = a
    for i in range(600):
        x = 0.5 * (x + a / x) + 0.001 * i
    return x


def collected(x: Any) -> Any:
    out, s = np.zeros((400, 3)), np.zeros(3)
    for i in range(400):
        s = s * 0.9 + x[i] * np.sin(s + 1)
        out[i] = s
    return out.sum(axis=0) + s, out[7]


def listed(x: Any) -> Any:
    s, values = 0.0, []
    for i in range(400):
        s = s * 0.9 + np.sin(x[i])
        values.append(s * 2)
    return np.array(values)


def diffused(u: Any) -> Any:
    for _ in range(250):
        new = u.copy()
        new[1:-1] = u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
        u = new
    return u


def recurrent(w: Any, h: Any) -> Any:
    for _ in range(700):
        h = np.tanh(w @ h) * 1.01
    return h


def backwards(x: Any) -> Any:
    s = 0.0
    for i in range(399, -1, -1):
        s = np.cos(s) * x[i] + x[i] * 0.5
    return s


def every_second(x: Any) -> Any:
    s = 0.0
    for i in range(0, 700, 2):
        s = np.cos(s) * x[i] + x[i + 1] * 0.5 + s * 0.1
    return s


def two_loops(x: Any) -> Any:
    for _ in range(400):
        x = x * 0.99 + np.sin(x) * 0.01
    y = x * 2
    for _ in range(900):
        y = np.tanh(y) + x * 0.1
    return x, y


def fibonacci(x: Any) -> Any:
    a, b = x, x * 2
    for _ in range(800):
        a, b = b, 0.4 * a + 0.5 * b
    return a + b


def uneven(x: Any) -> Any:
    s = 0.0
    for i in range(45):
        s = np.cos(s) * x[i * i % 500] + x[i] * 0.5
        for _ in range(12):
            s = s * 1.01 + 0.1 * np.sin(s)
    return s


def averaged(x: Any, a: Any) -> Any:
    y = np.empty_like(x)
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = a * x[i] + (1 - a) * y[i - 1]
    return y


def second_order(x: Any) -> Any:
    y = np.zeros(len(x))
    y[0], y[1] = x[0], x[1]
    for i in range(2, len(x)):
        y[i] = 0.7 * y[i - 1] - 0.3 * y[i - 2] + x[i]
    return y


def filtered(z: Any, q: Any, r: Any) -> Any:
    found = np.zeros(len(z))
    x, p = 0.0, 1.0
    for i in range(len(z)):
        p = p + q
        k = p / (p + r)
        x = x + k * (z[i] - x)
        p = (1 - k) * p
        found[i] = x
    return found


def timed(y: Any, dt: Any) -> Any:
    t, path = 0.0, np.zeros((300, len(y)))
    for i in range(300):
        y = y + dt * np.sin(t) * np.cos(y)
        t = t + dt
        path[i] = y
    return path


def three_back(x: Any) -> Any:
    a, b, c = x, x * 2, x * 3
    for _ in range(600):
        a, b, c = b, c, 0.3 * a + 0.2 * b * c - 0.1
    return a + b * c


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int]] = {
    "euler": (euler, (RNG.standard_normal(5),), 1),
    "numbered": (numbered, (np.float64(2.0),), 1),
    "collected": (collected, (RNG.random((400, 3)),), 1),
    "listed": (listed, (RNG.random(400),), 1),
    "diffused": (diffused, (RNG.random(40),), 1),
    "recurrent": (recurrent, (0.2 * RNG.standard_normal((6, 6)), RNG.random(6)), 1),
    "backwards": (backwards, (RNG.random(400),), 1),
    "every_second": (every_second, (RNG.random(700),), 1),
    "two_loops": (two_loops, (RNG.random(7),), 2),
    "averaged": (averaged, (RNG.random(60), 0.25), 1),
    "second_order": (second_order, (RNG.random(60),), 1),
    "filtered": (filtered, (RNG.random(60), 1e-3, 0.1), 1),
    "timed": (timed, (RNG.random(5), 0.01), 1),
    "three_back": (three_back, (RNG.random(3),), 1),
    "fibonacci": (fibonacci, (RNG.random(4),), 1),
    "uneven": (uneven, (RNG.random(500),), 0),
}
"""Name: the function, its arguments, and how many loops its graph has."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_number_of_loops(name: str) -> None:
    function, arguments, loops = PROGRAMS[name]
    copies = [np.copy(a) if np.ndim(a) else a for a in arguments]
    expected = function(*copies)
    jitted = tj.jit(function)
    found = jitted(*arguments)
    for a, b in zip(_parts(found), _parts(expected), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-11)
    graph = jitted.roots[0].graph
    assert sum(node.op == "loop" for node in graph.nodes) == loops
    if loops:
        assert len(graph.nodes) < 60


def _parts(value: Any) -> list[Any]:
    return [np.asarray(v) for v in (value if isinstance(value, tuple) else (value,))]


def test_the_backward_pass_is_rolled_too() -> None:
    x = RNG.standard_normal(5)
    gradient = tj.grad(lambda x: np.sum(euler(x) ** 2))
    found = gradient(x)
    step = 1e-6
    units = np.eye(5) * step
    expected = [(np.sum(euler(x + u) ** 2) - np.sum(euler(x - u) ** 2)) / (2 * step) for u in units]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(gradient.compiled.roots[0].graph.nodes) < 80


def test_short_loops_stay_unrolled() -> None:
    @tj.jit
    def jitted(x: Any) -> Any:
        for _ in range(20):
            x = np.sin(x) + 1
        return x

    jitted(np.ones(3))
    assert not any(node.op == "loop" for node in jitted.roots[0].graph.nodes)
    assert repetition.FEWEST_NODES > 40


def test_moving_views() -> None:
    rows = [(Index(None, 1, k), Index(0)) for k in (3, 5, 7)]
    assert moving(rows) == (Index(0, 2, 3), Index(1))
    assert moving([rows[0], rows[1], rows[1]]) is None
    assert moving([rows[0], rows[0]]) is None


def test_moving_views_of_a_diagonal() -> None:
    places = [(Index(None, 1, 2 * k), Index(None, 1, 7 - k)) for k in range(3)]
    assert moving(places) == (Index(0, 2, 0), Index(0, -1, 7))
    assert moving([*places, (Index(None, 1, 6), Index(None, 1, 5))]) is None


def test_a_loop_over_a_diagonal_is_one() -> None:
    """The functions of its elements count by their instructions, so it is one well before the nodes are many."""

    def trace(a: Any) -> Any:
        total = 0.0
        for i in range(a.shape[0]):
            total += np.tanh(a[i, i])
        return a + total

    a, jitted = RNG.random((150, 150)), tj.jit(trace)
    np.testing.assert_allclose(jitted(a), trace(a), rtol=1e-14)
    assert any(node.op == "loop" for node in jitted.roots[0].graph.nodes)


def test_writes_along_a_diagonal_are_one() -> None:
    def written(a: Any, x: Any) -> None:
        for i in range(5):
            a[i, i] = x[i]

    a, x, jitted = RNG.random((6, 6)), RNG.random(5), tj.jit(written)
    expected = a.copy()
    written(expected, x)
    jitted(a, x)
    np.testing.assert_array_equal(a, expected)
    assert sum(node.op == "update" for node in jitted.roots[0].graph.nodes) == 1


@pytest.mark.parametrize("count", [2, 5])
def test_writes_side_by_side_are_one(count: int) -> None:
    def gathered(x: Any) -> Any:
        return np.stack([x[k + 1] for k in range(count)])

    jitted = tj.jit(gathered)
    x = RNG.random((9, 4))
    np.testing.assert_array_equal(jitted(x), gathered(x))
    assert sum(node.op == "update" for node in jitted.roots[0].graph.nodes) <= 1


def test_a_loop_of_numbers_of_the_host_follows_them() -> None:
    jitted = tj.jit(filtered)
    z = RNG.random(60)
    for q, r in ((1e-3, 0.1), (0.5, 2.0), (0.0, 1.0)):
        np.testing.assert_allclose(jitted(z, q, r), filtered(z, q, r), rtol=1e-12)
    assert jitted.stats.traces == 1
    with pytest.raises(ZeroDivisionError):
        jitted(z, -1.0, 0.0)


def test_what_is_used_in_two_kernels_is_computed_once() -> None:
    def written_one_by_one(x: Any) -> Any:
        y, s = np.zeros(6), x[0]
        for i in (3, 1, 5, 0, 4, 2):
            s = s * 1.5 + np.sin(s) * np.cos(s) + i * x[i]
            y[i] = s
        return y

    x = RNG.random(6)
    jitted = tj.jit(written_one_by_one)
    np.testing.assert_allclose(jitted(x), written_one_by_one(x), rtol=1e-12)
    text = str(jitted.explain(x))
    assert text.count("np.sin") == 6


def test_numbers_that_are_broadcast_stay_numbers() -> None:
    def heated(u: Any, dt: Any) -> Any:
        for _ in range(300):
            u[1:-1] = u[1:-1] + dt * (u[2:] - 2 * u[1:-1] + u[:-2])
        return u

    u = RNG.random(50)
    jitted = tj.jit(heated)
    np.testing.assert_allclose(jitted(u.copy(), 0.1), heated(u.copy(), 0.1), rtol=1e-11)
    (loop,) = [node for node in jitted.roots[0].graph.nodes if node.op == "loop"]
    assert loop["constants"] == 0


def test_where_nothing_becomes_a_loop_memory_is_written_in_place() -> None:
    def factor(a: Any) -> Any:
        for j in range(a.shape[0]):
            a[j, j] = np.sqrt(a[j, j] - a[j, :j] @ a[j, :j])
            a[j + 1 :, j] = (a[j + 1 :, j] - a[j + 1 :, :j] @ a[j, :j]) / a[j, j]

    m = np.random.default_rng(0).random((90, 90))
    a = m @ m.T + 90 * np.eye(90)
    found = a.copy()
    jitted = tj.jit(factor)
    jitted(found)
    np.testing.assert_allclose(np.tril(found), np.linalg.cholesky(a), rtol=1e-11, atol=1e-13)  # some are differences
    assert not [step for step in jitted.roots[0].program.steps if isinstance(step, Copy)]


def test_what_is_used_just_before_the_end_is_handed_on() -> None:
    """The loop begins in the middle of what the user wrote as an iteration; no values of all iterations are kept."""

    def escaped(z: Any, c: Any) -> Any:
        alive, most = np.ones(len(z), bool), z
        for _ in range(300):
            z = np.where(alive, z * z + c, z)
            alive = alive & (np.abs(z) <= 2.0)
            most = np.maximum(most, z)
        return z, alive, most

    z, c = np.zeros(50), RNG.standard_normal(50)
    jitted = tj.jit(escaped)
    for found, expected in zip(jitted(z, c), escaped(z, c), strict=True):
        assert found.tobytes() == expected.tobytes()
    (loop,) = (node for node in jitted.roots[0].graph.nodes if node.op == "loop")
    assert len(loop["body"].outputs) == loop["carries"]
