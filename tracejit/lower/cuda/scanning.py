"""Running totals whose order does not matter: of integers, and running extrema.  Neighbours are read by neighbours.

totals:  a block has a chunk of a row, ITEMS times as many elements as it has threads; its total goes to work0
offsets: a block has a row; its chunks' totals become running totals
running: each chunk again, after the total of those before it; the only launch where a row is one chunk

Within a block the totals of 1, 2, 4, .. elements before each thread's are put together in shared memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch, Work
from tracejit.lower.cuda.written_out import COMBINED, filled, words

ITEMS = 8
"""Elements of a chunk that are one thread's."""


@dataclass(frozen=True)
class _Blocks:
    """A block for each chunk of each row, or for each row; none where rows have fewer chunks than `least`."""

    size: int
    least: int = 1
    of_rows: bool = False

    def __call__(self, extents: Extents, device: Device) -> int:
        count, length = extents
        chunks = -(-length // self.size)
        return 0 if chunks < self.least else count if self.of_rows else count * chunks


_WITHIN = """\
            near[thread] = value
            base = 0
            width = 1
            cuda.syncthreads()
            while width < count:
                if thread >= width and thread < count:
                    value = DTYPE(AFTER_OTHERS)
                base = BLOCK - base
                near[base + thread] = value
                width = width * 2
                cuda.syncthreads()
            if has_carry and thread < count:
                value = DTYPE(AFTER_CARRY)
"""
"""Each thread's value becomes the total up to it, with the carry."""

_PART = (
    """\
    for item in range(ITEMS):
        first = start + item * BLOCK
        count = min(BLOCK, n1 - first)
        if count > 0:
            value = DTYPE(0)
            if thread < count:
                value = DTYPE(x[row * (x_s0 // X_SIZE) + (first + thread) * (x_s1 // X_SIZE)])
"""
    + _WITHIN
)

_CARRY = """\
            if thread == count - 1:
                last[0] = value
            cuda.syncthreads()
            carry = last[0]
            has_carry = True
            cuda.syncthreads()
"""

_HEAD = """\
    near = cuda.shared.array(BOTH, DTYPE_dtype)
    last = cuda.shared.array(1, DTYPE_dtype)
    thread = cuda.threadIdx.x
    chunks = (n1 + CHUNK - 1) // CHUNK
"""

_OWN = """\
    unit = cuda.blockIdx.x
    row = unit // chunks
    start = (unit - row * chunks) * CHUNK
    carry = DTYPE(0)
    has_carry = False
"""

_SCAN = f"""\
def totals(NAMES):
{_HEAD}{_OWN}{_PART}{_CARRY}    if thread == 0:
        work0[unit] = carry


def offsets(NAMES):
{_HEAD}    row = cuda.blockIdx.x
    carry = DTYPE(0)
    has_carry = False
    for first in range(0, chunks, BLOCK):
        count = min(BLOCK, chunks - first)
        if count > 0:
            value = DTYPE(0)
            if thread < count:
                value = work0[row * chunks + first + thread]
{_WITHIN}            if thread < count:
                work0[row * chunks + first + thread] = value
{_CARRY}

def running(NAMES):
{_HEAD}{_OWN}    if start > 0:
        carry = work0[unit - 1]
        has_carry = True
{_PART}            if thread < count:
                out[row * (out_s0 // SIZE) + (first + thread) * (out_s1 // SIZE)] = value
{_CARRY}"""


def scan(op: str, source: str, target: str, block: int) -> CudaKernel:
    """Running totals along the second axis of two: out[i, j] = x[i, 0] op ... op x[i, j].

    op: a name in `COMBINED` whose order does not matter; source, target: dtypes of x and out; extents: rows, length.
    """
    given = words(("x", source, 2), ("out", target, 2), work=(target,))
    size = ITEMS * block
    every = _Blocks(size)
    sizes = {"X_SIZE": np.dtype(source).itemsize, "ITEMS": ITEMS, "BLOCK": block, "BOTH": 2 * block, "CHUNK": size}
    text = filled(
        _SCAN,
        given,
        target,
        AFTER_OTHERS=COMBINED[op].format("near[base + thread - width]", "value"),
        AFTER_CARRY=COMBINED[op].format("carry", "value"),
        **sizes,
    )
    launches = (
        Launch("totals", "scan", block, _Blocks(size, least=2), Always(0)),
        Launch("offsets", "scan", block, _Blocks(size, least=2, of_rows=True), Always(0)),
        Launch("running", "scan", block, every, Always(0)),
    )
    return CudaKernel(text, tuple(given), launches, (Work(target, lambda extents, device: every(extents, device)),))
