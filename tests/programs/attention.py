"""Causal multi-head attention with einsum."""

import numpy as np

from tests.programs import Program


def attention(x, wq, wk, wv, wo, heads):
    n, d = x.shape
    q, k, v = (np.reshape(x @ w, (n, heads, d // heads)) for w in (wq, wk, wv))
    scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(d // heads)
    scores = np.where(np.tril(np.ones((n, n), dtype=bool)), scores, -1e30)
    scores -= scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores)
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hij,jhd->ihd", weights, v).reshape(n, d) @ wo


def make_arguments(rng, size):
    return rng.normal(size=(size, 8)), *(rng.normal(size=(8, 8)) / 3 for _ in range(4)), 2


PROGRAMS = [Program("attention", attention, make_arguments, (1e-10, 1e-12))]
