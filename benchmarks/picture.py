"""The results as a bar picture, when matplotlib is installed."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Measurement
from benchmarks.peers import Peer
from benchmarks.workloads import Workload


def draw(workloads: list[Workload], peers: list[Peer], results: list[Measurement], path: Path) -> Path | None:
    """Bars of the gain over NumPy, a group a workload; None when there is nothing to draw it with."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    times = {(m.workload, m.peer): m.median for m in results if m.samples}
    steady = [w for w in workloads if not w.first_call and (w.name, "numpy") in times]
    rivals = [peer.name for peer in peers if peer.name != "numpy"]
    if not steady or not rivals:
        return None
    figure, axes = pyplot.subplots(figsize=(2 + 0.9 * len(steady), 4.5), layout="constrained")
    width = 0.8 / len(rivals)
    for number, name in enumerate(rivals):
        places = [i + (number - (len(rivals) - 1) / 2) * width for i in range(len(steady))]
        gains = [times[w.name, "numpy"] / times.get((w.name, name), float("nan")) for w in steady]
        axes.bar(places, gains, width, label=name, zorder=2)
    axes.axhline(1.0, color="black", linewidth=0.8, zorder=3)
    axes.set_yscale("log")
    axes.set_xticks(range(len(steady)), [w.name for w in steady])
    axes.set_ylabel("times as fast as NumPy")
    axes.grid(axis="y", which="both", alpha=0.3, zorder=0)
    axes.legend(ncols=len(rivals), fontsize="small")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return path
