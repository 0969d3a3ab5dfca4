"""How a structured function runs: recorded in a trace, compiled outside of one, or as the Python loop that it means."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from tracejit.driver.function import Jitted, disabled
from tracejit.trace.state import ACTIVE

CAPACITY = 256
"""Compiled loops and branches kept for calls outside of `jit`; the one that was not used for longest goes first."""

Functions = tuple[Callable[..., Any], ...]


class Structured:
    """One structured function: `record` and `plain` take (functions, operands), `functions` being the user's own.

    statics: further keyword arguments, which are constants of what is compiled.
    """

    def __init__(self, name: str, record: Callable[..., Any], plain: Callable[..., Any]) -> None:
        self.name, self.record, self.plain = name, record, plain
        self._compiled: OrderedDict[Any, tuple[Functions, Jitted]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, functions: Functions, operands: tuple[Any, ...], **statics: Any) -> Any:
        if ACTIVE.trace is not None:
            return self.record(functions, operands, **statics)
        if disabled() or not all(map(callable, functions)):
            return self.plain(functions, operands, **statics)
        known, compiled = self._lookup(functions, statics)
        return compiled(known, operands)

    def _lookup(self, functions: Functions, statics: dict[str, Any]) -> tuple[Functions, Jitted]:
        """What was compiled for functions that do the same."""
        key = (tuple(map(_identity, functions)), *statics.items())
        with self._lock:
            found = self._compiled.get(key)
            if found is None or not all(map(_same, found[0], functions)):
                found = self._compiled[key] = functions, self._jitted(statics)
            self._compiled.move_to_end(key)
            if len(self._compiled) > CAPACITY:
                self._compiled.popitem(last=False)
        return found

    def _jitted(self, statics: dict[str, Any]) -> Jitted:
        """The functions are arguments, so that what they read is guarded."""

        def run(functions: Functions, operands: tuple[Any, ...]) -> Any:
            way = self.record if ACTIVE.trace is not None else self.plain
            return way(functions, operands, **statics)

        run.__name__ = run.__qualname__ = self.name
        return Jitted(run, (), False, False)


def _identity(function: Any) -> Any:
    """The same for two functions made by one `lambda` or `def`, for two partials of one, for two looks at a method."""
    if isinstance(function, MethodType):
        return _identity(function.__func__), id(function.__self__)
    if isinstance(function, partial):
        return _identity(function.func), len(function.args), *function.keywords
    return id(function.__code__) if isinstance(function, FunctionType) else id(function)


def _same(a: Any, b: Any) -> bool:
    """Whether two functions of one identity do the same: they close over the same things."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, MethodType):
        return a.__self__ is b.__self__ and _same(a.__func__, b.__func__)
    if isinstance(a, partial):
        held = [(*f.args, *f.keywords.values()) for f in (a, b)]
        return _same(a.func, b.func) and all(map(_equal, *held))
    if not isinstance(a, FunctionType) or a.__code__ is not b.__code__ or a.__globals__ is not b.__globals__:
        return False
    if a.__kwdefaults__ or b.__kwdefaults__:
        return False
    mine, theirs = ([_held(cell) for cell in f.__closure__ or ()] + [*(f.__defaults__ or ())] for f in (a, b))
    return len(mine) == len(theirs) and all(map(_equal, mine, theirs))


def _held(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return cell


def _equal(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | str) and bool(a == b)) or _same(a, b)
