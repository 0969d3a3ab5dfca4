"""Objects that can be called without running Python: the base class, and the native calls that an instance holds.

CPython finds a vectorcall pointer in an instance of `Dispatched`.  While it is zero a call goes through the `__call__`
of the class.  `attach` sets it to an emitted function that tries the native calls of the instance, and turns to that
same `__call__` where none fits.  Where native entries do not work (see `interpreter_abi`) nothing is ever attached.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from tracejit.lower import linking as offsets
from tracejit.lower.call_plan import CallPlan
from tracejit.lower.linking import CALL, DISPATCH
from tracejit.runtime.buffers import SMALL
from tracejit.runtime.interpreter_abi import portable, word
from tracejit.runtime.machine_code import MachineCode, compile_host_module

_TYPE_VECTORCALL_OFFSET, _TYPE_FLAGS = 56, 168
"""Offsets in a type object; looked at before they are relied on."""

_HAVE_VECTORCALL, _BASETYPE, _DEFAULT = 1 << 11, 1 << 10, 1 << 18
_SSIZE, _UNSIGNED, _READ_ONLY, _MEMBERS = 19, 18, 1, 72
"""CPython's numbers of a type's flags, of the kinds of its members, and of the slot that lists them."""


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class _Specification(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("size", ctypes.c_int),
        ("item_size", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


_members = (_Member * 4)(
    _Member(b"__vectorcalloffset__", _SSIZE, offsets.VECTORCALL, _READ_ONLY),
    _Member(b"_vectorcall", _UNSIGNED, offsets.VECTORCALL),
    _Member(b"_context", _UNSIGNED, offsets.CONTEXT),
)
_slots = (_Slot * 2)(_Slot(_MEMBERS, ctypes.addressof(_members)))
_specification = _Specification(
    b"tracejit.runtime.vectorcall.Dispatched", offsets.INSTANCE_SIZE, 0, _DEFAULT | _BASETYPE, _slots
)


class _Portable:
    """A class like any other."""

    __slots__ = ()


def _base_class() -> Any:
    """A type with room for two words in its instances."""
    if portable():
        return _Portable
    make = ctypes.pythonapi.PyType_FromSpec
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p,)
    made = make(ctypes.addressof(_specification))
    known = {_TYPE_VECTORCALL_OFFSET: offsets.VECTORCALL, _TYPE_FLAGS: made.__flags__}
    return made if all(word(id(made) + offset) == value for offset, value in known.items()) else _Portable


_base: Any = _base_class()

NATIVE = _base is not _Portable
"""Whether instances can hold native calls."""


class Dispatched(_base):  # type: ignore[misc]
    """The base class.  Native calls are held by a slot: what others do to an instance's `__dict__` frees nothing."""

    __slots__ = ("_native",)

    _native: NativeCall | None

    def __getstate__(self) -> Any:
        """What a copy takes over; native calls it makes for itself."""
        return vars(self)


def vectorcalled(cls: type) -> type:
    """Tell CPython of the pointer in the instances of a class; its own `__call__` hides that of its base."""
    if NATIVE:
        ctypes.c_uint64.from_address(id(cls) + _TYPE_FLAGS).value |= _HAVE_VECTORCALL
    return cls


class Address(NamedTuple):
    """An entry of a table that is no object."""

    value: int


class CallDraft(NamedTuple):
    """A plan and the table that it speaks of: objects, and `Address`es."""

    plan: CallPlan
    table: tuple[Any, ...]


class NativeCall:
    """A draft, compiled, and the call to try where it does not fit.

    portable: the Python function, of instance and arguments, that takes the calls which no native one does.
    calls: one word that counts.  off: one word; native calls are made only while it is zero.
    """

    def __init__(
        self,
        draft: CallDraft,
        following: NativeCall | None,
        portable: Callable[..., Any],
        calls: array[int],
        off: array[int],
    ) -> None:
        code = _code(draft.plan)
        self._held = (draft, following, portable, calls, off, code)
        items = (entry.value if isinstance(entry, Address) else id(entry) for entry in draft.table)
        self._words = array(
            "Q",
            (
                0 if following is None else following.address,
                code.address(CALL),
                id(self),
                _at(calls),
                _at(off),
                id(portable),
                *items,
            ),
        )

    @property
    def address(self) -> int:
        """Where the context is."""
        return _at(self._words)


def attach(instance: Any, call: NativeCall) -> None:
    """Calls of the instance (a `Dispatched`) try this one first from now on."""
    dispatch = _dispatch().address(DISPATCH)
    instance._context = call.address
    instance._vectorcall = dispatch
    # what was attached before goes on in the calls that are under way: they hold it
    instance._native = call


def detach(instance: Any) -> None:
    """Calls of the instance (a `Dispatched`) go through its class again."""
    if NATIVE:
        instance._vectorcall = instance._context = 0
    instance._native = None


def _at(words: array[int]) -> int:
    return words.buffer_info()[0]


_codes: WeakValueDictionary[str, MachineCode] = WeakValueDictionary()
"""The code of plans that are in use."""


def _code(plan: CallPlan) -> MachineCode:
    key = repr(plan)
    code = _codes.get(key)
    if code is None:
        # emitters are loaded by a process that needs them, as for kernels
        emitters: Any = import_module("tracejit.lower.call_entry")
        code = _codes[key] = compile_host_module(emitters.emit_call(plan, SMALL))
    return code


@lru_cache(maxsize=1)
def _dispatch() -> MachineCode:
    emitters: Any = import_module("tracejit.lower.call_dispatch")
    return compile_host_module(emitters.emit_dispatch())
