"""Measuring: interleaved rounds, so that a noisy minute is shared by all peers; medians; ratios."""

from __future__ import annotations

import time

from benchmarks.runner import Peer
from benchmarks.worker import Measurement, Worker
from benchmarks.workloads import Workload

LOST = "lost while it was sampled"


def measure(
    workload: Workload, peers: list[Peer], workers: list[Worker], budget: float, scale: float = 1.0
) -> list[Measurement]:
    """Run one workload through the peers, for about `budget` seconds besides compilation."""
    lanes = [
        (_prepared(workload, peer, worker, budget, scale), worker) for peer, worker in zip(peers, workers, strict=True)
    ]
    if not workload.first_call:
        _interleave([(m, worker) for m, worker in lanes if m.first_call], budget)
    return [m for m, _ in lanes]


def _prepared(workload: Workload, peer: Peer, worker: Worker, budget: float, scale: float) -> Measurement:
    """A peer made ready; or all that there is to measure, where that is the first call."""
    if workload.name in peer.left_out:
        return Measurement(workload.name, peer.name, error=f"left out: {peer.left_out[workload.name]}")
    try:
        if workload.first_call:
            made: Measurement = worker.ask("first_calls", workload.name, scale, budget)
        else:
            made = worker.ask("prepare", workload.name, scale)
    except RuntimeError as error:
        return Measurement(workload.name, peer.name, error=str(error))
    return made


def _interleave(lanes: list[tuple[Measurement, Worker]], budget: float, fewest: int = 5, most: int = 40) -> None:
    """Rounds in which each peer has one sample, the order turned by one each round."""
    end = time.perf_counter() + budget
    for round_number in range(most):
        if round_number >= fewest and time.perf_counter() > end:
            break
        turn = round_number % max(len(lanes), 1)
        for measurement, worker in lanes[turn:] + lanes[:turn]:
            if not measurement.error.startswith(LOST):
                _add_sample(measurement, worker)
    for measurement, worker in lanes:
        if not measurement.error.startswith(LOST):
            worker.ask("drop")


def _add_sample(measurement: Measurement, worker: Worker) -> None:
    """One more sample; a peer whose process is lost meanwhile has no figure, and the others go on."""
    try:
        measurement.samples.append(worker.ask("sample"))
    except RuntimeError as error:
        measurement.samples, measurement.error = [], f"{LOST}: {error}"
