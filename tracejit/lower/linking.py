"""What emitted code and those who load it agree on: symbols and offsets.

No LLVM is needed to know them, so a process that finds its code on disk loads it without the emitters.
"""

from __future__ import annotations

REFERENCES, TYPE, VALUE = 0, 8, 16
"""Offsets in an object: its reference count, its type, and the value of a NumPy scalar, a float or a cell."""

DATA, RANK, DIMENSIONS, STRIDES, DESCRIPTOR, FLAGS = 16, 24, 32, 40, 56, 64
"""Offsets of the fields of PyArrayObject; NumPy's public ABI."""

LENGTH, TUPLE_ITEMS, LIST_ITEMS = 16, 24, 24
"""Offsets in a tuple and a list: the length; a tuple's items, the pointer to a list's."""

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "PyDict_GetItemWithError": ("POINTER", "POINTER", "POINTER"),
    "PyDict_New": ("POINTER",),
    "PyDict_Next": ("I32", "POINTER", "POINTER", "POINTER", "POINTER"),
    "PyDict_SetItem": ("I32", "POINTER", "POINTER", "POINTER"),
    "PyDict_Size": ("I64", "POINTER"),
    "PyErr_Clear": ("VOID",),
    "PyErr_NoMemory": ("POINTER",),
    "PyErr_Occurred": ("POINTER",),
    "PyEval_RestoreThread": ("VOID", "POINTER"),
    "PyEval_SaveThread": ("POINTER",),
    "PyFloat_AsDouble": ("DOUBLE", "POINTER"),
    "PyList_New": ("POINTER", "I64"),
    "PyList_SetItem": ("I32", "POINTER", "I64", "POINTER"),
    "PyLong_AsLongLong": ("I64", "POINTER"),
    "PyLong_AsUnsignedLongLongMask": ("I64", "POINTER"),
    "PyLong_FromLongLong": ("POINTER", "I64"),
    "PyMem_RawFree": ("VOID", "POINTER"),
    "PyMem_RawMalloc": ("POINTER", "I64"),
    "PyObject_GetAttr": ("POINTER", "POINTER", "POINTER"),
    "PyObject_IsTrue": ("I32", "POINTER"),
    "PyObject_Vectorcall": ("POINTER", "POINTER", "POINTER", "I64", "POINTER"),
    "PyTuple_New": ("POINTER", "I64"),
    "PyTuple_SetItem": ("I32", "POINTER", "I64", "POINTER"),
    "Py_DecRef": ("VOID", "POINTER"),
    "Py_IncRef": ("VOID", "POINTER"),
}
"""CPython's functions: result, parameters, by the names that `llvm_types` has for their types."""

NUMPY_FUNCTIONS: dict[str, tuple[int, tuple[str, ...]]] = {
    "PyArray_NewFromDescr": (
        94,
        ("POINTER", "POINTER", "POINTER", "I32", "POINTER", "POINTER", "POINTER", "I32", "POINTER"),
    ),
    "PyArray_Scalar": (60, ("POINTER", "POINTER", "POINTER", "POINTER")),
    "PyArray_SetBaseObject": (282, ("I32", "POINTER", "POINTER")),
}
"""NumPy's: place in its table of functions, and result, parameters."""

UFUNC_LOOPS, UFUNC_COUNT, UFUNC_TYPES = 32, 48, 64
"""Offsets of fields of PyUFuncObject, NumPy's public ABI: its loops, how many there are, the types of each."""

OBJECTS = (
    "PyArray_Type",
    "PyBool_Type",
    "PyDict_Type",
    "PyFloat_Type",
    "PyList_Type",
    "PyLong_Type",
    "PyTuple_Type",
    "_Py_NoneStruct",
    "_Py_TrueStruct",
)
"""Objects whose address emitted code knows."""

POOL_AT = "tj_pool_at"
"""Name of what the loader tells emitted code of the pool."""

POOL_LAUNCH, POOL_THREADS, POOL_WAKE = 0, 8, 16
"""Offsets there: the address of `tj_launch`, zero while there is no pool; how many threads there may be; nanoseconds of
work that are worth one more thread (a double), zero while nobody has measured."""

VECTORCALL, CONTEXT, INSTANCE_SIZE = 16, 24, 32
"""Offsets in an instance of its vectorcall pointer and its first context, and its size without what subclasses add."""

DISPATCH = "tj_dispatch"
"""The function's name in its module."""

LAUNCH, RESET = "tj_launch", "tj_reset_pool"
"""Names of the pool's functions: one shares a kernel out, one forgets all workers."""

TILE = "tj_tile_"
"""The beginning of the names of the functions that multiply the panels of all kernels; a dtype's name ends them."""

SYSTEM: dict[str, tuple[str, ...]] = {
    "calloc": ("POINTER", "I64", "I64"),
    "free": ("VOID", "POINTER"),
    "pthread_cond_init": ("I32", "POINTER", "POINTER"),
    "pthread_cond_signal": ("I32", "POINTER"),
    "pthread_cond_wait": ("I32", "POINTER", "POINTER"),
    "pthread_create": ("I32", "POINTER", "POINTER", "POINTER", "POINTER"),
    "pthread_detach": ("I32", "POINTER"),
    "pthread_mutex_init": ("I32", "POINTER", "POINTER"),
    "pthread_mutex_lock": ("I32", "POINTER"),
    "pthread_mutex_unlock": ("I32", "POINTER"),
    "pthread_sigmask": ("I32", "I32", "POINTER", "POINTER"),
    "sched_yield": ("I32",),
    "sigfillset": ("I32", "POINTER"),
}
"""Functions of the C library: result, parameters."""

PLACING: dict[str, tuple[str, ...]] = {
    "pthread_setaffinity_np": ("I32", "I64", "I64", "POINTER"),
    "sched_getaffinity": ("I32", "I32", "I64", "POINTER"),
    "sched_getcpu": ("I32",),
}
"""Those that Linux's has besides, to say which CPUs a thread may run on."""

CALL = "tj_call"
"""The name of a native call in its module."""


class NotNative(Exception):
    """Emitted code cannot do this; the portable way does it."""
