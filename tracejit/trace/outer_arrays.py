"""Arrays that a body finds around it, as traced ones: `table[i]` with a traced i is then recorded, not asked for."""

from __future__ import annotations

from collections.abc import Iterator
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np

from tracejit.trace.record import KERNEL_DTYPES, captured
from tracejit.trace.state import Trace


def with_traced_arrays(trace: Trace, function: Any) -> Any:
    """The function with the arrays of its closure, and those that it finds among its globals, traced."""
    if not isinstance(function, FunctionType):
        return function
    cells = function.__closure__ or ()
    closure = tuple(_traced_cell(trace, cell) for cell in cells)
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    found = {name: function.__globals__[name] for name in sorted(names & function.__globals__.keys())}
    arrays = {name: captured(trace, value) for name, value in found.items() if _is_array(value)}
    if not arrays and all(a is b for a, b in zip(closure, cells, strict=True)):
        return function
    namespace = {**function.__globals__, **arrays} if arrays else function.__globals__
    traced = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, closure)
    traced.__kwdefaults__ = function.__kwdefaults__
    return traced


def _is_array(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype in KERNEL_DTYPES


def _traced_cell(trace: Trace, cell: CellType) -> CellType:
    try:
        value = cell.cell_contents
    except ValueError:
        return cell
    return CellType(captured(trace, value)) if _is_array(value) else cell


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
