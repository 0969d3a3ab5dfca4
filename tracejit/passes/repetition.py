"""Finding what repeats: the longest stretch of a trace that is one stretch of ops again and again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tracejit.ir.node import Node
from tracejit.ops.table import OPS
from tracejit.records import dataclass

FEWEST_TIMES = 8
"""Repetitions below which a stretch stays as it is."""

FEWEST_NODES = 1300
"""Nodes in all below which unrolled code compiles fast enough, and its kernels are fused over the iterations."""

STORE_WEIGHT = 40
"""Nodes that the write of one element counts for: a kernel of its own, which unrolled code has in every iteration."""

COST_WEIGHT = 3
"""Instructions of a function of one number that compile as long as a node: they are written out for each."""

_CANDIDATES = 4


@dataclass(frozen=True)
class Repetition:
    """Nodes `start .. start + period * times` of a sequence: `times` stretches alike."""

    start: int
    period: int
    times: int


def find_repetition(nodes: Sequence[Node], begin: int = 0) -> Repetition | None:
    """The first stretch from `begin` on that repeats often enough to be worth a loop."""
    numbers: dict[Any, int] = {}
    tokens = [numbers.setdefault(token(node), len(numbers)) for node in nodes]
    following = _next_places(tokens)
    ends: dict[int, int] = {}
    weights = [0, *itertools.accumulate(weight(node) for node in nodes)]
    for start in range(begin, len(tokens)):
        if weights[-1] - weights[start] < FEWEST_NODES:
            break
        place = start
        for _ in range(_CANDIDATES):
            place = following[place]
            if place < 0:
                break
            period = place - start
            if ends.get(period, -1) < start:
                ends[period] = _end_of_run(tokens, start, period)
            times = (ends[period] - start) // period + 1
            heavy = weights[start + times * period] - weights[start] >= FEWEST_NODES
            if times >= FEWEST_TIMES and heavy and any(map(_computes, nodes[start : start + period])):
                return Repetition(start, period, times)
    return None


def _computes(node: Node) -> bool:
    """Whether a node does more than move values, which `merge_updates` makes one write of."""
    return node.op not in ("view", "update", "cast")


def with_fewest_carries(nodes: Sequence[Node], found: Repetition) -> Repetition:
    """The same repetition begun where the fewest values cross from one stretch into the next.

    A trace repeats from any of its ops on.  Begun in the middle of what the user wrote as an iteration, a loop carries
    what that iteration had computed halfway.
    """
    middle = found.start + found.times // 2 * found.period
    place = {id(nodes[p]): p for p in range(middle - found.period, middle + 2 * found.period)}
    last = dict.fromkeys(range(middle - found.period, middle + found.period), 0)
    for user in range(middle - found.period, middle + 2 * found.period):
        for source in nodes[user].inputs:
            if id(source) in place:
                last[place[id(source)]] = user
    crossing = [
        sum(last[p] >= middle + phase for p in range(middle + phase - found.period, middle + phase))
        for phase in range(found.period)
    ]
    # Of the best ones the first that ends with a write, whose value is then one of the iteration itself.
    phase = min(range(found.period), key=lambda p: (crossing[p], nodes[middle + p - 1].op != "update"))
    return found if phase == 0 else replace(found, start=found.start + phase, times=found.times - 1)


def _next_places(tokens: Sequence[int]) -> list[int]:
    """For each place the next one with the same token, -1 for none."""
    last: dict[int, int] = {}
    following = [-1] * len(tokens)
    for place in range(len(tokens) - 1, -1, -1):
        following[place] = last.get(tokens[place], -1)
        last[tokens[place]] = place
    return following


def _end_of_run(tokens: Sequence[int], start: int, period: int) -> int:
    """The first place from `start` on whose token is not that of a period later."""
    for place in range(start, len(tokens) - period):
        if tokens[place] != tokens[place + period]:
            return place
    return max(start, len(tokens) - period)


def weight(node: Node) -> int:
    """What a node costs where it is not part of a loop."""
    if node.kind == "elementwise" and not node.shape:
        return max(1, OPS[node.op].cost // COST_WEIGHT)
    return STORE_WEIGHT if node.op == "update" and not node.inputs[1].shape else 1


def token(node: Node) -> Any:
    """What must agree between repetitions: all but which inputs, and where fixed places of a view are."""
    params = tuple((key, value) for key, value in node.params if key != "indices")
    indices = dict(node.params).get("indices", ())
    kept = tuple(replace(index, start=0) if index.axis is None else index for index in indices)
    return node.op, node.type, params, kept, len(node.inputs)
