"""Running totals: np.cumsum, np.cumprod, and the method `accumulate` of the ufuncs that have such an op."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir.node import ArrayType
from tracejit.ops.table import OPS, Op
from tracejit.trace.array_functions.shapes import reshape
from tracejit.trace.dispatch import asarray, implements, write_out
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.record import KERNEL_DTYPES, cast, normalize_axes
from tracejit.trace.state import current, user_line
from tracejit.trace.tracer import Tracer, fresh

_OF_UFUNC = {op.resolve: op for op in OPS.values() if op.kind == "accumulate"}


def _running(function: Any, op: Op) -> None:
    def call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        tracer = asarray(a)
        if axis is None:
            tracer, axis = reshape(tracer, (-1,)), 0
        (axis,) = normalize_axes(axis, tracer.ndim)
        target = _dtype(tracer.dtype) if dtype is None else np.dtype(dtype)
        result = _accumulated(op, tracer, axis, target)
        if result is None:
            options = {"axis": axis, "dtype": target}
            result = call_node(function, (tracer,), options, tracer.symbolic_shape, target)
        return result if out is None else write_out(out, result)

    implements(function)(call)


def _dtype(given: np.dtype[Any]) -> np.dtype[Any]:
    """What NumPy adds up and multiplies in: small integers in large ones."""
    if given.kind not in "biu" or given.itemsize >= 8:
        return given
    return np.dtype(np.uint64 if given.kind == "u" else np.int64)


def _accumulated(op: Op, tracer: Tracer, axis: int, dtype: np.dtype[Any]) -> Tracer | None:
    """The op on the array as `dtype`; None where there is no kernel for it."""
    if dtype not in KERNEL_DTYPES or tracer.dtype not in KERNEL_DTYPES:
        return None
    trace, node = current(), cast(tracer, dtype).node
    type = ArrayType(dtype, node.shape)
    return fresh(trace, trace.builder.node(op.name, (node,), {"axis": axis}, type, user_line()), scalar=False)


def accumulate(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """`ufunc.accumulate(array, axis=0, dtype=None)`."""
    rest: dict[str, Any] = dict(zip(("array", "axis", "dtype"), inputs, strict=False)) | options
    op, tracer, axis, dtype = (
        _OF_UFUNC.get(ufunc),
        asarray(rest.pop("array")),
        rest.pop("axis", 0),
        rest.pop("dtype", None),
    )
    if op is None or rest or not tracer.ndim or tracer.dtype not in KERNEL_DTYPES:
        return interrupt_call(ufunc.accumulate, inputs, options)
    (place,) = normalize_axes(axis, tracer.ndim)
    adds = op.name in ("cumsum", "cumprod")
    target = np.dtype(dtype) if dtype is not None else _dtype(tracer.dtype) if adds else tracer.dtype
    result = _accumulated(op, tracer, place, target)
    return interrupt_call(ufunc.accumulate, inputs, options) if result is None else result


_running(np.cumsum, OPS["cumsum"])
_running(np.cumprod, OPS["cumprod"])
HANDLERS["accumulate"] = accumulate
