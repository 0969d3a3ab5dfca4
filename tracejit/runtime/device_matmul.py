"""np.matmul on arrays of a GPU: by cuBLAS where it is installed, by CuPy where that is, else by a kernel of ours."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np

from tracejit.runtime.cublas import DTYPES, cublas
from tracejit.runtime.device_array import DeviceArray
from tracejit.schedule.kernel import Apply, Index, Instruction, Kernel, Load, Operand, Product, Reduce, Stage, Store

ROWS = 64
"""Rows of a tile."""


def matmul(left: DeviceArray, right: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
    """The product, by NumPy's rules for one axis and for many; `out` is contiguous if given.

    left, right: of one dtype; their shapes fit.
    """
    rows = left if left.ndim > 1 else left.reshape(1, left.shape[0])
    columns = right if right.ndim > 1 else right.reshape(right.shape[0], 1)
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    whole = (*batch, rows.shape[-2], columns.shape[-1])
    shape = (*batch, *whole[-2:][left.ndim == 1 : 2 - (right.ndim == 1)])
    found: DeviceArray = left.home.empty(shape, left.dtype) if out is None else out
    target = found.reshape(*whole)
    if target.size:
        first, second = (array.broadcast_to((*batch, *array.shape[-2:])) for array in (rows, columns))
        _multiply(first, second, target)
    return found


def _multiply(left: DeviceArray, right: DeviceArray, target: DeviceArray) -> None:
    """Stacks of matrices of the same number."""
    home = left.home
    home.driver.activate(home.ordinal)
    library = None if home.driver.simulated or left.dtype not in DTYPES or not left.shape[-1] else cublas(home.ordinal)
    if library is not None:
        _by_cublas(library, left, right, target)
    elif not home.driver.simulated and left.shape[-1] and (cupy := _cupy()) is not None:
        _by_cupy(cupy, left, right, target)
    else:
        _by_kernel(left, right, target)


@cache
def _cupy() -> Any:
    try:
        import cupy
    except ImportError:
        return None
    return cupy


def _by_cupy(cupy: Any, left: DeviceArray, right: DeviceArray, target: DeviceArray) -> None:
    stream = target.home.stream
    for array in (left, right, target):
        target.home.use(array, stream)

    def shared(array: DeviceArray) -> Any:
        # By the protocol CuPy would wait for the array's stream, on which it works anyway.
        memory = cupy.cuda.UnownedMemory(array.address, max(1, array.nbytes), array)
        return cupy.ndarray(array.shape, array.dtype, cupy.cuda.MemoryPointer(memory, 0), array.strides)

    with cupy.cuda.ExternalStream(stream):
        cupy.matmul(shared(left), shared(right), out=shared(target))


def _by_cublas(library: Any, left: DeviceArray, right: DeviceArray, target: DeviceArray) -> None:
    """One call for all matrices that follow each other by one stride, and so for most stacks one in all."""
    home = target.home
    stream = home.stream
    left, right = _laid_out(left), _laid_out(right)
    for array in (left, right, target):
        home.use(array, stream)
    outer = target.shape[:-2]
    count = outer[-1] if outer else 1
    item = target.itemsize
    for place in itertools.product(*map(range, outer[:-1])):
        given = []
        for array in (left, right):
            address = array.address + sum(n * s for n, s in zip(place, array.strides, strict=False))
            transposed = array.strides[-1] != item and array.shape[-1] != 1
            step = array.strides[-1 if transposed else -2] // item
            least = array.shape[-2 if transposed else -1]
            given.append((address, int(transposed), max(step, least), array.strides[-3] // item if outer else 0))
        rows, columns = target.shape[-2:]
        address = target.address + sum(n * s for n, s in zip(place, target.strides, strict=False))
        library.multiply(
            stream,
            target.dtype,
            (count, rows, columns, left.shape[-1]),
            given[0],
            given[1],
            (address, max(columns, 1), rows * columns),
        )


def _laid_out(array: DeviceArray) -> DeviceArray:
    """The array with rows or columns that are contiguous."""
    rows, columns = array.strides[-2:]
    item = array.itemsize
    by_rows = columns == item and rows >= item * array.shape[-1]
    by_columns = rows == item and columns >= item * array.shape[-2]
    return array if by_rows or by_columns else array.copy()


def _by_kernel(left: DeviceArray, right: DeviceArray, target: DeviceArray) -> None:
    """Floats by tiles, whole ones of `ROWS` rows as a stack, so that many blocks have work; others one by one."""
    if target.dtype not in DTYPES or target.dtype == np.float16 or not left.shape[-1]:
        _by_elements(left, right, target)
        return
    rows = target.shape[-2]
    whole = rows - rows % ROWS
    if whole:
        _by_tiles(_stacked(left[..., :whole, :]), right, _stacked(target[..., :whole, :]))
    if whole < rows:
        _by_tiles(left[..., None, whole:, :], right, target[..., None, whole:, :])


def _stacked(array: DeviceArray) -> DeviceArray:
    """Rows as stacks of `ROWS`; a view."""
    *batch, rows, columns = array.shape
    shadow = np.lib.stride_tricks.as_strided(
        array.shadow,
        (*batch, rows // ROWS, ROWS, columns),
        (*array.strides[:-2], ROWS * array.strides[-2], *array.strides[-2:]),
        writeable=True,
    )
    return array.viewed(shadow)


def _by_tiles(left: DeviceArray, right: DeviceArray, target: DeviceArray) -> None:
    """Stacks of as few rows as a tile has; `right` has one axis of the stack less."""
    home = target.home
    *batch, rows, columns = target.shape
    stacked = right[..., None, :, :].broadcast_to((*batch, *right.shape[-2:]))
    (kernel,) = home.kernels.get([tiled_product(len(batch), target.dtype.name)])
    extents = (*batch, columns, rows, left.shape[-1])
    kernel.entry((left, stacked, target), extents, home.errors.none)


def _by_elements(left: DeviceArray, right: DeviceArray, target: DeviceArray) -> None:
    home = target.home
    (kernel,) = home.kernels.get([product(target.ndim, target.dtype.name)])
    kernel.entry((left, right, target), (*target.shape, left.shape[-1]), home.errors.none)


@cache
def tiled_product(batch: int, dtype: str) -> Kernel:
    """The kernel of stacks of matrices, of `batch` axes besides the last two, by tiles of columns."""
    stack = tuple(map(Index, range(batch)))
    columns, rows, depth = batch, batch + 1, batch + 2
    column, row, inner = Index(columns), Index(rows), Index(depth)
    panel = (Instruction(0, Load(1, (*stack, inner, column)), dtype), Instruction(1, Store(3, (inner, column), 0), ""))
    multiplied = Instruction(2, Product(0, (*stack, row, inner), rows, depth, 3, 4), "")
    result = (Instruction(3, Load(4, (row, column)), dtype), Instruction(4, Store(2, (*stack, row, column), 3), ""))
    unit = (False,) * (batch + 2)
    operands = (
        Operand(dtype, batch + 2, unit),
        Operand(dtype, batch + 2, unit),
        Operand(dtype, batch + 2, unit, "out"),
        Operand(dtype, 2, (False, True), "scratch", (depth, columns)),
        Operand(dtype, 2, (False, True), "scratch", (rows, columns)),
    )
    stages = (Stage((depth, columns), panel), Stage((), (multiplied,)), Stage((rows, columns), result))
    return Kernel("panels", batch + 3, (*range(batch), columns), stages, operands)


@cache
def product(rank: int, dtype: str) -> Kernel:
    """The kernel of stacks of matrices of `rank` axes: a sum for each element of the product."""
    outer = tuple(range(rank))
    batch = tuple(Index(axis) for axis in outer[:-2])
    row, column, depth = Index(rank - 2), Index(rank - 1), Index(rank)
    lines = (
        Instruction(0, Load(0, (*batch, row, depth)), dtype),
        Instruction(1, Load(1, (*batch, depth, column)), dtype),
        Instruction(2, Apply("logical_and" if dtype == "bool" else "multiply", (0, 1)), dtype),
        Instruction(3, Reduce("any" if dtype == "bool" else "sum", 2), dtype),
    )
    store = Instruction(4, Store(2, (*batch, row, column), 3), "")
    unit = (False,) * rank
    operands = (Operand(dtype, rank, unit), Operand(dtype, rank, unit), Operand(dtype, rank, unit, "out"))
    return Kernel("map", rank + 1, outer, (Stage((rank,), lines), Stage((), (store,))), operands)
