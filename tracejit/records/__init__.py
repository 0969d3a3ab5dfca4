"""`dataclass`, put off until a class has its first instance.

Python writes and compiles the methods of a dataclass when the class is made, which takes half a millisecond; most of a
hundred such classes have no instance in a process that only calls compiled functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

_PENDING: dict[type, dict[str, Any]] = {}
"""The classes that have no methods yet, and the options of each."""


def _put_off(cls: type | None = None, **options: Any) -> Any:
    """`dataclasses.dataclass`, whose work is done at the first call of the class."""
    if cls is None:
        return lambda decorated: _put_off(decorated, **options)
    _PENDING[cls] = options
    cls.__init__ = _first(cls)  # type: ignore[misc]
    return cls


def _first(cls: type) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **fields: Any) -> None:  # noqa: N807 - the class's own
        _complete(cls)
        cls.__init__(self, *args, **fields)  # type: ignore[misc]

    return __init__


def _complete(cls: type) -> None:
    """Give a class its methods, after those that it inherits fields from."""
    for base in reversed(cls.__mro__):
        if (options := _PENDING.pop(base, None)) is not None:
            del base.__init__  # type: ignore[misc]
            dataclasses.dataclass(**options)(base)


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _put_off

__all__ = ["dataclass"]
