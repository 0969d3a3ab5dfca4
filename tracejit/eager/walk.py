"""Derivatives through records: backward from results to what they were made of, or forward.

The records that count are visited in the order of their numbers, so that each is visited once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracejit.eager.core import Eager, apply, refuse_trace, wrap
from tracejit.eager.derivatives import Derivative, pullback, pushforward
from tracejit.eager.recording import Record, Session, Tracked
from tracejit.runtime.device_array import is_array
from tracejit.trace.state import ACTIVE, NotDifferentiable


class Walk:
    """How records are walked.

    follows: which tracked values take part; recorded: the derivatives are Arrays whose making is recorded (otherwise
    plain NumPy values); unconnected: what comes of a value that an operation does not depend on smoothly ("none": the
    walk ends there; "zero": zeros); records: those that may be entered (None: all).
    """

    def __init__(
        self,
        follows: Callable[[Tracked], bool],
        recorded: bool,
        unconnected: str,
        records: frozenset[Record] | None = None,
    ) -> None:
        self.follows, self.recorded, self.unconnected, self.records = follows, recorded, unconnected, records

    def back(
        self, seeds: Iterable[tuple[Tracked, Any]], goals: frozenset[Tracked] = frozenset(), free: bool = False
    ) -> dict[Tracked, Any]:
        """The cotangents of all variables that are reached, and of `goals`, from those of some results."""
        if ACTIVE.trace is not None:
            refuse_trace()
        found: dict[Tracked, Any] = {}
        waiting: dict[Record, list[Tracked]] = {}
        heap: list[tuple[int, Record]] = []

        def accumulate(tracked: Tracked, cotangent: Any) -> None:
            if tracked in found:
                found[tracked] = found[tracked] + cotangent
                return
            found[tracked] = cotangent
            record = tracked.record
            if record is not None and (self.records is None or record in self.records):
                if record in waiting:
                    waiting[record].append(tracked)
                else:
                    waiting[record] = [tracked]
                    heapq.heappush(heap, (-record.serial, record))

        for tracked, cotangent in seeds:
            accumulate(tracked, cotangent)
        while heap:
            record = heapq.heappop(heap)[1]
            outputs = waiting.pop(record)
            if len(outputs) > 1:
                outputs.sort(key=lambda tracked: tracked.index)
            wanted, results = self._pulled(record, outputs, [found[tracked] for tracked in outputs])
            for position, result in zip(wanted, results, strict=True):
                if result is not None:
                    accumulate(record.tracked[position], result)  # type: ignore[arg-type]
            for tracked in outputs:
                if tracked not in goals and not tracked.retained:
                    del found[tracked]
            if free:
                record.free()
        return found

    def _pulled(
        self, record: Record, outputs: Sequence[Tracked], cotangents: Sequence[Any]
    ) -> tuple[tuple[int, ...], Sequence[Any]]:
        """Which leaves of a record the walk goes on to, and their cotangents."""
        leaves = _leaves(record)
        follows = self.follows
        wanted = tuple([p for p, tracked in enumerate(record.tracked) if tracked is not None and follows(tracked)])
        if not wanted:
            return wanted, ()
        given = tuple([tracked.index for tracked in outputs])
        derivative = pullback(record.call, leaves, wanted, given, self.unconnected)
        return wanted, self.derived(derivative, record, leaves, cotangents)

    def derived(self, derivative: Derivative, record: Record, leaves: Sequence[Any], values: Sequence[Any]) -> Any:
        """A derivative of a record's operation, as plain values or recorded."""
        try:
            if not self.recorded:
                return derivative(*leaves, *values)
            arrays = [
                leaf if tracked is None else wrap(leaf, tracked)
                for leaf, tracked in zip(leaves, record.tracked, strict=True)
            ]
            return apply(derivative, (*arrays, *values), None, True)
        except NotDifferentiable as error:
            raise NotDifferentiable(f"{error}\nIt was recorded at {record.line}.") from None


def _leaves(record: Record) -> tuple[Any, ...]:
    if record.leaves is None:
        raise RuntimeError(
            "backward goes through operations a second time whose records were freed the first time (made at "
            f"{record.line}); call the first backward with retain_graph=True"
        )
    return record.leaves


def between(targets: Iterable[Tracked], sources: frozenset[Tracked], session: Session) -> list[Record]:
    """The records of a session that lead from sources to targets, earliest first."""
    seen: dict[Record, None] = {}
    pending = [tracked.record for tracked in targets]
    while pending:
        record = pending.pop()
        if record is None or record in seen or session not in record.sessions:
            continue
        _leaves(record)
        seen[record] = None
        pending.extend(tracked.record for tracked in record.tracked if tracked is not None)
    leading: dict[Record, None] = {}
    for record in sorted(seen, key=lambda record: record.serial):
        if any(t is not None and (t in sources or t.record in leading) for t in record.tracked):
            leading[record] = None
    return list(leading)


def gradients(
    targets: Sequence[tuple[Tracked, Any]],
    sources: Sequence[Tracked | None],
    session: Session,
    recorded: bool,
) -> list[Any]:
    """The cotangents of sources for given ones of targets, through what a session recorded; None if unconnected."""
    goals = frozenset(source for source in sources if source is not None)
    leading = frozenset(between([tracked for tracked, _ in targets], goals, session))
    walk = Walk(lambda tracked: tracked in goals or tracked.record in leading, recorded, "none", leading)
    found = walk.back(targets, goals)
    return [found.get(source) if source is not None else None for source in sources]


def tangents(
    targets: Sequence[Tracked | None],
    sources: Sequence[tuple[Tracked, Any]],
    session: Session,
    recorded: bool,
) -> list[Any]:
    """The tangents of targets for given tangents of sources; None if unconnected."""
    if ACTIVE.trace is not None:
        refuse_trace()
    found: dict[Any, Any] = {_key(tracked): tangent for tracked, tangent in sources}
    goals = frozenset(tracked for tracked, _ in sources)
    walk = Walk(lambda _: True, recorded, "none")
    for record in between([t for t in targets if t is not None], goals, session):
        leaves = _leaves(record)
        wanted = tuple(p for p, t in enumerate(record.tracked) if t is not None and _key(t) in found)
        if not wanted:
            continue
        derivative = pushforward(record.call, leaves, wanted)
        given = [found[_key(record.tracked[p])] for p in wanted]  # type: ignore[arg-type]
        for index, tangent in enumerate(walk.derived(derivative, record, leaves, given)):
            if tangent is not None:
                found[record, index] = tangent
    return [None if t is None else found.get(_key(t)) for t in targets]


def _key(tracked: Tracked) -> Any:
    """What a tracked value is known by: several may stand for one output."""
    return tracked if tracked.record is None else (tracked.record, tracked.index)


def plain(value: Any) -> Any:
    """The NumPy value of an Array."""
    return value._value if isinstance(value, Eager) else value


def ones_like(value: Any) -> Any:
    return np.ones_like(value) if is_array(value) else type(value)(1)
