"""A kernel lowered for CUDA: its text, its launches, and the words that it is called with.

The text holds one function a launch; all take the same parameters, each one word of 8 bytes, in this order:

1. for each operand in order, those of the roles `scratch` and `partial` excepted: the address, then its byte strides,
   then - if the operand is read by a Gather - its sizes;
2. the extent of each axis;
3. the integers;
4. the scalars, each an int64, a uint64 or a float64 by the kind of its dtype (a bool is an int64, 0 or 1);
5. the address of each work array in `work`;
6. the address of the error, one int64: 0 unless a Gather went out of bounds, then 1 + the number of that instruction.

That is `abi.layout` of the CPU without the partial operands, and with what a GPU needs besides.  Strides are multiples
of the item size, and every address of the item size: an array of which that is not so is copied first.

In the text a parameter of kind `pointer`, `work` or `error` is indexed in elements of its `memory_dtype` with no check
and no wrapping of negative places (numba: `CPointer`; simulator: `simulation.Pointer`).  Besides Python the text uses
`cuda` (threadIdx, blockIdx, blockDim, gridDim, shared.array, syncthreads), the NumPy scalar types by name (`int32`,
`float64`, `uint8`, ..), `inf` and `nan`, and the names of `device_functions`: see `names`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np


@dataclass(frozen=True)
class Device:
    """What a launch has to know of a GPU (H100: 132 multiprocessors, 227 KiB of shared memory for a block)."""

    multiprocessors: int
    shared_bytes: int = 48 << 10


Extents: TypeAlias = Sequence[int]
"""The extents of a kernel's axes, as its parameter words hold them."""


INDEX_LIMIT = 1 << 30
"""What indices of 32 bits count up to; a step further in a loop must fit too."""


@dataclass(frozen=True)
class Variant:
    """Choices that are made by looking at a call (see `choice.choose`); every kernel takes the default one.

    index_bits: 32 where the product of the extents, and every byte offset into an operand, is below `INDEX_LIMIT`.
    vector: loads and stores of 16 bytes; allowed where `CudaKernel.aligned` says so.
    shared: scratch rows in shared memory; allowed where every `Launch.shared` fits `Device.shared_bytes`. Otherwise
        they are work arrays.
    row: threads that share a row of a kernel of rows or columns: 1, a power of two up to 32, or `block`.
    block: threads in a block, a power of two from 32 to 1024 (the simulator runs a Python thread for each).
    split: a column is the work of several blocks, in two launches, where that can be done; `row` threads of each then.
    staged: rows that several stages read are kept in shared memory, as scratch rows are, and only where `shared`.
    """

    index_bits: int = 64
    vector: bool = False
    shared: bool = True
    row: int = 32
    block: int = 256
    split: bool = False
    staged: bool = False


@dataclass(frozen=True)
class Parameter:
    """One word of a call.

    kind: pointer, stride (in bytes), size, extent, integer, scalar, work or error.
    dtype: of an element for those that are addresses, else of the word itself: int64, uint64 or float64.
    operand: of a pointer, stride or size: the operand's number.
    place: the dimension of a stride or size; the number of an axis, integer, scalar or work array.
    """

    name: str
    kind: str
    dtype: str
    operand: int = -1
    place: int = 0

    @property
    def is_address(self) -> bool:
        """Is the word an address?"""
        return self.kind in ("pointer", "work", "error")

    @property
    def memory_dtype(self) -> np.dtype[np.generic]:
        """How the text sees the memory behind an address: a bool as a byte, a float16 as its bits."""
        return np.dtype({"bool": "uint8", "float16": "uint16"}.get(self.dtype, self.dtype))


@dataclass(frozen=True)
class Work:
    """Memory that a call needs only while it runs: `length(extents, device)` elements, in no state to begin with."""

    dtype: str
    length: Callable[[Extents, Device], int]


@dataclass(frozen=True)
class Launch:
    """One launch of a function of the text; those of a kernel follow each other in stream order.

    form: what a thread does: "map", "rows", "columns", "reduce_all", "combine", "panels", ...
    row: threads that share a row of a kernel of rows or columns: 1, a power of two up to 32, or `block`.
    split: a column is the work of several blocks, in two launches, where that can be done.
    block: threads in a block, along x.
    grid: `(extents, device)` to the number of blocks, along x; 0: there is nothing to launch.
    shared: `extents` to the bytes of dynamic shared memory.
    """

    function: str
    form: str
    block: int
    grid: Callable[[Extents, Device], int]
    shared: Callable[[Extents], int]


@dataclass(frozen=True)
class CudaKernel:
    """A kernel as text, and all that is needed to compile, call and launch it.

    aligned: operands of which the address and all strides but the unit one must be multiples of 16 bytes (what is
        contiguous needs only the address); empty unless the variant has `vector`.
    fma: may the compiler contract a product and a sum (NVVM's option `-fma`)?  Only under fastmath.
    tables: constant arrays that the text uses by name.
    """

    source: str
    parameters: tuple[Parameter, ...]
    launches: tuple[Launch, ...]
    work: tuple[Work, ...] = ()
    aligned: tuple[int, ...] = ()
    fma: bool = False
    tables: tuple[tuple[str, str, tuple[float, ...]], ...] = field(default=())


class NoCudaKernel(Exception):
    """A kernel has no form for CUDA: names the op or instruction and says why."""
