"""`tj.NAME` for each op of the table, derived from its entry.

On arrays the op's own kernel runs at once, so that eager results and those inside a jitted function have the same bits;
on traced values the op is recorded.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np

from tracejit.driver.function import Jitted, disabled
from tracejit.ops.table import OPS, Op
from tracejit.trace.dispatch import dispatch_function, dispatch_ufunc
from tracejit.trace.record import elementwise, reduce, where
from tracejit.trace.state import ACTIVE

NAMES: tuple[str, ...] = tuple(
    name
    for name, op in OPS.items()
    if (op.kind in ("elementwise", "reduce") and op.resolve is not None) or name == "where" or op.options
)
"""The ops that are functions of `tracejit`."""


def _recorder(op: Op) -> Callable[..., Any]:
    """What records the op during a trace."""
    if op.name == "where":
        return where
    if op.kind == "reduce":
        if op.reference is not None:
            reference = op.reference
            return lambda x, axis=None, keepdims=False: dispatch_function(
                reference, (x,), {"axis": axis, "keepdims": keepdims}
            )
        return lambda x, axis=None, keepdims=False: reduce(op, x, axis, keepdims)
    if isinstance(op.reference, np.ufunc):
        ufunc = op.reference
        return lambda *operands: dispatch_ufunc(ufunc, "__call__", operands, {})
    return lambda *operands: elementwise(op, *operands)


@cache
def function(name: str) -> Callable[..., Any]:
    """The eager function of an op."""
    op = OPS[name]
    return _library_function(op) if op.options else _table_function(op)


def _library_function(op: Op) -> Callable[..., Any]:
    """A function that is called with options besides its arrays: the options are constants of what is compiled."""
    reference = op.reference
    assert reference is not None

    def traced(*args: Any, **given: Any) -> Any:
        return dispatch_function(reference, args, given)

    traced.__signature__ = inspect.signature(reference)  # type: ignore[attr-defined]
    traced.__name__ = traced.__qualname__ = op.name
    compiled = Jitted(traced, op.options, False, False)
    compiled.most_traces = math.inf

    @wraps(reference)
    def call(*args: Any, **given: Any) -> Any:
        if ACTIVE.trace is not None:
            return traced(*args, **given)
        return reference(*args, **given) if disabled() else compiled(*args, **given)

    call.__module__ = "tracejit"
    return call


def _table_function(op: Op) -> Callable[..., Any]:
    name = op.name
    record = _recorder(op)
    if op.kind == "reduce":

        def traced(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
            return record(x, axis, keepdims)
    elif op.resolve is not None and op.resolve.nin == 1:

        def traced(x: Any) -> Any:  # type: ignore[misc]
            return record(x)
    elif op.name == "where":

        def traced(condition: Any, x: Any, y: Any) -> Any:  # type: ignore[misc]
            return record(condition, x, y)
    else:

        def traced(x: Any, y: Any) -> Any:  # type: ignore[misc]
            return record(x, y)

    traced.__name__ = traced.__qualname__ = name
    traced.__doc__ = _documentation(op)
    compiled = Jitted(traced, ("axis", "keepdims") if op.kind == "reduce" else (), False, False)
    compiled.disabled = compiled.disabled and op.reference is not None
    # `traced` records and does nothing else, so it never runs as it is; types, ranks and axes are only so many.
    compiled.most_traces = math.inf

    def call(*args: Any, **options: Any) -> Any:
        if ACTIVE.trace is not None:
            return traced(*args, **options)
        if not disabled():
            return compiled(*args, **options)
        if op.reference is not None:
            return op.reference(*args, **options)
        # NumPy has no such function: the kernel is all there is of the op.
        before = ACTIVE.disabled
        ACTIVE.disable(False)
        try:
            return compiled(*args, **options)
        finally:
            ACTIVE.disable(before)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = traced.__doc__
    call.__module__ = "tracejit"
    return call


def _documentation(op: Op) -> str:
    accuracy = "Bit-equal to NumPy." if op.ulp == 0 and op.kind == "elementwise" else ""
    if op.ulp:
        accuracy = f"Within {op.ulp:g} ULP (float64)."
    spelt = f"Means {', '.join(op.spellings)} inside a jitted function." if op.spellings else ""
    return "\n\n".join(part for part in (op.doc, accuracy, spelt) if part)
