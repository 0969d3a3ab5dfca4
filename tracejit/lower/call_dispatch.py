"""Native calls: the function that an object's vectorcall pointer points to, and the contexts that it tries in turn.

A context is a row of words: the context to try next (or zero), the code, the Python object that owns all this, the
address of a counter of calls, the address of a word that is not zero while native calls are off, the Python function
that takes the call where no context fits, and the table of objects and addresses that the code names by slot.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tracejit.lower import interpreter as py
from tracejit.lower import linking
from tracejit.lower.linking import CONTEXT, DISPATCH
from tracejit.lower.llvm_types import I1, I64, POINTER, word

NEXT, CODE, OWNER, CALLS, OFF, PORTABLE, TABLE = range(0, 56, 8)
"""Offsets in a context."""

MISS = 1
"""What the code returns instead of an object where the call does not fit."""

_SPARE = 1 << 63
"""Flag in the number of arguments: there is room for one before the first (PY_VECTORCALL_ARGUMENTS_OFFSET)."""


def emit_dispatch() -> Any:
    """A module with `PyObject* tj_dispatch(self, args, nargs, kwnames)`."""
    module = ir.Module("tracejit_dispatch")
    function = ir.Function(module, ir.FunctionType(POINTER, [POINTER, POINTER, I64, POINTER]), DISPATCH)
    instance, arguments, count, keywords = function.args
    entry, attempt, following, fits, portable = map(
        function.append_basic_block, ("entry", "attempt", "following", "fits", "portable")
    )
    builder = ir.IRBuilder(entry)
    first = py.field(builder, instance, CONTEXT)
    # the owner of the first context owns those after it: whatever the call does, they stay
    owner = py.field(builder, first, OWNER)
    py.call(builder, "Py_IncRef", owner)
    positional = builder.and_(count, word(_SPARE - 1))
    off = py.field(builder, py.field(builder, first, OFF), 0, I64)
    builder.cbranch(builder.icmp_signed("==", off, word(0)), attempt, portable)

    builder.position_at_end(attempt)
    context = builder.phi(POINTER)
    context.add_incoming(first, entry)
    code_type = ir.FunctionType(POINTER, [POINTER, POINTER, I64, POINTER]).as_pointer()
    code = py.field(builder, context, CODE, code_type)
    result = builder.call(code, [context, arguments, positional, keywords])
    missed = builder.icmp_unsigned("==", builder.ptrtoint(result, I64), word(MISS))
    builder.cbranch(missed, following, fits)

    builder.position_at_end(following)
    successor = py.field(builder, context, NEXT)
    context.add_incoming(successor, following)
    builder.cbranch(py.is_null(builder, successor), portable, attempt)

    builder.position_at_end(fits)
    counter = py.field(builder, context, CALLS)
    builder.store(builder.add(builder.load(counter, typ=I64), word(1)), counter)
    py.call(builder, "Py_DecRef", owner)
    builder.ret(result)

    builder.position_at_end(portable)
    taken = _call_portable(builder, py.field(builder, first, PORTABLE), function.args)
    py.call(builder, "Py_DecRef", owner)
    builder.ret(taken)
    return module


def _call_portable(builder: Any, target: Any, given: Any) -> Any:
    """Call a Python function with the instance before the other arguments: in the room there is, or in new memory."""
    instance, arguments, count, keywords = given
    positional = builder.and_(count, word(_SPARE - 1))
    before = builder.gep(arguments, [word(-1)], source_etype=POINTER)
    passed = builder.add(positional, word(1))
    with builder.if_else(builder.icmp_signed("<", count, word(0))) as (spare, copied):
        with spare:
            held = builder.load(before, typ=POINTER)
            builder.store(instance, before)
            in_place = py.call(builder, "PyObject_Vectorcall", target, before, passed, keywords)
            builder.store(held, before)
            spare_block = builder.block
        with copied:
            total = _total(builder, positional, keywords)
            size = builder.mul(total, word(8))
            room = py.call(builder, "PyMem_RawMalloc", builder.add(size, word(8)))
            builder.store(instance, room)
            rest = builder.gep(room, [word(1)], source_etype=POINTER)
            copy = builder.function.module.declare_intrinsic("llvm.memcpy", [POINTER, POINTER, I64])
            builder.call(copy, [rest, arguments, size, I1(0)])
            elsewhere = py.call(builder, "PyObject_Vectorcall", target, room, passed, keywords)
            py.call(builder, "PyMem_RawFree", room)
            copied_block = builder.block
    result = builder.phi(POINTER)
    result.add_incoming(in_place, spare_block)
    result.add_incoming(elsewhere, copied_block)
    return result


def _total(builder: Any, positional: Any, keywords: Any) -> Any:
    """The number of arguments, those with names included."""
    start = builder.block
    with builder.if_then(builder.not_(py.is_null(builder, keywords))):
        named = builder.add(positional, py.field(builder, keywords, linking.LENGTH, I64))
        named_block = builder.block
    total = builder.phi(I64)
    total.add_incoming(positional, start)
    total.add_incoming(named, named_block)
    return total
