"""Calls whose result is another at every call: random numbers and clocks.  They are made anew on each replay."""

from __future__ import annotations

import random
import sys
import types
from functools import cache
from typing import Any

import numpy as np

from tracejit.trace.opaque import Expression, interrupt_call
from tracejit.trace.state import ACTIVE, Untraceable
from tracejit.trace.tracer import Tracer

_MODULES = frozenset({"random", "time", "numpy.random"})
"""The names of the modules whose functions are taken to be impure."""


def generators() -> tuple[type, ...]:
    """The types of objects whose methods are; NumPy's only where somebody has loaded them, as that takes long."""
    return _all_generators() if "numpy.random" in sys.modules else (random.Random,)


@cache
def _all_generators() -> tuple[type, ...]:
    return random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator


def is_impure_module(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and value.__name__ in _MODULES


class CalledEachTime:
    """A module or generator while a thread traces: a call of one of its functions ends a segment and is replayed.

    where: for a generator that is an argument, or that the function makes: what finds it at each call.
    """

    def __init__(self, target: Any, where: Expression | None = None) -> None:
        self._target, self._where = target, where

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._target, name)
        if ACTIVE.trace is None or not callable(function):
            return function
        if isinstance(function, type) and not issubclass(function, generators()):
            return function
        given = () if self._where is None else (self._where,)
        if given:
            function = getattr(type(self._target), name)
        if name == "shuffle":
            return lambda x, *args, **options: _shuffle(function, given, x, args, options)
        return lambda *args, **options: interrupt_call(function, (*given, *map(_found, args)), options)


def draws(function: Any) -> bool:
    """Whether a call of the function is one of a generator."""
    bound = isinstance(getattr(function, "__self__", None), generators())
    return bound or issubclass(getattr(function, "__objclass__", object), generators())


def _found(argument: Any) -> Any:
    """What finds a generator that is an argument of another's function."""
    known = isinstance(argument, CalledEachTime) and argument._where is not None
    return argument._where if known else argument


def _shuffle(function: Any, given: tuple[Any, ...], x: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    """What is shuffled in place is a value like any other: a copy is shuffled, and takes its place."""
    if not isinstance(x, Tracer):
        raise Untraceable(f"shuffle of a {type(x).__name__} in place")
    x[...] = interrupt_call(shuffled, (function, given, x, args), options)


def shuffled(function: Any, given: tuple[Any, ...], x: Any, args: tuple[Any, ...], **options: Any) -> Any:
    """A shuffled copy of an array."""
    copy = x.copy()
    function(*given, copy, *args, **options)
    return copy


def traced_print(*values: Any, **options: Any) -> None:
    """`print` during a trace: it prints at each call, with that call's values."""
    if ACTIVE.trace is None:
        print(*values, **options)  # noqa: T201 - it is the user's own print
    else:
        interrupt_call(print, values, options)
