"""From scheduled kernels to machine code.

`abi` says how a kernel is called, `cpu` compiles kernels with LLVM, `python_source` prints them.
This face imports no LLVM: a process whose kernels are all on disk needs none of the emitters.
"""

from tracejit.lower.abi import accumulator_dtype, has_final, layout, partial_dtypes, units

__all__ = ["accumulator_dtype", "has_final", "layout", "partial_dtypes", "units"]
