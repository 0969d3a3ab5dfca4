"""The innermost part of a matrix product: a tile of the result held in vector registers while the depth runs.

    for j in range(depth):                       # rows r .. r+7, columns c .. c + 3 vectors
        b0, b1, b2 = panel[j, c : c + 3 * width]
        for i in range(8): a = left[r + i, j]; t[i, 0] += a * b0; t[i, 1] += a * b1; t[i, 2] += a * b2

Each vector that is loaded serves all rows, each number all vectors, so the multipliers are busy all the time; see Goto
and van de Geijn, Anatomy of High-Performance Matrix Multiplication (2008), and Van Zee and van de Geijn, BLIS (2015).
Products are fused with their sums where the CPU can, as in any BLAS.  An element is one sum in the order of the depth,
so its bits do not depend on how rows and columns are cut.  The left operand is read where it lies, also where it is a
transpose: a panel of 128 columns and 128 rows of the operand stay in the second-level cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tracejit.lower.linking import TILE
from tracejit.lower.llvm_types import I8, I32, I64, POINTER, VOID, memory_type, word
from tracejit.lower.next_row import prefetch

VECTORS = 3
"""Vectors side by side in the widest tile."""

AHEAD = 16
"""Steps of the depth by which the left operand is asked for ahead: in a transpose each step is in another page, which
no CPU foresees."""


@dataclass(frozen=True)
class Registers:
    """The CPU's vector registers: their bytes, and how many rows of `VECTORS` of them a tile has."""

    size: int
    rows: int


@lru_cache(maxsize=1)
def registers() -> Registers:
    """Those of this machine; 32 of them (AVX-512, Arm) hold 8 rows of 3, 16 of them (SSE, AVX) 4 rows."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return Registers(64, 8)
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return Registers(16, 8)
    return Registers(32 if features.get("avx") else 16, 4)


def vector_length(dtype: np.dtype[Any]) -> int:
    """Elements in a vector."""
    return registers().size // dtype.itemsize


def tile_product(module: Any, dtype: np.dtype[Any]) -> Any:
    """The function `(left, row stride, depth stride, panel, tile, rows, depth, vectors)`, which a module may call.

    Strides are in bytes; panel and tile have rows of `vectors` vectors. Rows of the tile are written in whole register
    tiles, so it has room for `registers().rows - 1` more than there are.  All kernels share one, in a module of its
    own (`emit_tile_product`): it takes longer to compile than what a kernel has besides.
    """
    name = TILE + dtype.name
    return module.globals.get(name) or ir.Function(module, _TYPE, name)


def emit_tile_product(module: Any, dtype: np.dtype[Any]) -> None:
    """That function, in the module that others find it in."""
    function = ir.Function(module, _TYPE, TILE + dtype.name)
    function.attributes.add("nounwind")
    set.add(function.attributes, '"prefer-vector-width"="512"')  # llvmlite does not list it
    _TileEmitter(function, dtype).emit()


_TYPE = ir.FunctionType(VOID, [POINTER, I64, I64, POINTER, POINTER, I64, I64, I64])


class _TileEmitter:
    def __init__(self, function: Any, dtype: np.dtype[Any]) -> None:
        self.function = function
        self.element = memory_type(dtype)
        self.length = vector_length(dtype)
        self.vector = ir.VectorType(self.element, self.length)
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.left, self.row_stride, self.depth_stride, self.panel, self.tile = function.args[:5]
        self.rows, self.depth, self.vectors = function.args[5:]
        self.pitch = self.builder.mul(self.vectors, word(registers().size))
        name = f"llvm.fmuladd.v{self.length}f{8 * dtype.itemsize}"
        type = ir.FunctionType(self.vector, [self.vector] * 3)
        self.multiply_add = function.module.globals.get(name) or ir.Function(function.module, type, name)

    def emit(self) -> None:
        """Columns in threes of vectors and at the end in twos: one alone is slower, and for a panel of one."""
        builder = self.builder
        with builder.if_then(builder.icmp_signed("==", self.vectors, word(1))):
            self.column_block(word(0), 1)
            builder.ret_void()
        rest = builder.srem(self.vectors, word(VECTORS))
        pairs = builder.srem(builder.sub(word(VECTORS), rest), word(VECTORS))
        threes = builder.sub(self.vectors, builder.mul(pairs, word(2)))
        for begin, end, count in ((word(0), threes, VECTORS), (threes, self.vectors, 2)):
            with self.loop(begin, end, word(count)) as vector:
                self.column_block(builder.mul(vector, word(registers().size)), count)
        builder.ret_void()

    def column_block(self, column: Any, count: int) -> None:
        """All rows of a few vectors of columns; `column` is their byte offset."""
        most = registers().rows
        builder = self.builder
        rest = builder.srem(self.rows, word(most))
        few = builder.and_(builder.icmp_signed(">", rest, word(0)), builder.icmp_signed("<=", rest, word(most // 2)))
        end = builder.select(few, builder.sub(self.rows, rest), self.rows)
        with self.loop(word(0), end, word(most)) as row:
            self.block(row, column, most, count)
        with builder.if_then(few):
            self.block(end, column, most // 2, count)

    def block(self, row: Any, column: Any, height: int, count: int) -> None:
        """One register tile. Rows past the end are the last row again, and land in rows that nobody reads."""
        builder = self.builder
        last = builder.sub(self.rows, word(1))
        starts = []
        for i in range(height):
            here = builder.add(row, word(i))
            here = builder.select(builder.icmp_signed("<", here, last), here, last)
            starts.append(self.at(self.left, builder.mul(here, self.row_stride)))
        panel = self.at(self.panel, column)
        zero = ir.Constant(self.vector, None)
        before = builder.block
        head, body, after = (self.function.append_basic_block(name) for name in ("depth", "step", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        j = builder.phi(I64)
        j.add_incoming(word(0), before)
        totals = [[builder.phi(self.vector) for _ in range(count)] for _ in range(height)]
        for total in (t for line in totals for t in line):
            total.add_incoming(zero, before)
        builder.cbranch(builder.icmp_signed("<", j, self.depth), body, after)
        builder.position_at_end(body)
        source = self.at(panel, builder.mul(j, self.pitch))
        vectors = [self.load(self.at(source, word(n * registers().size)), self.vector) for n in range(count)]
        offset = builder.mul(j, self.depth_stride)
        prefetch(builder, self.at(starts[0], builder.add(offset, builder.mul(self.depth_stride, word(AHEAD)))))
        for start, line in zip(starts, totals, strict=True):
            number = self.spread(self.load(self.at(start, offset), self.element))
            for vector, total in zip(vectors, line, strict=True):
                total.add_incoming(builder.call(self.multiply_add, [number, vector, total]), body)
        j.add_incoming(builder.add(j, word(1)), body)
        builder.branch(head)
        builder.position_at_end(after)
        target = self.at(self.at(self.tile, builder.mul(row, self.pitch)), column)
        for i, line in enumerate(totals):
            for n, total in enumerate(line):
                self.store(
                    total, self.at(self.at(target, builder.mul(word(i), self.pitch)), word(n * registers().size))
                )

    # ---- LLVM

    @contextmanager
    def loop(self, begin: Any, end: Any, step: Any) -> Iterator[Any]:
        """`for i in range(begin, end, step)`."""
        builder, before = self.builder, self.builder.block
        head, body, after = (self.function.append_basic_block(name) for name in ("loop", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(I64)
        i.add_incoming(begin, before)
        builder.cbranch(builder.icmp_signed("<", i, end), body, after)
        builder.position_at_end(body)
        yield i
        i.add_incoming(builder.add(i, step), builder.block)
        builder.branch(head)
        builder.position_at_end(after)

    def at(self, pointer: Any, offset: Any) -> Any:
        """The address some bytes further."""
        return self.builder.gep(pointer, [offset], inbounds=True, source_etype=I8)

    def load(self, pointer: Any, type: Any) -> Any:
        """A number or vector, aligned as a number is."""
        return self.builder.load(pointer, typ=type, align=self._align)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, pointer, align=self._align)

    @property
    def _align(self) -> int:
        return registers().size // self.length

    def spread(self, number: Any) -> Any:
        """A vector of one number."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, number, I32(0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(I32, self.length), None))
