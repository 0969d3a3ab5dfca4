"""The results as pictures, when matplotlib is installed: gains over NumPy as bars, and the roofline."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.figures import OURS, Figures
from benchmarks.limits import Work

COLOURS = {
    "tracejit": "#d1495b",
    "numpy": "#4d4d4d",
    "numba": "#2e86ab",
    "numba+": "#7fc8e8",
    "numexpr": "#8d6a9f",
    "jax": "#3a9d5d",
    "torch": "#ee9b00",
    "pytensor": "#9c6644",
    "drjit": "#1b4965",
}
MARKERS = {
    "tracejit": "o",
    "numpy": "s",
    "numba": "^",
    "numba+": "v",
    "numexpr": "P",
    "jax": "D",
    "torch": "X",
    "pytensor": "p",
    "drjit": "h",
}


def draw(figures: Figures, bars: Path, roofline: Path) -> Path | None:
    """Both pictures; the roofline's path, or None when there is nothing to draw it with or of."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        draw_bars(pyplot, figures, bars)
        return roofline if draw_roofline(pyplot, figures, roofline) else None


def draw_bars(pyplot: Any, figures: Figures, path: Path) -> None:
    """Bars of the gain over NumPy, a group a workload."""
    steady = [w for w in figures.workloads if not w.first_call and not math.isnan(figures.seconds(w.name, "numpy"))]
    rivals = [peer for peer in figures.peers if peer != "numpy"]
    if not steady or not rivals:
        return
    figure, axes = pyplot.subplots(figsize=(2 + 0.9 * len(steady), 4.5), layout="constrained")
    width = 0.8 / len(rivals)
    for number, name in enumerate(rivals):
        places = [i + (number - (len(rivals) - 1) / 2) * width for i in range(len(steady))]
        gains = [figures.seconds(w.name, "numpy") / figures.seconds(w.name, name) for w in steady]
        axes.bar(places, gains, width, label=name, color=COLOURS[name], zorder=2)
    axes.axhline(1.0, color="black", linewidth=0.8, zorder=3)
    axes.set_yscale("log")
    axes.set_xticks(range(len(steady)), [w.name for w in steady])
    axes.set_ylabel("times as fast as NumPy")
    axes.grid(axis="y", which="both", alpha=0.3, zorder=0)
    axes.legend(ncols=len(rivals), fontsize="small", frameon=False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def draw_roofline(pyplot: Any, figures: Figures, path: Path) -> bool:
    """Left the roofline with tracejit and the best peer, right every peer's share of each workload's limit."""
    limited = [(w.name, work) for w in figures.workloads if (work := figures.work.get(w.name)) is not None]
    limited = [(name, work) for name, work in limited if not math.isnan(figures.seconds(name, OURS))]
    if not limited:
        return False
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 6.4), layout="constrained", width_ratios=(1.15, 1))
    _roofs(left, figures, [work.intensity for _, work in limited])
    for name, work in limited:
        _column(left, figures, name, work, _alignment(work.intensity, [other.intensity for _, other in limited]))
    _shares(right, figures, limited)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, markerscale=1.2)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True


def _roofs(axes: Any, figures: Figures, intensities: list[float]) -> None:
    """The machine: a slope of memory's rate under the flat roofs of arithmetic."""
    limits = figures.limits
    first, last = min(intensities) / 1.8, max(intensities) * 1.8
    places = [first * (last / first) ** (i / 200) for i in range(201)]
    for dtype, style in (("float32", "-"), ("float64", "--")):
        roof = [min(place * limits.bandwidth, limits.peak(dtype)) / 1e9 for place in places]
        axes.plot(places, roof, style, color="#222222", linewidth=1.4, zorder=1)
        axes.annotate(
            f"{dtype} matrix product, {limits.peak(dtype) / 1e9:.0f} GFLOP/s",
            (last, limits.peak(dtype) / 1e9),
            (-4, 4),
            textcoords="offset points",
            ha="right",
            fontsize=8.5,
            color="#222222",
        )
    axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="operations a second, GFLOP/s")
    axes.annotate(
        f"memory, {limits.bandwidth / 1e9:.0f} GB/s",
        (places[45], places[45] * limits.bandwidth / 1e9),
        (-8, 12),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
        color="#222222",
    )
    axes.grid(which="major", alpha=0.25)
    axes.set_title("Roofline: tracejit, and the best peer of each workload", loc="left", fontsize=11)


def _alignment(place: float, places: list[float], close: float = 1.2) -> str:
    """To which side a label goes, away from the neighbour that is too close."""
    if any(place < other < place * close for other in places):
        return "right"
    return "left" if any(place / close < other < place for other in places) else "center"


def _column(axes: Any, figures: Figures, name: str, work: Work, alignment: str) -> None:
    """One workload: tracejit's rate and the best peer's, joined."""
    ours = work.operations / figures.seconds(name, OURS) / 1e9
    best, fastest = figures.best_peer(name)
    if best:
        theirs = work.operations / fastest / 1e9
        axes.plot([work.intensity] * 2, [ours, theirs], color="#999999", linewidth=1, zorder=2)
        axes.plot(work.intensity, theirs, MARKERS[best], color=COLOURS[best], markersize=6.5, zorder=3)
    axes.plot(
        work.intensity, ours, MARKERS[OURS], color=COLOURS[OURS], markersize=8.5, zorder=4, markeredgecolor="white"
    )
    lowest = min(ours, work.operations / fastest / 1e9) if best else ours
    axes.annotate(
        name, (work.intensity, lowest), (0, -9), textcoords="offset points", ha=alignment, va="top", fontsize=8.5
    )


def _shares(axes: Any, figures: Figures, limited: list[tuple[str, Work]]) -> None:
    """A row a workload, a marker a peer, at the share of the workload's limit that it reaches."""
    rows = {name: len(limited) - 1 - i for i, (name, _) in enumerate(limited)}
    for peer in [p for p in figures.peers if p != OURS] + [OURS]:
        reached = [
            (work.least_seconds(figures.limits) / figures.seconds(name, peer), rows[name]) for name, work in limited
        ]
        size = 9.5 if peer == OURS else 6.5
        axes.plot(
            [share for share, _ in reached],
            [place for _, place in reached],
            MARKERS[peer],
            color=COLOURS[peer],
            markersize=size,
            markeredgecolor="white",
            markeredgewidth=0.6,
            label=peer,
            zorder=4 if peer == OURS else 3,
        )
    axes.axvline(1.0, color="#222222", linewidth=1.4)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if value >= 0.01 else f"{value:.1%}")
    axes.set_yticks(list(rows.values()), list(rows))
    axes.set_xlabel("share of the limit of memory or arithmetic")
    axes.grid(which="major", alpha=0.25)
    axes.set_title("How much of the limit each peer reaches", loc="left", fontsize=11)
