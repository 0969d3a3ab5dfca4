"""Whether an error would be caught: what may raise is then done at once, as plain Python does it.

A call that stands in the graph raises when the graph runs, which is after the user's `try` was left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dis import opmap
from functools import lru_cache
from types import CodeType

from tracejit.trace.state import PACKAGE, current


def inside_try() -> bool:
    """Whether the user's code runs inside a `try`, up to the function that is traced; never in a derivative rule."""
    if current().interrupt is None:
        return False
    frame = sys._getframe(1)
    traced = False
    while frame is not None:
        own = frame.f_code.co_filename.startswith(PACKAGE)
        if own and _is_driver(frame.f_code) and (traced or frame.f_code.co_name == "execute"):
            # `Tracing.execute` began this trace, also where a NumPy function is all that is traced.
            return False
        traced = traced or not own
        if not own and any(start <= frame.f_lasti < end for start, end in _protected(frame.f_code)):
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False


def _is_driver(code: CodeType) -> bool:
    return code.co_filename.startswith(f"{PACKAGE}/driver")


@lru_cache(maxsize=4096)
def _protected(code: CodeType) -> tuple[tuple[int, int], ...]:
    """The stretches of bytecode, as (start, end), whose errors a `try` of that code takes; `with` does not count."""
    found = []
    for start, end, target in _exception_table(code):
        begins_handler = code.co_code[target] == opmap["PUSH_EXC_INFO"]
        if begins_handler and code.co_code[target + 2] != opmap["WITH_EXCEPT_START"]:
            found.append((start, end))
    return tuple(found)


def _exception_table(code: CodeType) -> Iterator[tuple[int, int, int]]:
    """(start, end, handler) in bytes, of code.co_exceptiontable: numbers of six bits a byte, the highest first."""
    numbers: list[int] = []
    pending = 0
    for byte in code.co_exceptiontable:
        pending = pending << 6 | byte & 0x3F
        if not byte & 0x40:
            numbers.append(pending)
            pending = 0
    for start, length, target, _ in zip(*[iter(numbers)] * 4, strict=True):
        yield 2 * start, 2 * (start + length), 2 * target
