"""What emitted code uses of CPython and NumPy: how it calls functions and reads fields.

The loader provides the addresses (`runtime.machine_code`), and says whether the fields are where they should be.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tracejit.lower import llvm_types
from tracejit.lower.linking import FUNCTIONS, NUMPY_FUNCTIONS
from tracejit.lower.llvm_types import I8, I64, POINTER, word


def call(builder: Any, name: str, *arguments: Any) -> Any:
    """Call a function of the interpreter or of NumPy."""
    types = FUNCTIONS[name] if name in FUNCTIONS else NUMPY_FUNCTIONS[name][1]
    result, *parameters = (getattr(llvm_types, kind) for kind in types)
    module = builder.function.module
    function = module.globals.get(name) or ir.Function(module, ir.FunctionType(result, parameters), name)
    return builder.call(function, arguments)


def known(builder: Any, name: str) -> Any:
    """The address of one of `linking.OBJECTS`."""
    module = builder.function.module
    return module.globals.get(name) or ir.GlobalVariable(module, I8, name)


def field(builder: Any, owner: Any, offset: int, llvm_type: Any = POINTER) -> Any:
    """What stands at an offset in memory."""
    pointer = builder.gep(owner, [word(offset)], inbounds=True, source_etype=I8)
    return builder.load(pointer, typ=llvm_type)


def equal(builder: Any, first: Any, second: Any) -> Any:
    """Are two pointers the same?"""
    return builder.icmp_unsigned("==", builder.ptrtoint(first, I64), builder.ptrtoint(second, I64))


def is_null(builder: Any, pointer: Any) -> Any:
    return builder.icmp_unsigned("==", builder.ptrtoint(pointer, I64), word(0))
