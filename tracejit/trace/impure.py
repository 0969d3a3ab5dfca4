"""Calls whose result is another at every call: random numbers and clocks.  They are made anew on each replay."""

from __future__ import annotations

import random
import time
import types
from typing import Any

import numpy as np

from tracejit.trace.opaque import interrupt_call
from tracejit.trace.state import ACTIVE, Untraceable

MODULES: tuple[types.ModuleType, ...] = (random, time, np.random)
"""The modules whose functions are taken to be impure."""

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
"""Objects whose methods are."""


class CalledEachTime:
    """A module or generator while a thread traces: a call of one of its functions ends a segment and is replayed."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._target, name)
        if ACTIVE.trace is None or isinstance(function, type) or not callable(function):
            return function
        if name == "default_rng":
            return _default_rng
        return lambda *args, **options: interrupt_call(function, args, options)


def traced_print(*values: Any, **options: Any) -> None:
    """`print` during a trace: it prints at each call, with that call's values."""
    if ACTIVE.trace is None:
        print(*values, **options)  # noqa: T201 - it is the user's own print
    else:
        interrupt_call(print, values, options)


def _default_rng(seed: Any = None) -> Any:
    """A generator of a fixed seed gives the same numbers at each call; one without a seed must not be kept."""
    if seed is None:
        raise Untraceable("np.random.default_rng() without a seed is made anew at each call")
    return np.random.default_rng(seed)
