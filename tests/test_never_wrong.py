"""What a replay would lose is seen, and the function runs as plain NumPy (or is replayed) instead."""

from __future__ import annotations

import collections
import time

import numpy as np
import pytest

import tracejit as tj

KEPT: list[object] = []
SCALE = 2.0
TABLE = np.array([1.0, 2.0, 3.0])


def test_containers_in_arguments_are_changed_as_python_does() -> None:
    @tj.jit
    def append(x, items):
        items.append(x * 2)
        return x + 1

    items: list[np.ndarray] = []
    for _ in range(3):
        append(np.ones(3), items)
    assert [item.tolist() for item in items] == [[2.0, 2.0, 2.0]] * 3
    queue: collections.deque[np.ndarray] = collections.deque()
    for _ in range(2):
        append(np.ones(3), queue)
    assert len(queue) == 2


def test_a_global_list_is_changed_at_each_call() -> None:
    @tj.jit
    def keep(x):
        y = x * 2
        KEPT.append(y)
        return y

    KEPT.clear()
    for _ in range(3):
        keep(np.ones(2))
    assert len(KEPT) == 3 and all(isinstance(item, np.ndarray) for item in KEPT)


def test_in_place_work_is_not_done_twice() -> None:
    @tj.jit
    def bump(x):
        x += 1
        if x.sum() > 0:
            return x.view(np.int64)
        return x

    x = np.zeros(3)
    for expected in (1.0, 2.0, 3.0):
        bump(x)
        np.testing.assert_array_equal(x, expected)


def test_random_numbers_are_drawn_at_each_call() -> None:
    @tj.jit
    def noisy(x, rng):
        return x + rng.random(3)

    mine, theirs = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(3):
        np.testing.assert_array_equal(noisy(np.zeros(3), mine), theirs.random(3))
    assert noisy.stats.traces == 1


def test_clocks_go_on() -> None:
    @tj.jit
    def stamp(x):
        return x + time.perf_counter()

    first, second = stamp(np.zeros(1)), stamp(np.zeros(1))
    assert second > first
    assert stamp.stats.traces == 1


def test_print_prints_at_each_call(capsys: pytest.CaptureFixture[str]) -> None:
    @tj.jit
    def loud(x):
        print("sum", x.sum())
        return x + 1

    for scale in (1.0, 1.0, 2.0):
        loud(np.full(3, scale))
    assert capsys.readouterr().out == "sum 3.0\nsum 3.0\nsum 6.0\n"
    assert loud.stats.traces == 1


def test_arrays_made_inside_are_new_at_each_call() -> None:
    @tj.jit
    def accumulate(x):
        total = np.arange(3.0)
        total += x
        table = np.eye(3)
        table[0, 0] = x[0]
        return total, table

    for _ in range(3):
        total, table = accumulate(np.ones(3))
        np.testing.assert_array_equal(total, [1.0, 2.0, 3.0])
        np.testing.assert_array_equal(table, np.eye(3))


def test_a_global_array_is_read_at_each_call() -> None:
    @tj.jit
    def scaled(x):
        return x * TABLE

    np.testing.assert_array_equal(scaled(np.ones(3)), TABLE)
    TABLE[0] = 7.0
    try:
        np.testing.assert_array_equal(scaled(np.ones(3)), [7.0, 2.0, 3.0])
    finally:
        TABLE[0] = 1.0
    assert scaled.stats.traces == 1


def test_a_write_to_a_global_array_happens_at_each_call() -> None:
    @tj.jit
    def count(x):
        TABLE[1] += 1
        return x + 1

    before = TABLE[1]
    try:
        for _ in range(3):
            count(np.ones(2))
        assert TABLE[1] == before + 3
    finally:
        TABLE[1] = before


def test_a_changed_global_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    @tj.jit
    def scaled(x):
        return x * SCALE

    assert scaled(np.ones(1))[0] == 2.0
    monkeypatch.setattr("tests.test_never_wrong.SCALE", 5.0)
    assert scaled(np.ones(1))[0] == 5.0


def test_many_branches_stay_right() -> None:
    @tj.jit
    def steps(x):
        count = 0
        while x.sum() < 2200:
            x = x + 3 - 2  # enough to fuse for a function to stay compiled
            count += 1
        return count

    for start in (0.0, 1050.0, 1099.0, 0.0):
        assert steps(np.full(2, start)) == steps.function(np.full(2, start))
    assert any("branches" in reason for reason in steps.reasons)


def test_a_slow_value_is_not_computed_again_along_a_broadcast() -> None:
    @tj.jit
    def weighted(v, m):
        return np.exp(v)[None, :] * m

    v, m = np.linspace(0, 1, 5), np.ones((4, 5))
    kernels = weighted.explain(v, m).kernels
    with_exp = [k for k in kernels if any(getattr(i.body, "op", "") == "exp" for i in k.instructions)]
    assert len(with_exp) == 1
    assert with_exp[0].axes == 1
    np.testing.assert_allclose(weighted(v, m), np.exp(v)[None, :] * m, rtol=1e-15)


def test_fusion_promises() -> None:
    @tj.jit
    def softmax(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    @tj.jit
    def sweep(u):
        v = u.copy()
        v[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
        return v

    x = np.random.default_rng(0).random((7, 9))
    assert len(softmax.explain(x).kernels) == 1
    assert len(sweep.explain(x).kernels) == 1


@pytest.mark.parametrize("ending", [".dot", ".html"])
def test_explanations_save(tmp_path, ending: str) -> None:
    @tj.jit
    def f(x):
        return np.sin(x).sum()

    path = f.explain(np.ones(4)).save(tmp_path / f"graph{ending}")
    assert "sin" in path.read_text()


def test_explain_says_when_jit_is_disabled() -> None:
    @tj.jit
    def f(x):
        return x + 1

    with tj.disable_jit(), pytest.raises(RuntimeError, match="disabled"):
        f.explain(np.ones(2))
