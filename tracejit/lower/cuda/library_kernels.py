"""Kernels for what NumPy does in a call of its own and no scheduled kernel does: running totals, scattered writes.

They are written out, with the dtype filled in, and take the words of every kernel: addresses and strides of the
operands, extents, addresses of work arrays, that of the error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch, Parameter, Work

CHUNK = 1024
"""Elements that one thread adds up in order; it never depends on the device, so neither do the results."""


@dataclass(frozen=True)
class _Threads:
    """Blocks for a number of threads that the extents give."""

    count: Callable[[Extents], int]
    block: int

    def __call__(self, extents: Extents, device: Device) -> int:
        return -(-self.count(extents) // self.block)


def _chunks(extents: Extents) -> int:
    rows, length = extents
    return rows * -(-length // CHUNK)


def _rows(extents: Extents) -> int:
    return extents[0]


def _targets(extents: Extents) -> int:
    return extents[1]


def _operands(*operands: tuple[str, str, int]) -> list[Parameter]:
    """The words of operands: (name, dtype, rank) each."""
    found = []
    for number, (name, dtype, rank) in enumerate(operands):
        found.append(Parameter(name, "pointer", dtype, number))
        found += [Parameter(f"{name}_s{axis}", "stride", "int64", number, axis) for axis in range(rank)]
    return [*found, *(Parameter(f"n{axis}", "extent", "int64", place=axis) for axis in range(2))]


_RUNNING = """\
def totals(NAMES):
    chunks = (n1 + CHUNK - 1) // CHUNK
    unit = cuda.grid(1)
    if unit < n0 * chunks:
        row = unit // chunks
        start = (unit - row * chunks) * CHUNK
        total = IDENTITY
        for place in range(start, min(start + CHUNK, n1)):
            total = DTYPE(total OP DTYPE(x[row * (x_s0 // X_SIZE) + place * (x_s1 // X_SIZE)]))
        work0[unit] = total


def offsets(NAMES):
    chunks = (n1 + CHUNK - 1) // CHUNK
    row = cuda.grid(1)
    if row < n0:
        total = IDENTITY
        for unit in range(row * chunks, (row + 1) * chunks):
            own = work0[unit]
            work0[unit] = total
            total = DTYPE(total OP own)


def running(NAMES):
    chunks = (n1 + CHUNK - 1) // CHUNK
    unit = cuda.grid(1)
    if unit < n0 * chunks:
        row = unit // chunks
        start = (unit - row * chunks) * CHUNK
        total = work0[unit]
        for place in range(start, min(start + CHUNK, n1)):
            value = DTYPE(x[row * (x_s0 // X_SIZE) + place * (x_s1 // X_SIZE)])
            total = DTYPE(total OP value) if place > 0 else value
            out[row * (out_s0 // SIZE) + place * (out_s1 // SIZE)] = total
"""


def running(op: str, source: str, target: str, block: int) -> CudaKernel:
    """Running totals along the second axis of two: out[i, j] = x[i, 0] op ... op x[i, j].

    op: "+" or "*"; source, target: dtypes of x and out; extents: rows, length.
    """
    words = [*_operands(("x", source, 2), ("out", target, 2)), Parameter("work0", "work", target)]
    words.append(Parameter("error", "error", "int64"))
    text = _filled(_RUNNING, words, target, OP=op, IDENTITY=f"{target}({int(op == '*')})", CHUNK=str(CHUNK))
    text = text.replace("X_SIZE", str(np.dtype(source).itemsize))
    shares = _Threads(_chunks, block)
    launches = (
        Launch("totals", "running", block, shares, Always(0)),
        Launch("offsets", "running", block, _Threads(_rows, block), Always(0)),
        Launch("running", "running", block, shares, Always(0)),
    )
    return CudaKernel(text, tuple(words), launches, (Work(target, lambda extents, _: max(1, _chunks(extents))),))


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
    operands = _operands(("places", "int64", 1), ("values", dtype, 1), ("out", dtype, 1))
    words = [*operands, Parameter("work0", "work", "int64"), Parameter("error", "error", "int64")]
    writes = _Threads(_rows, block)
    launches = (
        Launch("clear", "scatter", block, _Threads(_targets, block), Always(0)),
        Launch("claim", "scatter", block, writes, Always(0)),
        Launch("write", "scatter", block, writes, Always(0)),
    )
    text = _filled(_SCATTER, words, dtype)
    return CudaKernel(text, tuple(words), launches, (Work("int64", lambda extents, _: max(1, extents[1])),))


BLOCKS = 16
"""Blocks that a scattered sum has at least: where rows are short, the places are shared out among several threads."""


@dataclass(frozen=True)
class _Adders:
    """A thread for each column and share of the places, of which there are enough for so many threads."""

    threads: int

    def __call__(self, extents: Extents) -> int:
        width = extents[1]
        return width * max(1, self.threads // max(1, width))


_SCATTER_ADD = """\
def add(NAMES):
    shares = max(1, THREADS // n1)
    thread = cuda.grid(1)
    share = thread // n1
    column = thread - share * n1
    if share < shares:
        for unit in range(n0):
            row = places[unit * (places_s0 // 8)]
            if row % shares == share:
                place = row * (out_s0 // SIZE) + column * (out_s1 // SIZE)
                value = values[unit * (values_s0 // SIZE) + column * (values_s1 // SIZE)]
                out[place] = DTYPE(out[place] + value)
"""


def scatter_add(dtype: str, block: int) -> CudaKernel:
    """out[places[i], j] += values[i, j], in the order of i, so that the bits are always the same.

    Every thread looks at all places and takes those that are its own; so none is taken by two.

    extents: how many rows are added, how long a row is.
    """
    words = [
        *_operands(("places", "int64", 1), ("values", dtype, 2), ("out", dtype, 2)),
        Parameter("error", "error", "int64"),
    ]
    threads = BLOCKS * block
    launches = (Launch("add", "scatter", block, _Threads(_Adders(threads), block), Always(0)),)
    return CudaKernel(_filled(_SCATTER_ADD, words, dtype, THREADS=str(threads)), tuple(words), launches)


def _filled(text: str, words: list[Parameter], dtype: str, **given: str) -> str:
    """A text with the names of its parameters, and its dtype."""
    names = ", ".join(word.name for word in words)
    # "X_SIZE" ends in "SIZE", and is filled in by who has it.
    size = str(np.dtype(dtype).itemsize)
    for word, value in {"NAMES": names, "DTYPE": dtype, "// SIZE": f"// {size}", **given}.items():
        text = text.replace(word, value)
    return text
