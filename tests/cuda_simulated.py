"""A pytest plugin (`-p tests.cuda_simulated`): every kernel that the library launches runs in Numba's simulator.

The process needs NUMBA_ENABLE_CUDASIM=1 and TRACEJIT_PORTABLE=1.  Kernels take turns through the variants that fit a
call, so that all of them are met.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests.cuda_rig import simulate
from tracejit.lower.cuda.choice import vectorized
from tracejit.lower.cuda.kernel import CudaKernel, Variant
from tracejit.lower.cuda.lowering import lower
from tracejit.runtime.kernel_cache import CacheCounts, KernelCache
from tracejit.runtime.machine_code import LoadedKernel
from tracejit.schedule.kernel import Kernel

VARIANTS = [
    Variant(32, True, True, row=1, block=32, split=True),
    Variant(64, True, False, row=4, block=32),
    Variant(32, False, True, row=32, block=32, staged=True),
    Variant(64, True, True, row=8, block=64, split=True, staged=True),
    Variant(32, True, False, row=1, block=32),
    Variant(64, False, True, row=4, block=32),
    Variant(32, True, True, row=64, block=64),
]
"""Every combination of what is decided apart; few of large blocks, since the simulator starts a thread for a thread."""

_turns = itertools.count()
_lowered: dict[tuple[Kernel, Variant], CudaKernel] = {}


def entry(kernel: Kernel) -> Callable[..., Any]:
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
    return replace(variant, vector=False)


def _aligned(array: Any, unit: tuple[bool, ...]) -> bool:
    strides = [stride for stride, dense in zip(array.strides, unit, strict=False) if not dense]
    return all(number % 16 == 0 for number in (array.__array_interface__["data"][0], *strides))


def get_kernels(self: object, kernels: Sequence[Kernel], counts: CacheCounts | None = None) -> list[LoadedKernel]:
    """The kernels, each with the simulator behind it; nothing is compiled."""
    return [LoadedKernel(k, k.structure, entry(k), "compiled", 0.0, None) for k in kernels]


def pytest_configure(config: Any) -> None:
    """Put the simulator in place of the CPU."""
    assert os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" and os.environ.get("TRACEJIT_PORTABLE") == "1"
    KernelCache.get_kernels = get_kernels  # type: ignore[method-assign]
