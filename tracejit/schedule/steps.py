"""A program: the steps that the host runs in order, and the buffers that they read and write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tracejit.ir.node import Indices, Node, Shape
from tracejit.ir.size import Dimension
from tracejit.schedule.kernel import Kernel


@dataclass(frozen=True)
class Buffer:
    """Memory that holds a value: an argument's, a constant's, or allocated here."""

    number: int
    kind: str
    dtype: np.dtype[Any]
    shape: Shape
    leaf: int = -1
    data: Any = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return {"argument": f"a{self.leaf}", "constant": f"c{self.number}"}.get(self.kind, f"b{self.number}")


@dataclass(frozen=True)
class Allocate:
    """New uninitialized memory."""

    target: Buffer


@dataclass(frozen=True)
class Copy:
    """All elements of one buffer into another of the same shape."""

    source: Buffer
    target: Buffer


@dataclass(frozen=True)
class Launch:
    """One kernel on buffers (in operand order; scratch operands left out)."""

    kernel: Kernel
    buffers: tuple[Buffer, ...]
    extents: tuple[Dimension, ...]
    integers: tuple[Dimension, ...]
    scalars: tuple[str, ...]
    nanoseconds: float
    roots: tuple[Node, ...] = ()


@dataclass(frozen=True)
class View:
    """A NumPy view of a buffer: affine where `indices` is given, else a reshape (which copies if it must)."""

    source: Buffer
    target: Buffer
    indices: Indices | None


@dataclass(frozen=True)
class CallNumpy:
    """A NumPy function between kernels; `call` is a `trace.opaque.Call`."""

    call: Any
    operands: tuple[Buffer, ...]
    target: Buffer


@dataclass(frozen=True)
class Multiply:
    """np.matmul into an allocated target."""

    left: Buffer
    right: Buffer
    target: Buffer


Step: TypeAlias = Allocate | Copy | Launch | View | CallNumpy | Multiply


@dataclass(frozen=True)
class Program:
    """Steps, where each output ends up, and what is written back into arguments (leaf -> buffer)."""

    steps: tuple[Step, ...]
    outputs: tuple[Buffer, ...]
    writebacks: tuple[tuple[int, Buffer], ...] = ()

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return tuple(step.kernel for step in self.steps if isinstance(step, Launch))


def reads(step: Step) -> tuple[Buffer, ...]:
    """The buffers that a step reads."""
    if isinstance(step, Launch):
        roles = [operand.role for operand in step.kernel.operands if operand.role != "scratch"]
        return tuple(b for b, role in zip(step.buffers, roles, strict=True) if role in ("in", "inout"))
    if isinstance(step, (Copy, View)):
        return (step.source,)
    if isinstance(step, CallNumpy):
        return step.operands
    return (step.left, step.right) if isinstance(step, Multiply) else ()


def writes(step: Step) -> tuple[Buffer, ...]:
    """The buffers that a step writes."""
    if isinstance(step, Launch):
        roles = [operand.role for operand in step.kernel.operands if operand.role != "scratch"]
        return tuple(b for b, role in zip(step.buffers, roles, strict=True) if role != "in")
    return (step.target,)
