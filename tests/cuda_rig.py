"""Lowered kernels without a GPU: run in Numba's simulator, compiled to PTX, assembled by ptxas."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracejit.lower.cuda.kernel import CudaKernel, Device
from tracejit.lower.cuda.names import compiled_names, functions, helper_intrinsic, simulated_names
from tracejit.lower.cuda.simulation import Pointer

CAPABILITIES = ((7, 5), (8, 0), (9, 0), (10, 0))
"""Turing, Ampere, Hopper, Blackwell."""

SMALL = Device(multiprocessors=2)
"""A GPU that the simulator gets through."""


def simulate(kernel: CudaKernel, arguments: Sequence[Any], extents: Sequence[int], device: Device = SMALL) -> int:
    """Run a kernel: its operands that are no scratch, integers and scalars in order; returns the error word."""
    from numba import cuda

    made = functions(kernel, simulated_names(cuda), lambda helper: helper)
    error = np.zeros(1, np.int64)
    works = [np.zeros(work.length(extents, device), _memory(work.dtype)) for work in kernel.work]
    given = iter(arguments)
    words: list[Any] = []
    operand: Any = None
    for parameter in kernel.parameters:
        match parameter.kind:
            case "pointer":
                operand = next(given)
                words.append(_pointer(operand, parameter.memory_dtype))
            case "stride":
                words.append(operand.strides[parameter.place])
            case "size":
                words.append(operand.shape[parameter.place])
            case "extent":
                words.append(extents[parameter.place])
            case "work":
                words.append(_pointer(works[parameter.place], parameter.memory_dtype))
            case "error":
                words.append(_pointer(error, np.dtype(np.int64)))
            case _:
                words.append(np.dtype(parameter.dtype).type(next(given)))
    for launch in kernel.launches:
        blocks = launch.grid(extents, device)
        if blocks:
            function = cuda.jit(made[launch.function])
            function[blocks, launch.block, 0, launch.shared(extents)](*words)
    return int(error[0])


def _memory(dtype: str) -> Any:
    return np.dtype({"bool": "uint8", "float16": "uint16"}.get(dtype, dtype))


def _pointer(array: Any, dtype: Any) -> Pointer:
    address = array.__array_interface__["data"][0]
    if array.size == 0:
        return Pointer(address, dtype, address, address)
    low, high = np.lib.array_utils.byte_bounds(array)
    return Pointer(address, dtype, low, high)


def compile_ptx(kernel: CudaKernel, capability: tuple[int, int]) -> dict[str, str]:
    """The PTX of each function of a kernel's text."""
    from numba import cuda
    from numba.cuda import types
    from numba.cuda.compiler import compile_cuda, kernel_fixup
    from numba.cuda.extending import intrinsic

    global _names
    _names = _names or compiled_names(cuda, intrinsic, types)
    made = functions(kernel, _names, helper_intrinsic(intrinsic))
    words = [
        types.CPointer(getattr(types, p.memory_dtype.name)) if p.is_address else getattr(types, p.dtype)
        for p in kernel.parameters
    ]
    found = {}
    for name, function in made.items():
        options = {"opt": 3, "fma": int(kernel.fma)}
        compiled = compile_cuda(function, types.void, tuple(words), nvvm_options=options, cc=capability)
        library, entry = compiled.library, compiled.fndesc.llvm_func_name
        library._entry_name = entry
        kernel_fixup(library.get_function(entry), False)
        found[name] = library.get_asm_str(cc=capability).replace(entry, name)
    return found


_names: dict[str, Any] = {}


@dataclass(frozen=True)
class Assembled:
    """What ptxas says of a function."""

    registers: int
    spill_bytes: int
    stack_bytes: int
    shared_bytes: int


def assemble(ptx: str, capability: tuple[int, int]) -> Assembled:
    """Assemble PTX into machine code."""
    import nvidia

    (ptxas,) = Path(next(iter(nvidia.__path__))).glob("cu*/bin/ptxas")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        arch = f"sm_{capability[0]}{capability[1]}"
        command = [os.fspath(ptxas), "-v", f"-arch={arch}", os.fspath(source), "-o", os.devnull]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"ptxas: {done.stderr[:2000]}")

    def number(pattern: str) -> int:
        found = re.findall(pattern, done.stderr)
        return sum(map(int, found))

    return Assembled(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes spill stores"),
        number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes smem"),
    )
