"""Running totals and scattered writes on a GPU: the kernels of `lower.cuda.library_kernels`, launched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracejit.lower.cuda import library_kernels
from tracejit.lower.cuda.kernel import CudaKernel, Device
from tracejit.runtime.device_array import DeviceArray
from tracejit.runtime.device_kernels import BLOCK, SIMULATED_BLOCK, launches_of


def running_totals(op: str, source: DeviceArray, target: DeviceArray) -> None:
    """target[i, j] = source[i, 0] op ... op source[i, j]; op: "+" or "*"."""
    names = source.dtype.name, target.dtype.name
    key = "running", op, *names
    _launch(key, lambda block: library_kernels.running(op, *names, block), (source, target), target.shape)


def scatter(places: DeviceArray, values: DeviceArray, target: DeviceArray) -> None:
    """target[places[i]] = values[i] in order; all have one axis, places are int64 and not negative."""
    name = target.dtype.name
    extents = places.shape[0], target.shape[0]
    _launch(("scatter", name), lambda block: library_kernels.scatter(name, block), (places, values, target), extents)


def scatter_add(places: DeviceArray, values: DeviceArray, target: DeviceArray) -> None:
    """target[places[i], j] += values[i, j] in order; places are int64 and not negative."""
    name = target.dtype.name
    arrays = places, values, target
    _launch(("scatter_add", name), lambda block: library_kernels.scatter_add(name, block), arrays, values.shape)


def _launch(
    key: Any, make: Callable[[int], CudaKernel], arrays: Sequence[DeviceArray], extents: tuple[int, ...]
) -> None:
    home = arrays[0].home
    found = home.library.get(key)
    if found is None:
        kernel = make(SIMULATED_BLOCK if home.driver.simulated else BLOCK)
        found = home.library[key] = kernel, launches_of(home, kernel)
    kernel, launches = found
    stream = home.stream
    words: list[Any] = []
    for array in arrays:
        home.use(array, stream)
        words += array.words
    device = Device(home.processors, home.shared_bytes)
    blocks = [
        home.memory.allocate(item.length(extents, device) * 8, stream)  # no element is larger
        for item in kernel.work
    ]
    words += (*extents, *(block.address for block in blocks), home.errors.none)
    for launch, item in zip(launches, kernel.launches, strict=True):
        if grid := item.grid(extents, device):
            launch(grid, item.block, item.shared(extents), stream, words)
