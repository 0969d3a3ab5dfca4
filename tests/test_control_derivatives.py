"""Derivatives of structured control flow: loops, scans and branches, in both modes, nested and batched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj

RNG = np.random.default_rng(11)


def scanned(x: Any) -> Any:
    last, ys = tj.scan(lambda c, v: (0.5 * c + np.sin(v), c * v), 0.3, x)
    return last * np.sum(ys**2)


def scanned_back(x: Any) -> Any:
    last, ys = tj.scan(lambda c, v: ((c[0] * v, c[1] + c[0]), c[1] - v), (1.0, 0.1), x, reverse=True)
    return last[0] + last[1] * np.sum(ys**2)


def repeated(x: Any) -> Any:
    return np.sum(tj.fori_loop(0, 7, lambda i, c: np.sin(c) * x + 0.1 * i, x * 0.5))


def unused_carry(x: Any) -> Any:
    a, _ = tj.fori_loop(0, 4, lambda i, c: (c[0] * x[0] + np.sum(x), c[1] + 1), (x[1], 0))
    return a


def matrices(x: Any) -> Any:
    w = x.reshape(2, 3)
    state = tj.fori_loop(0, 5, lambda i, h: np.tanh(w.T @ (w @ h)), np.ones(3))
    return np.sum(state**2)


def big_scan(x: Any) -> Any:
    w = np.outer(x, x[::-1]) * 0.3
    last, ys = tj.scan(lambda h, v: (np.tanh(w @ h + v), np.sum(h)), np.zeros(6), np.ones((9, 6)) * x)
    return np.sum(last) + np.sum(ys * ys)


def counted(x: Any) -> Any:
    count, total = tj.while_loop(lambda c: c[1] < 30.0, lambda c: (c[0] + 1, c[1] * 1.5 + x[0] ** 2), (0, np.sum(x**2)))
    return total + count


def newton(x: Any) -> Any:
    target = np.sum(x**2)
    root = tj.while_loop(lambda r: np.abs(r * r - target) > 1e-13, lambda r: 0.5 * (r + target / r), target + 1.0)
    return root * x[0]


def conditional(x: Any) -> Any:
    first = tj.cond(x[0] > 0, lambda v: np.sin(v), lambda v: v**2, x)
    second = tj.switch(2, [lambda v: v, lambda v: v * 0, lambda v: np.exp(v) * x[1]], x)
    return np.sum(first * second)


def cond_in_scan(x: Any) -> Any:
    def body(c: Any, v: Any) -> Any:
        c = tj.cond(v > 0, lambda c: c * v, lambda c: c - v**2, c)
        return c, c

    last, ys = tj.scan(body, 1.0, x)
    return last + np.sum(ys)


def scan_in_scan(x: Any) -> Any:
    def outer(c: Any, v: Any) -> Any:
        inner, _ = tj.scan(lambda d, w: (d * 0.5 + w * v, None), c, x)
        return inner, inner * v

    last, ys = tj.scan(outer, 0.1, x)
    return last + np.sum(ys)


def mapped(x: Any) -> Any:
    return np.sum(tj.map(lambda v: np.sin(v) * x[1], x) ** 2)


def scan_in_cond(x: Any) -> Any:
    return tj.cond(np.sum(x) > -100, scanned, lambda v: np.sum(v), x)


def indexed(x: Any) -> Any:
    last = tj.fori_loop(0, 5, lambda i, c: c * 0.9 + x[i] * x[i + 1], 0.5)
    return last**2


PROGRAMS: tuple[Callable[[Any], Any], ...] = (
    scanned,
    scanned_back,
    repeated,
    unused_carry,
    matrices,
    big_scan,
    counted,
    newton,
    conditional,
    cond_in_scan,
    scan_in_scan,
    mapped,
    scan_in_cond,
    indexed,
)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_both_modes_to_second_order(program: Any) -> None:
    x = RNG.uniform(0.3, 1.2, 6) * np.array([1, 1, -1, 1, -1, 1])
    tj.check_grads(program, (x,), order=2)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_compiled_plain_and_batched_agree(program: Any) -> None:
    xs = RNG.uniform(0.3, 1.2, (3, 6))
    each = np.stack([tj.grad(program)(x) for x in xs])
    np.testing.assert_allclose(tj.jit(tj.grad(program))(xs[0]), each[0], rtol=1e-12)
    with tj.disable_jit():
        np.testing.assert_allclose(tj.grad(program)(xs[0]), each[0], rtol=1e-10)
    if program not in (counted, newton):
        np.testing.assert_allclose(tj.vmap(tj.grad(program))(xs), each, rtol=1e-10)


def test_forward_of_loop_is_not_run_twice() -> None:
    gradient = tj.value_and_grad(scanned)
    gradient(np.ones(5))
    loops = [node for node in gradient.compiled.roots[0].graph.nodes if node.op == "loop"]
    assert len(loops) == 2, "one forward (the value, and what backward needs), one backward"


def test_a_while_loop_inside_a_loop_has_forward_mode_only() -> None:
    def program(x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            return tj.while_loop(lambda v: v < 10.0, lambda v: v * x, c) / x

        return tj.fori_loop(0, 3, body, x)

    x = 1.7
    step = 1e-6
    expected = (program(x + step) - program(x - step)) / (2 * step)
    assert tj.jvp(program, (x,), (1.0,))[1] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(TypeError, match="a while_loop inside another loop has no reverse-mode derivative"):
        tj.grad(program)(x)


def test_where_inside_a_scan_leaks_no_nan() -> None:
    def program(x: Any) -> Any:
        last, _ = tj.scan(lambda c, v: (c + np.where(v > 0, np.sqrt(v), 0.0), None), 0.0, x)
        return last

    np.testing.assert_array_equal(tj.grad(program)(np.array([4.0, 0.0, -1.0])), [0.25, 0.0, 0.0])


def test_new_lengths_do_not_trace_again() -> None:
    gradient = tj.grad(scanned)
    for n in (3, 20, 100):
        gradient(np.ones(n))
    assert gradient.compiled.stats.traces == 1
