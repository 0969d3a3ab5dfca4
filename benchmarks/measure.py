"""Measuring: interleaved rounds, so that a noisy minute is shared by all peers; medians; ratios."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.peers import Peer, Runner
from benchmarks.workloads import Workload, chain

SHORTEST_SAMPLE = 2e-3
"""Seconds: a sample repeats the call until it is at least this long."""


@dataclass
class Measurement:
    """What one peer did on one workload. Seconds."""

    workload: str
    peer: str
    first_call: float = 0.0
    samples: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples) if self.samples else float("nan")


@dataclass
class _Lane:
    """A peer made ready for one workload."""

    measurement: Measurement
    call: Callable[[], Any]
    repeats: int = 1


def measure(workload: Workload, peers: list[Peer], budget: float, scale: float = 1.0) -> list[Measurement]:
    """Run one workload through the peers, for about `budget` seconds besides compilation."""
    arguments = workload.make(np.random.default_rng(0), scale)
    if workload.first_call:
        return [_measure_first_calls(workload, peer, arguments, budget) for peer in peers]
    mine = copy.deepcopy(arguments)
    expected = workload.function(*mine)
    expected = mine[0] if workload.mutates else expected
    lanes = [_prepare(workload, peer, arguments, expected) for peer in peers]
    _interleave([lane for lane in lanes if lane.call is not _nothing], budget)
    return [lane.measurement for lane in lanes]


def _nothing() -> None:
    """Stands where a peer cannot run a workload."""


def _prepare(workload: Workload, peer: Peer, arguments: tuple[Any, ...], expected: Any) -> _Lane:
    """Compile, call once, check the result against NumPy's, and see how long a call takes."""
    measurement = Measurement(workload.name, peer.name)
    runner = _runner(workload, peer, measurement)
    if runner is None:
        return _Lane(measurement, _nothing)
    try:
        mine = runner.convert(copy.deepcopy(arguments))
        start = time.perf_counter()
        result = runner.wait(runner.function(*mine))
        measurement.first_call = time.perf_counter() - start
        measurement.error = _difference(mine[0] if workload.mutates else result, expected, workload.tolerance)
    except Exception as error:  # a peer that fails is reported, and the others go on
        measurement.error = f"{type(error).__name__}: {error}".splitlines()[0]
        return _Lane(measurement, _nothing)

    def call() -> Any:
        return runner.wait(runner.function(*mine))

    plain = runner.function if runner.immediate else None
    lane = _Lane(measurement, call if plain is None else lambda: plain(*mine))
    call()
    once = _sample(lane)
    lane.repeats = max(1, int(np.ceil(SHORTEST_SAMPLE / max(once, 1e-8))))
    return lane


def _runner(workload: Workload, peer: Peer, measurement: Measurement) -> Runner | None:
    try:
        runner = peer.prepare(workload)
    except Exception as error:
        measurement.error = f"{type(error).__name__}: {error}".splitlines()[0]
        return None
    if runner is None:
        measurement.error = "not expressed"
    return runner


def _difference(actual: Any, expected: Any, tolerance: float) -> str:
    """'' if the results agree, else in what they differ."""
    mine = actual if isinstance(actual, tuple | list) else (actual,)
    theirs = expected if isinstance(expected, tuple | list) else (expected,)
    if len(mine) != len(theirs):
        return f"{len(mine)} results in place of {len(theirs)}"
    for a, e in zip(mine, theirs, strict=True):
        a, e = np.asarray(a), np.asarray(e)
        if a.shape != e.shape:
            return f"shape {a.shape} in place of {e.shape}"
        worst = float(np.max(np.abs(a - e) / (np.abs(e) + np.abs(e).max() * 1e-3 + 1e-30), initial=0.0))
        if not worst <= tolerance:
            return f"differs by {worst:.1e}"
    return ""


def _sample(lane: _Lane) -> float:
    """Seconds a call, over `repeats` calls in a row."""
    call, repeats = lane.call, range(lane.repeats)
    start = time.perf_counter()
    for _ in repeats:
        call()
    return (time.perf_counter() - start) / lane.repeats


def _interleave(lanes: list[_Lane], budget: float, fewest: int = 5, most: int = 200) -> None:
    """Rounds in which each peer has one sample, the order turned by one each round."""
    end = time.perf_counter() + budget
    for round_number in range(most):
        if round_number >= fewest and time.perf_counter() > end:
            break
        turn = round_number % max(len(lanes), 1)
        for lane in lanes[turn:] + lanes[:turn]:
            lane.measurement.samples.append(_sample(lane))


def _measure_first_calls(workload: Workload, peer: Peer, arguments: tuple[Any, ...], budget: float) -> Measurement:
    """The first call of functions made anew; one warm-up with a different function goes before."""
    measurement = Measurement(workload.name, peer.name)
    length = int(workload.name.split("-")[1])
    warm_up = Workload("W13-3", "warm-up", chain(3), workload.make, first_call=True)
    lane = _prepare(warm_up, peer, arguments, warm_up.function(*arguments))
    if lane.call is _nothing:
        measurement.error = lane.measurement.error
        return measurement
    end = time.perf_counter() + budget
    for attempt in range(5):
        if attempt and time.perf_counter() > end:
            break
        fresh = Workload(workload.name, workload.title, chain(length + attempt), workload.make, first_call=True)
        runner = _runner(fresh, peer, measurement)
        if runner is None:
            break
        mine = runner.convert(arguments)
        start = time.perf_counter()
        try:
            result = runner.wait(runner.function(*mine))
        except Exception as error:
            measurement.error = f"{type(error).__name__}: {error}".splitlines()[0]
            break
        measurement.samples.append(time.perf_counter() - start)
        measurement.error = _difference(result, fresh.function(*arguments), workload.tolerance)
    measurement.first_call = measurement.median
    return measurement
