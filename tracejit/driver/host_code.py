"""Steps as Python: lines of the function that runs one segment, generated and compiled once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from typing import Any

import numpy as np

from tracejit.driver.target import Target
from tracejit.ir import size as sizes
from tracejit.ir.node import Indices, Shape
from tracejit.ir.size import Dimension
from tracejit.records import dataclass
from tracejit.runtime.buffers import SMALL
from tracejit.schedule.steps import (
    Allocate,
    Buffer,
    CallInPlace,
    CallNumpy,
    Copy,
    Launch,
    Multiply,
    Numbers,
    Place,
    Step,
    Together,
    View,
    reads,
)
from tracejit.trace.opaque import Call, Expression, Slot

MISS = object()
"""What generated code returns when a guard fails."""

C_ALIGNED, ALIGNED, WRITEABLE = 0x101, 0x100, 0x400
"""Bits of ndarray.flags.num: C-contiguous and aligned; aligned; writeable."""


@dataclass(eq=False, repr=False)
class Code:
    """Lines of a function under construction, and the objects that they name; target: where it runs."""

    target: Target
    lines: list[str] = field(default_factory=list)
    namespace: dict[str, Any] = field(default_factory=dict)
    _named: dict[int, str] = field(default_factory=dict)

    def constant(self, value: Any) -> str:
        """A name for an object in the generated code."""
        if id(value) not in self._named:
            name = f"C{len(self._named)}"
            self._named[id(value)] = name
            self.namespace[name] = value
        return self._named[id(value)]

    def use(self, name: str) -> None:
        """The code names what the target has under this name."""
        self.namespace[name] = self.target.names[name]

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """The lines written meanwhile stand indented under a header."""
        before, self.lines = self.lines, []
        yield
        self.lines = [*before, header, *(f"    {line}" for line in self.lines or ["pass"])]

    def function(self, name: str, parameters: str) -> Callable[..., Any]:
        """Compile what was written."""
        body = "\n".join(f"    {line}" for line in self.lines)
        self.namespace.update(math=math, inf=math.inf, nan=math.nan)
        for used in ("empty", "broadcast_to"):
            self.namespace.setdefault(used, self.target.names[used])
        self.namespace.setdefault("MISS", MISS)
        while name in self.namespace:
            # A user's function may be called `matmul` or `empty`, and the code needs NumPy's.
            name += "_"
        text = f"def {name}({parameters}):\n{body}\n"
        exec(compile(text, f"<tracejit {name}>", "exec"), self.namespace)  # noqa: S102 - code of our own making
        return self.namespace[name]  # type: ignore[no-any-return]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def shape_text(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def product_text(extents: tuple[Dimension, ...]) -> str:
    return " * ".join(f"({e})" if not isinstance(e, int) else str(e) for e in extents) or "1"


def write_step(code: Code, step: Step, kernels: Iterator[Any], raise_index: Any) -> None:
    """One step that holds no program of its own; the next of `kernels` is that of a launch."""
    if isinstance(step, Allocate):
        code.lines.append(_allocation(code, step.target))
    elif isinstance(step, Copy) and step.box is not None:
        code.use("copy_around")
        box = ", ".join(f"({start}, {stop})" for start, stop in step.box)
        code.lines.append(f"copy_around({operand(code, step.target)}, {operand(code, step.source)}, ({box},))")
    elif isinstance(step, Copy):
        code.use("copyto")
        code.lines.append(f"copyto({operand(code, step.target)}, {operand(code, step.source)})")
    elif isinstance(step, View):
        source = operand(code, step.source)
        if step.indices is None:
            if step.source.kind in ("argument", "view"):
                code.use("ascontiguousarray")
                source = f"ascontiguousarray({source})"
            code.lines.append(f"{step.target.name} = {source}.reshape({shape_text(step.target.shape)})")
        else:
            text = view_text(source, step.indices, step.source.shape, step.target.shape)
            code.lines.append(f"{step.target.name} = {text}")
    elif isinstance(step, Place):
        code.lines.append(f"{step.target.name} = {step.source.name}[{step.counter}, ...]")
    elif isinstance(step, Numbers):
        code.use("asarray")
        code.namespace["np_array"] = np.array
        numbers = f"np_array([{', '.join(step.expressions)}], {code.constant(step.target.dtype)})"
        code.lines.append(f"{step.target.name} = asarray({numbers})")
    elif isinstance(step, CallNumpy):
        _write_call(code, step)
    elif isinstance(step, Together):
        _write_together(code, step)
    elif isinstance(step, CallInPlace):
        operands = [step.target.name, *(operand(code, buffer) for buffer in step.operands)]
        code.lines.append(call_text(code, on_target(code, step.call, step.call.function.in_place), operands))
    elif isinstance(step, Multiply):
        code.use("matmul")
        left, right = operand(code, step.left), operand(code, step.right)
        code.lines.append(f"matmul({left}, {right}, {step.target.name})")
    elif isinstance(step, Launch):
        code.target.write_launch(code, step, next(kernels), raise_index)
    else:
        raise AssertionError(step)


def _allocation(code: Code, target: Buffer) -> str:
    """Small memory straight from NumPy, the rest from the pool."""
    code.use("np_empty")
    arguments = f"({shape_text(target.shape)}, {code.constant(target.dtype)})"
    if all(isinstance(d, int) for d in target.shape):
        return f"{target.name} = np_empty{arguments}"
    limit = SMALL // target.dtype.itemsize
    return f"{target.name} = np_empty{arguments} if {product_text(target.shape)} < {limit} else empty{arguments}"


def operand(code: Code, buffer: Buffer) -> str:
    if buffer.kind == "constant":
        code.namespace[buffer.name] = code.target.constant(buffer.data)
    return buffer.name


def view_text(source: str, indices: Indices, source_shape: Shape, shape: Shape) -> str:
    """Basic indexing, a transpose and a broadcast that give an affine view."""
    keys: list[str] = []
    axes: list[int] = []
    tails: list[str] = []
    for index, length in zip(indices, source_shape, strict=True):
        if index.axis is None:
            keys.append(str(index.start))
            continue
        axes.append(index.axis)
        count = shape[index.axis]
        if index.step == 1:  # a start is never negative, so the slice can say where it ends
            whole = index.start == 0 and count == length
            keys.append(":" if whole else f"{index.start}:{sizes.add(index.start, count)}")
            tails.append(":")
        else:
            keys.append(f"{index.start}::{index.step}")
            tails.append(f":{count}")
    text = source if all(key == ":" for key in keys) else f"{source}[{', '.join(keys)}]"
    if any(tail != ":" for tail in tails):
        text += f"[{', '.join(tails)}]"
    while repeated := [axis for axis in axes if axes.count(axis) > 1]:
        first, second = (position for position, axis in enumerate(axes) if axis == repeated[0])
        text += f".diagonal(0, {first}, {second})"
        axes = [axis for axis in axes if axis != repeated[0]] + repeated[:1]
    order = sorted(range(len(axes)), key=lambda position: axes[position])
    if order != list(range(len(axes))):
        text += f".transpose({', '.join(map(str, order))})"
    if len(axes) < len(shape):
        text += f"[{', '.join(':' if axis in axes else 'None' for axis in range(len(shape)))}]"
    if any(axis not in axes and length != 1 for axis, length in enumerate(shape)):
        text = f"broadcast_to({text}, ({', '.join(map(str, shape))},))"
    return text


def call_text(code: Code, call: Call, operands: list[str]) -> str:
    """The Python of a NumPy call."""

    def show(item: Any) -> str:
        if isinstance(item, Slot):
            return operands[item.position]
        if isinstance(item, Expression):
            return item.text
        if isinstance(item, Call):
            return f"{code.constant(item.function)}({', '.join(map(show, item.args))})"
        if type(item) in (tuple, list):
            inner = ", ".join(map(show, item))
            return f"[{inner}]" if type(item) is list else f"({inner}{',' if len(item) == 1 else ''})"
        if type(item) is dict:
            return f"{{{', '.join(f'{key!r}: {show(value)}' for key, value in item.items())}}}"
        if item is None or type(item) in (int, bool, str):
            return repr(item)
        return code.constant(item)

    shown = [show(item) for item in call.args] + [f"{key}={show(item)}" for key, item in call.options.items()]
    return f"{code.constant(call.function)}({', '.join(shown)})"


def on_target(code: Code, call: Call, function: Callable[..., Any]) -> Call:
    """The call of a function, or of what stands for it where the code runs."""
    return replace(call, function=code.target.calls.get(function, function))


def _write_call(code: Code, step: CallNumpy) -> None:
    code.lines.append(f"{step.target.name} = {_result_text(code, step)}")


def _result_text(code: Code, step: CallNumpy) -> str:
    operands = [operand(code, buffer) for buffer in step.operands]
    code.use("asarray")
    text = call_text(code, on_target(code, step.call, step.call.function), operands)
    return f"asarray({text}, {code.constant(step.target.dtype)}, order='C')"


def _write_together(code: Code, step: Together) -> None:
    code.use("together")
    targets = ", ".join(call.target.name for call in step.calls)
    elements = " + ".join(product_text(buffer.shape) for buffer in reads(step)) or "0"
    calls = ", ".join(f"lambda: {_result_text(code, call)}" for call in step.calls)
    code.lines.append(f"{targets} = together({elements}, {calls})")
