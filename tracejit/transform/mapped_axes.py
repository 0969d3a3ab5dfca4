"""Which axis of which argument is mapped: `in_axes` and `out_axes` spread over pytrees, and checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tracejit.ir.size import Dimension
from tracejit.trace.number import HostNumber
from tracejit.trace.pytree import LEAF, Tree, flatten, rebuild
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer

Axes: TypeAlias = Any
"""An axis, None, or a container of such, as deep as wanted."""


@dataclass(frozen=True)
class Arguments:
    """A call's arguments taken apart: the structure, its leaves, the mapped axis and the name of each."""

    tree: Tree
    leaves: tuple[Any, ...]
    axes: tuple[int | None, ...]
    names: tuple[str, ...]

    @staticmethod
    def of(function: Any, args: tuple[Any, ...], options: dict[str, Any], in_axes: Axes) -> Arguments:
        leaves: list[Any] = []
        tree = flatten((args, options), leaves)
        positional, keywords = tree.children
        axes = [*spread_axes(in_axes, positional, "in_axes"), *spread_axes(0, keywords, "in_axes")]
        names = [
            f"{name}{rest}"
            for name, child in zip(
                _names(function, args, options), (*positional.children, *keywords.children), strict=True
            )
            for rest in _paths(child)
        ]
        shapes = [
            getattr(leaf, "symbolic_shape", np.shape(leaf) if isinstance(leaf, np.ndarray) else ()) for leaf in leaves
        ]
        found = [_checked(*item) for item in zip(axes, shapes, leaves, names, strict=True)]
        if all(axis is None for axis in found):
            raise ValueError(f"vmap of {name_of(function)}: no argument is mapped; give one of them an axis in in_axes")
        return Arguments(tree, tuple(leaves), tuple(found), tuple(names))

    def length(self, dimension: Callable[[Any, int], Dimension], equal: Callable[[Dimension, Dimension], bool]) -> Any:
        """The number of examples, on which all mapped arguments must agree."""
        mapped = [
            (leaf, axis, name)
            for leaf, axis, name in zip(self.leaves, self.axes, self.names, strict=True)
            if axis is not None
        ]
        first, axis, name = mapped[0]
        length = dimension(first, axis)
        for leaf, other, text in mapped[1:]:
            if not equal(length, dimension(leaf, other)):
                raise ValueError(
                    f"vmap: mapped axes differ in length: {name} has shape {_shown(first)} and is mapped over axis "
                    f"{axis}, {text} has shape {_shown(leaf)} and is mapped over axis {other}"
                )
        return length

    def rebuilt(self, leaves: Sequence[Any]) -> Any:
        """(args, options) with other leaves."""
        return rebuild(self.tree, list(leaves))


def name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _names(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> list[str]:
    """What the user calls each argument."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    found = [f"argument {n} ({plain[n]})" if n < len(plain) else f"argument {n}" for n in range(len(args))]
    return [*found, *(f"argument {key}" for key in options)]


def _paths(tree: Tree) -> Iterator[str]:
    """How each leaf of a container is reached."""
    if tree.kind is None:
        yield ""
    for key, child in zip(tree.keys, tree.children, strict=True):
        yield from (f"[{key!r}]{rest}" for rest in _paths(child))


def _shown(leaf: Any) -> tuple[int, ...]:
    return tuple(current().value(d) for d in leaf.symbolic_shape) if isinstance(leaf, Tracer) else np.shape(leaf)


def spread_axes(axes: Axes, tree: Tree, what: str) -> list[int | None]:
    """The axis of each leaf, from axes given for whole containers."""
    given: list[Any] = []
    spec = flatten(axes, given)
    for axis in given:
        if axis is not None and (not isinstance(axis, (int, np.integer)) or isinstance(axis, bool)):
            raise TypeError(f"{what} must hold ints and None, not {axis!r}")
    left = iter(given)

    def walk(spec: Tree, tree: Tree) -> Iterator[Any]:
        if spec == LEAF:
            axis = next(left)
            yield from [axis] * _count(tree)
            return
        keys = set(spec.keys) == set(tree.keys) and len(spec.keys) == len(tree.keys)
        if tree.kind is None or not keys or (spec.kind is dict) != (tree.kind is dict):
            raise ValueError(
                f"{what}={axes!r} does not match what it is for: "
                f"{_outline(spec)} is given where there is {_outline(tree)}"
            )
        parts = {
            key: list(walk(child, tree.children[tree.keys.index(key)]))
            for key, child in zip(spec.keys, spec.children, strict=True)
        }
        for key in tree.keys:
            yield from parts[key]

    return list(walk(spec, tree))


def _count(tree: Tree) -> int:
    return 1 if tree.kind is None else sum(map(_count, tree.children))


def _outline(tree: Tree) -> str:
    """A structure in a few words."""
    if tree.kind is None:
        return "one value"
    return f"a {tree.kind.__name__} of {len(tree.keys)}" + (
        f" ({', '.join(map(repr, tree.keys))})" if tree.kind is dict else ""
    )


def _checked(axis: int | None, shape: Sequence[Any], leaf: Any, name: str) -> int | None:
    """The axis counted from the front."""
    if axis is None:
        return None
    if not -len(shape) <= axis < len(shape):
        what = f"an array of shape {_shown(leaf)}" if isinstance(leaf, (np.ndarray, Tracer)) else f"a {_kind(leaf)}"
        raise ValueError(
            f"vmap: {name} is {what} and has no axis {axis} to map over; in_axes=None leaves an argument as it is"
        )
    return int(axis) % len(shape)


def _kind(leaf: Any) -> str:
    return type(leaf.value if isinstance(leaf, HostNumber) else leaf).__name__
