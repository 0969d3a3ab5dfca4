"""From a scheduled kernel to a kernel for numba.cuda, by its form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from tracejit.lower.cuda.elementwise import element_vectors, elementwise, is_elementwise
from tracejit.lower.cuda.kernel import INDEX_LIMIT, CudaKernel, Extents, NoCudaKernel, Variant
from tracejit.lower.cuda.reduce_all import reduce_all
from tracejit.lower.cuda.rows import rows
from tracejit.schedule.kernel import Kernel


def lower(kernel: Kernel, variant: Variant | None = None) -> CudaKernel:
    """The text and the launches of a kernel.

    Raises NoCudaKernel for one that has no form on a GPU: it names the op or the instruction, and says why.
    """
    variant = Variant() if variant is None else variant
    if is_elementwise(kernel):
        return elementwise(kernel, variant)
    if kernel.form in ("map", "reduce_columns"):
        return rows(kernel, variant)
    if kernel.form == "reduce_all":
        return reduce_all(kernel, variant)
    raise NoCudaKernel(f"kernels of the form {kernel.form!r}")


def choose(kernel: Kernel, extents: Extents, reach: int, aligned: Callable[[int], bool]) -> Variant:
    """The variant for a call.

    reach: the largest magnitude of a byte offset into any operand (and of an integer that is a start of an index).
    aligned: of an operand's number: are its address and all strides but the unit one multiples of 16 bytes?
    """
    small = max(reach, 2 * math.prod(max(1, extent) for extent in extents)) < INDEX_LIMIT
    variant = Variant(index_bits=32 if small else 64, vector=True)
    wanted = vectorized(kernel)
    return variant if wanted and all(map(aligned, wanted)) else replace(variant, vector=False)


def vectorized(kernel: Kernel) -> frozenset[int]:
    """The operands that the variant with `vector` reads and writes by vectors."""
    plan = element_vectors(kernel) if is_elementwise(kernel) else None
    return frozenset() if plan is None else plan.operands
