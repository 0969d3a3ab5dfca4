"""What kernels of each form become for a GPU: registers, spills and shared memory, as NVIDIA's assembler says.

No GPU is needed.

    python -m benchmarks.gpu_code                      # cc 9.0
    python -m benchmarks.gpu_code --capability 7.5 8.0 9.0 10.0

The wheel nvidia-cuda-nvcc (extra `test`) brings ptxas.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tracejit as tj
from tracejit.lower.cuda.kernel import CudaKernel, Variant
from tracejit.lower.cuda.lowering import lower
from tracejit.runtime.cuda_adapter import compile_kernel
from tracejit.schedule.kernel import Kernel

Capability = tuple[int, int]

CAPABILITIES: tuple[Capability, ...] = ((7, 5), (8, 0), (9, 0), (10, 0))
"""Turing, Ampere, Hopper, Blackwell."""


def ones(*shape: int, dtype: str = "float32") -> Any:
    """An array to trace with."""
    return np.ones(shape, dtype)


def wave(x: Any, y: Any) -> Any:
    return np.sin(x) ** 2 + np.cos(y) * np.exp(-x * y)


def axpy(x: Any, y: Any) -> Any:
    return 2.5 * x + y


def several(x: Any, y: Any) -> Any:
    return x + y, x * y, np.maximum(x, y)


def outer_sum(x: Any, y: Any) -> Any:
    return x[:, None] * 2 + y[None, :]


def stencil(u: Any) -> Any:
    out = u.copy()
    out[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
    return out


def compared(x: Any, y: Any) -> Any:
    return (x < y) | np.isnan(x)


def moved(z: Any) -> Any:
    return np.where(np.arange(z.shape[0]) < 3, z, 0)


def taken(table: Any, places: Any) -> Any:
    return table[places] * 2


def escape_time(re: Any, im: Any) -> Any:
    def step(i: Any, state: Any) -> Any:
        zr, zi, count = state
        near = zr * zr + zi * zi < 4
        return np.where(near, zr * zr - zi * zi + re, zr), np.where(near, 2 * zr * zi + im, zi), count + near

    return tj.fori_loop(0, 100, step, (re * 0, im * 0, np.zeros(re.shape, re.dtype)))[2]


def newton(x: Any) -> Any:
    return tj.while_loop(lambda y: abs(y * y - x) > 1e-12, lambda y: 0.5 * (y + x / y), x)


def piecewise(x: Any) -> Any:
    return tj.cond(x > 0, lambda: np.log(x), lambda: x * x)


def running(x: Any) -> Any:
    return tj.scan(lambda total, value: (total * 0.5 + value, total), 0.0, x)


def softmax(x: Any) -> Any:
    power = np.exp(x - np.max(x, axis=1, keepdims=True))
    return power / np.sum(power, axis=1, keepdims=True)


def layernorm(x: Any) -> Any:
    centred = x - np.mean(x, axis=1, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True) + 1e-5)


def row_positions(x: Any) -> Any:
    return np.argmax(x, axis=1)


def all_products(x: Any, y: Any) -> Any:
    return np.sum(x[:, None, :] * y[None, :, :], axis=2) + 1


def whole_sum(x: Any, y: Any) -> Any:
    return np.sum((x - y) ** 2)


def moments(x: Any) -> Any:
    return np.mean(x), np.min(x), np.max(x)


def column_sum(x: Any) -> Any:
    return np.sum(x, axis=0)


def column_moments(x: Any) -> Any:
    return np.mean(x, axis=0), np.var(x, axis=0)


def convolution(x: Any, w: Any) -> Any:
    batch, channels, rows, columns = x.shape
    h, v = rows - 2, columns - 2
    taps = [x[:, :, i : i + h, j : j + v] for i in range(3) for j in range(3)]
    panel = np.stack(taps, axis=2).reshape(batch, channels * 9, h * v)
    return np.maximum(w.reshape(w.shape[0], channels * 9) @ panel, 0)


FORMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elementwise f32": (axpy, (ones(64), ones(64))),
    "elementwise f64": (axpy, (ones(64, dtype="f8"), ones(64, dtype="f8"))),
    "elementwise f16": (axpy, (ones(64, dtype="f2"), ones(64, dtype="f2"))),
    "elementwise functions f32": (wave, (ones(64), ones(64))),
    "elementwise functions f64": (wave, (ones(64, dtype="f8"), ones(64, dtype="f8"))),
    "elementwise several results": (several, (ones(64), ones(64))),
    "elementwise strided": (axpy, (ones(8, 9).T[::2], ones(9, 8)[::2])),
    "elementwise broadcast": (outer_sum, (ones(8), ones(9))),
    "elementwise to bool": (compared, (ones(64), ones(64))),
    "elementwise stencil": (stencil, (ones(9, 9),)),
    "elementwise complex": (moved, (ones(64, dtype="c8"),)),
    "elementwise gather": (taken, (ones(5, 4), np.array([1, 2]))),
    "elementwise loop": (escape_time, (ones(64), ones(64))),
    "loop while": (newton, (2.0,)),
    "branch": (piecewise, (2.0,)),
    "scan": (running, (ones(64, dtype="f8"),)),
    "rows softmax": (softmax, (ones(8, 64),)),
    "rows layernorm": (layernorm, (ones(8, 64),)),
    "rows layernorm f64": (layernorm, (ones(8, 64, dtype="f8"),)),
    "rows positions": (row_positions, (ones(8, 64, dtype="f8"),)),
    "product f32": (all_products, (ones(8, 64), ones(9, 64))),
    "all sum f32": (whole_sum, (ones(64), ones(64))),
    "all sum f64": (whole_sum, (ones(64, dtype="f8"), ones(64, dtype="f8"))),
    "all moments": (moments, (ones(64),)),
    "columns sum": (column_sum, (ones(64, 8),)),
    "columns moments": (column_moments, (ones(64, 8, dtype="f8"),)),
    "panels convolution": (convolution, (ones(2, 4, 8, 9), ones(5, 4, 3, 3))),
}
"""A function and what to trace it with, for every form of kernel."""

VARIANTS = (Variant(32, vector=True, split=True, staged=True), Variant(64, vector=False, shared=False, row=256))
"""Those of a large call and of one that nothing is known of."""


def kernels_of(function: Callable[..., Any], *arguments: Any) -> list[Kernel]:
    """The kernels that the library makes of a function."""
    return [getattr(item, "kernel", item) for item in tj.jit(function).explain(*arguments).kernels]


@dataclass(frozen=True)
class Assembled:
    """What the assembler says of a function."""

    registers: int
    spill_bytes: int
    stack_bytes: int
    shared_bytes: int


def assembler() -> Path:
    """Where ptxas is; raises FileNotFoundError where the wheel is not installed."""
    found = importlib.util.find_spec("nvidia")
    for folder in found.submodule_search_locations or () if found else ():
        for path in sorted(Path(folder).glob("*/bin/ptxas")):
            return path
    raise FileNotFoundError("ptxas is not installed: pip install 'nvidia-cuda-nvcc==13.0.*'")


def assemble(ptx: str, capability: Capability) -> Assembled:
    """Machine code for a function in PTX, and what it takes; raises RuntimeError with what ptxas says."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        target = f"-arch=sm_{capability[0]}{capability[1]}"
        command = [os.fspath(assembler()), "-v", target, os.fspath(source), "-o", os.fspath(Path(folder) / "kernel")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ptxas: {done.stderr[:2000]}")

    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, done.stderr)))

    return Assembled(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes spill stores"),
        number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes smem"),
    )


def compiled(
    kernels: Iterable[Kernel], variant: Variant, capability: Capability
) -> Iterator[tuple[str, CudaKernel, str, Assembled]]:
    """For each launch of some kernels: its function's name, the kernel, PTX and what the assembler says."""
    for kernel in kernels:
        lowered = lower(kernel, variant)
        for launched, (ptx, _) in compile_kernel(lowered, capability).items():
            yield launched, lowered, ptx, assemble(ptx, capability)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", nargs="+", default=["9.0"], metavar="MAJOR.MINOR")
    wanted = [tuple(map(int, text.split("."))) for text in parser.parse_args().capability]
    print(
        f"{'form':30} {'function':16} {'cc':>5} {'index':>5} {'vector':>6} {'registers':>9} {'spilt':>5} {'shared':>6}"
    )
    for name, (function, arguments) in FORMS.items():
        kernels = kernels_of(function, *arguments)
        for variant in VARIANTS:
            for major, minor in wanted:
                for launched, _, _, said in compiled(kernels, variant, (major, minor)):
                    choices = f"{variant.index_bits:5} {'yes' if variant.vector else 'no':>6}"
                    numbers = f"{said.registers:9} {said.spill_bytes:5} {said.shared_bytes:6}"
                    print(f"{name:30} {launched:16} {major:3}.{minor} {choices} {numbers}", flush=True)


if __name__ == "__main__":
    main()
