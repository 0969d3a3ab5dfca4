"""Programs as Python: steps in order, loops and branches as blocks; temporaries are let go after their last use.

b3 = empty((n0,), float64)
copyto(b3, a0)                                  # the carry: memory of the loop's own
for i5 in range(a1):
    b7 = empty((n0,), float64)
    error = kernel(b3, b7, n0, 0, n0, 2)
    b3 = b7                                     # the next carry
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tracejit.driver.host_code import Code, operand, write_step
from tracejit.records import dataclass
from tracejit.schedule.steps import Branch, Buffer, Loop, Place, Program, View, defined, reads


def write_program(code: Code, program: Program, kernels: Sequence[Any], raise_index: Callable[..., Any]) -> None:
    """All steps; `kernels` are those that are launched, in order."""
    _Writer(code, iter(kernels), raise_index).steps(program)


@dataclass
class _Writer:
    code: Code
    kernels: Iterator[Any]
    raise_index: Callable[..., Any]

    def steps(self, program: Program) -> None:
        gone = released(program)
        for position, step in enumerate(program.steps):
            if isinstance(step, Loop):
                self.loop(step)
            elif isinstance(step, Branch):
                self.branch(step)
            else:
                write_step(self.code, step, self.kernels, self.raise_index)
            self.code.lines += [f"{buffer.name} = None" for buffer in gone.get(position, ())]

    def loop(self, step: Loop) -> None:
        """A `for`; where a condition decides, one without end."""
        with self.code.block(self._header(step)):
            if step.condition is not None:
                self.steps(step.condition)
                self.code.lines.append(f"if not {operand(self.code, step.condition.outputs[0])}: break")
            self.steps(step.body)
            results, slices = step.body.outputs[: len(step.carries)], step.body.outputs[len(step.carries) :]
            placed = {s.target for s in step.body.steps if isinstance(s, Place)}
            for whole, piece in zip(step.ys, slices, strict=True):
                if piece not in placed:
                    self.code.lines.append(f"{whole.name}[{step.counter}] = {operand(self.code, piece)}")
            self._rebind(step.carries, results, defined(step.body) | set(step.carries))
        borrowed = dict.fromkeys(b for b in step.body.outputs if b in defined(step.body))
        if borrowed:
            self.code.lines.append(f"{' = '.join(buffer.name for buffer in borrowed)} = None")

    def _header(self, step: Loop) -> str:
        if step.length is None:
            self.code.namespace["count"] = itertools.count
            return f"for {step.counter} in count():"
        if step.reverse:
            return f"for {step.counter} in range({step.length} - 1, -1, -1):"
        return f"for {step.counter} in range({step.length}):"

    def branch(self, step: Branch) -> None:
        """An `if`, one arm a program."""
        selector = operand(self.code, step.selector)
        is_bool = step.selector.dtype.kind == "b"
        for number, program in enumerate(step.branches):
            test = f"not {selector}" if is_bool else f"{selector} == {number}"
            last = number == len(step.branches) - 1
            with self.code.block("else:" if last else f"{'el' * (number > 0)}if {test}:"):
                self.steps(program)
                self._rebind(step.targets, program.outputs, defined(program))

    def _rebind(self, targets: Sequence[Buffer], values: Sequence[Buffer], owned: set[Buffer]) -> None:
        """Each target becomes its value, all at once; memory of someone else, or of another target, is copied."""
        taken: set[Buffer] = set()
        texts: list[str] = []
        for value in values:
            mine = value.kind == "allocated" and value in owned and value not in taken
            taken.add(value)
            texts.append(operand(self.code, value) if mine else f"{operand(self.code, value)}.copy()")
        changed = [(t.name, text) for t, text in zip(targets, texts, strict=True) if t.name != text]
        if changed:
            left, right = (", ".join(names) for names in zip(*changed, strict=True))
            self.code.lines.append(f"{left} = {right}")


def released(program: Program) -> dict[int, list[Buffer]]:
    """Position -> the buffers to let go of after that step: what the program made itself, and views of it.

    Views hold their memory as well as buffers do; what NumPy returned is memory like any other: kept until the end,
    the temporaries of a long program would each be new memory from the system.  What was made around the body of a
    loop is there for the next iteration too, and a view that leaves as a result keeps its source by reference.
    """
    kept = {b.number for b in program.outputs} | {b.number for _, b in program.writebacks}
    own = {buffer for buffer in defined(program) if buffer.number not in kept}
    owner = {step.target: step.source for step in program.steps if isinstance(step, View)}
    last: dict[Buffer, int] = {}
    for position, step in enumerate(program.steps):
        for buffer in reads(step):
            source: Buffer | None = buffer
            while source is not None:
                last[source] = position
                source = owner.get(source)
    released: dict[int, list[Buffer]] = {}
    for buffer, position in last.items():
        origin = buffer
        while origin in owner:
            origin = owner[origin]
        if buffer in own and origin in own and origin.kind in ("allocated", "result"):
            released.setdefault(position, []).append(buffer)
    return released
