"""Every float32 through the float32 functions: `python -m benchmarks.every_float32 [NAME...] [--stride N]`.

The reference is NumPy's float64 function, whose error of a few 2^-53 does not count beside 2^-24.  With a stride only
each N-th bit pattern is taken; 1, the default, takes all 2^32 (minutes a function).
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.ulp import CASES
from tests.vecmath_rig import compile_scalar

NAMES = ("exp", "log", "sin", "cos", "tanh")
_BLOCK = 1 << 20


def worst(name: str, stride: int = 1, block: int = _BLOCK) -> tuple[float, float]:
    """The largest error in ULP over all float32 (each `stride`-th pattern), and where it is; inf for a wrong NaN."""
    compiled, reference = compile_scalar(CASES[name].function, np.float32), getattr(np, name)
    largest, place = 0.0, 0.0
    for start in range(0, 1 << 32, block * stride):
        patterns = np.arange(start, min(start + block * stride, 1 << 32), stride, np.uint64).astype(np.uint32)
        x = patterns.view(np.float32)
        found = errors(compiled(x), reference, x)
        k = int(np.argmax(found))
        if found[k] > largest:
            largest, place = float(found[k]), float(x[k])
    return largest, place


def errors(result: Any, reference: Any, x: Any) -> Any:
    """Errors of float32 results in ULP; where the float64 rounds to it, an infinity is right."""
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.float64))
        rounded = exact.astype(np.float32)
        unit = 2.0 ** np.maximum(np.frexp(exact)[1] - 24.0, -149)
        found = abs(result.astype(np.float64) - exact) / unit
    same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
    finite = np.isfinite(result) & np.isfinite(exact)
    return np.where(finite, found, np.where(same, 0.0, np.inf))


def main() -> None:
    """Print a line for each function."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.every_float32", description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--stride", type=int, default=1)
    chosen = parser.parse_args()
    for name in chosen.names:
        largest, place = worst(name, chosen.stride)
        print(f"{name}: {largest:.3f} ULP at {place!r}, each {chosen.stride}. float32", flush=True)


if __name__ == "__main__":
    main()
