"""Object code into callable kernels, by llvmlite alone.

A kernel is called through its native entry (`lower.entry_point`), wrapped as a built-in function of the interpreter.
Where that ABI is not known to hold - another interpreter, a free-threaded build, or `TRACEJIT_PORTABLE=1` - a Python
function with the same arguments fills the parameter words and calls the kernel through ctypes.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tracejit.lower.abi import ALL, ENTRY, FINAL, MAIN, has_final, layout
from tracejit.lower.linking import FUNCTIONS, NUMPY_FUNCTIONS, OBJECTS, POOL_AT
from tracejit.records import dataclass
from tracejit.runtime.interpreter_abi import addresses, native_entry_works, portable
from tracejit.runtime.llvm_binding import llvm
from tracejit.schedule.kernel import Kernel

Entry = Callable[..., "int | None"]

_METH_FASTCALL = 0x0080


class _Pool(ctypes.Structure):
    """What emitted code knows of threads, its fields where `lower.linking` says.

    launch: the address of the function that shares a kernel out among them, zero until there is a pool.
    threads: how many there may be, zero until someone has asked.
    wake: nanoseconds of work that are worth one more thread, zero until it has been measured.
    """

    _fields_ = (("launch", ctypes.c_int64), ("threads", ctypes.c_int64), ("wake", ctypes.c_double))


POOL = _Pool()
"""The pool of this process."""


@dataclass(frozen=True)
class LoadedKernel:
    """A kernel that can be called: `entry(*operands, *extents, *integers, *scalars, units, threads)`.

    source: "compiled", "disk" or "memory": where it came from when it was asked for; seconds: what that took.
    keep_alive: whatever owns the code.
    """

    kernel: Kernel
    structure: str
    entry: Entry
    source: str
    seconds: float
    keep_alive: Any


class MachineCode:
    """Loaded object code; its functions live for as long as this object."""

    _lock = threading.Lock()

    def __init__(self, object_code: bytes) -> None:
        with self._lock:
            _prepare_llvm()
            # the engine owns its target machine and its module: neither can be shared
            machine = llvm().Target.from_triple(llvm().get_process_triple()).create_target_machine(jit=True)
            empty = llvm().parse_assembly("")
            empty.triple = llvm().get_process_triple()
            self._engine = llvm().create_mcjit_compiler(empty, machine)
            self._engine.add_object_file(llvm().ObjectFileRef.from_data(object_code))
            self._engine.finalize_object()

    def address(self, name: str) -> int:
        """The address of a function."""
        with self._lock:
            address = int(self._engine.get_function_address(name))
        if not address:
            raise LookupError(f"no function {name} in this object code")
        return address


@lru_cache(maxsize=1)
def _prepare_llvm() -> None:
    """Set up LLVM for the host and tell it where the interpreter's functions are."""
    llvm().initialize_native_target()
    llvm().initialize_native_asmprinter()
    known = addresses() if native_entry_works() else {}
    llvm().add_symbol(POOL_AT, ctypes.addressof(POOL))
    for name in (*FUNCTIONS, *NUMPY_FUNCTIONS, *OBJECTS):
        llvm().add_symbol(name, known.get(name, 1))  # elsewhere the entries are linked but never called


def host_object(module: Any) -> bytes:
    """Object code of a module (llvmlite.ir) that has no loops to vectorize: LLVM's code generator alone will do."""
    _prepare_llvm()
    parsed = llvm().parse_assembly(str(module))
    target = llvm().Target.from_triple(llvm().get_process_triple())
    return bytes(target.create_target_machine(opt=0, jit=True).emit_object(parsed))


def compile_host_module(module: Any) -> MachineCode:
    """Such a module, loaded."""
    return MachineCode(host_object(module))


def make_entry(kernel: Kernel, code: MachineCode) -> Entry:
    """The callable of a kernel: native, or portable where it has to be."""
    return portable_entry(kernel, code) if portable() else native_entry(kernel, code)


class _MethodDefinition(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def native_entry(kernel: Kernel, code: MachineCode) -> Entry:
    """The kernel's METH_FASTCALL function as a built-in function object."""
    definition = _MethodDefinition(
        b"kernel_" + kernel.structure[:8].encode(),
        code.address(ENTRY + kernel.structure),
        _METH_FASTCALL,
        b"A compiled tracejit kernel.",
    )
    # the function reads its definition even while it is being deallocated, maybe after this module: never free it
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(definition))
    create = ctypes.pythonapi.PyCFunction_NewEx
    create.restype = ctypes.py_object
    create.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    entry: Entry = create(ctypes.addressof(definition), code, None)  # `self` is the code: it lives while we do
    return entry


def portable_entry(kernel: Kernel, code: MachineCode) -> Entry:
    """The same in Python."""
    plan, arrays = layout(kernel), [k for k, operand in enumerate(kernel.operands) if operand.role != "scratch"]
    main = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64])
    final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
    at = code.address(MAIN + kernel.structure)
    run, launch = main(at), ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)
    finish = final(code.address(FINAL + kernel.structure)) if has_final(kernel) else None
    kinds = [np.dtype(dtype).kind for dtype in kernel.scalars]

    def entry(*arguments: Any) -> int | None:
        words = np.zeros(max(1, plan.words), np.int64)
        for operand, array in zip(arrays, arguments, strict=False):
            data, sizes = plan.data[operand], plan.sizes[operand]
            assert data is not None
            words[data] = array.__array_interface__["data"][0]
            # A kernel may see fewer dimensions than the array has, its last ones walked as one.
            rank = kernel.operands[operand].rank
            words[data + 1 : data + 1 + rank] = array.strides[:rank]
            if sizes is not None:
                words[sizes : sizes + rank] = array.shape[:rank]
        numbers, (units, threads) = arguments[len(arrays) : -2], arguments[-2:]
        integers, scalars = numbers[: kernel.axes + kernel.integers], numbers[kernel.axes + kernel.integers :]
        words[plan.extents : plan.scalars] = integers
        for slot, (kind, scalar) in enumerate(zip(kinds, scalars, strict=True)):
            words[plan.scalars + slot] = _word(kind, scalar)
        if plan.counted is not None:
            words[plan.counted] = ALL
        if threads > 1:
            result = launch(POOL.launch)(at, words.ctypes.data, units, threads)
        else:
            result = run(words.ctypes.data, 0, units)
        if result == 0 and finish is not None:
            result = finish(words.ctypes.data)
        return result or None

    return entry


def _word(kind: str, scalar: Any) -> np.int64:
    if kind == "f":
        return np.float64(scalar).view(np.int64)
    if kind == "b":
        return np.int64(bool(scalar))
    return np.uint64(scalar).view(np.int64) if kind == "u" else np.int64(scalar)


__all__ = ["Entry", "LoadedKernel", "MachineCode", "make_entry", "native_entry", "portable_entry"]
