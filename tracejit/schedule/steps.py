"""A program: the steps that the host runs in order, and the buffers that they read and write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from tracejit.ir.node import Indices, Node, Shape
from tracejit.ir.size import Dimension
from tracejit.records import dataclass
from tracejit.schedule.kernel import Kernel, Operand


@dataclass(frozen=True)
class Buffer:
    """Memory that holds a value: an argument's, a constant's, or allocated here."""

    number: int
    kind: str
    dtype: np.dtype[Any]
    shape: Shape
    leaf: int = -1
    data: Any = field(default=None, compare=False)

    def __hash__(self) -> int:
        return hash((self.number, self.leaf))

    @property
    def name(self) -> str:
        return {"argument": f"a{self.leaf}", "constant": f"c{self.number}"}.get(self.kind, f"b{self.number}")


@dataclass(frozen=True)
class Allocate:
    """New uninitialized memory."""

    target: Buffer


@dataclass(frozen=True)
class Copy:
    """All elements of one buffer into another of the same shape, but for those of a box that is written anyway.

    box: for each axis the first place of the box, and the one after its last.
    """

    source: Buffer
    target: Buffer
    box: tuple[tuple[Dimension, Dimension], ...] | None = None


@dataclass(frozen=True)
class Launch:
    """One kernel on buffers (in operand order; scratch operands left out)."""

    kernel: Kernel
    buffers: tuple[Buffer, ...]
    extents: tuple[Dimension, ...]
    integers: tuple[Dimension, ...]
    scalars: tuple[str, ...]
    roots: tuple[Node, ...] = ()

    @cached_property
    def visible(self) -> tuple[Operand, ...]:
        """The operands that the buffers stand for, in their order."""
        return tuple(operand for operand in self.kernel.operands if operand.role != "scratch")

    @cached_property
    def reads(self) -> tuple[Buffer, ...]:
        return tuple(b for b, o in zip(self.buffers, self.visible, strict=True) if o.role in ("in", "inout"))

    @cached_property
    def writes(self) -> tuple[Buffer, ...]:
        return tuple(b for b, o in zip(self.buffers, self.visible, strict=True) if o.role != "in")


@dataclass(frozen=True)
class View:
    """A NumPy view of a buffer: affine where `indices` is given, else a reshape (which copies if it must)."""

    source: Buffer
    target: Buffer
    indices: Indices | None


@dataclass(frozen=True)
class Numbers:
    """Numbers of the host, given by expressions, side by side in memory."""

    expressions: tuple[str, ...]
    target: Buffer


@dataclass(frozen=True)
class CallNumpy:
    """A NumPy function between kernels; `call` is a `trace.opaque.Call`, `line` where the user called it."""

    call: Any
    operands: tuple[Buffer, ...]
    target: Buffer
    line: str = field(default="", compare=False)


@dataclass(frozen=True)
class Together:
    """NumPy calls of which none needs another, at the same time (see `schedule.side_by_side`)."""

    calls: tuple[CallNumpy, ...]


@dataclass(frozen=True)
class CallInPlace:
    """A NumPy function that writes to its first argument, the target; `call` is that of its copying twin."""

    call: Any
    operands: tuple[Buffer, ...]
    target: Buffer
    line: str = field(default="", compare=False)


@dataclass(frozen=True)
class Multiply:
    """np.matmul into an allocated target."""

    left: Buffer
    right: Buffer
    target: Buffer


@dataclass(frozen=True)
class Place:
    """The slice of an array at a loop's counter, as memory to write to."""

    source: Buffer
    counter: str
    target: Buffer


@dataclass(frozen=True)
class Loop:
    """A program done again and again.

    body: its outputs are the next carries, then the slices of ys.  It reads what is outside by the same buffers.
    condition: gives a bool before each iteration; None: `length` iterations.
    counter: the variable that counts; sizes in the body speak of it.
    carries: each holds its value when an iteration begins, and the last one afterwards; memory of the loop's own.
    ys: arrays whose slice at the counter takes an output of the body.
    """

    body: Program
    condition: Program | None
    length: Dimension | None
    counter: str
    carries: tuple[Buffer, ...]
    ys: tuple[Buffer, ...]
    reverse: bool = False


@dataclass(frozen=True)
class Branch:
    """One of several programs, whose outputs become the targets: where false, where true; or by position."""

    selector: Buffer
    branches: tuple[Program, ...]
    targets: tuple[Buffer, ...]


Step: TypeAlias = (
    Allocate | Copy | Launch | View | Numbers | CallNumpy | Together | CallInPlace | Multiply | Place | Loop | Branch
)


@dataclass(frozen=True)
class Program:
    """Steps, where each output ends up, and what is written back into arguments (leaf -> buffer)."""

    steps: tuple[Step, ...]
    outputs: tuple[Buffer, ...]
    writebacks: tuple[tuple[int, Buffer], ...] = ()

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels in order of launch, those of inner programs included."""
        return tuple(step.kernel for step in walk(self) if isinstance(step, Launch))


def inner_programs(step: Step) -> tuple[Program, ...]:
    """The programs inside a step, in the order in which they run."""
    if isinstance(step, Loop):
        return (step.body,) if step.condition is None else (step.condition, step.body)
    return step.branches if isinstance(step, Branch) else ()


def walk(program: Program) -> Iterator[Step]:
    """All steps of a program, a step before those of its inner programs and before its calls."""
    for step in program.steps:
        yield step
        if isinstance(step, Together):
            yield from step.calls
        for inner in inner_programs(step):
            yield from walk(inner)


def defined(program: Program) -> set[Buffer]:
    """The buffers that a program itself makes."""
    single = {step.target for step in program.steps if isinstance(step, (Allocate, View, Numbers, CallNumpy, Place))}
    several = (writes(step) for step in program.steps if isinstance(step, (Branch, Together)))
    return single.union(*several)


def outside(program: Program) -> tuple[Buffer, ...]:
    """The buffers that a program reads and does not make, in order."""
    own = defined(program)
    read = [buffer for step in program.steps for buffer in reads(step)]
    return tuple(dict.fromkeys(b for b in (*read, *program.outputs) if b not in own))


def may_return_operands(step: Step) -> bool:
    """Whether a step's result may be one of its operands, or a view of one: NumPy's functions do as they like."""
    return isinstance(step, (CallNumpy, CallInPlace, Together))


def reads(step: Step) -> tuple[Buffer, ...]:
    """The buffers that a step reads."""
    if isinstance(step, Launch):
        return step.reads
    if isinstance(step, (Copy, View, Place)):
        return (step.source,)
    if isinstance(step, (Loop, Branch)):
        inner = [buffer for program in inner_programs(step) for buffer in outside(program)]
        first = step.carries if isinstance(step, Loop) else (step.selector,)
        return tuple(dict.fromkeys((*first, *inner)))
    if isinstance(step, CallNumpy):
        return step.operands
    if isinstance(step, Together):
        return tuple(dict.fromkeys(buffer for call in step.calls for buffer in call.operands))
    if isinstance(step, CallInPlace):
        return (step.target, *step.operands)
    return (step.left, step.right) if isinstance(step, Multiply) else ()


def writes(step: Step) -> tuple[Buffer, ...]:
    """The buffers that a step writes."""
    if isinstance(step, Launch):
        return step.writes
    if isinstance(step, Loop):
        return (*step.carries, *step.ys)
    if isinstance(step, Branch):
        return step.targets
    if isinstance(step, Together):
        return tuple(call.target for call in step.calls)
    return (step.target,)
