"""Lowered kernels in Numba's simulator, called by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.lower.cuda.kernel import CudaKernel, Device
from tracejit.lower.cuda.names import functions, simulated_names
from tracejit.lower.cuda.simulation import Pointer

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
