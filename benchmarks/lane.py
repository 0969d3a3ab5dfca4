"""What a peer's process does: a workload made ready and checked, sampled, dropped again."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import by_name as peer_by_name
from benchmarks.runner import Runner
from benchmarks.worker import WARMED_BELOW, Measurement, repeats_for, timed
from benchmarks.workloads import Workload, chain
from benchmarks.workloads import by_name as workload_by_name


class Lane:
    """One peer; its methods are the commands that `Worker.ask` sends."""

    def __init__(self, peer: str) -> None:
        self.peer = peer_by_name(peer)
        self._call: Callable[[], Any] | None = None
        self._repeats = 1
        self._once = 0.0

    def prepare(self, name: str, scale: float) -> Measurement:
        """Compile, call once, check the result against NumPy's, and see how long a call takes."""
        workload = workload_by_name(name)
        return self._prepare(workload, workload.make(np.random.default_rng(0), scale))

    def sample(self) -> float:
        """Seconds a call."""
        assert self._call is not None
        if self._once < WARMED_BELOW:
            self._call()
        return timed(self._call, self._repeats)

    def drop(self) -> None:
        """Let go of the workload and its arrays."""
        self._call = None

    def first_calls(self, name: str, scale: float, budget: float) -> Measurement:
        """The first call of functions made anew; one warm-up with a different function goes before."""
        workload = workload_by_name(name)
        arguments = workload.make(np.random.default_rng(0), scale)
        warm_up = Workload("W13-3", "warm-up", chain(3), workload.make, first_call=True)
        measurement = self._prepare(warm_up, arguments)
        measurement.workload = name
        if self._call is None:
            return measurement
        length = int(name.split("-")[1])
        end = time.perf_counter() + budget
        for attempt in range(5):
            if attempt and time.perf_counter() > end:
                break
            fresh = Workload(name, workload.title, chain(length + attempt), workload.make, first_call=True)
            lane = Lane(self.peer.name)
            once = lane._prepare(fresh, arguments)
            if once.error:
                measurement.error = once.error
                break
            measurement.samples.append(once.first_call)
        measurement.first_call = measurement.median
        return measurement

    def _prepare(self, workload: Workload, arguments: tuple[Any, ...]) -> Measurement:
        measurement = Measurement(workload.name, self.peer.name)
        self._call = None
        try:
            runner = self.peer.prepare(workload)
            if runner is None:
                measurement.error = "not expressed"
                return measurement
            mine = runner.convert(copy.deepcopy(arguments))
            start = time.perf_counter()
            result = runner.wait(runner.function(*mine))
            measurement.first_call = time.perf_counter() - start
        except Exception as error:  # a peer that fails is reported, and the others go on
            measurement.error = f"{type(error).__name__}: {error}".splitlines()[0]
            return measurement
        theirs = copy.deepcopy(arguments)
        expected = workload.function(*theirs)
        if workload.mutates:
            result, expected = mine[0], theirs[0]
        measurement.error = difference(result, expected, workload.tolerance)
        if not workload.first_call or not measurement.error:
            self._ready(runner, mine)
        return measurement

    def _ready(self, runner: Runner, mine: tuple[Any, ...]) -> None:
        def waited() -> Any:
            return runner.wait(runner.function(*mine))

        function = runner.function
        self._call = (lambda: function(*mine)) if runner.immediate else waited
        self._once = timed(self._call, 1)
        self._once = timed(self._call, 1)
        self._repeats = repeats_for(self._once)


def difference(actual: Any, expected: Any, tolerance: float) -> str:
    """'' if the results agree, else in what they differ."""
    mine = actual if isinstance(actual, tuple | list) else (actual,)
    theirs = expected if isinstance(expected, tuple | list) else (expected,)
    if len(mine) != len(theirs):
        return f"{len(mine)} results in place of {len(theirs)}"
    for a, e in zip(mine, theirs, strict=True):
        a, e = np.asarray(a), np.asarray(e)
        if a.shape == (1,) and e.shape == ():  # Dr.Jit's scalars are arrays of one element
            a = a[0]
        if a.shape != e.shape:
            return f"shape {a.shape} in place of {e.shape}"
        worst = float(np.max(np.abs(a - e) / (np.abs(e) + np.abs(e).max() * 1e-3 + 1e-30), initial=0.0))
        if not worst <= tolerance:
            return f"differs by {worst:.1e}"
    return ""
