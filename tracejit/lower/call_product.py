"""Native calls: matrix products by the very loop that np.matmul runs, so with the same bits for the same layouts.

The loop is a C function of the ufunc, `void loop(char** data, npy_intp* lengths, npy_intp* strides, void*)`.  Lengths
are those of one axis of the batch, then rows, inner, columns; strides those of the batch for each operand, then of the
matrices.  It calls BLAS where the layouts allow that, and needs no interpreter.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tracejit.lower import interpreter as py
from tracejit.lower.call_memory import Geometry
from tracejit.lower.call_plan import Factor, MatrixProduct
from tracejit.lower.host_expression import Expressions
from tracejit.lower.llvm_types import I64, POINTER, VOID, word

UNLOCK_PRODUCTS = 32768
"""Below this number of products of elements the GIL is kept: some microseconds."""

LOOP = ir.FunctionType(VOID, [POINTER, POINTER, POINTER, POINTER])
"""The type of a ufunc's loop."""


class Product:
    """A product: its sizes are computed with the checks, the rest when it is its turn."""

    def __init__(self, builder: Any, expressions: Expressions, step: MatrixProduct) -> None:
        self.builder, self.step = builder, step
        self.batch = [expressions.integer(text) for text in step.batch]
        self.core = [expressions.integer(text) for text in step.core]
        self.count = expressions.product([*self.batch, *self.core])
        with builder.goto_entry_block():
            self.data, self.lengths, self.strides = (builder.alloca(I64, size=word(size)) for size in (3, 4, 9))
            self.state = builder.alloca(POINTER)

    def run(self, function: Any, memory: dict[str, tuple[Geometry, Any]]) -> None:
        """All matrices of the batch; `memory`: how it lies and where, by name."""
        builder = self.builder
        factors = (self.step.left, self.step.right, self.step.target)
        inner = self.batch[-1] if self.batch else word(1)
        self._put(self.lengths, (inner, *self.core))
        last = [_stride(memory, factor, factor.batch[-1] if self.batch else -1) for factor in factors]
        matrices = [_stride(memory, factor, axis) for factor in factors for axis in factor.core]
        self._put(self.strides, (*last, *matrices))
        large = builder.icmp_unsigned(">=", self.count, word(UNLOCK_PRODUCTS))
        with builder.if_then(large, likely=False):
            builder.store(py.call(builder, "PyEval_SaveThread"), self.state)
        self._nest(function, memory, [memory[factor.name][1] for factor in factors], 0)
        with builder.if_then(large, likely=False):
            py.call(builder, "PyEval_RestoreThread", builder.load(self.state, typ=POINTER))

    def _put(self, target: Any, values: tuple[Any, ...]) -> None:
        for number, value in enumerate(values):
            pointer = self.builder.gep(target, [word(number)], inbounds=True, source_etype=I64)
            self.builder.store(value, pointer)

    def _nest(self, function: Any, memory: dict[str, tuple[Geometry, Any]], data: list[Any], axis: int) -> None:
        """A loop over an axis of the batch; the last of them is the ufunc's own."""
        builder = self.builder
        if axis >= len(self.batch) - 1:
            self._put(self.data, tuple(data))
            null = ir.Constant(POINTER, None)
            builder.call(function, [self.data, self.lengths, self.strides, null])
            return
        factors = (self.step.left, self.step.right, self.step.target)
        strides = [_stride(memory, factor, factor.batch[axis]) for factor in factors]
        before, body, done = builder.block, builder.append_basic_block("matrices"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", self.batch[axis], word(0)), body, done)
        builder.position_at_end(body)
        number, *places = (builder.phi(I64) for _ in range(4))
        self._nest(function, memory, places, axis + 1)
        following = [builder.add(number, word(1)), *map(builder.add, places, strides)]
        builder.cbranch(builder.icmp_signed("<", following[0], self.batch[axis]), body, done)
        for phi, start, step in zip((number, *places), (word(0), *data), following, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(step, builder.block)
        builder.position_at_end(done)


def _stride(memory: dict[str, tuple[Geometry, Any]], factor: Factor, axis: int) -> Any:
    return word(0) if axis < 0 else memory[factor.name][0].stride(axis)
