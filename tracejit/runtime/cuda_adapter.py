"""All of numba-cuda that there is in tracejit: kernels as text become PTX, or functions of Numba's simulator.

Numba compiles and does no more.  What runs on the GPU goes through `cuda_driver`, since Numba's own launches take
several times as long; so a process that only looks for devices does not import Numba.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tracejit.lower.cuda.kernel import CudaKernel, Parameter
from tracejit.lower.cuda.names import compiled_names, functions, helper_intrinsic, simulated_names
from tracejit.lower.cuda.simulation import Pointer
from tracejit.runtime.cuda_driver import LIBRARY, CudaDriver, CudaError, Launch
from tracejit.runtime.cuda_simulator import Simulator
from tracejit.runtime.device import INSTALL, NoDevice


def simulated() -> bool:
    """Whether Numba's simulator stands for the GPU (NUMBA_ENABLE_CUDASIM=1 when the process began)."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


@lru_cache(maxsize=1)
def cuda_driver() -> Any:
    """The driver of this machine, or the simulator's.

    Raises NoDevice, which says what is missing.
    """
    if simulated():
        return Simulator()
    try:
        driver = CudaDriver(os.environ.get("TRACEJIT_CUDA_DRIVER", LIBRARY))
        count = driver.count()
    except OSError:
        raise NoDevice(_no_device(f"NVIDIA's driver library ({LIBRARY}) is not installed on this machine")) from None
    except (CudaError, MemoryError) as error:
        raise NoDevice(_no_device(f"NVIDIA's driver cannot be used: {error}")) from None
    if not count:
        raise NoDevice(_no_device("NVIDIA's driver finds no GPU (is one hidden by CUDA_VISIBLE_DEVICES?)"))
    return driver


def _no_device(missing: str) -> str:
    return (
        f"there is no CUDA device: {missing}. A GPU needs NVIDIA's driver, and tracejit's extra [cuda], which compiles "
        f'for it:\n    {INSTALL}\nArrays and functions of the device "cpu" need neither; NUMBA_ENABLE_CUDASIM=1 runs '
        "small sizes in Numba's simulator, slowly."
    )


@lru_cache(maxsize=1)
def numba_cuda() -> Any:
    """The module numba.cuda; raises NoDevice where it, or the compiler that it needs, is not installed."""
    try:
        from numba import cuda
    except Exception as error:  # noqa: BLE001 - without the toolkit's wheels it raises whatever it meets
        raise NoDevice(_no_compiler(f"importing numba.cuda failed ({type(error).__name__}: {error})")) from None
    return cuda


def _no_compiler(why: str) -> str:
    return (
        f"kernels cannot be compiled for a GPU: {why}. The compiler comes with tracejit's extra [cuda]:\n    {INSTALL}"
    )


def compile_kernel(kernel: CudaKernel, capability: tuple[int, int]) -> dict[str, tuple[str, str]]:
    """For each launch's function its PTX, and the name of the entry in it; no GPU is needed.

    Raises NoDevice where the compiler is not installed.
    """
    numba_cuda()
    from numba.cuda.extending import intrinsic

    with _COMPILING:
        found = functions(kernel, _names(), helper_intrinsic(intrinsic))
        return {
            launch.function: _compile(found[launch.function], kernel, capability, launch.block)
            for launch in kernel.launches
        }


_COMPILING = threading.Lock()
"""Numba's compiler works for one thread at a time."""


@lru_cache(maxsize=1)
def _names() -> dict[str, Any]:
    """What the text of a kernel may name."""
    cuda = numba_cuda()
    if simulated():
        return simulated_names(cuda)
    from numba.cuda.extending import intrinsic

    return compiled_names(cuda, intrinsic, cuda.types)


def _compile(
    function: Callable[..., Any], kernel: CudaKernel, capability: tuple[int, int], block: int
) -> tuple[str, str]:
    cuda = numba_cuda()
    from numba.cuda import types
    from numba.cuda.compiler import compile_cuda, kernel_fixup
    from numba.cuda.cudadrv import nvvm

    words = [
        types.CPointer(getattr(types, p.memory_dtype.name)) if p.is_address else getattr(types, p.dtype)
        for p in kernel.parameters
    ]
    options = {"opt": 3, "fma": int(kernel.fma)}
    try:
        # numba.cuda.compile_ptx would do, but for the contraction, for which it has no option.
        compiled = compile_cuda(function, types.void, tuple(words), nvvm_options=options, cc=capability)
        library, name = compiled.library, compiled.fndesc.llvm_func_name
        library._entry_name = name
        entry = library.get_function(name)
        kernel_fixup(entry, False)
        nvvm.set_launch_bounds(entry, block)
        (ptx,) = library.get_asm_strs(cc=capability)
    except cuda.cudadrv.error.NvvmSupportError as error:
        raise NoDevice(_no_compiler(str(error))) from None
    return ptx, name


def packing(kernel: CudaKernel) -> str:
    """The words of a kernel's call in the notation of `struct`."""
    kinds = {"int64": "q", "uint64": "Q", "float64": "d"}
    return "".join("Q" if p.is_address else kinds[p.dtype] for p in kernel.parameters)


def simulated_launches(kernel: CudaKernel) -> list[Launch]:
    """A kernel's launches, each of which runs at once in the simulator."""
    found = functions(kernel, _names(), lambda helper: helper)
    driver = cuda_driver()
    return [_simulated(found[launch.function], kernel, driver) for launch in kernel.launches]


_SIMULATING = threading.RLock()
"""The simulator runs one kernel at a time."""


def _simulated(function: Callable[..., Any], kernel: CudaKernel, driver: Simulator) -> Launch:
    """A launch that runs at once, in this process."""
    text = numba_cuda().jit(function)

    def word(parameter: Parameter, value: Any) -> Any:
        if not parameter.is_address:
            return np.dtype(parameter.dtype).type(value)
        return Pointer(value, parameter.memory_dtype, *driver.bounds(value))

    def launch(grid: int, block: int, shared: int, stream: int, values: Sequence[Any]) -> None:
        given = [word(parameter, value) for parameter, value in zip(kernel.parameters, values, strict=True)]
        driver.do(lambda: run(grid, block, shared, given))

    def run(grid: int, block: int, shared: int, given: Sequence[Any]) -> None:
        with _SIMULATING:
            text[grid, block, 0, shared](*given)

    return launch
