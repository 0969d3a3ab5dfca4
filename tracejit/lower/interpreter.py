"""What emitted code uses of CPython and NumPy: functions, objects, and where the fields of objects are.

The loader provides the addresses (`runtime.machine_code`), and says whether the fields are where they should be.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tracejit.lower.llvm_types import DOUBLE, I8, I32, I64, POINTER, VOID, word

REFERENCES, TYPE, VALUE = 0, 8, 16
"""Offsets in an object: its reference count, its type, and the value of a NumPy scalar, a float or a cell."""

DATA, RANK, DIMENSIONS, STRIDES, DESCRIPTOR, FLAGS = 16, 24, 32, 40, 56, 64
"""Offsets of the fields of PyArrayObject; NumPy's public ABI."""

LENGTH, TUPLE_ITEMS, LIST_ITEMS = 16, 24, 24
"""Offsets in a tuple and a list: the length; a tuple's items, the pointer to a list's."""

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "PyDict_GetItemWithError": (POINTER, POINTER, POINTER),
    "PyErr_Clear": (VOID,),
    "PyErr_Occurred": (POINTER,),
    "PyEval_RestoreThread": (VOID, POINTER),
    "PyEval_SaveThread": (POINTER,),
    "PyFloat_AsDouble": (DOUBLE, POINTER),
    "PyList_New": (POINTER, I64),
    "PyList_SetItem": (I32, POINTER, I64, POINTER),
    "PyLong_AsLongLong": (I64, POINTER),
    "PyLong_AsUnsignedLongLongMask": (I64, POINTER),
    "PyLong_FromLongLong": (POINTER, I64),
    "PyMem_RawFree": (VOID, POINTER),
    "PyMem_RawMalloc": (POINTER, I64),
    "PyObject_GetAttr": (POINTER, POINTER, POINTER),
    "PyObject_IsTrue": (I32, POINTER),
    "PyObject_Vectorcall": (POINTER, POINTER, POINTER, I64, POINTER),
    "PyTuple_New": (POINTER, I64),
    "PyTuple_SetItem": (I32, POINTER, I64, POINTER),
    "Py_DecRef": (VOID, POINTER),
    "Py_IncRef": (VOID, POINTER),
}
"""CPython's functions: result, parameters."""

NUMPY_FUNCTIONS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "PyArray_NewFromDescr": (94, (POINTER, POINTER, POINTER, I32, POINTER, POINTER, POINTER, I32, POINTER)),
    "PyArray_Scalar": (60, (POINTER, POINTER, POINTER, POINTER)),
}
"""NumPy's: place in its table of functions, and result, parameters."""

OBJECTS = (
    "PyArray_Type",
    "PyBool_Type",
    "PyFloat_Type",
    "PyList_Type",
    "PyLong_Type",
    "PyTuple_Type",
    "_Py_NoneStruct",
    "_Py_TrueStruct",
)
"""Objects whose address emitted code knows."""


def call(builder: Any, name: str, *arguments: Any) -> Any:
    """Call a function of the interpreter or of NumPy."""
    result, *parameters = FUNCTIONS[name] if name in FUNCTIONS else NUMPY_FUNCTIONS[name][1]
    module = builder.function.module
    function = module.globals.get(name) or ir.Function(module, ir.FunctionType(result, parameters), name)
    return builder.call(function, arguments)


def known(builder: Any, name: str) -> Any:
    """The address of one of `OBJECTS`."""
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
