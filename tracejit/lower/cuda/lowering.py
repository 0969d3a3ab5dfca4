"""From a scheduled kernel to a kernel for numba.cuda, by its form."""

from __future__ import annotations

from tracejit.lower.cuda.elementwise import elementwise
from tracejit.lower.cuda.kernel import CudaKernel, NoCudaKernel, Variant
from tracejit.schedule.kernel import Kernel


def lower(kernel: Kernel, variant: Variant | None = None) -> CudaKernel:
    """The text and the launches of a kernel.

    Raises NoCudaKernel for one that has no form on a GPU: it names the op or the instruction, and says why.
    """
    variant = Variant() if variant is None else variant
    if kernel.form == "map" and not any(stage.axes for stage in kernel.stages):
        return elementwise(kernel, variant)
    raise NoCudaKernel(f"kernels of the form {kernel.form!r}")
