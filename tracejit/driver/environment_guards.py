"""Guards on what a function reads besides its arguments: globals, closures, attributes of objects.

They are found in the bytecode of the function and of the helpers that it can name, without running it; each is checked
by identity at every call, lists and dicts by the identity of their items.
"""

from __future__ import annotations

import dis
import functools
import math
import types
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import field
from typing import Any

import numpy as np

from tracejit.records import dataclass
from tracejit.trace.impure import generators
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
_ABSENT = object()


def _skipped(module: str | None) -> bool:
    return (module or "").split(".")[0] in _PLAIN_MODULES


@dataclass(eq=False, repr=False)
class Environment:
    """What was found: guard lines as (kind, owner, key, value)."""

    items: list[tuple[str, Any, str, Any]] = field(default_factory=list)
    functions: list[types.FunctionType] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def note(self, kind: str, owner: Any, key: str, value: Any) -> None:
        if len(self.items) >= _LIMIT:
            raise Untraceable(f"the function depends on more than {_LIMIT} globals and attributes")
        if isinstance(value, generators()) and kind not in ("global", "cell"):
            raise Untraceable(f"{key} is a generator of random numbers; pass it as an argument")
        self.items.append((kind, owner, key, value))


def read_environment(function: Any, objects: list[Any]) -> Environment:
    """All that the function's code can read outside its arrays; `objects` are its non-array arguments."""
    environment = Environment()
    bound = getattr(function, "__self__", None)
    pending = [function, *objects, *([bound] if bound is not None else [])]
    names: set[str] = set()
    objects_seen: list[Any] = []
    classes: list[type] = []
    methods: dict[str, list[Any]] = {}
    while pending or (pending := _named(methods, names)):
        value = pending.pop()
        if isinstance(value, types.MethodType):
            pending.append(value.__self__)
        value = getattr(value, "__func__", value)
        if isinstance(value, functools.partial):
            for item in (value.func, *value.args, *value.keywords.values()):
                pending.append(item)
                pending.extend(_read_container(environment, item))
            continue
        if id(value) in environment._seen:
            continue
        environment._seen.add(id(value))
        if hasattr(value, "__dict__") and "__wrapped__" in value.__dict__:
            pending.append(value.__dict__["__wrapped__"])
            continue
        if isinstance(value, types.FunctionType):
            if not _skipped(value.__module__):
                pending.extend(_read_function(environment, value, names))
            else:
                pending.extend(_held_by(value))  # a function of the library may call the user's
        elif isinstance(value, type):
            if not _skipped(value.__module__):
                classes.append(value)
                _hold_back(methods, value)
                pending.extend(base for base in value.__mro__[1:] if base is not object)
        elif hasattr(type(value), "__guard_version__"):
            pending.extend(_read_versioned(environment, value, methods))
        elif _is_object(value):
            objects_seen.append(value)
            pending.append(type(value))
            pending.extend(vars(value).values())
    _read_objects(environment, objects_seen, names)
    _read_classes(environment, classes, names)
    return environment


def _named(methods: dict[str, list[Any]], names: set[str]) -> list[Any]:
    """The items of classes that the code read so far can name, and those that operators and calls reach unnamed."""
    known = [name for name in methods if name in names or name.startswith("__")]
    return [item for name in known for item in methods.pop(name)]


def _held_by(function: types.FunctionType) -> Iterator[Any]:
    """What a function closes over."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):
            yield cell.cell_contents


def _hold_back(methods: dict[str, list[Any]], owner: type, but: str = "") -> None:
    """The items of a class, to be read once the code can name them."""
    for name, item in vars(owner).items():
        if name != but:
            methods.setdefault(name, []).append(item)


def _read_versioned(environment: Environment, value: Any, methods: dict[str, list[Any]]) -> Iterator[Any]:
    """An object that counts the changes of its attributes itself: its count is the one guard for all such objects.

    `__guard_version__` has the count; `__guard_parts__()` gives what else a call of the object can run.
    """
    version = type(value).__guard_version__
    if not any(owner is version for _, owner, _, _ in environment.items):
        environment.note("attribute", version, "count", version.count)
    for owner in type(value).__mro__:
        if not _skipped(owner.__module__):
            _hold_back(methods, owner, but="__init__")  # it ran before, and no call of the object runs it
    yield from value.__guard_parts__()


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
        for name in _loaded_globals(code):
            if name in function.__globals__:
                value = function.__globals__[name]
                yield from _read_global(environment, function.__globals__, name, value, code)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        environment.note("cell", cell, name, value)
        if isinstance(value, types.ModuleType):
            for code in _codes(function.__code__):
                yield from _read_module(environment, value, code)
        yield value
        yield from _read_container(environment, value)
    yield from function.__defaults__ or ()


def _loaded_globals(code: types.CodeType) -> list[str]:
    """The names that the code loads from its globals.

    An instruction is two bytes, opcode and argument (`co_code` shows caches as zeros); the disassembler's objects for
    each of them would take longer than tracing does.
    """
    found: dict[str, None] = {}
    opcodes, arguments = code.co_code[::2], code.co_code[1::2]
    place = opcodes.find(_LOAD_GLOBAL)
    while place >= 0:
        argument, shift, before = arguments[place], 8, place - 1
        while before >= 0 and opcodes[before] == dis.EXTENDED_ARG:
            argument |= arguments[before] << shift
            shift, before = shift + 8, before - 1
        found[code.co_names[argument >> 1]] = None  # the last bit says whether it is called
        place = opcodes.find(_LOAD_GLOBAL, place + 1)
    return list(found)


def _read_global(
    environment: Environment, namespace: dict[str, Any], name: str, value: Any, code: types.CodeType
) -> Iterator[Any]:
    if isinstance(value, types.ModuleType):
        yield from _read_module(environment, value, code)
        return
    environment.note("global", namespace, name, value)
    yield value
    yield from _read_container(environment, value)


def _read_module(environment: Environment, module: types.ModuleType, code: types.CodeType) -> Iterator[Any]:
    """Guard the attributes of a module, and of the modules in it, that the code can name."""
    if module in (np, math) or _skipped(module.__name__):
        return
    for name in code.co_names:
        item = vars(module).get(name, _ABSENT)
        if isinstance(item, types.ModuleType) and item.__name__.startswith(f"{module.__name__}."):
            yield from _read_module(environment, item, code)
        elif item is not _ABSENT and not isinstance(item, types.ModuleType):
            environment.note("attribute", module, name, item)
            yield item


def _read_container(environment: Environment, value: Any) -> Iterator[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    if any(isinstance(item, generators()) for item in items):
        raise Untraceable("a list, dict or tuple holds a generator of random numbers; pass it as an argument")
    if type(value) in (list, dict):
        environment.note("container", value, "", snapshot(value))
        yield from value.values() if isinstance(value, dict) else value
    elif type(value) is tuple:
        yield from value


def _read_objects(environment: Environment, objects: list[Any], names: set[str]) -> None:
    """Guard the attributes of objects: their own, and the values of their classes that one of their own would hide."""
    for value in objects:
        inherited = {name for name in names if name not in vars(value) and _plain_class_value(type(value), name)}
        for name in sorted(inherited | (names & vars(value).keys())):
            item = getattr(value, name)
            environment.note("attribute", value, name, item)
            for _ in _read_container(environment, item):
                pass


def _read_classes(environment: Environment, classes: list[type], names: set[str]) -> None:
    for owner in classes:
        for name in sorted(names & vars(owner).keys()):
            if _plain_class_value(owner, name) or isinstance(vars(owner)[name], types.FunctionType):
                environment.note("attribute", owner, name, vars(owner)[name])


def _plain_class_value(owner: type, name: str) -> bool:
    """Whether a class holds a value under the name that its instances see as it is (no method, no property)."""
    item = next((vars(base)[name] for base in owner.__mro__ if name in vars(base)), _ABSENT)
    return item is not _ABSENT and not hasattr(type(item), "__get__")


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


_LOAD_GLOBAL = dis.opmap["LOAD_GLOBAL"]

_STORES = {
    "STORE_GLOBAL": "assigns the global",
    "DELETE_GLOBAL": "deletes the global",
    "STORE_ATTR": "assigns the attribute",
    "DELETE_ATTR": "deletes the attribute",
}


_STORE_OPCODES = frozenset(dis.opmap[name] for name in (*_STORES, "STORE_DEREF"))


def _refuse_side_effects(function: types.FunctionType, code: types.CodeType) -> None:
    """A replay does not run Python, so what Python would leave behind must not exist."""
    if code.co_name == "__init__" or code.co_name == "__post_init__":
        return
    # Nearly no code has one of these, and looking at single instructions takes long.
    stores = set(code.co_code[::2]) & _STORE_OPCODES
    for instruction in dis.get_instructions(code) if stores else ():
        if instruction.opname in _STORES:
            raise Untraceable(f"{code.co_name} {_STORES[instruction.opname]} {instruction.argval!r}")
        if instruction.opname == "STORE_DEREF" and instruction.argval in code.co_freevars:
            raise Untraceable(f"{code.co_name} assigns the enclosing variable {instruction.argval!r}")
    if code.co_flags & (0x20 | 0x80 | 0x200) and code is function.__code__:
        raise Untraceable(f"{code.co_name} is a generator or coroutine")
