"""`python -m benchmarks`: run the workloads, print a table, write JSON and a picture."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import THREADS, picture
from benchmarks.measure import Measurement, measure
from benchmarks.peers import Peer, available
from benchmarks.workloads import Workload, select

OUT = Path(__file__).parent / "out"


def options(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="W1,W3", help="these workloads (W7 is W7a and W7b)")
    parser.add_argument("--peers", metavar="numpy,tracejit", help="these peers; default: all that are installed")
    parser.add_argument("--quick", action="store_true", help="a tenth of the elements, a second a workload")
    parser.add_argument("--budget", type=float, help="seconds a workload, compilation apart (default 10)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    return parser.parse_args(arguments)


def time_text(seconds: float, micro: bool) -> str:
    """Milliseconds, or microseconds for the cost of a call."""
    if math.isnan(seconds):
        return "-"
    value = seconds * (1e6 if micro else 1e3)
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}" + (" us" if micro else "")


def row(workload: Workload, measured: list[Measurement]) -> str:
    """One line of the table: the medians, and each one's gain over NumPy."""
    base = next((m.median for m in measured if m.peer == "numpy"), float("nan"))
    cells = []
    for m in measured:
        gain = base / m.median if m.peer != "numpy" and not workload.first_call else float("nan")
        ratio = "" if math.isnan(gain) else f" ({gain:.1f}x)" if gain < 100 else f" ({gain:.0f}x)"
        cells.append(f"{time_text(m.median, workload.micro) + ratio:>17}")
    return f"{workload.name:<9}{workload.title:<46}" + "".join(cells)


def complaints(measured: list[Measurement]) -> list[str]:
    """What to tell besides the times."""
    return [f"  {m.workload} {m.peer}: {m.error}" for m in measured if m.error and m.error != "not expressed"]


def facts(peers: list[Peer]) -> dict[str, Any]:
    """Where and with what the run was made."""
    versions = {}
    for peer in peers:
        try:
            versions[peer.name] = importlib.metadata.version(peer.module)
        except importlib.metadata.PackageNotFoundError:
            versions[peer.name] = "source tree"
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {"cpu": cpu, "threads": THREADS, "python": platform.python_version(), "versions": versions}


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    chosen = options(arguments)
    peers = available(chosen.peers.split(",") if chosen.peers else None)
    workloads = select(chosen.only.split(",") if chosen.only else None)
    budget = chosen.budget or (1.0 if chosen.quick else 10.0)
    about = facts(peers)
    print(f"{about['cpu']}, {THREADS} threads; medians in ms, gain over NumPy in brackets" + ", quick" * chosen.quick)
    print(f"{'':<55}" + "".join(f"{peer.name:>17}" for peer in peers))
    results: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="tracejit-bench-") as cache:
        for name in ("TRACEJIT_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):  # so that a first call is a first call
            os.environ[name] = cache
        for workload in workloads:
            measured = measure(workload, peers, budget, 0.1 if chosen.quick else 1.0)
            results += measured
            print("\n".join([row(workload, measured), *complaints(measured)]), flush=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / "results.json"
    record = [{**asdict(m), "median": None if math.isnan(m.median) else m.median} for m in results]
    path.write_text(json.dumps({"when": time.strftime("%Y-%m-%d"), "about": about, "results": record}, indent=1))
    print(f"\nwritten: {path}")
    drawn = picture.draw(workloads, peers, results, chosen.out / "results.png")
    if drawn is not None:
        print(f"written: {drawn}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
