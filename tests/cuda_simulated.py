"""A pytest plugin (`-p tests.cuda_simulated`): every kernel that the library launches runs in Numba's simulator.

The process needs NUMBA_ENABLE_CUDASIM=1 and TRACEJIT_PORTABLE=1.  Kernels take turns through the variants that fit a
call, so that all of them are met.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.cuda_rig import simulate
from tracejit.lower.cuda.choice import vectorized
from tracejit.lower.cuda.kernel import CudaKernel, Variant
from tracejit.lower.cuda.lowering import lower
from tracejit.runtime import kernel_cache
from tracejit.schedule.kernel import Kernel

VARIANTS = [
    Variant(index_bits, vector, shared, row, block)
    for block, row in ((32, 1), (64, 4), (32, 32), (64, 64))
    for index_bits, vector, shared in ((32, True, True), (64, False, True), (64, True, False))
]

_turns = itertools.count()
_lowered: dict[tuple[Kernel, Variant], CudaKernel] = {}


def entry(kernel: Kernel, code: object) -> Callable[..., Any]:
    """A kernel's callable, as `machine_code.make_entry` has it."""
    roles = [operand.role for operand in kernel.operands if operand.role != "scratch"]

    def call(*arguments: Any) -> Any:
        operands = [x for x, role in zip(arguments, roles, strict=False) if role != "partial"]
        rest = arguments[len(roles) : -2]
        variant = _fitting(kernel, operands)
        if (kernel, variant) not in _lowered:
            _lowered[kernel, variant] = lower(kernel, variant)
        with np.errstate(all="ignore"):
            error = simulate(_lowered[kernel, variant], [*operands, *rest[kernel.axes :]], rest[: kernel.axes])
        return error or None

    return call


def _fitting(kernel: Kernel, operands: list[Any]) -> Variant:
    """The next variant, without vectors where memory is not aligned for them."""
    variant = VARIANTS[next(_turns) % len(VARIANTS)]
    numbers = [k for k, operand in enumerate(kernel.operands) if operand.role not in ("scratch", "partial")]
    arrays = dict(zip(numbers, operands, strict=True))
    wanted = vectorized(kernel) if variant.vector else frozenset()
    if all(_aligned(arrays[number], kernel.operands[number].unit) for number in wanted):
        return variant
    return Variant(variant.index_bits, False, variant.shared, variant.row, variant.block)


def _aligned(array: Any, unit: tuple[bool, ...]) -> bool:
    strides = [stride for stride, dense in zip(array.strides, unit, strict=False) if not dense]
    return all(number % 16 == 0 for number in (array.__array_interface__["data"][0], *strides))


def pytest_configure(config: Any) -> None:
    """Put the simulator in place of the CPU."""
    assert os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" and os.environ.get("TRACEJIT_PORTABLE") == "1"
    kernel_cache.make_entry = entry  # type: ignore[attr-defined,assignment]
