"""Kernels that sort the rows of a matrix by merging, so that equal elements stay in their order.

tiles:   a block sorts TILE elements of a row in shared memory: runs of 1, 2, 4, .. elements are merged
merge:   runs of n2 elements are merged by pairs, in device memory; launched again and again for runs twice as long

In both an element finds its place by itself: its own in its run, and how many of the other run stand before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch
from tracejit.lower.cuda.written_out import Threads, before, elements, filled, rows, words

ITEMS = 4
"""Elements of a tile that are one thread's."""


def tile(block: int) -> int:
    """Elements that a block of so many threads sorts."""
    return ITEMS * block


@dataclass(frozen=True)
class _Tiles:
    """A block for each tile of each row."""

    block: int

    def __call__(self, extents: Extents, device: Device) -> int:
        count, length = extents
        return count * -(-length // tile(self.block))


_TILES = """\
def tiles(NAMES):
    keys = cuda.shared.array(BOTH, DTYPE_dtype)
    near_places = cuda.shared.array(BOTH, int32_dtype)
    parts = (n1 + TILE - 1) // TILE
    row = cuda.blockIdx.x // parts
    first = (cuda.blockIdx.x - row * parts) * TILE
    count = min(TILE, n1 - first)
    thread = cuda.threadIdx.x
    for item in range(ITEMS):
        i = thread + item * BLOCK
        if i < count:
            keys[i] = x[row * n1 + first + i]
            near_places[i] = int32(i)
    cuda.syncthreads()
    width = 1
    base = 0
    while width < count:
        for item in range(ITEMS):
            i = thread + item * BLOCK
            if i < count:
                key = keys[base + i]
                run = i // width
                later = run & 1
                low = min((run ^ 1) * width, count)
                high = min(low + width, count)
                start = low
                while low < high:
                    middle = (low + high) // 2
                    other = keys[base + middle]
                    if OTHER_BEFORE or (later == 1 and not KEY_BEFORE):
                        low = middle + 1
                    else:
                        high = middle
                target = TILE - base + i - later * width + low - start
                keys[target] = key
                near_places[target] = near_places[base + i]
        cuda.syncthreads()
        base = TILE - base
        width = width * 2
    for item in range(ITEMS):
        i = thread + item * BLOCK
        if i < count:
            out[row * n1 + first + i] = keys[base + i]
            out_places[row * n1 + first + i] = int64(near_places[base + i]) + first
"""

_MERGE = """\
def merge(NAMES):
    unit = cuda.grid(1)
    if unit < n0 * n1:
        row = unit // n1
        begin = row * n1
        i = unit - begin
        key = x[unit]
        run = i // n2
        later = run & 1
        low = min((run ^ 1) * n2, n1)
        high = min(low + n2, n1)
        start = low
        while low < high:
            middle = (low + high) // 2
            other = x[begin + middle]
            if OTHER_BEFORE or (later == 1 and not KEY_BEFORE):
                low = middle + 1
            else:
                high = middle
        target = unit - later * n2 + low - start
        out[target] = key
        out_places[target] = x_places[unit]
"""


def _text(text: str, with_places: bool) -> str:
    return text if with_places else "".join(line for line in text.splitlines(True) if "places" not in line)


def tiles(dtype: str, with_places: bool, block: int) -> CudaKernel:
    """Tiles of the rows of x, sorted; and where in its row each element was.

    extents: rows, length.
    """
    given = words(("x", dtype, 0), ("out", dtype, 0), *[("out_places", "int64", 0)] * with_places)
    sizes = {"BOTH": 2 * tile(block), "TILE": tile(block), "ITEMS": ITEMS, "BLOCK": block}
    text = filled(_text(_TILES, with_places), given, dtype, **_order(dtype), **sizes)
    return CudaKernel(text, tuple(given), (Launch("tiles", "sort", block, _Tiles(block), Always(0)),))


def merge(dtype: str, with_places: bool, block: int) -> CudaKernel:
    """Pairs of sorted runs of the rows of x, merged.

    extents: rows, length, length of a run.
    """
    places = [("x_places", "int64", 0), ("out_places", "int64", 0)] * with_places
    given = words(("x", dtype, 0), ("out", dtype, 0), *places, extents=3)
    text = filled(_text(_MERGE, with_places), given, dtype, **_order(dtype))
    return CudaKernel(text, tuple(given), (Launch("merge", "sort", block, Threads(elements, block), Always(0)),))


def _order(dtype: str) -> dict[str, object]:
    return {"OTHER_BEFORE": before(dtype, "other", "key"), "KEY_BEFORE": f"({before(dtype, 'key', 'other')})"}


_SEARCH = """\
def search(NAMES):
    unit = cuda.grid(1)
    if unit < n0:
        key = values[unit]
        low = 0
        high = n1
        while low < high:
            middle = (low + high) // 2
            other = x[middle]
            if FURTHER:
                low = middle + 1
            else:
                high = middle
        out[unit] = int64(low)
"""


def search(dtype: str, side: str, block: int) -> CudaKernel:
    """How many elements of the sorted x stand before each value; for side "right" also those that equal it.

    extents: how many values, how long x is.
    """
    given = words(("x", dtype, 0), ("values", dtype, 0), ("out", "int64", 0))
    further = before(dtype, "other", "key") if side == "left" else f"not ({before(dtype, 'key', 'other')})"
    text = filled(_SEARCH, given, dtype, FURTHER=further)
    return CudaKernel(text, tuple(given), (Launch("search", "search", block, Threads(rows, block), Always(0)),))
