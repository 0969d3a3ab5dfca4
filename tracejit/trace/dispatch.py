"""Dispatch: from the NumPy callable that the user named to what records it.

A ufunc or function of the op table is found by its spelling; the composite functions of `array_functions` say in terms
of ops what NumPy's do; for all others NumPy itself is called, and never wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tracejit.ops.table import OPS, SPELLINGS, Op
from tracejit.trace.number import HostNumber
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.record import (
    NoKernel,
    all_scalars,
    as_tracer,
    broadcast,
    broadcast_shapes,
    cast,
    dtype_of,
    elementwise,
    operand,
    operand_node,
    reduce,
    where,
)
from tracejit.trace.state import Untraceable, current
from tracejit.trace.tracer import Tracer

F = TypeVar("F", bound=Callable[..., Any])

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
"""NumPy function -> our composite of the same signature; see `implements`."""


def implements(*functions: Any) -> Callable[[F], F]:
    """Register what stands for NumPy functions during a trace."""

    def bind(ours: F) -> F:
        for function in functions:
            FUNCTIONS[function] = ours
        return ours

    return bind


def op_of(function: Any) -> Op | None:
    """The op that a NumPy or SciPy callable spells."""
    name = getattr(function, "__name__", "")
    module = getattr(function, "__module__", None) or ""
    if isinstance(function, np.ufunc):
        op = SPELLINGS.get(f"numpy.{name}")
        if op is not None and getattr(np, name, None) is function:
            return op
        return SPELLINGS.get(f"scipy.special.{name.lstrip('_')}")
    return SPELLINGS.get(f"numpy.{name}") if module.startswith("numpy") else SPELLINGS.get(f"{module}.{name}")


def dispatch_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What `__array_ufunc__` of a traced value does."""
    options = dict(options)
    out = options.pop("out", None)
    if method == "__call__" and options.get("where", True) is not True and out is not None:
        # Where the mask is false, `out` keeps what it holds.
        target = out[0] if isinstance(out, tuple) else out
        result = where(options.pop("where"), _call_ufunc(ufunc, inputs, options), as_tracer(current(), target))
    elif method == "__call__":
        result = _call_ufunc(ufunc, inputs, options)
    elif method == "reduce":
        result = _reduce_ufunc(ufunc, inputs, options)
    elif method == "outer":
        left, right = (as_tracer(current(), value) for value in inputs)
        result = _call_ufunc(ufunc, (left.reshape(left.shape + (1,) * right.ndim), right), options)
    elif method == "accumulate":
        result = HANDLERS["accumulate"](ufunc, inputs, options)
    elif method == "at":
        return HANDLERS["ufunc_at"](ufunc, *inputs)
    elif method == "reduceat":
        result = _reduceat(ufunc, inputs, options)
    else:
        result = interrupt_call(getattr(ufunc, method), inputs, options)
    return result if out is None else write_out(out, result)


def write_out(out: Any, result: Any) -> Any:
    """Store a result into `out=`, by the same_kind casting rule, and return it."""
    targets = out if isinstance(out, tuple) else (out,)
    results = result if isinstance(result, tuple) else (result,)
    for target, value in zip(targets, results, strict=True):
        if target is None:
            continue
        if isinstance(target, np.ndarray):
            raise Untraceable("a traced result is written into an array that is neither an argument nor made by np.*")
        tracer = as_tracer(current(), target)
        if not np.can_cast(value.dtype, tracer.dtype, "same_kind"):
            raise TypeError(
                f"cannot cast the output from {value.dtype!r} to {tracer.dtype!r} with casting rule 'same_kind'"
            )
        trace = current()
        shape = broadcast_shapes(trace, value.symbolic_shape, tracer.symbolic_shape)
        if len(shape) != tracer.ndim or not all(
            trace.equal(a, b) for a, b in zip(shape, tracer.symbolic_shape, strict=True)
        ):
            raise ValueError(
                f"non-broadcastable output operand with shape {_shown(tracer)} doesn't match the broadcast shape "
                f"{tuple(trace.value(d) for d in shape)}"
            )
        tracer.write(broadcast(trace, operand_node(trace, value, tracer.dtype), shape))
    return out[0] if isinstance(out, tuple) and len(out) == 1 else out


def _shown(tracer: Tracer) -> tuple[int, ...]:
    return tuple(current().value(d) for d in tracer.symbolic_shape)


def _call_ufunc(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    dtype = options.pop("dtype", None)
    if options.get("casting", "same_kind") == "same_kind":
        options.pop("casting", None)
    if ufunc in FUNCTIONS:
        return FUNCTIONS[ufunc](*inputs, **options)
    op = op_of(ufunc)
    condition = options.pop("where", True)
    if op is not None and op.kind == "elementwise" and not options and condition is True:
        try:
            return elementwise(op, *inputs, dtype=dtype, rule=ufunc)
        except NoKernel:
            pass
    if condition is not True:
        options["where"] = condition
    if dtype is not None:
        options["dtype"] = dtype
    return _numpy_ufunc(ufunc, inputs, options)


def _numpy_ufunc(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A ufunc without a kernel: a call in the graph where its type is plain, else an interruption."""
    trace = current()
    if options or ufunc.nout != 1 or ufunc.signature is not None:
        return interrupt_call(ufunc, inputs, options)
    items = [as_item(value) for value in inputs]
    loop = ufunc.resolve_dtypes((*(dtype_of(item) for item in items), None))
    shape = broadcast_shapes(trace, *(item.symbolic_shape if isinstance(item, Tracer) else () for item in items))
    return call_node(ufunc, items, {}, shape, loop[-1], scalar=all_scalars(items))


def as_item(value: Any) -> Any:
    """An operand of any dtype: a Python number as it is, all else as a tracer."""
    trace = current()
    if isinstance(value, (Tracer, HostNumber)) or type(value) in (int, float, complex, bool):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return operand(trace, value)
    array = np.asarray(value)
    node = trace.inputs[trace.capture(array)]
    return Tracer(trace.storage(node), (), node.shape, node.dtype)


def _reduce_ufunc(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    op = _REDUCTIONS.get(ufunc)
    plain = {key: value for key, value in options.items() if value is not None and value is not np._NoValue}
    axis = options.get("axis", 0)
    if op is not None and set(plain) <= {"axis", "keepdims", "dtype"}:
        try:
            return reduce(op, inputs[0], axis, bool(plain.get("keepdims", False)), plain.get("dtype"))
        except NoKernel:
            pass
    return interrupt_call(ufunc.reduce, inputs, options)


def _reduceat(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """NumPy's, as a call in the graph where the result's type is plain: floats along one given axis."""
    array, places = as_tracer(current(), inputs[0]), as_tracer(current(), inputs[1])
    axis = options.get("axis", inputs[2] if len(inputs) > 2 else 0)
    plain = ufunc in (np.add, np.multiply, np.maximum, np.minimum) and array.dtype.kind == "f" and places.ndim == 1
    if not plain or len(inputs) > 3 or set(options) - {"axis"} or type(axis) is not int:
        return interrupt_call(ufunc.reduceat, inputs, options)
    if not 0 <= axis < array.ndim or places.dtype.kind not in "iu":
        return interrupt_call(ufunc.reduceat, inputs, options)
    shape = (*array.symbolic_shape[:axis], places.symbolic_shape[0], *array.symbolic_shape[axis + 1 :])
    return call_node(ufunc.reduceat, (array, places, axis), {}, shape, array.dtype)


_REDUCTIONS: dict[Any, Op] = {
    np.add: OPS["sum"],
    np.multiply: OPS["prod"],
    np.maximum: OPS["max"],
    np.minimum: OPS["min"],
    np.logical_or: OPS["any"],
    np.logical_and: OPS["all"],
}


def dispatch_function(function: Any, args: Any, options: Any) -> Any:
    """What `__array_function__` of a traced value does."""
    ours = FUNCTIONS.get(function)
    op = op_of(function) if ours is None else None
    try:
        if ours is not None:
            return ours(*args, **options)
        if op is not None and op.kind == "reduce":
            return _reduction(op, *args, **options)
        if op is not None and op.kind == "elementwise":
            return elementwise(op, *args, **options)
    except NoKernel:
        pass
    return numpy_call(function, args, options)


def numpy_call(function: Any, args: Any, options: Any) -> Any:
    """NumPy's own function on the values; `out=` is written afterwards."""
    options = dict(options)
    out = options.pop("out", None)
    result = interrupt_call(function, args, options)
    return result if out is None else write_out(out, result)


def _reduction(
    op: Op,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    if op.name not in ("sum", "prod") and dtype is not None:
        # max, min, any and all have `out` where sum and prod have `dtype`.
        dtype, out = None, dtype
    if initial is not np._NoValue or where is not np._NoValue:
        kept = bool(keepdims) if keepdims is not np._NoValue else False
        result = _partial_reduction(op, a, axis, dtype, kept, initial, where)
        if result is None:
            extra = {k: v for k, v in (("initial", initial), ("where", where)) if v is not np._NoValue}
            result = interrupt_call(getattr(np, op.name), (a,), {"axis": axis, "keepdims": kept, **extra})
    else:
        result = reduce(op, a, axis, bool(keepdims) if keepdims is not np._NoValue else False, dtype)
    return result if out is None else write_out(out, result)


_IDENTITIES = {"sum": 0, "prod": 1, "any": False, "all": True}
"""What stands for elements that a reduction leaves out."""


def _partial_reduction(op: Op, a: Any, axis: Any, dtype: Any, keepdims: bool, initial: Any, where_given: Any) -> Any:
    """A reduction with `where=` or `initial=`, of numbers that stand in for others; None where NumPy is asked.

    np.sum(x, where=m, initial=3)  ->  3 + np.sum(np.where(m, x, 0))
    np.max(x, where=m, initial=3)  ->  np.maximum(3, np.max(np.where(m, x, 3)))
    """
    trace, tracer = current(), as_tracer(current(), a)
    start: Any = _IDENTITIES.get(op.name) if initial is np._NoValue else initial
    numbers = (int, float) if tracer.dtype.kind == "f" else (int,)
    if op.name in ("any", "all"):
        plain = initial is np._NoValue
    else:
        plain = tracer.dtype.kind in "iuf" and type(start) in numbers and (tracer.dtype.kind != "u" or start >= 0)
    if not plain or tracer.dtype.kind == "c" or any(trace.equal(d, 0) for d in tracer.symbolic_shape):
        return None
    if where_given is not np._NoValue and where_given is not True:
        tracer = as_tracer(trace, where(where_given, tracer, _IDENTITIES.get(op.name, start)))
    result = reduce(op, tracer, axis, keepdims, dtype)
    if initial is np._NoValue:
        return result
    combined = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}[op.name]
    return elementwise(OPS[combined], result, start)


def method(name: str, tracer: Tracer, *args: Any, **options: Any) -> Any:
    """A method of arrays that is a function of NumPy's too."""
    return dispatch_function(getattr(np, name), (tracer, *args), options)


def attribute(tracer: Tracer, name: str) -> Any:
    """Array attributes and methods beyond the tracer's own; each method is the NumPy function of its name."""
    if name in _PROPERTIES:
        return _PROPERTIES[name](tracer)
    if name in _METHODS:
        return lambda *args, **options: _METHODS[name](tracer, *args, **options)
    if name in _FUNCTION_METHODS:
        return lambda *args, **options: dispatch_function(_FUNCTION_METHODS[name], (tracer, *args), options)
    if hasattr(np.ndarray, name):
        raise Untraceable(f"ndarray.{name} of a traced array")
    raise AttributeError(f"'numpy.ndarray' object has no attribute '{name}'")


def _fill(tracer: Tracer, value: Any) -> None:
    tracer[...] = value


def _astype(
    tracer: Tracer, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    if not np.can_cast(tracer.dtype, np.dtype(dtype), casting):  # type: ignore[arg-type]
        raise TypeError(
            f"Cannot cast array data from {tracer.dtype!r} to {np.dtype(dtype)!r} according to the rule '{casting}'"
        )
    if not copy and tracer.dtype == np.dtype(dtype):
        return tracer
    try:
        return cast(tracer, dtype)
    except NoKernel:
        return _converted(tracer, dtype)


def _converted(item: Tracer | HostNumber, dtype: Any) -> Tracer:
    """Converted to or from a dtype without kernels."""
    shape = item.symbolic_shape if isinstance(item, Tracer) else ()
    return call_node(_numpy_astype, (item, np.dtype(dtype)), {}, shape, dtype)


def _numpy_astype(array: Any, dtype: Any) -> Any:
    return np.asarray(array).astype(dtype)


def _sort_in_place(tracer: Tracer, axis: int = -1) -> None:
    tracer[...] = np.sort(tracer, axis=axis)


def _real(tracer: Tracer) -> Any:
    if tracer.dtype.kind != "c":
        return tracer
    part = np.dtype(f"f{tracer.dtype.itemsize // 2}")
    return call_node(np.real, (tracer,), {}, tracer.symbolic_shape, part)


def _imag(tracer: Tracer) -> Any:
    part = np.dtype(f"f{tracer.dtype.itemsize // 2}") if tracer.dtype.kind == "c" else tracer.dtype
    return call_node(np.imag, (tracer,), {}, tracer.symbolic_shape, part)


_PROPERTIES: dict[str, Callable[[Tracer], Any]] = {"real": _real, "imag": _imag, "base": lambda tracer: None}
_METHODS: dict[str, Callable[..., Any]] = {
    "astype": _astype,
    "fill": _fill,
    "sort": _sort_in_place,
    "flatten": lambda tracer, order="C": copy(tracer).reshape(-1, order=order),
    "conj": lambda tracer: dispatch_ufunc(np.conjugate, "__call__", (tracer,), {}),
    "compress": lambda tracer, condition, axis=None: dispatch_function(np.compress, (condition, tracer, axis), {}),
    "dot": lambda tracer, other: dispatch_function(np.dot, (tracer, other), {}),
}
_SHARED_NAMES = (
    *("sum", "prod", "max", "min", "any", "all", "mean", "var", "std", "argmax", "argmin", "cumsum", "cumprod", "ptp"),
    *("clip", "copy", "repeat", "take", "squeeze", "swapaxes", "diagonal", "trace", "round", "argsort", "nonzero"),
    *("searchsorted", "choose", "partition", "argpartition"),
)
_FUNCTION_METHODS: dict[str, Any] = {name: getattr(np, name) for name in _SHARED_NAMES}


def copy(tracer: Tracer) -> Tracer:
    """The same value in memory of its own."""
    return Tracer(current().storage(tracer.node), (), tracer.symbolic_shape, tracer.dtype, tracer.scalar)


def asarray(value: Any) -> Tracer:
    """An operand as a tracer, as np.asarray would have it."""
    item = operand(current(), value)
    return item if isinstance(item, Tracer) else as_tracer(current(), item)


HANDLERS["ufunc"] = dispatch_ufunc
HANDLERS["function"] = dispatch_function
HANDLERS["method"] = method
HANDLERS["attribute"] = attribute
HANDLERS["converted"] = _converted
