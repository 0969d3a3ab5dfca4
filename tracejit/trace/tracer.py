"""The tracer: an array that records.  It is a view of a storage, as a NumPy array is a view of memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Builder, Index, Indices, Node, Shape, identity_indices
from tracejit.records import dataclass
from tracejit.trace.number import HostNumber, wrap
from tracejit.trace.protocol import HANDLERS, Traced
from tracejit.trace.state import Storage, Trace, current, user_line


@dataclass(frozen=True)
class ViewStep:
    """An affine view on the way from a storage to a tracer."""

    indices: Indices
    shape: Shape


@dataclass(frozen=True)
class ReshapeStep:
    """A reshape on that way; NumPy shares memory there too."""

    shape: Shape


Step: TypeAlias = ViewStep | ReshapeStep


def read_steps(builder: Builder, node: Node, steps: tuple[Step, ...]) -> Node:
    """The value that a chain of views has of a storage's value."""
    for step in steps:
        if isinstance(step, ViewStep):
            node = builder.view(node, step.indices, step.shape)
        elif step.shape != node.shape:
            node = builder.node("reshape", (node,), {}, ArrayType(node.dtype, step.shape))
    return node


def write_steps(builder: Builder, node: Node, steps: tuple[Step, ...], value: Node, line: str) -> Node:
    """The storage's new value after `value` is written through a chain of views."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    inner = read_steps(builder, node, (step,))
    value = write_steps(builder, inner, rest, value, line)
    if isinstance(step, ReshapeStep):
        return builder.node("reshape", (value,), {}, node.type)
    return builder.node("update", (node, value), {"indices": step.indices}, node.type, line)


class Tracer(Traced):
    """A traced array or NumPy scalar (`scalar`: what NumPy would return as `np.float64` and the like).

    weak: it stands for a Python number that a loop counts, and takes the dtype of what it meets (NEP 50).
    """

    __slots__ = ("_steps", "_storage", "dtype", "scalar", "symbolic_shape", "weak")

    def __init__(
        self, storage: Storage, steps: tuple[Step, ...], shape: Shape, dtype: np.dtype[Any], scalar: bool = False
    ) -> None:
        self._storage = storage
        self._steps = steps
        self.symbolic_shape = shape
        self.dtype = dtype
        self.scalar = scalar
        self.weak = False

    @property
    def node(self) -> Node:
        """The current value."""
        return read_steps(current().builder, self._storage.node, self._steps)

    @property
    def storage(self) -> Storage:
        return self._storage

    @property
    def steps(self) -> tuple[Step, ...]:
        return self._steps

    def write(self, value: Node) -> None:
        """Replace the elements under this view; every other view of the storage sees it."""
        trace = current()
        leaf = self._storage.leaf
        if leaf is not None and not trace.leaves[leaf].value.flags.writeable:
            raise ValueError("assignment destination is read-only")
        if any(isinstance(step, ViewStep) and _broadcasts(step) for step in self._steps):
            raise ValueError("assignment destination is read-only")
        self._storage.node = write_steps(trace.builder, self._storage.node, self._steps, value, user_line())
        self._storage.mutated = True

    def viewed(self, step: Step) -> Tracer:
        """Another view of the same memory."""
        if isinstance(step, ViewStep) and step.shape == self.symbolic_shape and _plain(step, self.symbolic_shape):
            return Tracer(self._storage, self._steps, self.symbolic_shape, self.dtype)
        return Tracer(self._storage, (*self._steps, step), step.shape, self.dtype)

    # What NumPy arrays have as attributes.
    @property
    def shape(self) -> tuple[Any, ...]:
        trace = current()
        return tuple(wrap(trace, dimension) for dimension in self.symbolic_shape)

    @property
    def ndim(self) -> int:
        return len(self.symbolic_shape)

    @property
    def size(self) -> Any:
        return wrap(current(), sizes.product(self.symbolic_shape))

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> Any:
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> Tracer:  # noqa: N802
        return self.transpose()

    @property
    def flat(self) -> Any:
        return self.reshape(-1)

    def __len__(self) -> int:
        if not self.symbolic_shape:
            raise TypeError("len() of unsized object")
        return operator.index(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        if not self.symbolic_shape:
            raise TypeError("iteration over a 0-d array")
        return (self[position] for position in range(len(self)))

    # A plain value is wanted: the segment so far runs now, and its outcome decides how the trace goes on.
    def _now(self, convert: Callable[[Any], Any], name: str) -> Any:
        return HANDLERS["outcome"](self, convert, name)

    def __bool__(self) -> bool:
        return self._now(bool, "bool")  # type: ignore[no-any-return]

    def __int__(self) -> int:
        return self._now(int, "int")  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return self._now(float, "float")  # type: ignore[no-any-return]

    def __complex__(self) -> complex:
        return self._now(complex, "complex")  # type: ignore[no-any-return]

    def __index__(self) -> int:
        return self._now(operator.index, "index")  # type: ignore[no-any-return]

    def item(self, *position: Any) -> Any:
        target = self[position] if position else self
        return HANDLERS["number"](target, lambda array: array.item(), "item")

    def tolist(self) -> Any:
        return self._now(lambda array: array.tolist(), "tolist")

    def __repr__(self) -> str:
        return f"Tracer({ArrayType(self.dtype, self.symbolic_shape)})"

    def __str__(self) -> str:
        return self._now(str, "str")  # type: ignore[no-any-return]

    def __format__(self, spec: str) -> str:
        return self._now(lambda array: format(array[()] if array.ndim == 0 else array, spec), "format")  # type: ignore[no-any-return]

    def __array__(self, *args: Any, **options: Any) -> Any:
        return HANDLERS["plain_array"](self)

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: Any) -> Any:
        return HANDLERS["getitem"](self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        HANDLERS["setitem"](self, key, value)

    def transpose(self, *axes: Any) -> Tracer:
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
            axes = tuple(axes[0] or ())
        rank = self.ndim
        order = [operator.index(axis) % rank for axis in axes] if axes else list(range(rank))[::-1]
        if sorted(order) != list(range(rank)):
            raise ValueError("axes don't match array")
        indices = tuple(
            Index(order.index(axis)) if dimension != 1 else Index(None)
            for axis, dimension in enumerate(self.symbolic_shape)
        )
        return self.viewed(ViewStep(indices, tuple(self.symbolic_shape[axis] for axis in order)))

    def ravel(self, order: str = "C") -> Any:
        return HANDLERS["method"]("ravel", self, order=order)

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        target = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return HANDLERS["method"]("reshape", self, tuple(target), order=order)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return HANDLERS["attribute"](self, name)


def _broadcasts(step: ViewStep) -> bool:
    """Whether one element of the source stands at several places, or the view is a diagonal: NumPy writes to none."""
    found = [index.axis for index in step.indices if index.axis is not None]
    used = set(found)
    repeated = any(axis not in used and dimension != 1 for axis, dimension in enumerate(step.shape))
    return len(used) < len(found) or repeated


def _plain(step: ViewStep, shape: Shape) -> bool:
    return step.indices == identity_indices(shape)


def fresh(trace: Trace, node: Node, scalar: bool = False) -> Tracer:
    """A tracer of a new storage that holds `node`."""
    return Tracer(trace.storage(node), (), node.shape, node.dtype, scalar)


def number_node(trace: Trace, number: HostNumber) -> Node:
    """A host number as a weak 0-d value."""
    value = number.value
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise OverflowError(f"Python int {value} does not fit in int64 inside a traced function")
    dtype = np.asarray(value).dtype
    if number.size is not None:
        trace.sizes[number.text] = number.size
    return trace.builder.node("scalar", (), {"expression": number.text}, ArrayType(dtype, (), weak=True))


def _binary(ufunc: np.ufunc, swapped: bool) -> Callable[[Any, Any], Any]:
    def apply(self: Tracer, other: Any) -> Any:
        if getattr(other, "__array_ufunc__", False) is None:
            return NotImplemented
        operands = (other, self) if swapped else (self, other)
        return HANDLERS["ufunc"](ufunc, "__call__", operands, {})

    return apply


def _in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def apply(self: Tracer, other: Any) -> Any:
        if self.scalar:
            return HANDLERS["ufunc"](ufunc, "__call__", (self, other), {})
        return HANDLERS["ufunc"](ufunc, "__call__", (self, other), {"out": (self,)})

    return apply


_OPERATORS: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "divmod": np.divmod,
    "pow": np.power,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
    "matmul": np.matmul,
}
for _name, _ufunc in _OPERATORS.items():
    setattr(Tracer, f"__{_name}__", _binary(_ufunc, swapped=False))
    setattr(Tracer, f"__r{_name}__", _binary(_ufunc, swapped=True))
    if _ufunc.nout == 1:
        setattr(Tracer, f"__i{_name}__", _in_place(_ufunc))

_POWERS = {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}


def _power(self: Tracer, exponent: Any) -> Any:
    """`x ** 2` and its like are the exact ops that NumPy's operator takes for them."""
    exact_integer = type(exponent) is int and exponent in (1, 2) and self.dtype.kind in "iu"
    inexact = self.dtype.kind == "f" or (self.dtype.kind == "c" and not self.scalar)
    if type(exponent) in (int, float) and exponent in _POWERS and (inexact or exact_integer):
        return HANDLERS["ufunc"](_POWERS[exponent], "__call__", (self,), {})
    return HANDLERS["ufunc"](np.power, "__call__", (self, exponent), {})


setattr(Tracer, "__pow__", _power)  # noqa: B010 - as the other operators
_COMPARISONS = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
for _name, _ufunc in _COMPARISONS.items():
    setattr(Tracer, f"__{_name}__", _binary(_ufunc, swapped=False))
for _name, _ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
    setattr(Tracer, f"__{_name}__", lambda self, _ufunc=_ufunc: HANDLERS["ufunc"](_ufunc, "__call__", (self,), {}))
