"""Functions that break again and again and have nothing to fuse run as plain NumPy."""

from __future__ import annotations

import numpy as np

import tracejit as tj


def escape(xs, steps):
    z = np.zeros(xs.shape, complex)
    counts = np.zeros(xs.shape, np.int64)
    for step in range(steps):
        alive = np.abs(z) < 2.0
        counts[alive] = step
        z[alive] = z[alive] ** 2 + xs[alive]
    return counts


PLANE = np.linspace(-2, 0.5, 12) + 0.3j


def test_masked_steps_over_complex_arrays():
    function = tj.jit(escape)
    for _ in range(3):
        np.testing.assert_array_equal(function(PLANE, 8), escape(PLANE, 8))
    assert function.stats.traces == 1 and function.stats.plain_calls == 2
    assert "plain NumPy" in str(function.explain(PLANE, 8)) and "breaks" in str(function.explain(PLANE, 8))


def test_other_arguments_are_weighed_by_themselves():
    function = tj.jit(escape)
    for steps in (8, 2, 8, 2):
        np.testing.assert_array_equal(function(PLANE, steps), escape(PLANE, steps))
    assert function.stats.traces == 2 and function.stats.plain_calls == 1


def test_scalar_loops():
    def collatz(n):
        count = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            count += 1
        return count

    function = tj.jit(collatz)
    for n in (6, 7, 27, 27, 6, 97):
        assert function(np.int64(n)) == collatz(n)
    assert function.stats.plain_calls == 5


def test_a_long_first_call_is_given_up():
    def total(x):
        found = 0.0
        for i in range(x.shape[0]):
            if x[i] > 0.5:
                found += x[i]
        return found

    x = np.random.default_rng(0).random(200)
    function = tj.jit(total)
    for _ in range(2):
        assert function(x) == total(x)
    assert "breaks" in function.plain_reason and function.stats.plain_calls == 2


def test_breaks_between_single_writes():
    """Each write would be a kernel of its own, and after a break a copy of the array."""

    def sieve(n):
        prime = np.ones(n + 1, bool)
        prime[:2] = False
        for i in range(2, int(n**0.5) + 1):
            if prime[i]:
                prime[i * i :: i] = False
        return np.flatnonzero(prime)

    function = tj.jit(sieve)
    for _ in range(3):
        np.testing.assert_array_equal(function(500), sieve(500))
    assert function.stats.traces == 1 and function.stats.plain_calls == 2
    assert "kernels and copies" in str(function.explain(500))


def test_many_breaks_among_kernels_stay_compiled():
    def descend(x, rate):
        step = 0
        while np.max(np.abs(np.sin(x) * np.exp(-x * x) + x)) > 1e-3:
            x = x - rate * (np.cos(x) * np.exp(-x * x) + 2 * x * np.tanh(x) + x)
            step += 1
            if step == 30:
                break
        return x

    function = tj.jit(descend)
    x = np.linspace(-1, 1, 50)
    for _ in range(3):
        np.testing.assert_allclose(function(x, 0.05), descend(x, 0.05), rtol=1e-12, atol=1e-15)
    assert function.stats.plain_calls == 0 and function.roots[0].loss is None


def test_arguments_that_were_written_before_it_is_given_up_are_taken_back():
    def shift(x):
        while x[0] > 0:
            x[0] -= 1
        return x[0] + 1

    mine, theirs = np.array([100.0, 1.0]), np.array([100.0, 1.0])
    function = tj.jit(shift)
    assert function(mine) == shift(theirs)
    np.testing.assert_array_equal(mine, theirs)
    assert function.plain_reason is not None


def test_keyword_arguments_and_containers_still_find_their_way():
    function = tj.jit(escape)
    for _ in range(3):
        np.testing.assert_array_equal(function(xs=PLANE, steps=8), escape(PLANE, 8))
    assert function.stats.plain_calls == 2
