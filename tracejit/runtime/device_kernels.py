"""Kernels on a GPU: lowered and compiled in the variants that calls need, launched with what was prepared before.

The words of a call are its addresses, strides, extents and numbers.  All but addresses and numbers decide how it is
launched - which variant, how many blocks, how much work memory - so that is kept for calls alike (`_Plan`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tracejit.lower.cuda.choice import choose
from tracejit.lower.cuda.kernel import CudaKernel, Device, Variant
from tracejit.lower.cuda.lowering import lower
from tracejit.runtime.cuda_adapter import packing, simulated_launches
from tracejit.runtime.cuda_driver import Launch
from tracejit.runtime.device_array import VECTOR_BYTES, DeviceArray
from tracejit.runtime.kernel_cache import CacheCounts
from tracejit.runtime.ptx_cache import compiled
from tracejit.schedule.kernel import Gather, Kernel

BLOCK = 256
"""Threads of a block on a GPU, where nothing else is better."""

SIMULATED_BLOCK = 32
"""Threads of a block in the simulator, each of which is one of Python's."""

SMALL = 1 << 28
"""Integers below it are no reason for indices of 64 bits."""

KEPT_PLANS = 256
"""Plans kept of one kernel; past it they are made anew."""


@dataclass(frozen=True)
class _Plan:
    """How calls of some extents, strides and alignments are launched: (launch, blocks, threads, shared bytes) each."""

    launches: tuple[tuple[Any, int, int, int], ...]
    work: tuple[int, ...]


class DeviceKernel:
    """A scheduled kernel on one GPU.

    entry: takes the arrays in the order of the operands (scratch and partial ones left out), the numbers (extents,
    integers, scalars), and the address where the kernel notes an error.  It returns when all is queued.
    """

    def __init__(self, kernel: Kernel, home: Any) -> None:
        self.kernel, self.structure, self._home = kernel, kernel.structure, home
        gathered = {line.body.operand for line in kernel.instructions if isinstance(line.body, Gather)}
        passed = [n for n, x in enumerate(kernel.operands) if x.role not in ("scratch", "partial")]
        self._gathered = tuple(number in gathered for number in passed)
        self._place = {number: place for place, number in enumerate(passed)}
        self.can_fail = bool(gathered)
        self._ranks = tuple(kernel.operands[number].rank for number in passed)
        self._axes, self._numbers = kernel.axes, kernel.axes + kernel.integers
        self._compiled: dict[Variant, tuple[CudaKernel, Sequence[Any] | None]] = {}
        self._plans: dict[Any, _Plan] = {}
        self._lock = threading.Lock()
        self.entry: Callable[..., None] = self._call

    def _call(self, arrays: Sequence[DeviceArray], numbers: tuple[Any, ...], error: int) -> None:
        home = self._home
        stream = home.stream
        words: list[Any] = []
        key: list[Any] = [numbers[: self._axes]]
        if self._numbers != self._axes:
            # A counter of the host's is an integer: it may change from call to call, and the plan stays.
            key.append(max(map(abs, numbers[self._axes : self._numbers])) < SMALL)
        for array, rank, gathered in zip(arrays, self._ranks, self._gathered):  # noqa: B905 - hot, and of our making
            if array.block.stream != stream:
                array.block.used_by(stream)
            key.append(array.form)
            if len(array.strides) == rank:
                words += array.words
            else:
                # The kernel walks through the last axes as one.
                words += (*array.words[:rank], array.dtype.itemsize)
            if gathered:
                words += array.shape
                key.append(array.shape)
        found = tuple(key)
        plan = self._plans.get(found) or self._plan(found, arrays, numbers)
        words += numbers
        if plan.work:
            # It is lent to nobody else before what is queued here is done.
            blocks = [home.memory.allocate(size, stream) for size in plan.work]
            words += [block.address for block in blocks]
        words.append(error)
        if self.can_fail:
            home.errors.pending = True
        for launch, grid, threads, shared in plan.launches:
            launch(grid, threads, shared, stream, words)

    def _plan(self, key: Any, arrays: Sequence[DeviceArray], numbers: tuple[Any, ...]) -> _Plan:
        """Choose a variant for a call, compile it if need be, and reckon its launches."""
        extents = numbers[: self._axes]
        with self._lock:
            variant = self._variant(arrays, numbers)
            lowered, launches = self._loaded(variant)
        device = self._device()
        plan = _Plan(
            tuple(
                (launch, blocks, item.block, item.shared(extents))
                for launch, item in zip(launches, lowered.launches, strict=True)
                if (blocks := item.grid(extents, device))
            ),
            tuple(np.dtype(item.dtype).itemsize * item.length(extents, device) for item in lowered.work),
        )
        if len(self._plans) >= KEPT_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def _device(self) -> Device:
        return Device(self._home.processors, self._home.shared_bytes)

    def _variant(self, arrays: Sequence[DeviceArray], numbers: tuple[Any, ...]) -> Variant:
        extents = numbers[: self._axes]
        spans = [sum(abs(s) * n for s, n in zip(array.strides, array.shape, strict=True)) for array in arrays]
        integers = numbers[self._axes : self._numbers]
        reach = max([0, *spans, SMALL if all(abs(x) < SMALL for x in integers) else 1 << 62])
        block = SIMULATED_BLOCK if self._home.driver.simulated else BLOCK
        aligned = partial(self._is_aligned, arrays)
        return choose(self.kernel, extents, reach, aligned, self._device(), block)

    def _is_aligned(self, arrays: Sequence[DeviceArray], number: int) -> bool:
        """Are an operand's address and all strides but the unit one multiples of a vector?"""
        place = self._place[number]
        array, rank = arrays[place], self._ranks[place]
        strides = array.strides if len(array.strides) == rank else array.strides[: rank - 1]
        # Windows that overlap have the stride of an element on an axis that is not the unit one, too.
        apart = zip(strides, array.shape, self.kernel.operands[number].unit, strict=False)
        steps = [stride for stride, length, unit in apart if not unit and length > 1]
        return not array.address % VECTOR_BYTES and not any(step % VECTOR_BYTES for step in steps)

    def _lowered(self, variant: Variant) -> CudaKernel:
        if variant not in self._compiled:
            self._compiled[variant] = lower(self.kernel, variant), None
        return self._compiled[variant][0]

    def _loaded(self, variant: Variant) -> tuple[CudaKernel, Sequence[Any]]:
        lowered = self._lowered(variant)
        launches = self._compiled[variant][1]
        if launches is None:
            launches = launches_of(self._home, lowered)
            self._compiled[variant] = lowered, launches
        return lowered, launches


def launches_of(home: Any, kernel: CudaKernel) -> list[Launch]:
    """A lowered kernel's launches on a GPU, ready to be called."""
    if home.driver.simulated:
        return simulated_launches(kernel)
    texts, words = compiled(kernel, home.capability), packing(kernel)
    return [home.driver.load(*texts[x.function], words, home.ordinal) for x in kernel.launches]


class DeviceKernels:
    """The kernels of one GPU, by structure."""

    def __init__(self, home: Any) -> None:
        self._home = home
        self._kernels: dict[str, DeviceKernel] = {}

    def get(self, kernels: Sequence[Kernel], counts: CacheCounts | None = None) -> list[DeviceKernel]:
        """The kernels, callable; text is compiled when a call first needs it, since the call decides the variant."""
        started = time.perf_counter()
        found = []
        for kernel in kernels:
            known = self._kernels.get(kernel.structure)
            if counts is not None:
                counts.memory_hits += known is not None
                counts.compiled += known is None
            if known is None:
                known = self._kernels[kernel.structure] = DeviceKernel(kernel, self._home)
            found.append(known)
        if counts is not None:
            counts.compile_seconds += time.perf_counter() - started
        return found
