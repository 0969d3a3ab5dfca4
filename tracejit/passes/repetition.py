"""Finding what repeats: the longest stretch of a trace that is one stretch of ops again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracejit.ir.node import Node

FEWEST_TIMES = 8
"""Repetitions below which a stretch stays as it is."""

FEWEST_NODES = 1500
"""Nodes in all below which unrolled code compiles fast enough, and its kernels are fused over the iterations."""

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
    tokens = [numbers.setdefault(_token(node), len(numbers)) for node in nodes]
    following = _next_places(tokens)
    ends: dict[int, int] = {}
    for start in range(begin, len(tokens) - FEWEST_NODES + 1):
        place = start
        for _ in range(_CANDIDATES):
            place = following[place]
            if place < 0:
                break
            period = place - start
            if ends.get(period, -1) < start:
                ends[period] = _end_of_run(tokens, start, period)
            times = (ends[period] - start) // period + 1
            if times >= FEWEST_TIMES and times * period >= FEWEST_NODES:
                return Repetition(start, period, times)
    return None


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


def _token(node: Node) -> Any:
    """What must agree between repetitions: all but which inputs, and where fixed places of a view are."""
    params = tuple((key, value) for key, value in node.params if key != "indices")
    indices = dict(node.params).get("indices", ())
    kept = tuple(replace(index, start=0) if index.axis is None else index for index in indices)
    return node.op, node.type, params, kept, len(node.inputs)
