"""`python -m benchmarks.gpu`: the workloads on a GPU, beside CuPy, jax and torch.compile; writes benchmarks/GPU.md.

Times are between events on the device, around so many calls that they take some milliseconds (jax has no events: the
clock of the host, until the last result is there).  Peers take turns in each round.  The share is that of the rate at
which the device copies memory, measured here, by the bytes that a workload must read and write at least.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.lane import difference
from benchmarks.limits import work_of
from benchmarks.peers import _torch_names, jax_runner
from benchmarks.runner import Runner, with_names
from benchmarks.workloads import Workload, select
from tracejit.runtime.cuda_adapter import simulated
from tracejit.runtime.device import NoDevice
from tracejit.runtime.devices import cuda_home

WORKLOADS = ["W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W11", "W12", "W14"]
PAGE = Path(__file__).parent / "GPU.md"

LEAST_MILLISECONDS = 5.0
"""Of a sample; shorter calls are repeated."""

ROUNDS = 15
COPIED = 1 << 28
"""Bytes that are copied to measure the memory's rate."""


class Clock:
    """Milliseconds that a number of calls take."""

    def __init__(self, record: Callable[[], Any], between: Callable[[Any, Any], float]) -> None:
        self._record, self._between = record, between

    def milliseconds(self, call: Callable[[], Any], repeats: int) -> float:
        """Of one call of several."""
        start = self._record()
        result = None
        for _ in range(repeats):
            result = call()
        end = self._record()
        return self._between(start, (end, result)) / repeats


def tracejit_clock() -> Clock:
    """Events on our own stream."""
    home = cuda_home(0)

    def record() -> int:
        event: int = home.driver.new_event()
        home.driver.record(event, home.stream)
        return event

    return Clock(record, lambda start, end: home.driver.milliseconds(start, end[0]))


def host_clock(wait: Callable[[Any], Any]) -> Clock:
    """The host's clock, until the last result is there."""

    def between(start: float, end: tuple[float, Any]) -> float:
        wait(end[1])
        return 1e3 * (time.perf_counter() - start)

    return Clock(time.perf_counter, between)


@dataclass(frozen=True)
class GpuPeer:
    """One way to run a workload on the GPU."""

    name: str
    prepare: Callable[[Workload], Runner | None]
    clock: Clock


def tracejit_peer() -> GpuPeer:
    """`tj.jit` on arrays that are on the device."""

    def prepare(work: Workload) -> Runner:
        return Runner(tj.jit(work.function), lambda args: tj.device_put(args, "cuda"))

    return GpuPeer("tracejit", prepare, tracejit_clock())


def cupy_peer() -> GpuPeer | None:
    """The function with CuPy under the name `np`."""
    if importlib.util.find_spec("cupy") is None:
        return None
    import cupy
    from cupyx.scipy.special import erf

    def record() -> Any:
        event = cupy.cuda.Event()
        event.record()
        return event

    def between(start: Any, end: tuple[Any, Any]) -> float:
        end[0].synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end[0]))

    def prepare(work: Workload) -> Runner:
        function = with_names(work.function, np=cupy, erf=erf)
        return Runner(function, lambda args: tuple(cupy.asarray(a) if hasattr(a, "shape") else a for a in args))

    return GpuPeer("cupy", prepare, Clock(record, between))


def torch_peer() -> GpuPeer | None:
    """`torch.compile` on tensors that are on the device."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None

    def record() -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(start: Any, end: tuple[Any, Any]) -> float:
        end[0].synchronize()
        return float(start.elapsed_time(end[0]))

    def prepare(work: Workload) -> Runner | None:
        if work.name == "W12":
            return None  # compiling the 100 unrolled steps takes minutes
        function = with_names(work.function, np=_torch_names(), erf=torch.erf)
        compiled = torch.no_grad()(torch.compile(function, dynamic=False))

        def convert(args: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(torch.from_numpy(a).cuda() if hasattr(a, "shape") else a for a in args)

        return Runner(compiled, convert)

    return GpuPeer("torch.compile", prepare, Clock(record, between))


def jax_peer() -> GpuPeer | None:
    """`jax.jit`, where jax sees the GPU."""
    if importlib.util.find_spec("jax") is None:
        return None
    import jax

    if jax.default_backend() != "gpu":
        return None
    jax.config.update("jax_enable_x64", True)
    return GpuPeer("jax", jax_runner, host_clock(jax.block_until_ready))


@dataclass
class Row:
    """A workload's figures: milliseconds by peer, and what went wrong."""

    workload: Workload
    samples: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def milliseconds(self, peer: str) -> float | None:
        """The median."""
        found = self.samples.get(peer)
        return statistics.median(found) if found else None


def measure(workload: Workload, peers: list[GpuPeer], scale: float, rounds: int) -> Row:
    """A workload by all peers, which take turns; only results that are NumPy's count."""
    row = Row(workload)
    arguments = workload.make(np.random.default_rng(0), scale)
    expected = copy.deepcopy(arguments)
    result = workload.function(*expected)
    wanted = expected[0] if workload.mutates else result
    lanes: list[tuple[GpuPeer, Callable[[], Any], int]] = []
    for peer in peers:
        with _reported(row, peer):
            runner = peer.prepare(workload)
            if runner is None:
                continue
            mine = runner.convert(copy.deepcopy(arguments))
            found = runner.function(*mine)
            wrong = difference(_values(mine[0] if workload.mutates else found), wanted, workload.tolerance)
            if wrong:
                raise ValueError(wrong)

            def call(function: Any = runner.function, given: Any = mine) -> Any:
                return function(*given)

            once = peer.clock.milliseconds(call, 3)
            lanes.append((peer, call, max(1, int(LEAST_MILLISECONDS / max(once, 1e-3)))))
    for turn in range(rounds):
        for place in range(len(lanes)):
            peer, call, repeats = lanes[(place + turn) % len(lanes)]
            row.samples.setdefault(peer.name, []).append(peer.clock.milliseconds(call, repeats))
    return row


@contextmanager
def _reported(row: Row, peer: GpuPeer) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a peer that fails is told of, and the others go on
        row.errors[peer.name] = f"{type(error).__name__}: {error}".splitlines()[0]


def _values(result: Any) -> Any:
    """A peer's result as NumPy's."""
    if isinstance(result, tuple | list):
        return tuple(map(_values, result))
    if hasattr(result, "cpu"):
        return result.cpu().numpy()
    return result.get() if type(result).__module__.startswith("cupy") else np.asarray(result)


def copy_rate(rounds: int, size: int = COPIED) -> float:
    """Gigabytes a second that a copy on the device reads and writes."""
    home = cuda_home(0)
    source, target = (home.empty((size,), np.uint8) for _ in range(2))
    clock = tracejit_clock()
    samples = [clock.milliseconds(lambda: home.copy_into(target, source), 10) for _ in range(rounds + 1)]
    return 2 * size / statistics.median(samples[1:]) / 1e6


def table(rows: list[Row], peers: list[str], rate: float, scale: float) -> str:
    """The figures as Markdown."""
    others = [name for name in peers if name != "tracejit"]
    head = ["workload", "tracejit, ms", "share of the copy rate", *(f"{name}, ms" for name in others)]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        mine = row.milliseconds("tracejit")
        work = work_of(row.workload, scale)
        share = f"{work.moved / mine / 1e6 / rate:.0%}" if work is not None and mine else ""
        first, *rest = ["" if (t := row.milliseconds(name)) is None else f"{t:.3f}" for name in ("tracejit", *others)]
        lines.append(_line([f"{row.workload.name} {row.workload.title}", first, share, *rest]))
    failed = [f"- {row.workload.name}, {name}: {text}" for row in rows for name, text in row.errors.items()]
    return "\n".join([*lines, *(["", "Without a figure:", "", *failed] if failed else [])])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", help="W1,W3,...: these alone, and the page is not written")
    parser.add_argument("--scale", type=float, default=1.0, help="shrink the inputs; the page is not written")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    try:
        home = cuda_home(0)
    except NoDevice as error:
        print(f"No GPU was found, so nothing was measured.\n{error}")
        return 1
    rate = copy_rate(given.rounds, COPIED if given.scale == 1 else 1 << 16)
    peers = [peer for peer in (tracejit_peer(), cupy_peer(), jax_peer(), torch_peer()) if peer is not None]
    chosen = select(given.workloads.split(",") if given.workloads else WORKLOADS)
    rows = []
    for workload in chosen:
        rows.append(measure(workload, peers, given.scale, given.rounds))
        print(f"{workload.name}: {rows[-1].milliseconds('tracejit')} ms", file=sys.stderr)
    name = home.driver.name(0)
    major, minor = home.capability
    page = (
        f"# On a GPU\n\n{name} (compute capability {major}.{minor}, {home.processors} multiprocessors), "
        f"{time.strftime('%Y-%m-%d')}; a copy on the device moves {rate:.0f} GB/s. "
        f"`python -m benchmarks.gpu`; medians of {given.rounds} rounds.\n\n"
        f"{table(rows, [peer.name for peer in peers], rate, given.scale)}\n"
    )
    print(page)
    if simulated():
        print("These are times of Numba's simulator, which say nothing of a GPU.")
    elif not given.workloads and given.scale == 1:
        PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
