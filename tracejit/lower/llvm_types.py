"""LLVM types, address words and loop metadata: the few things that llvmlite has no name for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

I1 = ir.IntType(1)
I8 = ir.IntType(8)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
DOUBLE = ir.DoubleType()
POINTER: Any = ir.PointerType()
VOID = ir.VoidType()


def word(value: int) -> Any:
    """An i64 constant."""
    return ir.Constant(I64, value)


def register_type(dtype: np.dtype[Any]) -> Any:
    """The type of a value: bool is i1."""
    if dtype.kind == "b":
        return I1
    if dtype.kind == "f":
        return {2: ir.HalfType(), 4: ir.FloatType(), 8: DOUBLE}[dtype.itemsize]
    return ir.IntType(8 * dtype.itemsize)


def memory_type(dtype: np.dtype[Any]) -> Any:
    """The type of an element in memory: bool is i8."""
    return I8 if dtype.kind == "b" else register_type(dtype)


class _DistinctNode(ir.MDValue):  # type: ignore[misc]
    """A metadata node that LLVM never merges with an equal one."""

    def descr(self, buf: Any) -> None:
        operands = ", ".join(operand.get_reference() for operand in self.operands)
        buf += (f"distinct !{{ {operands} }}", "\n")

    # equality of nodes is by operands in llvmlite; a distinct node equals itself alone
    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


def _distinct(module: ir.Module) -> Any:
    return _DistinctNode(module, (), name=str(len(module.metadata)))


def access_group(module: ir.Module) -> Any:
    """A new group of memory accesses, for `parallel_loop_id`."""
    return _distinct(module)


def parallel_loop_id(module: ir.Module, group: Any, body: Sequence[Any], flat: bool = False, vectors: int = 0) -> Any:
    """A loop id saying that accesses of `group` carry no dependence from one iteration to another.

    With it the vectorizer needs no run-time alias checks.  `flat`: the loop is short, of constant length, and no loop
    any more once it is vectorized.  `vectors`: how many are computed at a time; 0: see `interleaving`.
    """
    properties = [module.add_metadata(("llvm.loop.parallel_accesses", group))]
    if flat:
        # Unrolled before it is vectorized it would be scalar code.
        unrolled = module.add_metadata(("llvm.loop.unroll.full",))
        properties.append(module.add_metadata(("llvm.loop.unroll.disable",)))
        properties.append(module.add_metadata(("llvm.loop.vectorize.followup_vectorized", unrolled)))
    elif vectors:
        properties.append(module.add_metadata(("llvm.loop.interleave.count", ir.Constant(I32, vectors))))
        properties.append(module.add_metadata(("llvm.loop.unroll.disable",)))
    else:
        properties.extend(interleaving(module, body))
    return loop_id(module, properties)


def loop_id(module: ir.Module, properties: Sequence[Any]) -> Any:
    """A loop id with some properties; its first operand has to be the node itself."""
    loop = _distinct(module)
    loop.operands = (loop, *properties)
    return loop


_LATENT = 8
_LARGE = 400


def interleaving(module: ir.Module, body: Sequence[Any]) -> list[Any]:
    """The loop property that has two vectors computed side by side, for a body (blocks) that gains by it.

    A polynomial is a chain of operations that wait for each other, and a CPU looks ahead about as far as one of them
    is long.  In a large body there is enough else to do, and it would take long to compile.
    """
    instructions = [instruction for block in body for instruction in block.instructions]
    fused = sum(i.opname == "call" and i.callee.name.startswith("llvm.fma") for i in instructions)
    if fused < _LATENT or len(instructions) > _LARGE:
        return []
    return [module.add_metadata(("llvm.loop.interleave.count", ir.Constant(I32, 2)))]
