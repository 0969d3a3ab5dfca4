"""Systems of linear equations, a block for each: elimination with partial pivoting, then substitution from the end.

A warp has a row at a time, a thread every 32nd column of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracejit.lower.cuda.grids import Always
from tracejit.lower.cuda.kernel import CudaKernel, Device, Extents, Launch
from tracejit.lower.cuda.written_out import filled, words


@dataclass(frozen=True)
class _Matrices:
    """A block for each matrix."""

    def __call__(self, extents: Extents, device: Device) -> int:
        return extents[0]


_ELIMINATE = """\
def eliminate(NAMES):
    chosen = cuda.shared.array(1, int64_dtype)
    thread = cuda.threadIdx.x
    warp = thread >> 5
    lane = thread & 31
    a0 = cuda.blockIdx.x * n1 * n1
    b0 = cuda.blockIdx.x * n1 * n2
    swaps = 0
    for step in range(n1):
        if thread == 0:
            best = step
            size = absolute(a[a0 + step * n1 + step])
            for row in range(step + 1, n1):
                other = absolute(a[a0 + row * n1 + step])
                if other > size or other != other:
                    size = other
                    best = row
            chosen[0] = int64(best)
            if RAISES and size == 0:
                error[0] = int64(1)
        cuda.syncthreads()
        best = chosen[0]
        if best != step:
            swaps = swaps + 1
            for column in range(thread, n1, BLOCK):
                value = a[a0 + best * n1 + column]
                a[a0 + best * n1 + column] = a[a0 + step * n1 + column]
                a[a0 + step * n1 + column] = value
            for column in range(thread, n2, BLOCK):
                value = b[b0 + best * n2 + column]
                b[b0 + best * n2 + column] = b[b0 + step * n2 + column]
                b[b0 + step * n2 + column] = value
        cuda.syncthreads()
        pivot = a[a0 + step * n1 + step]
        if pivot != 0:
            for row in range(step + 1 + warp, n1, WARPS):
                mine = a0 + row * n1
                factor = a[mine + step] / pivot
                for column in range(step + 1 + lane, n1, 32):
                    a[mine + column] = a[mine + column] - factor * a[a0 + step * n1 + column]
                mine = b0 + row * n2
                for column in range(lane, n2, 32):
                    b[mine + column] = b[mine + column] - factor * b[b0 + step * n2 + column]
        cuda.syncthreads()
    if thread == 0:
        signs[cuda.blockIdx.x] = DTYPE(1 - 2 * (swaps & 1))


def substitute(NAMES):
    thread = cuda.threadIdx.x
    warp = thread >> 5
    lane = thread & 31
    a0 = cuda.blockIdx.x * n1 * n1
    b0 = cuda.blockIdx.x * n1 * n2
    for back in range(n1):
        step = n1 - 1 - back
        for column in range(thread, n2, BLOCK):
            b[b0 + step * n2 + column] = b[b0 + step * n2 + column] / a[a0 + step * n1 + step]
        cuda.syncthreads()
        for row in range(warp, step, WARPS):
            factor = a[a0 + row * n1 + step]
            for column in range(lane, n2, 32):
                b[b0 + row * n2 + column] = b[b0 + row * n2 + column] - factor * b[b0 + step * n2 + column]
        cuda.syncthreads()
"""


def eliminate(dtype: str, raises: bool, block: int) -> CudaKernel:
    """b becomes the solutions of a @ x = b, the upper half of a its triangular factor, signs that of the permutation.

    raises: a matrix that is singular leaves 1 in the error.
    extents: how many matrices, their rows, columns of b.
    """
    given = words(("a", dtype, 0), ("b", dtype, 0), ("signs", dtype, 0), extents=3)
    text = filled(_ELIMINATE, given, dtype, RAISES=raises, BLOCK=block, WARPS=block // 32)
    launches = tuple(Launch(name, "eliminate", block, _Matrices(), Always(0)) for name in ("eliminate", "substitute"))
    return CudaKernel(text, tuple(given), launches)
