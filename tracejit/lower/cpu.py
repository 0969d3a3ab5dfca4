"""Kernels to machine code for this machine's CPU: one LLVM module, one run of LLVM's optimizer, one object file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tracejit.lower.abi import ENTRY, FINAL, MAIN, has_final
from tracejit.lower.entry_point import emit_entry
from tracejit.lower.forms import emit_final, emit_main
from tracejit.lower.late_functions import TargetModule, inline_late_functions
from tracejit.lower.llvm_types import I1, I64, POINTER
from tracejit.lower.register_tile import emit_tile_product
from tracejit.schedule.kernel import Kernel

LONG_BODY = 400
"""Instructions from which on a loop's last elements are done under a mask; it slows short bodies by up to a fifth."""

CACHE_BYTES = 32 << 20
"""What the last-level cache holds, where nobody says."""


def emit_module(kernels: Sequence[Kernel], features: str = "", cache_bytes: int = CACHE_BYTES) -> Any:
    """An LLVM module (llvmlite.ir) with the functions of every kernel, for a CPU with some features (LLVM's names).

    cache_bytes: what its last-level cache holds.
    """
    module = TargetModule("tracejit", features)
    module.triple = llvm.get_process_triple()
    for kernel in kernels:
        main = _function(module, MAIN + kernel.structure, I64, POINTER, I64, I64)
        emit_main(kernel, main, cache_bytes)
        main.attributes.add("noinline")  # the entry would repeat its code
        final = None
        if has_final(kernel):
            final = _function(module, FINAL + kernel.structure, I64, POINTER)
            emit_final(kernel, final)
            final.attributes.add("noinline")
        if _has_masks():
            _mask_tails(main)
        entry = _function(module, ENTRY + kernel.structure, POINTER, POINTER, POINTER, I64)
        emit_entry(kernel, entry, main, final)
    return module


def _mask_tails(function: Any) -> None:
    """Let long loops do their last, incomplete vector under a mask.

    The code of a body then stands there once, and not a second time for what is left over, which halves the time to
    compile it.  A call of a function of our own has no masked form.
    """
    for block in function.blocks:
        loop = block.terminator.metadata.get("llvm.loop")
        lines = block.instructions
        if loop is None or len(lines) < LONG_BODY or len(loop.operands) > 2:
            continue
        if all(line.callee.name.startswith("llvm.") for line in lines if line.opname == "call"):
            masked = function.module.add_metadata(("llvm.loop.vectorize.predicate.enable", I1(1)))
            loop.operands = (*loop.operands, masked)


@lru_cache(maxsize=1)
def _has_masks() -> bool:
    features = llvm.get_host_cpu_features()
    return all(features.get(name, False) for name in ("avx512f", "avx512bw", "avx512dq", "avx512vl"))


def _function(module: Any, name: str, result: Any, *parameters: Any) -> Any:
    function = ir.Function(module, ir.FunctionType(result, parameters), name)
    function.attributes.add("nounwind")
    # LLVM takes half of what an AVX-512 CPU has unless told otherwise; kernels of polynomials gain half their time.
    set.add(function.attributes, '"prefer-vector-width"="512"')  # llvmlite does not list it
    return function


def compile_kernels(kernels: Sequence[Kernel], cache_bytes: int = CACHE_BYTES) -> bytes:
    """Object code with `tj_kernel_`, `tj_entry_` and, for some, `tj_final_` of every kernel.

    cache_bytes: what the last-level cache holds; larger results are written past it (see `streaming`).
    """
    machine = _target_machine()
    return bytes(machine.emit_object(_optimized(emit_module(kernels, _features(), cache_bytes), machine)))


def compile_tile_product(dtype: np.dtype[Any]) -> bytes:
    """Object code with the function that multiplies panels of a dtype (see `register_tile`)."""
    module = TargetModule("tracejit", _features())
    module.triple = llvm.get_process_triple()
    emit_tile_product(module, dtype)
    machine = _target_machine()
    return bytes(machine.emit_object(_optimized(module, machine)))


def assembly(kernels: Sequence[Kernel]) -> str:
    """The same as text, to read."""
    machine = _target_machine()
    return str(machine.emit_assembly(_optimized(emit_module(kernels, _features()), machine)))


def optimized(kernels: Sequence[Kernel]) -> str:
    """The LLVM IR that the assembly is made from, to read."""
    return str(_optimized(emit_module(kernels, _features()), _target_machine()))


def _target_machine() -> Any:
    """The host's CPU with all its features; llvmlite lets one thread at a time into LLVM."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    x86 = target.name.startswith("x86")
    features = _features()
    if x86:
        # Loads and inserts in place of gathers: microcode against data sampling made those of many Intel CPUs slower.
        features += ",+prefer-no-gather"
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=features,
        opt=3,
        reloc="static" if x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )


def _features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


def _optimized(module: Any, machine: Any) -> Any:
    """The module after LLVM's pipeline for speed.

    Blocks are left as they are emitted (no SLP vectorization): loops are what there is to vectorize, and looking for
    more in long blocks takes its time.
    """
    module.data_layout = str(machine.target_data)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization, options.slp_vectorization = True, False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    inline_late_functions(parsed, builder)
    return parsed
