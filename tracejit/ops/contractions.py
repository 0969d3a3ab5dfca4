"""Products of matrices, and calls of NumPy."""

from __future__ import annotations

import numpy as np

from tracejit.ops.table import Op, register

register(Op("matmul", "contract", reference=np.matmul, doc="Matrix product, by NumPy's own BLAS."))
register(Op("call", "call", doc="A NumPy function without a kernel, called between kernels."))
