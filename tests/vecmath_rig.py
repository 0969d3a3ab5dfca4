"""Compile one scalar definition into a loop over arrays, with llvmlite alone: what the vecmath tests measure with."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tracejit.lower.late_functions import TargetModule, inline_late_functions
from tracejit.lower.llvm_types import interleaving, loop_id
from tracejit.lower.scalar_llvm import LlvmScalar, load_value, store_value
from tracejit.vecmath.language import Scalar

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

_I64 = ir.IntType(64)
_POINTER: Any = ir.PointerType()


def _machine() -> Any:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )


def emit_loop(definition: Callable[..., Scalar], inputs: tuple[np.dtype[Any], ...], output: np.dtype[Any]) -> str:
    """LLVM IR of `void kernel(in*..., out*, i64 n)`: one loop, nothing aliases."""
    module = TargetModule("rig", llvm.get_host_cpu_features().flatten())
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER] * (len(inputs) + 1) + [_I64]), "kernel")
    set.add(function.attributes, '"prefer-vector-width"="512"')  # as the kernels have it
    for argument in function.args[:-1]:
        argument.add_attribute("noalias")
    entry, body, done = (function.append_basic_block(name) for name in ("entry", "body", "done"))
    builder = ir.IRBuilder(entry)
    builder.cbranch(builder.icmp_signed(">", function.args[-1], ir.Constant(_I64, 0)), body, done)
    builder.position_at_end(body)
    i = builder.phi(_I64)
    i.add_incoming(ir.Constant(_I64, 0), entry)

    def element(number: int, dtype: np.dtype[Any]) -> Any:
        return builder.gep(function.args[number], [i], inbounds=True, source_etype=ir.IntType(8 * dtype.itemsize))

    result = definition(*(load_value(builder, element(k, dtype), dtype) for k, dtype in enumerate(inputs)))
    if result.dtype != output:
        raise TypeError(f"the definition gives {result.dtype}, not {output}")
    assert isinstance(result, LlvmScalar)
    store_value(builder, element(len(inputs), output), result)
    following = builder.add(i, ir.Constant(_I64, 1))
    i.add_incoming(following, builder.block)
    latch = builder.cbranch(builder.icmp_signed("<", following, function.args[-1]), body, done)
    latch.set_metadata("llvm.loop", loop_id(module, interleaving(module, [body])))
    builder.position_at_end(done)
    builder.ret_void()
    return str(module)


@dataclass
class Compiled:
    """A definition as a loop of machine code."""

    definition: Callable[..., Scalar]
    inputs: tuple[np.dtype[Any], ...]
    output: np.dtype[Any]

    @cached_property
    def _module(self) -> Any:
        module = llvm.parse_assembly(emit_loop(self.definition, self.inputs, self.output))
        module.verify()
        machine = _machine()
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        options.slp_vectorization = True
        passes = llvm.create_pass_builder(machine, options)
        passes.getModulePassManager().run(module, passes)
        inline_late_functions(module, passes)
        return module

    @cached_property
    def llvm_ir(self) -> str:
        return str(self._module)

    @cached_property
    def assembly(self) -> str:
        return str(_machine().emit_assembly(self._module))

    @cached_property
    def _engine(self) -> Any:
        engine = llvm.create_mcjit_compiler(self._module.clone(), _machine())
        engine.finalize_object()
        return engine

    @cached_property
    def address(self) -> Any:
        """The native function, as ctypes calls it."""
        signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(self.inputs) + 1), ctypes.c_int64)
        return signature(self._engine.get_function_address("kernel"))

    def __call__(self, *arrays: Any) -> Any:
        arguments = [np.ascontiguousarray(a, dtype) for a, dtype in zip(arrays, self.inputs, strict=True)]
        result = np.empty(arguments[0].shape, self.output)
        self.address(*(a.ctypes.data for a in arguments), result.ctypes.data, result.size)
        return result


def compile_scalar(definition: Callable[..., Scalar], *inputs: Any, output: Any = None) -> Compiled:
    """`definition` compiled for the input dtypes; the output dtype is the first input's where it is not given."""
    dtypes = tuple(np.dtype(dtype) for dtype in inputs)
    return Compiled(definition, dtypes, dtypes[0] if output is None else np.dtype(output))
