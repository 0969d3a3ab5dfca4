"""New arrays of a known shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.trace.array_functions.joins import (
    _empty,
)
from tracejit.trace.array_functions.shapes import (
    dimensions,
    new_shape,
)
from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.record import (
    broadcast,
    operand_node,
)
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer, fresh


def full_node(shape: Any, value: Any, dtype: Any) -> Tracer:
    """A new array of one value."""
    trace = current()
    target = new_shape(shape)
    return fresh(trace, broadcast(trace, operand_node(trace, value, np.dtype(dtype)), target))


def _like(value: Any) -> Callable[..., Tracer]:
    def filled(
        a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, device: Any = None
    ) -> Tracer:
        tracer = asarray(a)
        return full_node(tracer.shape if shape is None else shape, value, tracer.dtype if dtype is None else dtype)

    return filled


implements(np.zeros_like)(_like(0))
implements(np.ones_like)(_like(1))


@implements(np.empty_like)
def empty_like(
    prototype: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, device: Any = None
) -> Tracer:
    trace, tracer = current(), asarray(prototype)
    target = tracer.symbolic_shape if shape is None else dimensions(shape)
    return fresh(trace, _empty(trace, target, tracer.dtype if dtype is None else dtype))


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    device: Any = None,
) -> Tracer:
    trace, tracer = current(), asarray(a)
    target = np.dtype(tracer.dtype if dtype is None else dtype)
    node = operand_node(
        trace, fill_value if not isinstance(fill_value, (list, np.ndarray)) else asarray(fill_value), target
    )
    return fresh(trace, broadcast(trace, node, tracer.symbolic_shape if shape is None else dimensions(shape)))
