"""The written-out kernels of `lower.cuda` on arrays of a GPU: running totals, scattered writes, sorting, selection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.lower.cuda import elimination, library_kernels, scanning, sorting
from tracejit.lower.cuda.kernel import CudaKernel, Device
from tracejit.runtime.device_array import DeviceArray
from tracejit.runtime.device_kernels import BLOCK, SIMULATED_BLOCK, launches_of


def running_totals(op: str, source: DeviceArray, target: DeviceArray) -> None:
    """target[i, j] = source[i, 0] op ... op source[i, j]; op: see `written_out.COMBINED`; target is not bool."""
    names = source.dtype.name, target.dtype.name
    # A float's totals are added up one after the other, for the bits that NumPy's have.
    any_order = op in ("maximum", "minimum") or target.dtype.kind in "iu"
    write = scanning.scan if any_order else library_kernels.running
    _launch(("running", op, *names), lambda block: write(op, *names, block), (source, target), target.shape)


def scatter(places: DeviceArray, values: DeviceArray, target: DeviceArray) -> None:
    """target[places[i]] = values[i] in order; all have one axis, places are int64 and not negative."""
    name = target.dtype.name
    extents = places.shape[0], target.shape[0]
    _launch(("scatter", name), lambda block: library_kernels.scatter(name, block), (places, values, target), extents)


def combine(op: str, places: DeviceArray, values: DeviceArray, target: DeviceArray) -> None:
    """target[places[i], j] op= values[i, j] in order; places are int64 and not negative, target is contiguous."""
    name = target.dtype.name
    ordered, order = sort(places.reshape(1, -1), True)
    assert order is not None
    make = lambda block: library_kernels.combine(op, name, block)  # noqa: E731
    _launch(("combine", op, name), make, (ordered, order, values, target), values.shape)


def reduce_at(op: str, x: DeviceArray, places: DeviceArray, target: DeviceArray) -> None:
    """target[i, j] = x[places[i], j] op ... op x[places[i + 1] - 1, j]; places are int64 and contiguous.

    A place out of bounds is an IndexError when a value is next read back.
    """
    home, name, length = x.home, x.dtype.name, x.shape[0]

    def report(number: int) -> None:
        raise IndexError(f"index {number - 1} of {op}.reduceat is out of bounds: its place is not in [0, {length})")

    make = lambda block: library_kernels.reduce_at(op, name, block)  # noqa: E731
    home.errors.pending = True
    extents = (*target.shape, length)
    _launch(("reduce_at", op, name), make, (x, places, target), extents, error=home.errors.word(report))


def count(places: DeviceArray, target: DeviceArray) -> None:
    """target[places[i]] += 1; both are int64 and contiguous, places are not negative."""
    _launch("count", library_kernels.count, (places, target), (places.size, target.size))


def true_places(mask: DeviceArray) -> DeviceArray:
    """Where a contiguous mask of one axis is true.  Waits: how many places there are is read back."""
    home = mask.home
    totals: DeviceArray = home.empty(mask.shape, np.int64)
    found = 0
    if mask.size:
        running_totals("add", mask.reshape(1, -1), totals.reshape(1, -1))
        found = int(totals[-1:].read()[0])
    places: DeviceArray = home.empty((found,), np.int64)
    if found:
        _launch("compact", library_kernels.compact, (mask, totals, places), (mask.size, found))
    return places


def sort(rows: DeviceArray, with_places: bool) -> tuple[DeviceArray, DeviceArray | None]:
    """The rows of a contiguous matrix, sorted with NaN last and equal elements in their order; where each was."""
    home, (count, length), name = rows.home, rows.shape, rows.dtype.name
    targets = [home.empty(rows.shape, rows.dtype), *[home.empty(rows.shape, np.int64)] * with_places]
    if not rows.size:
        return targets[0], targets[1] if with_places else None
    most = SIMULATED_BLOCK if home.driver.simulated else BLOCK
    block = max(32, min(most, 1 << ((length - 1) // sorting.ITEMS).bit_length()))
    make = lambda block: sorting.tiles(name, with_places, block)  # noqa: E731
    _launch(("tiles", name, with_places, block), make, (rows, *targets), (count, length), block)
    width = sorting.tile(block)
    others = [home.empty(target.shape, target.dtype) for target in targets] if width < length else []
    while width < length:
        arrays = [targets[0], others[0], *targets[1:], *others[1:]]
        merge = lambda block: sorting.merge(name, with_places, block)  # noqa: E731
        _launch(("merge", name, with_places), merge, arrays, (count, length, width))
        targets, others, width = others, targets, 2 * width
    return targets[0], targets[1] if with_places else None


def search(ordered: DeviceArray, values: DeviceArray, side: str) -> DeviceArray:
    """How many elements of the first stand before each of the second; both are contiguous and of one dtype."""
    found: DeviceArray = values.home.empty(values.shape, np.int64)
    name = ordered.dtype.name
    if found.size:
        make = lambda block: sorting.search(name, side, block)  # noqa: E731
        _launch(("search", name, side), make, (ordered, values, found), (found.size, ordered.size))
    return found


def eliminate(a: DeviceArray, b: DeviceArray, raises: bool) -> DeviceArray:
    """Solve a @ x = b in place, for stacks of the same number; a becomes its triangular factor.

    raises: LinAlgError, when a value is next read back, for a matrix that is singular.  Returns the signs of the
    permutations.
    """
    home, (rows, columns), stack = a.home, b.shape[-2:], a.shape[:-2]
    signs: DeviceArray = home.empty(stack, a.dtype)
    if not rows:
        signs[...] = 1
    make = lambda block: elimination.eliminate(a.dtype.name, raises, block)  # noqa: E731
    error = home.errors.word(_singular) if raises else home.errors.none
    home.errors.pending |= raises
    _launch(("eliminate", a.dtype.name, raises), make, (a, b, signs), (math.prod(stack), rows, columns), error=error)
    return signs


def _singular(number: int) -> None:
    raise np.linalg.LinAlgError("Singular matrix")


def _launch(
    key: Any,
    make: Callable[[int], CudaKernel],
    arrays: Sequence[DeviceArray],
    extents: tuple[int, ...],
    block: int = 0,
    error: int = 0,
) -> None:
    """A kernel, made where it is not known yet, on arrays.

    block: threads in a block, where the usual do not fit; error: the address where it notes an error, if it can fail.
    """
    home = arrays[0].home
    found = home.library.get(key)
    if found is None:
        kernel = make(block or (SIMULATED_BLOCK if home.driver.simulated else BLOCK))
        found = home.library[key] = kernel, launches_of(home, kernel), _ranks(kernel, len(arrays))
    kernel, launches, ranks = found
    stream = home.stream
    words: list[Any] = []
    for array, rank in zip(arrays, ranks, strict=True):
        home.use(array, stream)
        words += array.words[: 1 + rank]
    device = Device(home.processors, home.shared_bytes)
    blocks = [
        home.memory.allocate(item.length(extents, device) * np.dtype(item.dtype).itemsize, stream)
        for item in kernel.work
    ]
    words += (*extents, *(memory.address for memory in blocks), error or home.errors.none)
    if not math.prod(extents[:2]):
        return
    for launch, item in zip(launches, kernel.launches, strict=True):
        if grid := item.grid(extents, device):
            launch(grid, item.block, item.shared(extents), stream, words)


def _ranks(kernel: CudaKernel, operands: int) -> list[int]:
    """How many strides of each operand a kernel takes."""
    strides = [parameter.operand for parameter in kernel.parameters if parameter.kind == "stride"]
    return [strides.count(number) for number in range(operands)]
