"""`isinstance(t, np.ndarray)`, `type(t)` and `np.isscalar(t)` during a trace: what they say of the plain value."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.trace.number import HostNumber
from tracejit.trace.tracer import Tracer


def plain_type(value: Any) -> type:
    """The type of what a traced value stands for; of anything else, its type."""
    if isinstance(value, Tracer):
        return value.dtype.type if value.scalar else np.ndarray
    return type(value.value) if isinstance(value, HostNumber) else type(value)


def traced_isinstance(value: Any, kinds: Any) -> bool:
    """`isinstance` during a trace."""
    if isinstance(value, (Tracer, HostNumber)):
        return issubclass(plain_type(value), kinds)
    return isinstance(value, kinds)


def traced_type(*args: Any, **options: Any) -> Any:
    """`type` during a trace, where the code only ever calls it."""
    return plain_type(args[0]) if len(args) == 1 and not options else type(*args, **options)


def isscalar(element: Any) -> bool:
    """`np.isscalar` during a trace."""
    if isinstance(element, (Tracer, HostNumber)):
        return plain_type(element) is not np.ndarray
    return bool(np.isscalar(element))
