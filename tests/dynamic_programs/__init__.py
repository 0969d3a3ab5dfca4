"""Ordinary Python programs that look at their data: loops to a tolerance, branches, recursion, strings, exceptions.

Each module of this package lists programs in `PROGRAMS`; `ALL` gathers them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DynamicProgram:
    """One function, and calls of it.

    calls: positional arguments of several calls, made anew each time by `inputs()`.
    tolerance: (rtol, atol) that compiled results may differ by; (0, 0) asks for the same bits.
    bounded: the inputs' paths fit in the tree of branches, so calls on paths seen before trace nothing.
    gradient: (argument position, numbers) pairs: calls at which the gradient by that argument is checked.
    """

    name: str
    function: Callable[..., Any]
    inputs: Callable[[], list[tuple[Any, ...]]]
    tolerance: tuple[float, float] = (0.0, 0.0)
    bounded: bool = True
    gradient: tuple[int, ...] = field(default=())


def _gather() -> list[DynamicProgram]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [program for module in modules for program in module.PROGRAMS]


ALL: list[DynamicProgram] = _gather()
