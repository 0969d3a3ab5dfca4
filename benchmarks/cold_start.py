"""`python -m benchmarks.cold_start`: from the start of a process to its first result, in a first and a second process.

Each peer runs W1 in a new process with an empty cache folder, and then in another with the folder that the first left.
The interpreter's own start is in the total; the import and the first call are given apart.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

BODY = """
import numpy as np
x, y = np.random.default_rng(0).random((2, 100_000))
imported = time.perf_counter()
result = float(np.asarray(f(x, y)).sum())
called = time.perf_counter()
print(json.dumps({"import": imported - begun, "first": called - imported}))
"""

FUNCTION = """
def f(x, y):
    return {np}.sin(x) ** 2 + {np}.cos(y) * {np}.exp(-x * y)
"""

SOURCES = {
    "numpy": "import numpy as np\n" + FUNCTION.format(np="np"),
    "tracejit": "import numpy as np\nimport tracejit\n@tracejit.jit" + FUNCTION.format(np="np"),
    "numba": "import numpy as np\nimport numba\n@numba.njit(parallel=True, cache=True)" + FUNCTION.format(np="np"),
    "jax": "import jax\nimport jax.numpy as jnp\n@jax.jit" + FUNCTION.format(np="jnp"),
    "torch": "import torch\n@torch.compile" + FUNCTION.format(np="torch") + "g = f\n"
    "def f(x, y):\n    return g(torch.from_numpy(x), torch.from_numpy(y))\n",
}  # fmt: skip
"""The script of each peer; the module to import has the peer's name."""


def environment(cache: Path) -> dict[str, str]:
    """Every peer's own cache goes to one folder; Python may keep bytecode, as it does where a package is installed."""
    names = ("TRACEJIT_CACHE_DIR", "NUMBA_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    found = {**os.environ, **{name: str(cache / name.lower()) for name in names}}
    found["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    found["JAX_PLATFORMS"], found["JAX_ENABLE_X64"] = "cpu", "1"
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return found


def run_once(script: Path, cache: Path) -> dict[str, float]:
    """Seconds of one process: total, import, first call."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(script)], env=environment(cache), capture_output=True, text=True, check=False
    )
    total = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {"total": total, **times}


def measure(peer: str, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of the first and of the second process."""
    runs: dict[str, list[dict[str, float]]] = {"first": [], "second": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
            script = Path(folder) / "program.py"
            script.write_text("import json, sys, time\nbegun = time.perf_counter()\n" + SOURCES[peer] + BODY)
            for process in runs:
                runs[process].append(run_once(script, Path(folder)))
    return {
        process: {key: statistics.median(r[key] for r in found) for key in found[0]} for process, found in runs.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Entry point: a table on standard output, and JSON beside the other results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__)
    parser.add_argument("--peers", metavar="tracejit,jax", help="default: all that are installed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out")
    chosen = parser.parse_args(arguments)
    peers = chosen.peers.split(",") if chosen.peers else [p for p in SOURCES if importlib.util.find_spec(p)]
    compileall.compile_dir(ROOT / "tracejit", quiet=2)  # a checkout is not compiled, an installed package is
    print(f"{'seconds':<12}{'process':<10}{'total':>8}{'import':>8}{'call':>8}")
    results = {}
    for peer in peers:
        try:
            results[peer] = measure(peer, chosen.rounds)
        except RuntimeError as error:
            print(f"{peer:<12}{error}")
            continue
        for process, t in results[peer].items():
            times = f"{t['total']:>8.2f}{t['import']:>8.2f}{t['first']:>8.3f}"
            print(f"{peer:<12}{process:<10}{times}", flush=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "cold_start.json").write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
