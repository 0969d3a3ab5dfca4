"""Pytrees: nested tuples, lists, dicts, named tuples and dataclasses of leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tracejit.records import dataclass


@dataclass(frozen=True)
class Tree:
    """The structure of a value: `kind` is the container's type (None: a leaf), `keys` its dict keys or field names."""

    kind: type | None
    keys: tuple[Any, ...] = ()
    children: tuple[Tree, ...] = ()


LEAF = Tree(None)


def _parts(value: Any) -> tuple[tuple[Any, ...], list[Any]] | None:
    """Keys and items of a container, or None for a leaf."""
    kind = type(value)
    if kind in (tuple, list):
        return tuple(range(len(value))), list(value)
    if kind is dict:
        return tuple(value), list(value.values())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return value._fields, list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in dataclasses.fields(value) if field.init)
        return names, [getattr(value, name) for name in names]
    return None


def flatten(value: Any, leaves: list[Any]) -> Tree:
    """The structure of a value; its leaves are appended in order."""
    parts = _parts(value)
    if parts is None:
        leaves.append(value)
        return LEAF
    keys, items = parts
    return Tree(type(value), keys, tuple(flatten(item, leaves) for item in items))


def rebuild(tree: Tree, leaves: list[Any]) -> Any:
    """The value of a structure; takes its leaves from the front of the list."""
    if tree.kind is None:
        return leaves.pop(0)
    items = [rebuild(child, leaves) for child in tree.children]
    if tree.kind in (tuple, list):
        return tree.kind(items)
    if tree.kind is dict:
        return dict(zip(tree.keys, items, strict=True))
    if issubclass(tree.kind, tuple):
        return tree.kind(*items)
    return tree.kind(**dict(zip(tree.keys, items, strict=True)))


def unpack_lines(
    tree: Tree, source: str, fresh: Callable[[], str], names: list[str], constant: Callable[[Any], str]
) -> list[str]:
    """Python that takes a value apart into variables; a value of another structure returns MISS.

    names: the variable of each leaf is appended.
    """
    if tree.kind is None:
        names.append(source)
        return []
    lines = [f"if type({source}) is not {constant(tree.kind)}: return MISS"]
    if tree.kind in (tuple, list) or issubclass(tree.kind, tuple):
        lines.append(f"if len({source}) != {len(tree.children)}: return MISS")
        items = [f"{source}[{position}]" for position in range(len(tree.children))]
    elif tree.kind is dict:
        lines.append(f"if tuple({source}) != {constant(tree.keys)}: return MISS")
        items = [f"{source}[{constant(key)}]" for key in tree.keys]
    else:
        items = [f"{source}.{key}" for key in tree.keys]
    for child, item in zip(tree.children, items, strict=True):
        name = fresh()
        lines.append(f"{name} = {item}")
        lines.extend(unpack_lines(child, name, fresh, names, constant))
    return lines


def pack_text(tree: Tree, leaves: list[str], constant: Callable[[Any], str]) -> str:
    """A Python expression that builds a value from the expressions of its leaves (taken from the front)."""
    if tree.kind is None:
        return leaves.pop(0)
    items = [pack_text(child, leaves, constant) for child in tree.children]
    if tree.kind is tuple:
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if tree.kind is list:
        return f"[{', '.join(items)}]"
    if tree.kind is dict:
        return "{" + ", ".join(f"{constant(key)}: {item}" for key, item in zip(tree.keys, items, strict=True)) + "}"
    if issubclass(tree.kind, tuple):
        return f"{constant(tree.kind)}({', '.join(items)})"
    return f"{constant(tree.kind)}({', '.join(f'{key}={item}' for key, item in zip(tree.keys, items, strict=True))})"
