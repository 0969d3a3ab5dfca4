"""The benchmarks' own machinery: a run in processes, the page that it writes, wrong results, peers that die."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import report
from benchmarks.figures import Figures, geometric_mean
from benchmarks.lane import difference
from benchmarks.limits import Limits, Work
from benchmarks.measure import measure
from benchmarks.peers import available
from benchmarks.worker import Measurement, Worker
from benchmarks.workloads import by_name, select


def figures(**seconds: float) -> Figures:
    """Figures of one workload, W9."""
    results = [Measurement("W9", peer, 1.0, [taken]) for peer, taken in seconds.items()]
    limits = Limits({"copy": 10.0}, {"float32": 200.0, "float64": 100.0})
    return Figures([by_name("W9")], list(seconds), results, limits, {"W9": Work(1e8, 1e7, "float64")})


def test_ratio_and_share() -> None:
    made = figures(numpy=4.0, tracejit=0.1, jax=0.2)
    assert made.best_peer("W9") == ("jax", 0.2)
    assert made.ratio_to_best("W9") == pytest.approx(0.5)
    assert made.share_of_limit("W9") == pytest.approx(0.01 / 0.1)  # memory: 1e8 bytes at 1e10 a second
    assert made.mean_gain("numpy") == (pytest.approx(40.0), 1)


def test_wrong_results_are_no_figures() -> None:
    made = figures(tracejit=0.1, numpy=1.0, jax=0.01)
    made.results[2].error = "differs by 1.0e+00"
    assert made.best_peer("W9") == ("numpy", 1.0)
    page = report.results_page(made, {"when": "", "run": "", "cpu": "", "python": "", "versions": {}}, None)
    assert "jax, W9: differs" in page
    assert "Nowhere" in page


def test_losses_are_told() -> None:
    made = figures(tracejit=0.4, numpy=1.0, jax=0.2)
    page = report.results_page(made, {"when": "", "run": "", "cpu": "", "python": "", "versions": {}}, None)
    assert "jax is 2.00 times as fast, 400 against 200 ms" in page


def test_geometric_mean() -> None:
    assert geometric_mean([1.0, math.nan, 4.0]) == pytest.approx(2.0)
    assert math.isnan(geometric_mean([]))


def test_difference() -> None:
    x = np.arange(3.0)
    assert difference(x, x.copy(), 1e-9) == ""
    assert difference((x, x), (x, x + 1), 1e-9).startswith("differs")
    assert difference(x, x[:2], 1e-9).startswith("shape")
    assert difference(x * np.nan, x, 1e-9).startswith("differs")


def test_names_select_workloads() -> None:
    assert [w.name for w in select(["W9"])] == ["W9", "W9b"]
    with pytest.raises(SystemExit, match="no workload W99"):
        select(["W99"])


def test_a_small_run() -> None:
    """A process of each peer, results checked, samples taken; and one whose process is gone is begun again."""
    workers = [Worker("numpy"), Worker("tracejit")]
    try:
        for _ in range(2):
            measured = measure(by_name("W10a"), available(["numpy", "tracejit"]), workers, budget=0.01)
            assert [m.peer for m in measured] == ["numpy", "tracejit"]
            assert all(len(m.samples) >= 5 and not m.error for m in measured)
            for worker in workers:
                worker.end()
    finally:
        for worker in workers:
            worker.end()


def test_a_peer_lost_while_it_is_sampled() -> None:
    """Its figures go, the others' stay, and the next workload finds it again."""

    class Dying(Worker):
        def ask(self, command: str, *arguments: object) -> object:
            if command == "sample":
                self.end()
                raise RuntimeError("its process died (exit code -9)")
            return super().ask(command, *arguments)

    workers = [Worker("numpy"), Dying("tracejit")]
    try:
        numpy, ours = measure(by_name("W10a"), available(["numpy", "tracejit"]), workers, budget=0.01)
        assert len(numpy.samples) >= 5 and not numpy.error
        assert not ours.samples and "exit code -9" in ours.error
    finally:
        for worker in workers:
            worker.end()
