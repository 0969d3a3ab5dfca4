"""A call's arguments taken apart into a hashable structure and its leaves, so that calls of one kind share derivatives.

    np.concatenate([x, y], axis=1)      ->      leaves x, y;  structure ([., .], axis=1)

Arrays and numbers are leaves; ints only where a function takes them as data (an index, an operand), not where they
choose what it does (an axis).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from tracejit.runtime.device_array import DeviceArray

Structure: TypeAlias = Any
"""None: a leaf; a Static; or (container type, keys, structures of the items)."""

_LEAVES = (np.ndarray, np.generic, DeviceArray, float, complex)
_SINGLE = (type(None), bool, str, type(Ellipsis), type, np.dtype)


class Static:
    """A value that belongs to a structure: equal only to an equal one of its type (itself, if it has no hash)."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        try:
            return hash((type(self.value), self.value))
        except TypeError:
            return id(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return NotImplemented
        if self.value is other.value:
            return True
        return type(self.value) is type(other.value) and hash(self) == hash(other) and bool(self.value == other.value)


def take_apart(value: Any, leaves: list[Any], leaf_types: tuple[type, ...], dynamic_ints: bool) -> Structure:
    """The structure of a value; its leaves are appended in order."""
    kind = type(value)
    if kind in _SINGLE:
        return Static(value)
    if isinstance(value, (leaf_types, _LEAVES)) or (dynamic_ints and kind is int):
        leaves.append(value)
        return None
    if kind is slice:
        items: Sequence[Any] = (value.start, value.stop, value.step)
        keys: tuple[Any, ...] = ()
    elif kind in (tuple, list):
        items, keys = value, ()
    elif kind is dict:
        items, keys = tuple(value.values()), tuple(value)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items, keys = value, value._fields
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        keys = tuple(field.name for field in dataclasses.fields(value) if field.init)
        items = [getattr(value, key) for key in keys]
    else:
        return Static(value)
    return (kind, keys, tuple([take_apart(item, leaves, leaf_types, dynamic_ints) for item in items]))


def put_together(structure: Structure, leaves: Iterator[Any]) -> Any:
    """The value of a structure with other leaves."""
    if structure is None:
        return next(leaves)
    if type(structure) is Static:
        return structure.value
    kind, keys, children = structure
    items = [put_together(child, leaves) for child in children]
    if kind is dict:
        return dict(zip(keys, items, strict=True))
    if kind in (tuple, list):
        return kind(items)
    if kind is slice or issubclass(kind, tuple):
        return kind(*items)
    return kind(**dict(zip(keys, items, strict=True)))


_NONE = Static(None)
_ITEMS = {type(None): _NONE, type(Ellipsis): Static(Ellipsis)}


def take_key(key: Any, leaves: list[Any]) -> Structure | None:
    """The structure of an index of ints, slices, None and ellipses, as `take_apart` has it; of others, False."""
    kind = type(key)
    if kind is int:
        leaves.append(key)
        return None
    if kind is slice:
        parts = []
        for part in (key.start, key.stop, key.step):
            if part is None:
                parts.append(_NONE)
            elif type(part) is int:
                parts.append(None)  # type: ignore[arg-type]
                leaves.append(part)
            else:
                return False
        return (slice, (), tuple(parts))
    if kind is tuple:
        items = [take_key(item, leaves) for item in key]
        return False if False in items else (tuple, (), tuple(items))
    return _ITEMS.get(kind, False)


class Call:
    """A function and the structure of its arguments: all of a call but the leaves.

    structure: an int for so many positional leaves, else of (args, options).
    """

    __slots__ = ("_hash", "function", "structure")

    def __init__(self, function: Callable[..., Any], structure: Structure) -> None:
        self.function, self.structure = function, structure
        self._hash = 0

    def __call__(self, leaves: Sequence[Any]) -> Any:
        if type(self.structure) is int:
            return self.function(*leaves)
        args, options = put_together(self.structure, iter(leaves))
        return self.function(*args, **options)

    def __hash__(self) -> int:
        if not self._hash:
            self._hash = hash((self.function, self.structure)) or 1
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Call):
            return NotImplemented
        return self.function == other.function and self.structure == other.structure

    def __repr__(self) -> str:
        return f"<call of {self.name}>"

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))
