"""`Tensor`: the promise of an array.  NumPy's operators and functions on tensors add nodes to their graph.

A node is one call, kept as it was written: the function, its arguments with tensors among them, the line.  What it
computes is found out when a session runs it; its dtype and shape are inferred at once where they can be.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from tracejit.graph.errors import GraphError
from tracejit.graph.structure import leaves

if TYPE_CHECKING:
    from tracejit.graph.nodes import Node

StaticShape: TypeAlias = "tuple[int | None, ...] | None"
"""Lengths, None where a run decides; None as a whole where even the rank is open."""


class Tensor:
    """A value of a graph, by the node that computes it.  It has no elements: `Session.run` gives them.

    dtype: None where only a run can tell; shape: see `StaticShape`.
    """

    __array_priority__ = 1100
    __slots__ = ("__weakref__", "node")

    def __init__(self, node: Node) -> None:
        self.node = node

    # ---- what is known before any run

    @property
    def name(self) -> str:
        """The node's name in its graph."""
        return self.node.name

    @property
    def graph(self) -> Any:
        """The graph that the tensor belongs to."""
        return self.node.graph

    @property
    def dtype(self) -> Any:
        """The dtype of the values, or None."""
        return self.node.dtype

    @property
    def shape(self) -> StaticShape:
        """The shape of the values, as far as it is known."""
        return self.node.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        if self.shape is None:
            raise GraphError(
                f"the rank of {self.node.described()} is known in a run only; give its placeholder a shape"
            )
        return len(self.shape)

    @property
    def device(self) -> str:
        """Where the node is to run."""
        return self.node.device

    @property
    def T(self) -> Tensor:  # noqa: N802
        """Axes in reverse order."""
        return self._apply(np.transpose, (self,))

    def get_shape(self) -> StaticShape:
        """`shape`, by TensorFlow's name."""
        return self.shape

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """The value in a session (the default one where none is given)."""
        chosen = session or self.graph.default_session()
        return chosen.run(self, feed_dict)

    def now(self) -> Tensor:
        """What a new node at this place takes for the tensor; a variable that was changed before is read anew."""
        return self

    # ---- recording

    def _apply(self, function: Callable[..., Any], args: Any, options: Any = None, name: str = "") -> Tensor:
        return self.graph.apply(function, args, options or {}, name)  # type: ignore[no-any-return]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if options.get("out") is not None:
            raise GraphError("a graph tensor cannot be written to (`out=`): use the result, or a Variable's assign")
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return self._apply(function, inputs, options, ufunc.__name__)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if options.get("out") is not None:
            raise GraphError("a graph tensor cannot be written to (`out=`): use the result, or a Variable's assign")
        return self._apply(function, args, options)

    @staticmethod
    def __jitted_call__(jitted: Any, args: Any, kwargs: Any) -> Any:
        """A call of a jitted function, `tracejit.erf` say, is a node of its own."""
        from_args = next(leaf for leaf in _tensors((args, kwargs)))
        return from_args.graph.apply(jitted, args, kwargs, jitted.__name__)

    def __getitem__(self, key: Any) -> Tensor:
        return self._apply(operator.getitem, (self, key), name="getitem")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise GraphError(
            f"{self.node.described()} cannot be written to: a tensor is a value. Use np.where for a changed copy, or a "
            "Variable and its assign"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"a graph tensor has no attribute {name!r}")
        if not callable(getattr(np.ndarray, name)):
            return self._apply(operator.attrgetter(name), (self,), name=name)

        def method(*args: Any, **options: Any) -> Tensor:
            return self._apply(_Method(name), (self, *args), options)

        return method

    def __len__(self) -> int:
        if not self.shape or self.shape[0] is None:
            raise GraphError(f"the length of {self.node.described()} is known in a run only")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))

    # ---- what needs a value

    def _refuse(self, what: str, mend: str) -> NoReturn:
        raise GraphError(f"{what} {self.node.described()}, which has no value before a session runs it: {mend}")

    def __bool__(self) -> bool:
        self._refuse("Python asks for the truth of", "use tracejit.graph.cond, while_loop or np.where")

    def __float__(self) -> float:
        self._refuse("Python asks for the number of", "compute with the tensor itself, or run it first")

    def __int__(self) -> int:
        self._refuse("Python asks for the number of", "compute with the tensor itself, or run it first")

    def __index__(self) -> int:
        self._refuse("Python asks for the index of", "compute with the tensor itself, or run it first")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self._refuse("NumPy asks for the elements of", "use functions that take arrays as they are, or run it first")

    def __repr__(self) -> str:
        return f"<Tensor {self.name!r} shape={shown(self.shape)} dtype={self.dtype}>"

    __hash__ = object.__hash__


class _Method:
    """`array.NAME(...)` as a function of the array."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, array: Any, *args: Any, **options: Any) -> Any:
        return getattr(array, self.__name__)(*args, **options)


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in leaves(value) if isinstance(leaf, Tensor))


def shown(shape: StaticShape) -> str:
    """A shape as one reads it: `?` for what is open."""
    if shape is None:
        return "?"
    inner = ", ".join("?" if length is None else str(length) for length in shape)
    return f"({inner}{',' if len(shape) == 1 else ''})"


def fits(shape: StaticShape, wanted: StaticShape) -> bool:
    """Whether values of a shape may be of another one, as far as both are known."""
    if shape is None or wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def _binary(function: Callable[..., Any], swapped: bool) -> Callable[[Any, Any], Any]:
    def apply(self: Tensor, other: Any) -> Any:
        operands = (other, self) if swapped else (self, other)
        return self._apply(function, operands)

    return apply


_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor")
for _name in _OPERATORS:
    _function = getattr(operator, _name)
    setattr(Tensor, f"__{_name.rstrip('_')}__", _binary(_function, swapped=False))
    setattr(Tensor, f"__r{_name.rstrip('_')}__", _binary(_function, swapped=True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Tensor, f"__{_name}__", _binary(getattr(operator, _name), swapped=False))
for _name in ("neg", "pos", "abs", "invert"):
    _unary = getattr(operator, _name)
    setattr(Tensor, f"__{_name}__", lambda self, _unary=_unary: self._apply(_unary, (self,)))
