"""Tiles: a run of elements of a kernel's innermost axis, and rows with one value for each of them.

In a tile of a known, small width the loop over the elements is unrolled once it is vectorized; a row of it that is
used at known places only then is no memory any more, but vector registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracejit.lower.instructions import Emitter
from tracejit.lower.llvm_types import memory_type, word
from tracejit.lower.scalar_llvm import store_value
from tracejit.vecmath import language
from tracejit.vecmath.language import Scalar


class Tile:
    """Elements `first .. first + width` of the last outer axis; where `end` is given, only those before it."""

    def __init__(self, emitter: Emitter, first: Any, width: int, end: Any = None) -> None:
        self.emitter, self.width = emitter, width
        self._first, self._whole = first, end is None
        self._count = word(width)
        if end is not None:
            left = emitter.builder.sub(end, first, flags=("nsw",))
            shorter = emitter.builder.icmp_signed("<", left, self._count)
            self._count = emitter.builder.select(shorter, left, self._count)

    @contextmanager
    def elements(self) -> Iterator[Any]:
        """The loop over the elements, by their place in the tile."""
        nest, axis = self.emitter.nest, self.emitter.kernel.outer[-1]
        with nest.loop(word(0), self._count, axis=axis, flat=self._whole) as column:
            with nest.at(len(nest.levels) - 1):
                nest.axis_values[axis] = self.emitter.builder.add(self._first, column, flags=("nsw",))
            yield column


class Row:
    """One value for each element of a tile."""

    def __init__(self, tile: Tile, dtype: str) -> None:
        self._emitter, self._dtype = tile.emitter, np.dtype(dtype)
        self.start = tile.emitter.nest.stack_slot(memory_type(self._dtype), tile.width)

    def at(self, column: Any) -> Any:
        """The address of an element's value."""
        element = memory_type(self._dtype)
        return self._emitter.builder.gep(self.start, [column], inbounds=True, source_etype=element)

    def read(self, column: Any) -> Scalar:
        """An element's value."""
        return self._emitter.load(self.at(column), self._dtype, self._dtype)

    def write(self, column: Any, value: Scalar) -> None:
        """Set an element's value."""
        pointer = self.at(column)
        element: Any = language.cast(value, self._dtype)
        with self._emitter.nest.memory():
            store_value(self._emitter.builder, pointer, element)
