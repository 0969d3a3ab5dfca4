"""Histograms over given edges: how many bins there are is known beforehand, so NumPy is called in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.handlers import inside_try
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer


def counts(a: Any, edges: Any, weights: Any = None) -> Any:
    """How many elements lie in each bin, or the sums of their weights."""
    return np.histogram(a, edges, weights=weights)[0]


@implements(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    edges = asarray(bins) if isinstance(bins, (Tracer, np.ndarray)) else None
    operands = [asarray(value) for value in (a, weights) if value is not None]
    known = edges is not None and edges.ndim == 1 and not density and not inside_try()
    if edges is None or not known or any(tracer.dtype.kind not in "iuf" for tracer in (edges, *operands)):
        return interrupt_call(np.histogram, (a, bins, range, density, weights), {})
    if current().equal(edges.symbolic_shape[0], 0):
        return interrupt_call(np.histogram, (a, bins, range, density, weights), {})
    shape = (sizes.subtract(edges.symbolic_shape[0], 1),)
    dtype = np.intp if weights is None else operands[1].dtype
    return call_node(counts, (operands[0], edges, *operands[1:]), {}, shape, dtype), edges
