"""Which matrix products a kernel of ours computes (`schedule.panel_products`), and which BLAS.

Ours are those of a size where the kernel is the faster.  What follows it costs next to nothing then, and no thread of
BLAS wakes: OpenBLAS cuts a product of more than 2**18 products of elements (`SMP_THRESHOLD_MIN` times
`GEMM_MULTITHREAD_THRESHOLD` in its interface/gemm.c) among its own threads, and these look for more work for a tenth of
a second afterwards (`THREAD_TIMEOUT`).  On two CPUs kernels of ours took 2.8 ms in that time in place of 1.5.

Measured on two CPUs with AVX-512, kernel / OpenBLAS with `maximum(a @ b, 0)`:
64x64x128 1.24 in float32, 1.10 in float64; 128x128x128 0.83, 1.08; 256x256x256 0.73, 0.70; 512x512x10 0.51, 0.45;
1024x64x64 0.59, 0.61; 512x784x512 0.94, 1.00; 1024x1024x1024 1.05, 1.13; 1500x1500x1500 1.24, 1.29.
Above that OpenBLAS gains by panels that it cuts in depth too.

The answer depends on the sizes, so it is a guard: a function that was traced with small matrices is traced once more
for large ones.
"""

from __future__ import annotations

from collections.abc import Callable

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph
from tracejit.ir.node import Node
from tracejit.ir.size import Dimension
from tracejit.runtime.machine import machine
from tracejit.schedule.materialize import viewed
from tracejit.schedule.panel_products import is_matrix_product
from tracejit.trace.state import Trace

WORK = (1 << 20, 1 << 28)
"""Products of elements in a product that a kernel does: so many or more, and fewer than so many."""

LEAST_LENGTH = 8
"""The least rows, inner length and columns that it has."""

VECTOR = 64
"""Bytes of a vector register where these measurements hold."""


def guard_products(trace: Trace, graph: Graph) -> None:
    """Make guards of what `by_kernel` looks at in the products of a graph."""
    for node in graph.nodes:
        if _is_candidate(node):
            _fits(_lengths(node, trace), trace)


def by_kernel(trace: Trace, graph: Graph) -> Callable[[Node], bool]:
    """Whether a kernel does a product of a graph that was made of `graph`, for which there are guards."""
    guarded = {_lengths(node, trace) for node in graph.nodes if _is_candidate(node)}

    def test(node: Node) -> bool:
        if not _is_candidate(node):
            return False
        lengths = _lengths(node, trace)
        return lengths in guarded and _fits(lengths, trace)

    return test


def _is_candidate(node: Node) -> bool:
    """Whether a node is a product of two matrices, or stacks of them, that a kernel could do well on this machine."""
    if not is_matrix_product(node):
        return False
    # A matrix times its own transpose is half the work for BLAS.
    left, right = map(viewed, node.inputs)
    return left is not right and machine().vector == VECTOR


def _lengths(node: Node, trace: Trace) -> tuple[Dimension, ...]:
    """Rows, inner length and columns; a stack of matrices times one matrix counts as one matrix."""
    left, right = node.inputs
    rows = left.shape[-2] if len(right.shape) > 2 else sizes.product(left.shape[:-1])
    return tuple(map(trace.canonical, (rows, left.shape[-1], right.shape[-1])))


def _fits(lengths: tuple[Dimension, ...], trace: Trace) -> bool:
    """Whether a kernel does a product of such lengths in this run, and a guard that says so."""
    work, (least, end) = sizes.product(lengths), WORK
    if trace.less(work, least) or not trace.less(work, end):
        return False
    return not any(trace.less(length, LEAST_LENGTH) for length in lengths)
