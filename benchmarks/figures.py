"""The figures of a run: who is the best peer where, ratios, geometric means."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.limits import Limits, Work
from benchmarks.worker import Measurement
from benchmarks.workloads import Workload

OURS = "tracejit"


@dataclass(frozen=True)
class Figures:
    """All that a run measured."""

    workloads: list[Workload]
    peers: list[str]
    results: list[Measurement]
    limits: Limits
    work: dict[str, Work | None]

    def seconds(self, workload: str, peer: str) -> float:
        """The median of a peer whose result was right; NaN without one."""
        for m in self.results:
            if m.workload == workload and m.peer == peer and not m.error:
                return m.median
        return math.nan

    def best_peer(self, workload: str) -> tuple[str, float]:
        """The fastest of the others, and its time; ('', NaN) where none ran."""
        rivals = {p: self.seconds(workload, p) for p in self.rivals(workload)}
        fastest = min(rivals, key=rivals.__getitem__, default="")
        return fastest, rivals.get(fastest, math.nan)

    def rivals(self, workload: str) -> list[str]:
        """The peers that ran it; NumPy and numexpr compile nothing, so at first calls they do not compete."""
        first_call = workload.startswith("W13")
        others = [p for p in self.peers if p != OURS and not (first_call and p in ("numpy", "numexpr"))]
        return [p for p in others if not math.isnan(self.seconds(workload, p))]

    def ratio_to_best(self, workload: str) -> float:
        """Our time over the best peer's: under 1 is ahead."""
        return self.seconds(workload, OURS) / self.best_peer(workload)[1]

    def share_of_limit(self, workload: str) -> float:
        """The least time that the machine allows, over ours; NaN where no limit applies."""
        work = self.work.get(workload)
        return math.nan if work is None else work.least_seconds(self.limits) / self.seconds(workload, OURS)

    def mean_gain(self, peer: str) -> tuple[float, int]:
        """Geometric mean of a peer's time over ours, and over how many workloads."""
        gains = [
            self.seconds(w.name, peer) / self.seconds(w.name, OURS)
            for w in self.workloads
            if peer in self.rivals(w.name)
        ]
        return geometric_mean(gains), len([g for g in gains if not math.isnan(g)])

    def mean_gain_over_best(self) -> float:
        """Geometric mean of the best peer's time over ours, the peer chosen anew for each workload."""
        return geometric_mean(1 / self.ratio_to_best(w.name) for w in self.workloads)


def geometric_mean(values: Iterable[float]) -> float:
    """NaNs are left out; NaN for none."""
    logs = [math.log(v) for v in values if not math.isnan(v)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
