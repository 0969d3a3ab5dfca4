"""Top-k by argsort and take: a recommender's last step."""

import numpy as np

from tests.programs import Program


def recommend(users, items, seen, k=3):
    scores = users @ items.T / np.sqrt(items.shape[1])
    scores = np.where(seen, -np.inf, scores)
    order = np.argsort(-scores, axis=1)[:, :k]
    return order, np.take_along_axis(scores, order, axis=1), np.take(items, order[:, 0], axis=0)


def ranks(values):
    order = values.argsort()
    out = np.empty(len(values), dtype=np.int64)
    out[order] = np.arange(len(values))
    return out, values[order], np.argmax(values), np.searchsorted(values[order], 0.0)


def make_arguments(rng, size):
    return rng.normal(size=(size, 4)), rng.normal(size=(size + 6, 4)), rng.random((size, size + 6)) < 0.2


def make_values(rng, size):
    return (rng.normal(size=3 * size),)


PROGRAMS = [
    Program("recommend", recommend, make_arguments),
    Program("ranks", ranks, make_values, (0.0, 0.0)),
]
