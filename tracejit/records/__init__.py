"""`dataclass`, put off until a class has its first instance.

Python writes and compiles the methods of a dataclass when the class is made, which takes half a millisecond; half of a
hundred such classes have no instance in a process that only calls compiled functions.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

_PENDING: dict[type, dict[str, Any]] = {}
"""The classes that have no methods yet, and the options of each."""

_LOCK = threading.RLock()


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
    """Give a class its methods, after those that it inherits fields from.

    `__init__` comes last, in one step: a thread that calls the class meanwhile waits in the one that is there.
    """
    with _LOCK:
        for base in reversed(cls.__mro__):
            if (options := _PENDING.get(base)) is not None:
                dataclasses.dataclass(init=False, **options)(base)
                base.__init__ = _initializer(base, options.get("frozen", False))  # type: ignore[misc]
                del _PENDING[base]


def _initializer(cls: Any, frozen: bool) -> Any:
    """The `__init__` that a dataclass has."""
    names: dict[str, Any] = {"put": object.__setattr__, "unset": object()}
    parameters, lines = ["self"], []
    for field in dataclasses.fields(cls):
        name, value = field.name, field.name
        parameters.append(name)
        if field.default is not dataclasses.MISSING:
            names[f"default_{name}"] = field.default
            parameters[-1] += f"=default_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            names[f"make_{name}"] = field.default_factory
            parameters[-1] += "=unset"
            value = f"make_{name}() if {name} is unset else {name}"
        lines.append(f"put(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n    ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n    {body}\n", names)  # noqa: S102 - code of our own making
    names["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    return names["__init__"]


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _put_off

__all__ = ["dataclass"]
