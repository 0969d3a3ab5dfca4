"""Ordinary NumPy programs: what `tracejit.jit` must speed up without a change, and must never get wrong.

Each module of this package is one idea in plain NumPy and lists its entry points in `PROGRAMS`; `ALL` gathers them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Program:
    """One function and how to call it.

    make_arguments: `(rng, size) -> tuple` of positional arguments; any size from 4 up makes sense.
    tolerance: (rtol, atol) that the compiled results may differ by; (0, 0) asks for the same bits.
    mutates: the function writes to its arguments, and the caller must see it.
    """

    name: str
    function: Callable[..., Any]
    make_arguments: Callable[[np.random.Generator, int], tuple[Any, ...]]
    tolerance: tuple[float, float] = (1e-12, 1e-13)
    mutates: bool = False


EXACT = (0.0, 0.0)
"""Only + - * / sqrt, comparisons, indexing and casts: the bits are NumPy's."""

SINGLE = (2e-5, 2e-6)
"""Tolerance of float32 programs with reductions."""


def _gather() -> list[Program]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [program for module in modules for program in module.PROGRAMS]


ALL: list[Program] = _gather()
