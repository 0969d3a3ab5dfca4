"""The run in words and tables: what is printed, and `RESULTS.md`."""

from __future__ import annotations

import math
import platform
from pathlib import Path
from typing import Any

from benchmarks import THREADS
from benchmarks.figures import OURS, Figures
from benchmarks.worker import Measurement
from benchmarks.workloads import Workload

TIE = 1.05
"""Ratios up to this are no loss: they are within what runs differ by."""


def time_text(seconds: float, micro: bool) -> str:
    """Milliseconds, or microseconds for the cost of a call."""
    if math.isnan(seconds):
        return "-"
    value = seconds * (1e6 if micro else 1e3)
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}" + (" us" if micro else "")


def row(workload: Workload, measured: list[Measurement]) -> str:
    """One printed line: the medians, and each one's gain over NumPy."""
    base = next((m.median for m in measured if m.peer == "numpy"), float("nan"))
    cells = []
    for m in measured:
        gain = base / m.median if m.peer != "numpy" and not workload.first_call else float("nan")
        ratio = "" if math.isnan(gain) else f" ({gain:.1f}x)" if gain < 100 else f" ({gain:.0f}x)"
        cells.append(f"{time_text(m.median, workload.micro) + ratio:>16}")
    return f"{workload.name:<9}{workload.title:<46}" + "".join(cells)


def complaints(measured: list[Measurement]) -> list[str]:
    """What to tell besides the times."""
    return [f"  {m.workload} {m.peer}: {m.error}" for m in measured if m.error and m.error != "not expressed"]


def limit_lines(figures: Figures) -> list[str]:
    """The machine's limits, a line each."""
    rates = [f"{name}: {rate:.1f} GB/s" for name, rate in figures.limits.rates.items()]
    return rates + [f"matrix product, {dtype}: {rate:.0f} GFLOP/s" for dtype, rate in figures.limits.gemm.items()]


def results_page(figures: Figures, about: dict[str, Any], picture: str | None) -> str:
    """The text of RESULTS.md."""
    parts = [
        "# Results",
        f"Written by `python -m benchmarks` on {about['when']}{about['run']}. "
        f"{about['cpu']}, {THREADS} threads, {platform.system()}, Python {about['python']}; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        + ".",
        "Medians in ms (W10: µs a call) of interleaved rounds, each peer in a process of its own; every result is "
        "checked against NumPy's. `numba` is hand-written loops, `numba+` the same loops with tracejit's own functions "
        "in place of the C library's. A ratio under 1 means that tracejit is faster than the best of the others; "
        "the limit is memory at its measured rate or arithmetic at that of a matrix product, whichever takes longer.",
        "\n".join(_table(figures)),
        "\n".join(_means(figures)),
        "## The machine's limits\n\n" + "\n".join(f"- {line}" for line in limit_lines(figures)),
        "## Where tracejit loses\n\n" + "\n".join(_losses(figures)),
        "## What was not run\n\n" + "\n".join(_missing(figures)),
    ]
    if picture is not None:
        parts.insert(3, f"![Roofline: operations a second over operations a byte, every workload and peer]({picture})")
    return "\n\n".join(parts) + "\n"


def _table(figures: Figures) -> list[str]:
    heads = ["", "workload", *figures.peers, "best peer", "ratio", "of limit"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "--:|" * len(figures.peers) + "---|--:|--:|"]
    for workload in figures.workloads:
        best, fastest = figures.best_peer(workload.name)
        cells = []
        for peer in figures.peers:
            seconds = figures.seconds(workload.name, peer)
            text = time_text(seconds, workload.micro).removesuffix(" us")
            leads = seconds <= min(fastest, figures.seconds(workload.name, OURS)) and peer in (best, OURS)
            cells.append(f"**{text}**" if leads else text)
        share, ratio = figures.share_of_limit(workload.name), figures.ratio_to_best(workload.name)
        ends = [best or "-", _number(ratio), "-" if math.isnan(share) else f"{share:.0%}"]
        title = workload.title.replace("|", "\\|").replace("*", "\\*")
        lines.append("| " + " | ".join([workload.name, title, *cells, *ends]) + " |")
    return lines


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _means(figures: Figures) -> list[str]:
    lines = [
        "## Ahead of each peer",
        "",
        "Geometric mean of its time over tracejit's, over the workloads that it can run.",
        "",
    ]
    lines += ["| peer | times as fast | workloads |", "|---|--:|--:|"]
    for peer in figures.peers:
        gain, count = figures.mean_gain(peer)
        if peer != OURS and count:
            lines.append(f"| {peer} | {gain:.2f} | {count} |")
    lines.append(f"| the best peer of each workload | {_number(figures.mean_gain_over_best())} | |")
    return lines


def _losses(figures: Figures) -> list[str]:
    lines = []
    for workload in figures.workloads:
        best, fastest = figures.best_peer(workload.name)
        ours, ratio = figures.seconds(workload.name, OURS), figures.ratio_to_best(workload.name)
        if ratio > TIE:
            times = f"{time_text(ours, workload.micro)} against {time_text(fastest, workload.micro)}"
            unit = "" if workload.micro else " ms"
            lines.append(f"- {workload.name} ({workload.title}): {best} is {ratio:.2f} times as fast, {times}{unit}.")
    return lines or [f"Nowhere by more than {TIE - 1:.0%}."]


def _missing(figures: Figures) -> list[str]:
    reasons = [m for m in figures.results if m.error and m.error != "not expressed"]
    lines = [f"- {m.peer}, {m.workload}: {m.error}" for m in reasons]
    for peer in figures.peers:
        names = [m.workload for m in figures.results if m.peer == peer and m.error == "not expressed"]
        if names:
            lines.append(f"- {peer} has no expression of {', '.join(names)}.")
    return lines or ["All was run."]


def write_results(figures: Figures, about: dict[str, Any], picture: str | None, path: Path) -> None:
    """Write RESULTS.md."""
    path.write_text(results_page(figures, about, picture))
