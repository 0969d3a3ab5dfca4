"""From a scheduled kernel to a kernel for numba.cuda, by its form."""

from __future__ import annotations

from tracejit.lower.cuda.choice import choose, vectorized
from tracejit.lower.cuda.elementwise import elementwise, is_elementwise
from tracejit.lower.cuda.kernel import CudaKernel, NoCudaKernel, Variant
from tracejit.lower.cuda.panels import panels
from tracejit.lower.cuda.products import factors, product
from tracejit.lower.cuda.reduce_all import reduce_all
from tracejit.lower.cuda.rows import rows
from tracejit.lower.cuda.split_columns import can_split, split_columns
from tracejit.lower.cuda.staging import staged
from tracejit.schedule.kernel import Kernel


def lower(kernel: Kernel, variant: Variant | None = None) -> CudaKernel:
    """The text and the launches of a kernel.

    Raises NoCudaKernel for one that has no form on a GPU: it names the op or the instruction, and says why.
    """
    variant = Variant() if variant is None else variant
    if is_elementwise(kernel):
        return elementwise(kernel, variant)
    found = factors(kernel)
    if found is not None:
        return product(kernel, variant, found)
    if variant.split and can_split(kernel):
        return split_columns(kernel, variant)
    if kernel.form in ("map", "reduce_columns"):
        keep = variant.staged and variant.shared and kernel.form == "map"
        return rows(staged(kernel) if keep else kernel, variant)
    if kernel.form == "reduce_all":
        return reduce_all(kernel, variant)
    if kernel.form == "panels":
        return panels(kernel, variant)
    raise NoCudaKernel(f"kernels of the form {kernel.form!r}")


__all__ = ["choose", "lower", "vectorized"]
