"""Kernels of a GPU on disk, as PTX: Numba and NVVM take half a second for what is read in a millisecond."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tracejit.lower.cuda.kernel import CudaKernel
from tracejit.runtime.cuda_adapter import compile_kernel
from tracejit.runtime.disk_cache import DiskCache, key_of
from tracejit.runtime.kernel_cache import KERNELS, source_hash

_PACKAGES = ("numba", "numba-cuda", "nvidia-nvvm", "llvmlite")
"""What makes PTX of a text."""

_EMITTERS = ("lower", "lower/cuda")
"""What the text's own functions are emitted by."""


def compiled(
    kernel: CudaKernel, capability: tuple[int, int], disk: DiskCache | None = None
) -> dict[str, tuple[str, str]]:
    """As `compile_kernel`, but from disk if it is there."""
    disk = KERNELS.disk if disk is None else disk
    key = _key(kernel, capability)
    data = disk.kept(key, lambda: json.dumps(compile_kernel(kernel, capability)).encode())
    return {function: (ptx, entry) for function, (ptx, entry) in json.loads(data).items()}


def _key(kernel: CudaKernel, capability: tuple[int, int]) -> str:
    """Equal where the PTX is the same: the text says all of the kernel."""
    blocks = [(launch.function, launch.block) for launch in kernel.launches]
    parts = (kernel.source, kernel.parameters, blocks, kernel.fma, kernel.tables, capability, _environment())
    return key_of(repr(parts))


@cache
def _environment() -> str:
    """Versions of what compiles, and our emitters' own sources."""
    return "|".join([*map(_version, _PACKAGES), sys.version, source_hash(Path(__file__).parent.parent, _EMITTERS)])


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"
