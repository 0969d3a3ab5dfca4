"""Native calls, first half: is this a call that the plan is for?  Arguments are taken apart and everything is guarded.

Each check that fails leaves with MISS; nothing has happened then.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from llvmlite import ir

from tracejit.lower import interpreter as py
from tracejit.lower import linking
from tracejit.lower.call_dispatch import MISS, TABLE
from tracejit.lower.call_memory import Geometry, Header, Known
from tracejit.lower.call_overlap import Span, apart
from tracejit.lower.call_plan import (
    ArrayLeaf,
    CallPlan,
    Captured,
    Item,
    Items,
    NumberLeaf,
    Outside,
    SameLeaf,
    ScalarLeaf,
)
from tracejit.lower.host_expression import Expressions
from tracejit.lower.llvm_types import DOUBLE, I32, I64, POINTER, word

_NUMBERS = {"int": "PyLong_Type", "float": "PyFloat_Type", "bool": "PyBool_Type"}


class Checks:
    """Emits the checks.  Afterwards `objects`, `memory` and `expressions.names` hold what was found, by name.

    memory: how each array lies, and its address.
    """

    def __init__(self, plan: CallPlan, function: Any) -> None:
        self.plan = plan
        self.function = function
        self.context, self.arguments, self.count, self.keywords = function.args
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.missed = function.append_basic_block("missed")
        ir.IRBuilder(self.missed).ret(ir.Constant(I64, MISS).inttoptr(POINTER))
        self.objects: dict[str, Any] = {}
        self.memory: dict[str, tuple[Geometry, Any]] = {}
        self.leaves: dict[str, ArrayLeaf | Captured] = {}
        self.expressions = Expressions(self.builder, {}, dict(plan.definitions), self.require, self._element)
        self.integers = dict(plan.integers)

    def require(self, *conditions: Any) -> None:
        """Leave with MISS unless all conditions hold; one branch is quicker to compile than many."""
        if not conditions:
            return
        fine = self.builder.append_basic_block()
        self.builder.cbranch(reduce(self.builder.and_, conditions), fine, self.missed)
        self.builder.position_at_end(fine)

    def slot(self, slot: int, llvm_type: Any = POINTER) -> Any:
        """What the table holds."""
        return py.field(self.builder, self.context, TABLE + 8 * slot, llvm_type)

    def _same(self, first: Any, second: Any) -> Any:
        return py.equal(self.builder, first, second)

    def emit(self) -> None:
        """All checks; what may run Python code comes first, for an array in a list is only borrowed."""
        plan, builder = self.plan, self.builder
        self._signature()
        for guard in plan.outside:
            self._outside(guard)
        values = [
            builder.load(builder.gep(self.arguments, [word(n)], inbounds=True, source_etype=POINTER), typ=POINTER)
            for n in range(len(plan.positional) + len(plan.keywords))
        ]
        for value, item in zip(values, (*plan.positional, *(item for _, item in plan.keywords)), strict=True):
            self._item(value, item)
        for captured in plan.captured:
            array = self.slot(captured.slot)
            header = self._array(array, captured)
            self.require(*self._axes(header, captured.axes))
        if self.integers:
            # An element is read once the guards before have told that there is one.
            for text in plan.guards:
                self.require(self.expressions.test(text))
        else:
            self.require(*map(self.expressions.test, plan.guards))
        written, others = (list(map(self._span, names)) for names in plan.apart)
        if written:
            self.require(apart(builder, written, others))

    def _element(self, array: str, places: list[Any]) -> Any:
        """An integer element as i64; one of uint64 that does not fit is a MISS."""
        builder, (geometry, data) = self.builder, self.memory[array]
        for axis, place in enumerate(places):
            data = builder.add(data, builder.mul(place, geometry.stride(axis)))
        kind, size = self.integers[array][0], int(self.integers[array][1:])
        pointer = builder.inttoptr(data, POINTER)
        value = builder.load(pointer, typ=ir.IntType(8 * size))
        if size < 8:
            return builder.sext(value, I64) if kind == "i" else builder.zext(value, I64)
        if kind == "u":
            self.require(builder.icmp_signed(">=", value, word(0)))
        return value

    def _signature(self) -> None:
        plan, builder = self.plan, self.builder
        self.require(builder.icmp_signed("==", self.count, word(len(plan.positional))))
        without = py.is_null(builder, self.keywords)
        if not plan.keywords:
            self.require(without)
            return
        self.require(builder.not_(without))
        self.require(self._has_length(self.keywords, len(plan.keywords)))
        names = [
            py.field(builder, self.keywords, linking.TUPLE_ITEMS + 8 * number) for number in range(len(plan.keywords))
        ]
        self.require(*(self._same(name, self.slot(key)) for name, (key, _) in zip(names, plan.keywords, strict=True)))

    def _has_length(self, items: Any, length: int) -> Any:
        return self.builder.icmp_signed("==", py.field(self.builder, items, linking.LENGTH, I64), word(length))

    def _outside(self, guard: Outside) -> None:
        builder, value = self.builder, self.slot(guard.value)
        if guard.kind == "cell":
            found = py.field(builder, self.slot(guard.owner), linking.VALUE)
        elif guard.kind == "global":
            found = py.call(builder, "PyDict_GetItemWithError", self.slot(guard.owner), self.slot(guard.key))
        else:
            found = py.call(builder, "PyObject_GetAttr", self.slot(guard.owner), self.slot(guard.key))
            self._refuse_error(py.is_null(builder, found))
            py.call(builder, "Py_DecRef", found)
        self.require(self._same(found, value))

    # ---- arguments

    def _item(self, value: Any, item: Item) -> None:
        if isinstance(item, Items):
            self._items(value, item)
        elif isinstance(item, SameLeaf):
            self.require(self._same(value, self.slot(item.slot)))
        elif isinstance(item, NumberLeaf):
            self._number(value, item)
        elif isinstance(item, ScalarLeaf):
            self._scalar(value, item)
        else:
            self.require(self._type(value, "PyArray_Type"))
            header = self._array(value, item)
            self.require(*self._header(value, item.descriptor, len(item.axes), item.flags))
            self.require(*self._strides(header, item), *self._axes(header, item.axes))

    def _type(self, value: Any, name: str) -> Any:
        return self._same(py.field(self.builder, value, linking.TYPE), py.known(self.builder, name))

    def _items(self, value: Any, item: Items) -> None:
        if item.kind == "dict":
            self._dict_items(value, item)
            return
        self.require(self._type(value, "PyTuple_Type" if item.kind == "tuple" else "PyList_Type"))
        self.require(self._has_length(value, len(item.items)))
        start, base = linking.TUPLE_ITEMS, value
        if item.kind == "list":
            start, base = 0, py.field(self.builder, value, linking.LIST_ITEMS)
        for number, inner in enumerate(item.items):
            self._item(py.field(self.builder, base, start + 8 * number), inner)

    def _dict_items(self, value: Any, item: Items) -> None:
        """The same keys in the same order; keys that are equal but not the same objects are a MISS."""
        builder = self.builder
        self.require(self._type(value, "PyDict_Type"))
        self.require(builder.icmp_signed("==", py.call(builder, "PyDict_Size", value), word(len(item.items))))
        with builder.goto_entry_block():
            place, key, held = builder.alloca(I64), builder.alloca(POINTER), builder.alloca(POINTER)
        builder.store(word(0), place)
        found = []
        for slot in item.keys:
            py.call(builder, "PyDict_Next", value, place, key, held)
            self.require(self._same(builder.load(key, typ=POINTER), self.slot(slot)))
            found.append(builder.load(held, typ=POINTER))
        for part, inner in zip(found, item.items, strict=True):
            self._item(part, inner)

    def _array(self, array: Any, leaf: ArrayLeaf | Captured) -> Header:
        header = Header(self.builder, array)
        self.leaves[leaf.name] = leaf
        self.objects[leaf.name] = array
        self.memory[leaf.name] = (header, py.field(self.builder, array, linking.DATA, I64))
        return header

    def _header(self, array: Any, descriptor: int, rank: int, flags: tuple[int, int]) -> Iterator[Any]:
        """Dtype, rank and flags are what they must be."""
        builder, (bits, expected) = self.builder, flags
        yield self._same(py.field(builder, array, linking.DESCRIPTOR), self.slot(descriptor))
        yield builder.icmp_signed("==", py.field(builder, array, linking.RANK, I32), I32(rank))
        found = builder.and_(py.field(builder, array, linking.FLAGS, I32), I32(bits))
        yield builder.icmp_unsigned("==", found, I32(expected))

    def _strides(self, header: Header, leaf: ArrayLeaf) -> Iterator[Any]:
        for axis, stride in ((0, leaf.first), (len(leaf.axes) - 1, leaf.last)):
            if stride is not None:
                yield self.builder.icmp_signed("==", header.stride(axis), word(stride))

    def _axes(self, header: Header, axes: tuple[str, ...]) -> Iterator[Any]:
        """Name the dimensions; those without a name have length one, the others have not."""
        for axis, name in enumerate(axes):
            length = header.length(axis)
            yield self.builder.icmp_signed("!=" if name else "==", length, word(1))
            if name:
                self.expressions.names[name] = length

    def _scalar(self, value: Any, leaf: ScalarLeaf) -> None:
        """The element is in the scalar itself, or where the array says."""
        builder = self.builder
        is_scalar = py.equal(builder, py.field(builder, value, linking.TYPE), self.slot(leaf.type))
        with builder.if_else(is_scalar) as (inside, outside):
            with inside:
                own = builder.add(builder.ptrtoint(value, I64), word(linking.VALUE))
                own_block = builder.block
            with outside:
                self.require(self._type(value, "PyArray_Type"))
                self.require(*self._header(value, leaf.descriptor, 0, (leaf.aligned, leaf.aligned)))
                pointed = py.field(builder, value, linking.DATA, I64)
                pointed_block = builder.block
        data = builder.phi(I64)
        data.add_incoming(own, own_block)
        data.add_incoming(pointed, pointed_block)
        self.objects[leaf.name] = value
        self.memory[leaf.name] = (Known((), ()), data)

    def _number(self, value: Any, leaf: NumberLeaf) -> None:
        """A Python number as i64, double or i1; an int that is too large for int64 is a MISS."""
        builder, names = self.builder, self.expressions.names
        self.require(self._type(value, _NUMBERS[leaf.kind]))
        self.objects[leaf.name] = value
        if leaf.kind == "bool":
            names[leaf.name] = py.equal(builder, value, py.known(builder, "_Py_TrueStruct"))
        elif leaf.kind == "float":
            names[leaf.name] = py.field(builder, value, linking.VALUE, DOUBLE)
        else:
            number = names[leaf.name] = py.call(builder, "PyLong_AsLongLong", value)
            self._refuse_error(builder.icmp_signed("==", number, word(-1)))

    def _refuse_error(self, suspicious: Any) -> None:
        """Where a result hints at an exception and there is one, it is taken back: the portable way raises its own."""
        builder = self.builder
        look, fine = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(suspicious, look, fine)
        builder.position_at_end(look)
        absent = py.is_null(builder, py.call(builder, "PyErr_Occurred"))
        py.call(builder, "PyErr_Clear")
        builder.cbranch(absent, fine, self.missed)
        builder.position_at_end(fine)

    def _span(self, name: str) -> Span:
        """Where an array's elements are."""
        (geometry, data), leaf = self.memory[name], self.leaves[name]
        return Span(self.builder, data, geometry, len(leaf.axes), leaf.itemsize)
