"""`float(t)`, `int(t)` and `t.item()`: a number that the next call computes anew.

Python's own `float` insists on a plain float, which every call would have to find the same, or trace anew.  So where
the user's code only ever calls `float` and `int`, stand-ins for them give a host number instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.trace.number import HostNumber
from tracejit.trace.opaque import Call, Slot, outcome, tracer_size
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.state import ACTIVE, current
from tracejit.trace.tracer import Tracer


def number(tracer: Tracer, convert: Callable[[Any], Any], name: str) -> Any:
    """The number that `convert` makes of a value; in a body, where there are no values, that is refused."""
    trace = current()
    several = tracer.ndim and trace.value(tracer_size(tracer)) != 1
    if trace.inside or trace.interrupt is None or several or tracer.node.op == "constant":
        return outcome(tracer, convert, name)
    return trace.interrupt(trace, Call(convert, (Slot(0),), {}, name), [tracer], False)


class Conversion(type):
    """The type of the stand-ins for `float` and `int`: they are equal to what they stand for, and check for it."""

    plain: Any

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if ACTIVE.trace is None or len(args) != 1 or options or not isinstance(args[0], (Tracer, HostNumber)):
            return cls.plain(*args, **options)
        if isinstance(args[0], Tracer):
            return number(args[0], cls.plain, cls.plain.__name__)
        return args[0] if type(args[0].value) is cls.plain else args[0].converted(cls.plain)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.plain)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return issubclass(subclass, cls.plain)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.plain

    def __hash__(cls) -> int:
        return hash(cls.plain)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.plain, name)


class Float(metaclass=Conversion):
    """`float` during a trace."""

    plain = float
    dtype = np.dtype(float)


class Int(metaclass=Conversion):
    """`int` during a trace."""

    plain = int
    dtype = np.dtype(int)


CONVERSIONS: dict[str, type] = {"float": Float, "int": Int}
"""Builtin -> its stand-in."""

HANDLERS["number"] = number
