"""Memory of values that nothing needs any more, for the results of the very kernels that read them last.

y = exp(x); total = sum(y)                     y = exp(x); total = sum(y)
z = empty(n); z[:] = y / total          ->     y[:] = y / total

The kernel reads an element and writes its result in its place, which is in cache then; memory of its own would have to
be fetched, or to be got from the system.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from tracejit.schedule.memory_plan import reads_where_it_writes, rename
from tracejit.schedule.steps import (
    Allocate,
    Buffer,
    Copy,
    Launch,
    Program,
    Step,
    View,
    may_return_operands,
    reads,
    writes,
)


def reuse_memory(program: Program) -> Program:
    """The program with fewer allocations."""
    return _Reuse(program).run()


class _Reuse:
    """One walk over the steps.

    first, last: the positions at which each buffer, or a view of it, is mentioned; `inf` for what leaves the program.
    place: the buffer whose memory another one has been given.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.own = {step.target for step in program.steps if isinstance(step, Allocate)}
        self.viewed = {step.target: step.source for step in program.steps if isinstance(step, View)}
        self.first: dict[Buffer, int] = {}
        self.last: dict[Buffer, float] = {}
        self.place: dict[Buffer, Buffer] = {}
        for position, step in enumerate(program.steps):
            for buffer in () if isinstance(step, Allocate) else (*reads(step), *writes(step)):
                self.first.setdefault(self._origin(buffer), position)
                self._mention(buffer, inf if may_return_operands(step) else position)
        for buffer in (*program.outputs, *(buffer for _, buffer in program.writebacks)):
            self._mention(buffer, inf)

    def run(self) -> Program:
        """The steps one after the other, each with what is known so far."""
        steps: list[Step] = []
        for position, step in enumerate(self.program.steps):
            if isinstance(step, Launch):
                step = self._launched(position, step)
            elif self.place:
                step = self._renamed(step)
            steps.append(step)
        taken = set(self.place)
        kept = tuple(s for s in steps if not (isinstance(s, Allocate) and s.target in taken))
        given = {buffer: self._root(buffer) for buffer in taken}
        return replace(
            self.program,
            steps=kept,
            outputs=tuple(given.get(buffer, buffer) for buffer in self.program.outputs),
            writebacks=tuple((leaf, given.get(buffer, buffer)) for leaf, buffer in self.program.writebacks),
        )

    def _launched(self, position: int, launch: Launch) -> Launch:
        """A kernel, its results in memory of what it reads last."""
        for target in launch.writes:
            if target not in self.own or self.first.get(target) != position:
                continue
            step = self._renamed(launch)
            assert isinstance(step, Launch)
            for source in step.reads:
                if self._may_give(position, source, target, step):
                    self.place[target] = source
                    self.last[source] = self.last[target]
                    break
        step = self._renamed(launch)
        assert isinstance(step, Launch)
        return step

    def _may_give(self, position: int, source: Buffer, target: Buffer, launch: Launch) -> bool:
        """Whether a kernel may write a result over what it reads."""
        if source not in self.own or self.last[source] != position:
            return False
        if source.dtype != target.dtype or source.shape != target.shape or source in launch.writes:
            return False
        alone = [buffer for buffer in launch.buffers if self._origin(buffer) == source] == [source]
        return alone and reads_where_it_writes(launch, Copy(source, target), {source})

    def _renamed(self, step: Step) -> Step:
        if isinstance(step, Allocate):
            return step
        mentioned = (*reads(step), *writes(step))
        for buffer in dict.fromkeys(mentioned):
            if buffer in self.place:
                step = rename(step, buffer, self._root(buffer))
        return step

    def _root(self, buffer: Buffer) -> Buffer:
        while buffer in self.place:
            buffer = self.place[buffer]
        return buffer

    def _origin(self, buffer: Buffer) -> Buffer:
        while buffer in self.viewed:
            buffer = self.viewed[buffer]
        return buffer

    def _mention(self, buffer: Buffer, position: float) -> None:
        origin = self._origin(buffer)
        self.last[origin] = max(self.last.get(origin, position), position)
