"""`python -m benchmarks`: run the workloads, print a table, write JSON, pictures and RESULTS.md."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import THREADS, picture, report
from benchmarks.figures import OURS, Figures
from benchmarks.limits import measured_limits, work_of
from benchmarks.measure import measure
from benchmarks.peers import available
from benchmarks.runner import Peer
from benchmarks.worker import Measurement, Worker
from benchmarks.workloads import Workload, select

OUT = Path(__file__).parent / "out"
PAGE = Path(__file__).parent / "RESULTS.md"


def options(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="W1,W3", help="these workloads (W7 is W7a and W7b)")
    parser.add_argument("--peers", metavar="numpy,tracejit", help="these peers; default: all that are installed")
    parser.add_argument("--quick", action="store_true", help="a tenth of the elements, a second a workload")
    parser.add_argument("--budget", type=float, help="seconds a workload, compilation apart (default 4)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    return parser.parse_args(arguments)


def processor() -> str:
    """The CPU's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def facts(peers: list[Peer], chosen: argparse.Namespace) -> dict[str, Any]:
    """Where, when and with what the run was made."""
    versions = {}
    for peer in peers:
        try:
            versions[peer.module] = importlib.metadata.version(peer.module)
        except importlib.metadata.PackageNotFoundError:
            versions[peer.module] = "source tree"
    when = time.strftime("%Y-%m-%d")
    run = " (--quick: a tenth of the elements)" if chosen.quick else ""
    return {"cpu": processor(), "python": platform.python_version(), "versions": versions, "when": when, "run": run}


def run(workloads: list[Workload], peers: list[Peer], budget: float, scale: float) -> list[Measurement]:
    """Measure all, printing as it goes."""
    print(f"{'':<55}" + "".join(f"{peer.name:>16}" for peer in peers))
    workers = [Worker(peer.name) for peer in peers]
    results: list[Measurement] = []
    try:
        for workload in workloads:
            measured = measure(workload, peers, workers, budget, scale)
            results += measured
            print("\n".join([report.row(workload, measured), *report.complaints(measured)]), flush=True)
    finally:
        for worker in workers:
            worker.end()
    return results


def as_json(results: list[Measurement], about: dict[str, Any], figures: Figures) -> str:
    """Every sample, for other programs."""
    record = [{**asdict(m), "median": None if math.isnan(m.median) else m.median} for m in results]
    return json.dumps({"about": about, "limits": asdict(figures.limits), "results": record}, indent=1)


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    chosen = options(arguments)
    peers = available(chosen.peers.split(",") if chosen.peers else None)
    workloads = select(chosen.only.split(",") if chosen.only else None)
    scale = 0.1 if chosen.quick else 1.0
    about = facts(peers, chosen)
    print(f"{about['cpu']}, {THREADS} threads; medians in ms, gain over NumPy in brackets" + ", quick" * chosen.quick)
    limits = measured_limits()
    results = run(workloads, peers, chosen.budget or (1.0 if chosen.quick else 4.0), scale)
    work = {workload.name: work_of(workload, scale) for workload in workloads}
    figures = Figures(workloads, [peer.name for peer in peers], results, limits, work)
    print("\n" + "\n".join(report.limit_lines(figures)))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "results.json").write_text(as_json(results, about, figures))
    drawn = picture.draw(figures, chosen.out / "results.png", chosen.out / "roofline.png")
    whole = chosen.only is None and chosen.peers is None and OURS in figures.peers
    page = PAGE if whole and chosen.out == OUT and not chosen.quick else chosen.out / "RESULTS.md"
    image = None
    if drawn is not None:
        image = "roofline.png"
        if page == PAGE:
            (PAGE.parent / image).write_bytes(drawn.read_bytes())
    report.write_results(figures, about, image, page)
    print(f"written: {page}, {chosen.out / 'results.json'}" + (f", {drawn}" if drawn is not None else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
