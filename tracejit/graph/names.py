"""TensorFlow 1's names of functions, in terms of NumPy's and of the op table's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.eager.functions import NAMES, function
from tracejit.graph.graph import get_default_graph, graph_of
from tracejit.graph.nodes import Operation
from tracejit.graph.tensor import Tensor

DTYPES: dict[str, Any] = {
    name: np.dtype(name)
    for name in (
        *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64", "complex64", "complex128"),
    )
} | {"bool": np.dtype(bool)}
"""The dtypes, by TensorFlow's names."""

_SPELT: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.true_divide,
    "div": np.true_divide,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "negative": np.negative,
    "abs": np.absolute,
    "square": np.square,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "tanh": np.tanh,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sign": np.sign,
    "where": np.where,
    "squeeze": np.squeeze,
    "stack": np.stack,
    "expand_dims": np.expand_dims,
    "zeros_like": np.zeros_like,
    "ones_like": np.ones_like,
    "argmax": np.argmax,
    "argmin": np.argmin,
    "matrix_inverse": np.linalg.inv,
    "cumsum": np.cumsum,
    "tensordot": np.tensordot,
}
"""Functions of the same arguments in both libraries."""


def _reduction(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str = "") -> Any:
        chosen = tuple(axis) if isinstance(axis, list) else axis
        return applied(reduce, (input_tensor,), {"axis": chosen, "keepdims": keepdims}, name)

    return reduced


def applied(called: Callable[..., Any], args: Any, options: Any, name: str) -> Any:
    """The node of a call; lists among its arguments are constants."""
    graph = graph_of(args, options)
    return graph.apply(called, tuple(graph.tensor(a) if isinstance(a, list) else a for a in args), options, name)


def recorded(called: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a node: it takes a `name` too."""

    def record(*args: Any, name: str = "", **options: Any) -> Any:
        return applied(called, args, options, name)

    record.__name__ = getattr(called, "__name__", "call")
    record.__doc__ = called.__doc__
    return record


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: str = "matmul") -> Tensor:
    """The matrix product, of operands transposed in their last two axes where asked."""
    left, right = (graph_of(a, b).tensor(value) for value in (a, b))
    left = left.swapaxes(-1, -2) if transpose_a else left
    right = right.swapaxes(-1, -2) if transpose_b else right
    return applied(np.matmul, (left, right), {}, name)  # type: ignore[no-any-return]


def cast(x: Any, dtype: Any, name: str = "cast") -> Tensor:
    """The values in another dtype."""
    tensor = graph_of(x).tensor(x)
    return applied(_astype, (tensor, np.dtype(dtype)), {}, name)  # type: ignore[no-any-return]


def _astype(array: Any, dtype: Any) -> Any:
    return array.astype(dtype)


def reshape(tensor: Any, shape: Any, name: str = "reshape") -> Tensor:
    """The values in another shape; -1 for one length that follows from the others."""
    return applied(np.reshape, (graph_of(tensor).tensor(tensor), tuple(shape)), {}, name)  # type: ignore[no-any-return]


def transpose(a: Any, perm: Any = None, name: str = "transpose") -> Tensor:
    """The axes in another order; reversed where none is given."""
    return applied(np.transpose, (graph_of(a).tensor(a), perm), {}, name)  # type: ignore[no-any-return]


def concat(values: Any, axis: int, name: str = "concat") -> Tensor:
    """Tensors one after the other along an axis."""
    return applied(np.concatenate, (tuple(values), axis), {}, name)  # type: ignore[no-any-return]


def zeros(shape: Any, dtype: Any = np.float32, name: str = "zeros") -> Tensor:
    """A constant of zeros."""
    return get_default_graph().constant(np.zeros(shape, dtype), name=name)


def ones(shape: Any, dtype: Any = np.float32, name: str = "ones") -> Tensor:
    """A constant of ones."""
    return get_default_graph().constant(np.ones(shape, dtype), name=name)


def add_n(inputs: Any, name: str = "add_n") -> Tensor:
    """The sum of tensors of one shape."""
    return applied(_total, (list(inputs),), {}, name)  # type: ignore[no-any-return]


def _total(arrays: Any) -> Any:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def identity(x: Any, name: str = "identity") -> Tensor:
    """The same value as a node of its own (which control dependencies may hold back)."""
    return applied(_same, (graph_of(x).tensor(x),), {}, name)  # type: ignore[no-any-return]


def _same(array: Any) -> Any:
    return np.positive(array) if array.dtype.kind != "b" else np.logical_and(array, True)


def group(*handles: Any, name: str = "group") -> Operation:
    """An operation that runs all of the tensors and operations."""
    return graph_of(*handles).group(*handles, name=name)


def no_op(name: str = "no_op") -> Operation:
    """An operation that does nothing (but wait for its control dependencies)."""
    return get_default_graph().group(name=name)


def lookup(name: str) -> Any:
    """What the module has under a name that it does not define itself; None if nothing."""
    if name in DTYPES:
        return DTYPES[name]
    if name in _REDUCTIONS:
        return _reduction(_REDUCTIONS[name])
    if name in _SPELT:
        return recorded(_SPELT[name])
    return recorded(function(name)) if name in NAMES else None


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_sum": np.sum,
    "reduce_mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_any": np.any,
    "reduce_all": np.all,
}

ALL = tuple(sorted({*DTYPES, *_REDUCTIONS, *_SPELT, *NAMES}))
"""The names that `lookup` knows."""
