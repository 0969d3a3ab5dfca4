"""The door from Python into a kernel: a function with CPython's METH_FASTCALL signature.

`entry(*operands, *extents, *integers, *scalars, units, threads)` fills the parameter words from the arrays' fields,
lets go of the GIL where that pays, and runs all units (see `abi`) of the kernel and its final function, if it has one:
on the calling thread, or through the pool on up to so many threads.  It returns None, or the error code as an int.
Arguments are not checked: the caller has done that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from tracejit.lower.abi import ALL, layout
from tracejit.lower.interpreter import call, field, known
from tracejit.lower.linking import DATA, DIMENSIONS, POOL_AT, POOL_LAUNCH, STRIDES
from tracejit.lower.llvm_types import I1, I8, I64, POINTER, word
from tracejit.schedule.kernel import Kernel, Loop

UNLOCK_ITERATIONS = 4096
"""Below this product of the extents the GIL is kept (but not while a loop may go on for ever)."""


class _EntryEmitter:
    def __init__(self, kernel: Kernel, function: Any) -> None:
        self.kernel = kernel
        self.layout = layout(kernel)
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.words = self.builder.alloca(I64, size=word(max(1, self.layout.words)))
        self.code = self.builder.alloca(I64)
        self.state = self.builder.alloca(POINTER)
        self._taken = 0

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the interpreter."""
        return call(self.builder, name, *arguments)

    def argument(self) -> Any:
        """The next Python argument."""
        pointer = self.builder.gep(self.function.args[1], [word(self._taken)], inbounds=True, source_etype=POINTER)
        self._taken += 1
        return self.builder.load(pointer, typ=POINTER)

    def put(self, slot: int, value: Any) -> None:
        """Set a parameter word."""
        pointer = self.builder.gep(self.words, [word(slot)], inbounds=True, source_etype=I64)
        self.builder.store(value, pointer)

    def operands(self) -> None:
        """The arrays' data, strides and sizes."""
        for operand, data, sizes in zip(self.kernel.operands, self.layout.data, self.layout.sizes, strict=True):
            if data is None:
                continue
            array = self.argument()
            self.put(data, field(self.builder, array, DATA, I64))
            if operand.rank:
                strides = field(self.builder, array, STRIDES)
                for dimension in range(operand.rank):
                    self.put(data + 1 + dimension, field(self.builder, strides, 8 * dimension, I64))
            if sizes is not None:
                dimensions = field(self.builder, array, DIMENSIONS)
                for dimension in range(operand.rank):
                    self.put(sizes + dimension, field(self.builder, dimensions, 8 * dimension, I64))

    def numbers(self) -> Any:
        """Extents, integers and scalars; returns the product of the extents."""
        product = word(1)
        for axis in range(self.kernel.axes):
            extent = self.call("PyLong_AsLongLong", self.argument())
            self.put(self.layout.extents + axis, extent)
            product = self.builder.mul(product, extent)
        for slot in range(self.kernel.integers):
            self.put(self.layout.integers + slot, self.call("PyLong_AsLongLong", self.argument()))
        for slot, dtype in enumerate(self.kernel.scalars):
            self.put(self.layout.scalars + slot, self.scalar(self.argument(), np.dtype(dtype).kind))
        if self.layout.counted is not None:
            self.put(self.layout.counted, word(ALL))
        return product

    def scalar(self, argument: Any, kind: str) -> Any:
        """A Python number as the word that its kind of dtype asks for."""
        if kind == "f":
            return self.builder.bitcast(self.call("PyFloat_AsDouble", argument), I64)
        if kind == "b":
            return self.builder.sext(self.call("PyObject_IsTrue", argument), I64)
        return self.call("PyLong_AsUnsignedLongLongMask" if kind == "u" else "PyLong_AsLongLong", argument)

    def run(self, main: Any, final: Any, units: Any, threads: Any) -> Any:
        """The native calls; returns their code."""
        builder = self.builder
        builder.store(emit_launch(builder, main, self.words, units, threads), self.code)
        if final is not None:
            fine = builder.icmp_signed("==", builder.load(self.code, typ=I64), word(0))
            with builder.if_then(fine):
                builder.store(builder.call(final, [self.words]), self.code)
        return builder.load(self.code, typ=I64)

    def result(self, code: Any) -> None:
        """Return None, or the code."""
        builder = self.builder
        with builder.if_then(builder.icmp_signed("!=", code, word(0)), likely=False):
            builder.ret(self.call("PyLong_FromLongLong", code))
        none = known(builder, "_Py_NoneStruct")
        self.call("Py_IncRef", none)
        builder.ret(none)


def emit_launch(builder: Any, main: Any, words: Any, units: Any, threads: Any) -> Any:
    """All units of a kernel, on the calling thread or through the pool; the code."""
    with builder.if_else(builder.icmp_signed(">", threads, word(1)), likely=False) as (several, one):
        with several:
            launch_type = ir.FunctionType(I64, [POINTER, POINTER, I64, I64]).as_pointer()
            launch = field(builder, known_pool(builder), POOL_LAUNCH, launch_type)
            shared = builder.call(launch, [main, words, units, threads])
            several_block = builder.block
        with one:
            alone = builder.call(main, [words, word(0), units])
            one_block = builder.block
    code = builder.phi(I64)
    code.add_incoming(shared, several_block)
    code.add_incoming(alone, one_block)
    return code


def known_pool(builder: Any) -> Any:
    """Where the loader tells of the pool."""
    module = builder.function.module
    return module.globals.get(POOL_AT) or ir.GlobalVariable(module, I8, POOL_AT)


def emit_entry(kernel: Kernel, function: Any, main: Any, final: Any) -> None:
    """The body of `PyObject* entry(self, args, nargs)`."""
    emitter = _EntryEmitter(kernel, function)
    builder = emitter.builder
    emitter.operands()
    product = emitter.numbers()
    units, threads = (emitter.call("PyLong_AsLongLong", emitter.argument()) for _ in range(2))
    error = builder.ptrtoint(emitter.call("PyErr_Occurred"), I64)
    with builder.if_then(builder.icmp_signed("!=", error, word(0)), likely=False):
        builder.ret(ir.Constant(POINTER, None))
    large = builder.icmp_unsigned(">=", product, word(UNLOCK_ITERATIONS))
    if any(isinstance(line.body, Loop) and line.body.axis is None for line in kernel.instructions):
        large = I1(1)  # nobody knows how long a `while` takes
    with builder.if_then(large):
        builder.store(emitter.call("PyEval_SaveThread"), emitter.state)
    code = emitter.run(main, final, units, threads)
    with builder.if_then(large):
        emitter.call("PyEval_RestoreThread", builder.load(emitter.state, typ=POINTER))
    emitter.result(code)
