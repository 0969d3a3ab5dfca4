"""A call's arguments taken apart into leaves, and which of them a trace takes as values."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from tracejit.driver.segments import leaf_kind
from tracejit.records import dataclass
from tracejit.trace.pytree import Tree, flatten
from tracejit.trace.state import Untraceable

MUTABLE = (set, bytearray, dict, list, collections.deque)
"""Containers that are no pytrees (a dict or list here is a subclass)."""


@dataclass
class Arguments:
    """A call's arguments taken apart: the structure, all leaves, and which of them enter the trace."""

    tree: Tree
    leaves: list[Any]
    dynamic: list[bool]
    static: set[int]

    @property
    def objects(self) -> list[Any]:
        return [leaf for leaf, dynamic in zip(self.leaves, self.dynamic, strict=True) if not dynamic]


def take_apart(
    args: tuple[Any, ...], kwargs: dict[str, Any], static_positions: set[int], static_names: set[str]
) -> Arguments:
    """Flatten the arguments; those named static stay whole and are guarded by equality."""
    leaves: list[Any] = []
    static: set[int] = set()
    children: list[Tree] = []
    for position, value in enumerate(args):
        children.append(_argument(value, position in static_positions, leaves, static))
    keywords = [_argument(value, key in static_names, leaves, static) for key, value in kwargs.items()]
    tree = Tree(
        tuple,
        (0, 1),
        (
            Tree(tuple, tuple(range(len(args))), tuple(children)),
            Tree(dict, tuple(kwargs), tuple(keywords)),
        ),
    )
    dynamic = [leaf_kind(leaf) != "static" and number not in static for number, leaf in enumerate(leaves)]
    for leaf in leaves:
        if isinstance(leaf, MUTABLE):
            raise Untraceable(f"an argument of type {type(leaf).__name__}, which the function could change")
        if isinstance(leaf, np.ndarray) and leaf_kind(leaf) == "static":
            raise Untraceable(f"an array argument of type {type(leaf).__name__} and dtype {leaf.dtype}")
    return Arguments(tree, leaves, dynamic, static)


def flatten_like(arguments: Arguments, value: Any, leaves: list[Any]) -> Tree:
    """(args, kwargs) flattened again, static arguments whole as before."""
    args, kwargs = value
    positional, keywords = arguments.tree.children
    positions: set[int] = set()
    parts = [_argument(v, t.kind is None, leaves, positions) for v, t in zip(args, positional.children, strict=True)]
    pairs = zip(keywords.keys, keywords.children, strict=True)
    named = [_argument(kwargs[k], t.kind is None, leaves, positions) for k, t in pairs]
    return Tree(tuple, (0, 1), (Tree(tuple, positional.keys, tuple(parts)), Tree(dict, keywords.keys, tuple(named))))


def _argument(value: Any, static: bool, leaves: list[Any], positions: set[int]) -> Tree:
    if static:
        positions.add(len(leaves))
        leaves.append(value)
        return Tree(None)
    return flatten(value, leaves)
