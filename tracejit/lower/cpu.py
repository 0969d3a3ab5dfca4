"""Kernels to machine code for this machine's CPU: one LLVM module, one run of Numba's optimizer, one object file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from tracejit.lower.abi import ENTRY, FINAL, MAIN, has_final
from tracejit.lower.entry_point import emit_entry
from tracejit.lower.forms import emit_final, emit_main
from tracejit.lower.llvm_types import I64, POINTER
from tracejit.schedule.kernel import Kernel


def emit_module(kernels: Sequence[Kernel]) -> Any:
    """An LLVM module (llvmlite.ir) with the functions of every kernel."""
    module = ir.Module("tracejit")
    module.triple = llvm.get_process_triple()
    for kernel in kernels:
        main = _function(module, MAIN + kernel.structure, I64, POINTER, I64, I64)
        emit_main(kernel, main)
        main.attributes.add("noinline")  # the entry would repeat its code
        final = None
        if has_final(kernel):
            final = _function(module, FINAL + kernel.structure, I64, POINTER)
            emit_final(kernel, final)
            final.attributes.add("noinline")
        entry = _function(module, ENTRY + kernel.structure, POINTER, POINTER, POINTER, I64)
        emit_entry(kernel, entry, main, final)
    return module


def _function(module: Any, name: str, result: Any, *parameters: Any) -> Any:
    function = ir.Function(module, ir.FunctionType(result, parameters), name)
    function.attributes.add("nounwind")
    # LLVM takes half of what an AVX-512 CPU has unless told otherwise; kernels of polynomials gain half their time.
    set.add(function.attributes, '"prefer-vector-width"="512"')  # llvmlite does not list it
    return function


def compile_kernels(kernels: Sequence[Kernel]) -> bytes:
    """Object code with `tj_kernel_`, `tj_entry_` and, for some, `tj_final_` of every kernel."""
    return _Compiler().object_code(emit_module(kernels))


def assembly(kernels: Sequence[Kernel]) -> str:
    """The same as text, to read."""
    return _Compiler().assembly(emit_module(kernels))


class _Compiler:
    """Numba's code generator: its target machine (the host's CPU and features) and its optimization pipeline.

    Numba's own library objects would run a second, cheaper pipeline first (for reference counts, which we have none
    of) and keep every module in Numba's engine; taking the parts is half the time and leaves nothing behind.
    """

    def __init__(self) -> None:
        # Numba takes half a second to import: only a process that compiles pays for it
        from numba.core.compiler_lock import global_compiler_lock
        from numba.core.registry import cpu_target

        self._lock = global_compiler_lock
        self._codegen: Any = cpu_target.target_context.codegen()

    def object_code(self, module: Any) -> bytes:
        """Optimize and compile."""
        with self._lock:
            return bytes(self._codegen._tm.emit_object(self._optimized(module)))

    def assembly(self, module: Any) -> str:
        """Optimize and compile, as text."""
        with self._lock:
            return str(self._codegen._tm.emit_assembly(self._optimized(module)))

    def _optimized(self, module: Any) -> Any:
        module.data_layout = self._codegen._data_layout
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        manager, builder = self._codegen._module_pass_manager()
        manager.run(parsed, builder)
        return parsed
