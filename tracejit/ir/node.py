"""Typed SSA nodes: immutable, and interned by the `Builder` that makes them, so equal expressions are one object."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.size import Dimension
from tracejit.ops.table import OPS
from tracejit.records import dataclass

Shape: TypeAlias = tuple[Dimension, ...]


@dataclass(frozen=True)
class ArrayType:
    """dtype and symbolic shape; `weak` marks a Python number, which takes the dtype of what it meets (NEP 50)."""

    dtype: np.dtype[Any]
    shape: Shape
    weak: bool = False

    def __hash__(self) -> int:
        # Every node that is looked up hashes its type; a cached_property would take a lock each time it is filled.
        found: int | None = self.__dict__.get("_hash")
        if found is None:
            found = self.__dict__["_hash"] = hash((self.dtype, self.shape, self.weak))
        return found

    def __str__(self) -> str:
        name = {"bool": "bool"}.get(self.dtype.name) or f"{self.dtype.kind}{self.dtype.itemsize * 8}"
        shape = f"[{', '.join(str(dimension) for dimension in self.shape)}]" if self.shape else ""
        return f"{name}{shape}{'~' if self.weak else ''}"


@dataclass(frozen=True)
class Index:
    """One dimension of an affine view's source: `start + step * (the view's axis)`; axis None is one fixed place."""

    axis: int | None
    step: int = 1
    start: Dimension = 0

    def __str__(self) -> str:
        if self.axis is None:
            return str(self.start)
        name = "ijklmnpqrst"[self.axis] if self.axis < 11 else f"i{self.axis}"
        scaled = name if self.step == 1 else f"-{name}" if self.step == -1 else f"{self.step}*{name}"
        return (
            scaled
            if self.start == 0
            else f"{self.start} + {scaled}"
            if self.step > 0
            else f"{self.start} - {scaled[1:]}"
        )


Indices: TypeAlias = tuple[Index, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One op applied to inputs.

    `line` is the user's file and line, `serial` the place in the order in which a builder made its nodes; neither takes
    part in interning.
    """

    op: str
    inputs: tuple[Node, ...]
    params: tuple[tuple[str, Any], ...]
    type: ArrayType
    line: str = ""
    serial: int = 0

    @property
    def kind(self) -> str:
        return OPS[self.op].kind

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.type.dtype

    def __getitem__(self, name: str) -> Any:
        for key, value in self.params:
            if key == name:
                return value
        raise KeyError(f"{self.op} has no parameter {name!r}")

    def __repr__(self) -> str:
        return f"<{self.op}: {self.type}>"


UNIQUE = frozenset({"empty", "tap", "barrier"})
"""Ops of which two with the same inputs are two, as calls are."""

SEVERAL = ArrayType(np.dtype("V"), ())
"""The type of a node with several results; `part` nodes have those of the results."""

SCOPES = itertools.count()
"""Numbers that tell the parameters of one body from those of all others."""


class Builder:
    """Makes nodes, each expression once.  Calls are never interned: two calls are two calls.

    A node rebuilt on the inputs that it has is that node.  While a builder has only met such, no two of which are
    equal, it need not look at what they are; so a pass that finds nothing to do costs little.

    made: how many nodes it has made; a node made later has a serial of at least that.
    """

    def __init__(self) -> None:
        self._interned: dict[tuple[Any, ...], Node] = {}
        self._unchanged: list[Node] = []
        self.made = 0

    def node(
        self, op: str, inputs: tuple[Node, ...], params: Mapping[str, Any], type: ArrayType, line: str = ""
    ) -> Node:
        return self._interned_or_new(op, inputs, tuple(sorted(params.items())), type, line)

    def _interned_or_new(
        self, op: str, inputs: tuple[Node, ...], items: tuple[tuple[str, Any], ...], type: ArrayType, line: str
    ) -> Node:
        if OPS[op].kind == "call" or op in UNIQUE:
            return self._new(op, inputs, items, type, line)
        if self._unchanged:
            self._look_at_unchanged()
        key = (op, tuple(map(id, inputs)), items, type)
        found = self._interned.get(key)
        if found is None:
            found = self._interned[key] = self._new(op, inputs, items, type, line)
        return found

    def _look_at_unchanged(self) -> None:
        for node in self._unchanged:
            self._interned.setdefault((node.op, tuple(map(id, node.inputs)), node.params, node.type), node)
        self._unchanged.clear()

    def _new(
        self, op: str, inputs: tuple[Node, ...], params: tuple[tuple[str, Any], ...], type: ArrayType, line: str
    ) -> Node:
        self.made += 1
        return Node(op, inputs, params, type, line, self.made - 1)

    def rebuilt(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """`node` on other inputs, the rest unchanged."""
        if inputs != node.inputs:
            return self._interned_or_new(node.op, inputs, node.params, node.type, node.line)
        if not self._interned:
            self._unchanged.append(node)
            return node
        return self.interned(node)

    def interned(self, node: Node) -> Node:
        """The node, or the one equal to it that was met before."""
        if node.kind == "call" or node.op in UNIQUE:
            return node
        self._look_at_unchanged()
        return self._interned.setdefault((node.op, tuple(map(id, node.inputs)), node.params, node.type), node)

    def constant(self, value: Any, dtype: Any = None) -> Node:
        array = np.ascontiguousarray(value, dtype=dtype) if np.ndim(value) else np.asarray(value, dtype=dtype)
        return self.node("constant", (), {"data": array.tobytes()}, ArrayType(array.dtype, array.shape))

    def view(self, source: Node, indices: Indices, shape: Shape, line: str = "") -> Node:
        """The affine view of `source`; the source itself where the view changes nothing."""
        if is_identity(indices, shape, source.shape):
            return source
        if source.op == "constant" and not shape:
            # One element of a constant is a constant: what iterates over one meets plain values.
            place: Any = tuple(index.start for index in indices)
            array: Any = np.frombuffer(source["data"], source.dtype)
            return self.constant(array.reshape(source.shape)[place])
        return self.node("view", (source,), {"indices": indices}, ArrayType(source.dtype, shape), line)

    def parameters(self, types: Iterable[ArrayType]) -> tuple[Node, ...]:
        """The inputs of a new body."""
        scope = next(SCOPES)
        return tuple(
            self.node("parameter", (), {"scope": scope, "index": index}, ArrayType(type.dtype, type.shape))
            for index, type in enumerate(types)
        )

    def part(self, source: Node, index: int, type: ArrayType) -> Node:
        """One result of a node that has several."""
        return self.node("part", (source,), {"index": index}, type, source.line)

    def cast(self, source: Node, dtype: np.dtype[Any], line: str = "") -> Node:
        if source.dtype == dtype and not source.type.weak:
            return source
        return self.node("cast", (source,), {"dtype": dtype.name}, ArrayType(dtype, source.shape), line)


def in_order(indices: Indices, shape: Shape, source_shape: Shape) -> bool:
    """Whether the elements of a view follow each other in memory as those of its source do: all, or a part in front.

    >>> in_order((Index(0, start=2), Index(1)), (3, 4), (5, 4)), in_order((Index(1), Index(0)), (4, 5), (5, 4))
    (True, False)
    """
    places = [index.axis for index in indices if index.axis is not None]
    missing = [axis for axis, length in enumerate(shape) if axis not in places and length != 1]
    if missing or places != sorted(set(places)):
        return False
    inside = False
    for index, length in zip(indices, source_shape, strict=True):
        if length == 1:
            continue
        whole = index.axis is not None and index == Index(index.axis) and shape[index.axis] == length
        if not whole and (inside or index.step != 1):
            return False
        inside = inside or index.axis is not None
    return True


def is_identity(indices: Indices, shape: Shape, source_shape: Shape) -> bool:
    return shape == source_shape and all(
        index == Index(axis) or (index == Index(None) and dimension == 1)
        for axis, (index, dimension) in enumerate(zip(indices, source_shape, strict=True))
    )


def identity_indices(shape: Shape) -> Indices:
    return tuple(Index(axis) if dimension != 1 else Index(None) for axis, dimension in enumerate(shape))


def broadcast_indices(shape: Shape, target: Shape) -> Indices:
    """The view that broadcasts `shape` (of equal or lower rank) to `target`."""
    shift = len(target) - len(shape)
    return tuple(Index(None) if dimension == 1 else Index(axis + shift) for axis, dimension in enumerate(shape))


def respaced_indices(shape: Shape, target: Shape) -> Indices | None:
    """The view that a reshape is which only inserts and drops axes of length one; None for any other."""
    wanted = [axis for axis, dimension in enumerate(target) if dimension != 1]
    held = [dimension for dimension in shape if dimension != 1]
    if held != [target[axis] for axis in wanted]:
        return None
    places = iter(wanted)
    return tuple(Index(None) if dimension == 1 else Index(next(places)) for dimension in shape)


def compose(inner: Indices, outer: Indices) -> Indices:
    """The indices of `source[inner][outer]` into `source`."""
    composed = []
    for index in inner:
        if index.axis is None:
            composed.append(index)
            continue
        then = outer[index.axis]
        start = sizes.add(index.start, sizes.multiply(index.step, then.start))
        composed.append(Index(then.axis, index.step * then.step if then.axis is not None else 1, start))
    return tuple(composed)
