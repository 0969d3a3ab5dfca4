"""PageRank by power iteration on a dense link matrix, until it settles."""

import numpy as np

from tests.programs import Program


def pagerank_step(links, rank, damping=0.85):
    out_degree = links.sum(axis=0)
    shares = np.divide(rank, out_degree, out=np.zeros_like(rank), where=out_degree > 0)
    dangling = rank[out_degree == 0].sum() / rank.size
    new = damping * (links @ shares + dangling) + (1 - damping) / rank.size
    return new, np.abs(new - rank).sum()


def pagerank(links, limit):
    rank = np.full(links.shape[0], 1.0 / links.shape[0])
    for _ in range(50):
        rank, change = pagerank_step(links, rank)
        if change < limit:
            break
    return rank


def make_step(rng, size):
    links = (rng.random((size, size)) < 0.3).astype(np.float64)
    links[:, 1] = 0.0
    return links, np.full(size, 1.0 / size)


def make_arguments(rng, size):
    return make_step(rng, size)[0], 1e-4


PROGRAMS = [
    Program("pagerank_step", pagerank_step, make_step),
    Program("pagerank", pagerank, make_arguments, (1e-9, 1e-10)),
]
