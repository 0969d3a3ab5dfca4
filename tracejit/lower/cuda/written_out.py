"""What kernels that are written out as text share: their words, their grids, and how a dtype is filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tracejit.lower.cuda.kernel import Device, Extents, Parameter


@dataclass(frozen=True)
class Threads:
    """Blocks for a number of threads that the extents give."""

    count: Callable[[Extents], int]
    block: int

    def __call__(self, extents: Extents, device: Device) -> int:
        return -(-self.count(extents) // self.block)


def rows(extents: Extents) -> int:
    """A thread for each place on the first axis."""
    return extents[0]


def elements(extents: Extents) -> int:
    """A thread for each place on the first two axes."""
    return extents[0] * extents[1]


def words(*operands: tuple[str, str, int], extents: int = 2, work: Sequence[str] = ()) -> list[Parameter]:
    """The words of operands, (name, dtype, rank) each, of extents, and of work arrays of some dtypes.

    Of rank 0: the operand is contiguous, and the text counts its elements.
    """
    found = []
    for number, (name, dtype, rank) in enumerate(operands):
        found.append(Parameter(name, "pointer", dtype, number))
        found += [Parameter(f"{name}_s{axis}", "stride", "int64", number, axis) for axis in range(rank)]
    found += [Parameter(f"n{axis}", "extent", "int64", place=axis) for axis in range(extents)]
    found += [Parameter(f"work{number}", "work", dtype, place=number) for number, dtype in enumerate(work)]
    return [*found, Parameter("error", "error", "int64")]


def filled(text: str, words: Sequence[Parameter], dtype: str, **given: object) -> str:
    """A text with the names of its parameters, its dtype, and what else stands there in capitals."""
    names = ", ".join(word.name for word in words)
    size = str(np.dtype(dtype).itemsize)
    # "X_SIZE" ends in "SIZE": what is given comes first.
    for word, value in {**given, "NAMES": names, "DTYPE": dtype, "// SIZE": f"// {size}"}.items():
        text = text.replace(word, str(value))
    return text


COMBINED = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "maximum": "maximum({0}, {1})",
    "minimum": "minimum({0}, {1})",
}
"""How a text combines two values, by the name of NumPy's ufunc."""


def before(dtype: str, a: str, b: str) -> str:
    """Does a stand before b in NumPy's order of sorting, in which NaN is last?"""
    if np.dtype(dtype).kind != "f":
        return f"{a} < {b}"
    return f"({a} < {b} or ({b} != {b} and {a} == {a}))"
