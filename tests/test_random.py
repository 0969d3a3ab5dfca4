"""Random numbers: the generator's published words, distributions, keys, threads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tracejit as tj
from tracejit import random
from tracejit.random.threefry import threefry

KEY = random.key(42)
N = 200_000

KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]
"""Key, counter, words: the known answers that the authors of Threefry publish for twenty rounds."""


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN)
def test_known_words(key, counter, expected):
    first, second = (np.array([word], np.uint32) for word in counter)
    found = tj.jit(threefry)(np.array(key, np.uint32), first, second)
    assert tuple(int(word[0]) for word in found) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (random.uniform, stats.uniform()),
        (lambda k, s, dtype: random.uniform(k, s, -2.0, 3.0, dtype), stats.uniform(-2, 5)),
        (random.normal, stats.norm()),
        (lambda k, s, dtype: random.normal(k, s, 1.0, 2.0, dtype), stats.norm(1, 2)),
        (random.truncated_normal, stats.truncnorm(-2, 2)),
    ],
)
def test_distributions(draw, distribution, dtype):
    values = draw(KEY, (N // 100, 100), dtype=dtype)
    assert values.dtype == dtype
    assert values.shape == (N // 100, 100)
    assert stats.kstest(values.ravel(), distribution.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(values.ravel()[:-1], values.ravel()[1:])[0, 1]) < 0.01


def test_uniform_is_below_one():
    for dtype in ("float32", "float64"):
        values = random.uniform(KEY, (10**6,), dtype=dtype)
        assert values.min() >= 0
        assert values.max() < 1


def test_integers_and_bits():
    values = random.integers(KEY, (N,), -3, 4)
    assert values.dtype == np.int64
    counts = np.bincount(values + 3, minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-3
    ones = np.unpackbits(random.bits(KEY, (N,)).view(np.uint8)).mean()
    assert abs(ones - 0.5) < 1e-3
    assert abs(random.bernoulli(KEY, 0.3, (N,)).mean() - 0.3) < 5e-3


def test_permutation():
    order = random.permutation(KEY, 1000)
    assert sorted(order.tolist()) == list(range(1000))
    rows = np.arange(20).reshape(10, 2)
    shuffled = random.permutation(KEY, rows)
    assert sorted(shuffled[:, 0].tolist()) == rows[:, 0].tolist()
    np.testing.assert_array_equal(shuffled[:, 1] - shuffled[:, 0], 1)


def test_categorical():
    logits = np.log(np.array([0.2, 0.5, 0.3]))
    drawn = random.categorical(KEY, np.broadcast_to(logits, (N, 3)).copy())
    assert stats.chisquare(np.bincount(drawn), N * np.array([0.2, 0.5, 0.3])).pvalue > 1e-3


def test_keys_are_unrelated():
    keys = [*random.split(KEY, 3), random.fold_in(KEY, 0), random.fold_in(KEY, 1), KEY]
    assert len({tuple(key) for key in keys}) == 6
    samples = [random.normal(key, (10000,)) for key in keys]
    assert np.abs(np.corrcoef(samples) - np.eye(6)).max() < 0.05


def test_the_same_numbers_for_any_threads_and_any_size():
    with tj.set_num_threads(1):
        one = random.normal(KEY, (N,))
    with tj.set_num_threads(2):
        two = random.normal(KEY, (N,))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[:100], random.normal(KEY, (100,)))


def test_inside_a_compiled_function():
    @tj.jit
    def noisy(x, key):
        return x + random.normal(key, x.shape)

    for n in (3, 7):
        np.testing.assert_array_equal(noisy(np.ones(n), KEY), 1 + random.normal(KEY, (n,)))
    assert noisy.stats.traces == 1


def test_generators():
    one, two = random.Generator(1), random.Generator(1)
    first = one.normal((4,))
    np.testing.assert_array_equal(first, two.normal((4,)))
    state = one.state
    following = [one.uniform((3,)), one.integers((3,), 0, 9), one.permutation(5)]
    one.restore(state)
    for value, again in zip(following, [one.uniform((3,)), one.integers((3,), 0, 9), one.permutation(5)], strict=True):
        np.testing.assert_array_equal(value, again)
    random.seed(5)
    before = random.default_generator().key()
    random.seed(5)
    np.testing.assert_array_equal(before, random.default_generator().key())
    with pytest.raises(RuntimeError, match="a generator moves on with each call"):
        tj.jit(lambda x: x + one.normal((3,)), fullgraph=True)(np.ones(3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: random.key(-1), ValueError, "a seed is an integer from 0"),
        (lambda: random.normal(3, (2,)), TypeError, "a key is an array of two uint32"),
        (lambda: random.normal(KEY, (-2,)), ValueError, "is negative"),
        (lambda: random.normal(KEY, (2,), dtype=int), TypeError, "float32 or float64, not int64"),
        (lambda: random.integers(KEY, (2,), 3, 3), ValueError, "high must be above low"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
