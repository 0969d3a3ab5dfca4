"""Kernels for what no scheduled kernel does: running totals, scattered writes, counts, the places of a mask.

They are written out, with the dtype filled in, and take the words of every kernel: addresses and strides of the
operands, extents, addresses of work arrays, that of the error.
"""

from __future__ import annotations

import numpy as np

from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Extents, Launch, Work
from tracejit.lower.cuda.written_out import COMBINED, Threads, elements, filled, rows, words

CHUNK = 1024
"""Elements that one thread adds up in order; it never depends on the device, so neither do the results."""


def _chunks(extents: Extents) -> int:
    rows, length = extents
    return rows * -(-length // CHUNK)


def _targets(extents: Extents) -> int:
    return extents[1]


_RUNNING = """\
def totals(NAMES):
    chunks = (n1 + CHUNK - 1) // CHUNK
    unit = cuda.grid(1)
    if unit < n0 * chunks:
        row = unit // chunks
        start = (unit - row * chunks) * CHUNK
        total = DTYPE(x[row * (x_s0 // X_SIZE) + start * (x_s1 // X_SIZE)])
        for place in range(start + 1, min(start + CHUNK, n1)):
            value = DTYPE(x[row * (x_s0 // X_SIZE) + place * (x_s1 // X_SIZE)])
            total = DTYPE(WITH_VALUE)
        work0[unit] = total


def offsets(NAMES):
    chunks = (n1 + CHUNK - 1) // CHUNK
    row = cuda.grid(1)
    if row < n0:
        total = work0[row * chunks]
        for unit in range(row * chunks + 1, (row + 1) * chunks):
            value = work0[unit]
            work0[unit] = total
            total = DTYPE(WITH_VALUE)


def running(NAMES):
    chunks = (n1 + CHUNK - 1) // CHUNK
    unit = cuda.grid(1)
    if unit < n0 * chunks:
        row = unit // chunks
        start = (unit - row * chunks) * CHUNK
        total = work0[unit]
        for place in range(start, min(start + CHUNK, n1)):
            value = DTYPE(x[row * (x_s0 // X_SIZE) + place * (x_s1 // X_SIZE)])
            total = DTYPE(WITH_VALUE) if place > 0 else value
            out[row * (out_s0 // SIZE) + place * (out_s1 // SIZE)] = total
"""


def running(op: str, source: str, target: str, block: int) -> CudaKernel:
    """Running totals along the second axis of two: out[i, j] = x[i, 0] op ... op x[i, j].

    op: a name in `COMBINED`; source, target: dtypes of x and out; extents: rows, length.
    """
    given = words(("x", source, 2), ("out", target, 2), work=(target,))
    combined = COMBINED[op].format("total", "value")
    text = filled(_RUNNING, given, target, CHUNK=CHUNK, WITH_VALUE=combined, X_SIZE=np.dtype(source).itemsize)
    shares = Threads(_chunks, block)
    launches = (
        Launch("totals", "running", block, shares, Always(0)),
        Launch("offsets", "running", block, Threads(rows, block), Always(0)),
        Launch("running", "running", block, shares, Always(0)),
    )
    return CudaKernel(text, tuple(given), launches, (Work(target, lambda extents, _: max(1, _chunks(extents))),))


_SCATTER = """\
def clear(NAMES):
    place = cuda.grid(1)
    if place < n1:
        work0[place] = int64(-1)


def claim(NAMES):
    unit = cuda.grid(1)
    if unit < n0:
        atomic_max(work0, places[unit * (places_s0 // 8)], int64(unit))


def write(NAMES):
    unit = cuda.grid(1)
    if unit < n0:
        place = places[unit * (places_s0 // 8)]
        if work0[place] == unit:
            out[place * (out_s0 // SIZE)] = values[unit * (values_s0 // SIZE)]
"""


def scatter(dtype: str, block: int) -> CudaKernel:
    """out[places[i]] = values[i]; of several writes to a place the last one stays.

    extents: how many writes, how long `out` is.
    """
    given = words(("places", "int64", 1), ("values", dtype, 1), ("out", dtype, 1), work=("int64",))
    writes = Threads(rows, block)
    launches = (
        Launch("clear", "scatter", block, Threads(_targets, block), Always(0)),
        Launch("claim", "scatter", block, writes, Always(0)),
        Launch("write", "scatter", block, writes, Always(0)),
    )
    text = filled(_SCATTER, given, dtype)
    return CudaKernel(text, tuple(given), launches, (Work("int64", lambda extents, _: max(1, extents[1])),))


_COMBINE = """\
def combine(NAMES):
    thread = cuda.grid(1)
    unit = thread // n1
    column = thread - unit * n1
    if unit < n0:
        row = places[unit]
        if unit == 0 or places[unit - 1] != row:
            place = row * n1 + column
            total = out[place]
            while unit < n0 and places[unit] == row:
                value = values[order[unit] * (values_s0 // SIZE) + column * (values_s1 // SIZE)]
                total = DTYPE(WITH_VALUE)
                unit = unit + 1
            out[place] = total
"""


def combine(op: str, dtype: str, block: int) -> CudaKernel:
    """out[places[i], j] op= values[order[i], j], in the order of i, so that the bits are always the same.

    places: sorted, so that those of one row are the work of one thread for each column.
    op: a name in `COMBINED`; extents: how many rows are combined, how long a row is.
    """
    operands = ("places", "int64", 0), ("order", "int64", 0), ("values", dtype, 2), ("out", dtype, 0)
    given = words(*operands)
    text = filled(_COMBINE, given, dtype, WITH_VALUE=COMBINED[op].format("total", "value"))
    launches = (Launch("combine", "scatter", block, Threads(elements, block), Always(0)),)
    return CudaKernel(text, tuple(given), launches)


_COUNT = """\
def count(NAMES):
    unit = cuda.grid(1)
    if unit < n0:
        atomic_add(out, places[unit], int64(1))
"""


def count(block: int) -> CudaKernel:
    """out[places[i]] += 1; extents: how many places, how long out is."""
    given = words(("places", "int64", 0), ("out", "int64", 0))
    text = filled(_COUNT, given, "int64")
    return CudaKernel(text, tuple(given), (Launch("count", "scatter", block, Threads(rows, block), Always(0)),))


_COMPACT = """\
def compact(NAMES):
    unit = cuda.grid(1)
    if unit < n0:
        if mask[unit] != 0:
            out[totals[unit] - 1] = int64(unit)
"""


def compact(block: int) -> CudaKernel:
    """The places where a mask is true; totals: how many true elements there are up to each.

    extents: the length of the mask, how many places.
    """
    given = words(("mask", "bool", 0), ("totals", "int64", 0), ("out", "int64", 0))
    text = filled(_COMPACT, given, "int64")
    return CudaKernel(text, tuple(given), (Launch("compact", "select", block, Threads(rows, block), Always(0)),))


_REDUCE_AT = """\
def reduce_at(NAMES):
    thread = cuda.grid(1)
    unit = thread // n1
    column = thread - unit * n1
    if unit < n0:
        start = places[unit]
        stop = n2
        if unit + 1 < n0:
            stop = places[unit + 1]
        if start < 0 or start >= n2:
            error[0] = int64(unit + 1)
        else:
            total = x[start * (x_s0 // SIZE) + column * (x_s1 // SIZE)]
            for row in range(start + 1, min(stop, n2)):
                value = x[row * (x_s0 // SIZE) + column * (x_s1 // SIZE)]
                total = DTYPE(WITH_VALUE)
            out[unit * n1 + column] = total
"""


def reduce_at(op: str, dtype: str, block: int) -> CudaKernel:
    """out[i, j] = x[places[i], j] op ... op x[places[i + 1] - 1, j]; of a place out of bounds, its number is the error.

    op: a name in `COMBINED`; extents: how many places, columns, rows of x.
    """
    given = words(("x", dtype, 2), ("places", "int64", 0), ("out", dtype, 0), extents=3)
    text = filled(_REDUCE_AT, given, dtype, WITH_VALUE=COMBINED[op].format("total", "value"))
    launches = (Launch("reduce_at", "reduce_at", block, Threads(elements, block), Always(0)),)
    return CudaKernel(text, tuple(given), launches)
