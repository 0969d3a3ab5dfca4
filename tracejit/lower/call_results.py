"""Native calls: the results as Python objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from tracejit.lower import interpreter as py
from tracejit.lower.call_arguments import Checks
from tracejit.lower.call_memory import Geometry
from tracejit.lower.call_plan import Argument, Constant, FreshArray, FreshScalar, FreshView, Packed, Result
from tracejit.lower.linking import NotNative
from tracejit.lower.llvm_types import I32, I64, POINTER, word

_WRITEABLE = 0x400
"""NPY_ARRAY_WRITEABLE."""


def new_array(checks: Checks, descriptor: int, lengths: list[Any], strides: list[Any] | None, data: Any) -> Any:
    """An array object, null where it cannot be made; of new memory unless strides and data are given."""
    builder, rank, null = checks.builder, len(lengths), ir.Constant(POINTER, None)
    places = [null, null]
    for position, values in enumerate((lengths, strides)):
        if values is None:
            continue
        with builder.goto_entry_block():
            places[position] = builder.alloca(I64, size=word(max(1, rank)))
        for axis, value in enumerate(values):
            pointer = builder.gep(places[position], [word(axis)], inbounds=True, source_etype=I64)
            builder.store(value, pointer)
    held = checks.slot(descriptor)
    py.call(builder, "Py_IncRef", held)  # the array takes it, even if it cannot be made
    flags = I32(0 if strides is None else _WRITEABLE)
    given = [py.known(builder, "PyArray_Type"), held, I32(rank), *places, data if strides else null, flags, null]
    return py.call(builder, "PyArray_NewFromDescr", *given)


@dataclass(eq=False, repr=False)
class Results:
    """Makes them; `made` takes a new object, or leaves with its exception where it is null; `leave_if` leaves so.

    owned: objects that go if the call is left early.  given: how often an array of the call's own is given out.
    """

    checks: Checks
    objects: dict[str, Any]
    memory: dict[str, tuple[Geometry, Any]]
    owned: list[Any]
    made: Callable[[Any], Any]
    leave_if: Callable[[Any, int], None]
    given: Counter[str] = field(default_factory=Counter)

    def result(self, result: Result) -> Any:
        """A new reference."""
        builder, checks = self.checks.builder, self.checks
        if isinstance(result, FreshArray):
            if result.name not in self.objects:
                raise NotNative("an array without dimensions that is given out as a scalar too")
            self.given[result.name] += 1
            return self.objects[result.name]
        if isinstance(result, FreshScalar):
            element = builder.inttoptr(self.memory[result.name][1], POINTER)
            null = ir.Constant(POINTER, None)
            return self.made(py.call(builder, "PyArray_Scalar", element, checks.slot(result.descriptor), null))
        if isinstance(result, FreshView):
            return self._view(result)
        if isinstance(result, Constant | Argument):
            known = checks.slot(result.slot) if isinstance(result, Constant) else self.objects[result.name]
            py.call(builder, "Py_IncRef", known)
            self.owned.append(known)
            return known
        return self._dict(result) if result.kind == "dict" else self._sequence(result)

    def _view(self, result: FreshView) -> Any:
        """The array that it looks at goes with it."""
        builder, (geometry, address) = self.checks.builder, self.memory[result.name]
        lengths, strides = ([part(axis) for axis in range(result.rank)] for part in (geometry.length, geometry.stride))
        data = builder.inttoptr(address, POINTER)
        view = self.made(new_array(self.checks, result.descriptor, lengths, strides, data))
        base = self.objects[result.base]
        py.call(builder, "Py_IncRef", base)
        code = py.call(builder, "PyArray_SetBaseObject", view, base)
        self.leave_if(builder.icmp_signed("<", code, I32(0)), 0)
        return view

    def _sequence(self, result: Packed) -> Any:
        kind = result.kind.capitalize()
        items = [self.result(item) for item in result.items]
        pack = self.made(py.call(self.checks.builder, f"Py{kind}_New", word(len(items))))
        for position, item in enumerate(items):
            py.call(self.checks.builder, f"Py{kind}_SetItem", pack, word(position), item)
        # the pack owns them now, and is given back with them
        self.owned[:] = [pointer for pointer in self.owned if not any(pointer is item for item in items)]
        return pack

    def _dict(self, result: Packed) -> Any:
        builder = self.checks.builder
        items = [self.result(item) for item in result.items]
        pack = self.made(py.call(builder, "PyDict_New"))
        for slot, item in zip(result.keys, items, strict=True):
            code = py.call(builder, "PyDict_SetItem", pack, self.checks.slot(slot), item)
            self.leave_if(builder.icmp_signed("<", code, I32(0)), 0)
        for item in items:  # it holds its items besides
            py.call(builder, "Py_DecRef", item)
        self.owned[:] = [pointer for pointer in self.owned if not any(pointer is item for item in items)]
        return pack
