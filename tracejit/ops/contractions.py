"""Products of matrices, and calls of NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ops.table import Op, register

def _matmul_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    (a, b), (left, right) = node.inputs, tangents
    terms = [rules.product(left, b, node)] if left is not None else []
    terms += [rules.product(a, right, node)] if right is not None else []
    return terms[0] if len(terms) == 1 else rules.add(*terms)


def _matmul_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    a, b = node.inputs
    if len(a.shape) == 1 and len(b.shape) == 1:
        spread = rules.spread(cotangent, (0,), a.shape)
        return [rules.multiply(spread, b), rules.multiply(spread, a)]
    if len(a.shape) <= 2 and len(b.shape) == 1:
        return [rules.outer(cotangent, b), rules.matrix_vector(rules.transposed(a, (1, 0)), cotangent)]
    if len(a.shape) == 1 and len(b.shape) == 2:
        return [rules.matrix_vector(b, cotangent), rules.outer(a, cotangent)]
    return rules.batched_matmul_vjp(node, cotangent)  # type: ignore[no-any-return]


def _matmul_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_matmul(node, inputs, batched)


def _call_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_call(node, inputs, batched)


register(
    Op(
        "matmul",
        "contract",
        reference=np.matmul,
        jvp=_matmul_jvp,
        vjp=_matmul_vjp,
        batch=_matmul_batch,
        doc="Matrix product, by NumPy's own BLAS.",
    )
)
register(Op("call", "call", batch=_call_batch, doc="A NumPy function without a kernel, called between kernels."))
