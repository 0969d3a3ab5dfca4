"""Guards on what a function reads besides its arguments: globals, closures, attributes of objects.

They are found in the bytecode of the function and of the helpers that it can name, without running it; each is checked
by identity at every call, lists and dicts by the identity of their items.
"""

from __future__ import annotations

import dis
import math
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracejit.trace.state import Untraceable

_PLAIN_MODULES = (
    "numpy",
    "scipy",
    "math",
    "builtins",
    "tracejit",
    "numba",
    "collections",
    "functools",
    "itertools",
    "typing",
    "dataclasses",
)
_LIMIT = 400


def _skipped(module: str | None) -> bool:
    return (module or "").split(".")[0] in _PLAIN_MODULES


@dataclass
class Environment:
    """What was found: guard lines as (kind, owner, key, value)."""

    items: list[tuple[str, Any, str, Any]] = field(default_factory=list)
    functions: list[types.FunctionType] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def note(self, kind: str, owner: Any, key: str, value: Any) -> None:
        if len(self.items) >= _LIMIT:
            raise Untraceable(f"the function depends on more than {_LIMIT} globals and attributes")
        self.items.append((kind, owner, key, value))


def read_environment(function: Any, objects: list[Any]) -> Environment:
    """All that the function's code can read outside its arrays; `objects` are its non-array arguments."""
    environment = Environment()
    bound = getattr(function, "__self__", None)
    pending = [function, *objects, *([bound] if bound is not None else [])]
    names: set[str] = set()
    objects_seen: list[Any] = []
    while pending:
        value = pending.pop()
        value = getattr(value, "__func__", value)
        value = value.__dict__.get("__wrapped__", value) if hasattr(value, "__dict__") else value
        if id(value) in environment._seen:
            continue
        environment._seen.add(id(value))
        if isinstance(value, types.FunctionType):
            if not _skipped(value.__module__):
                pending.extend(_read_function(environment, value, names))
        elif isinstance(value, type):
            if not _skipped(value.__module__):
                pending.extend(vars(value).values())
                pending.extend(base for base in value.__mro__[1:] if base is not object)
        elif _is_object(value):
            objects_seen.append(value)
            pending.append(type(value))
            pending.extend(vars(value).values())
    _read_objects(environment, objects_seen, names)
    return environment


def _is_object(value: Any) -> bool:
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, (types.ModuleType, type, np.ndarray, np.generic))
        and not _skipped(type(value).__module__)
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _read_function(environment: Environment, function: types.FunctionType, names: set[str]) -> Iterator[Any]:
    """Guard what one function reads; yield what it can call."""
    environment.functions.append(function)
    for code in _codes(function.__code__):
        names.update(code.co_names)
        _refuse_side_effects(function, code)
        for instruction in dis.get_instructions(code):
            if instruction.opname == "LOAD_GLOBAL" and instruction.argval in function.__globals__:
                value = function.__globals__[instruction.argval]
                yield from _read_global(environment, function.__globals__, instruction.argval, value, code)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        environment.note("cell", cell, name, value)
        yield value
        yield from _read_container(environment, value)
    yield from function.__defaults__ or ()


def _read_global(
    environment: Environment, namespace: dict[str, Any], name: str, value: Any, code: types.CodeType
) -> Iterator[Any]:
    if isinstance(value, types.ModuleType):
        if value in (np, math) or _skipped(value.__name__):
            return
        for other in code.co_names:
            if hasattr(value, other) and not isinstance(getattr(value, other), types.ModuleType):
                item = getattr(value, other)
                environment.note("attribute", value, other, item)
                yield item
        return
    environment.note("global", namespace, name, value)
    yield value
    yield from _read_container(environment, value)


def _read_container(environment: Environment, value: Any) -> Iterator[Any]:
    if type(value) in (list, dict):
        environment.note("container", value, "", snapshot(value))
        yield from value.values() if isinstance(value, dict) else value
    elif type(value) is tuple:
        yield from value


def _read_objects(environment: Environment, objects: list[Any], names: set[str]) -> None:
    for value in objects:
        for name, item in vars(value).items():
            if name in names:
                environment.note("attribute", value, name, item)
                for _ in _read_container(environment, item):
                    pass


def snapshot(container: Any) -> tuple[Any, ...]:
    """The items of a list or dict, held so that their identities stay theirs."""
    return tuple(container) if isinstance(container, list) else (*container, *container.values())


def unchanged(container: Any, held: tuple[Any, ...]) -> bool:
    """Whether a container still has the items that it had."""
    now = snapshot(container)
    return len(now) == len(held) and all(a is b for a, b in zip(now, held, strict=True))


def restore(container: Any, held: tuple[Any, ...]) -> None:
    """Give a list or dict the items back that it had."""
    if isinstance(container, list):
        container[:] = held
    else:
        half = len(held) // 2
        container.clear()
        container.update(zip(held[:half], held[half:], strict=True))


_STORES = {
    "STORE_GLOBAL": "assigns the global",
    "DELETE_GLOBAL": "deletes the global",
    "STORE_ATTR": "assigns the attribute",
    "DELETE_ATTR": "deletes the attribute",
}


def _refuse_side_effects(function: types.FunctionType, code: types.CodeType) -> None:
    """A replay does not run Python, so what Python would leave behind must not exist."""
    if code.co_name == "__init__" or code.co_name == "__post_init__":
        return
    for instruction in dis.get_instructions(code):
        if instruction.opname in _STORES:
            raise Untraceable(f"{code.co_name} {_STORES[instruction.opname]} {instruction.argval!r}")
        if instruction.opname == "STORE_DEREF" and instruction.argval in code.co_freevars:
            raise Untraceable(f"{code.co_name} assigns the enclosing variable {instruction.argval!r}")
    if code.co_flags & (0x20 | 0x80 | 0x200) and code is function.__code__:
        raise Untraceable(f"{code.co_name} is a generator or coroutine")
