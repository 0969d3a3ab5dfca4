"""The memory plan: copies that need not be, and when each buffer dies.

b1 = empty(n); b1[...] = a0; kernel(b1); a0[...] = b1      ->      kernel(a0)

Of a copy that stays, what a kernel then overwrites is left out: a sweep over the inside of an array copies its border.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from tracejit.ir.size import Dimension, add
from tracejit.schedule import kernel as k
from tracejit.schedule.steps import (
    Allocate,
    Branch,
    Buffer,
    CallInPlace,
    CallNumpy,
    Copy,
    Launch,
    Loop,
    Multiply,
    Numbers,
    Place,
    Program,
    Step,
    Together,
    View,
    defined,
    inner_programs,
    reads,
    writes,
)


def plan_memory(program: Program, contiguous: Container[int], carries: Container[Buffer] = ()) -> Program:
    """Coalesce what can share memory.

    contiguous: the leaves that lie in C order, as all memory made here does.
    carries: of the loop whose body the program is; they are its own to write to, as what it allocates is.
    """
    program = _Coalescing(program, contiguous, carries).run()
    program = _write_results_in_place(program, contiguous)
    return replace(program, steps=tuple(_narrowed(program, n, step) for n, step in enumerate(program.steps)))


def _narrowed(program: Program, position: int, step: Step) -> Step:
    """A copy without the box that the next step to touch its target writes."""
    if not isinstance(step, Copy) or step.target.kind != "allocated":
        return step
    for later in program.steps[position + 1 :]:
        if step.target in reads(later) or isinstance(later, (Loop, Branch)):
            return step
        if step.target in writes(later):
            return replace(step, box=_box(later, step.target)) if isinstance(later, Launch) else step
    return step


def _box(launch: Launch, target: Buffer) -> tuple[tuple[Dimension, Dimension], ...] | None:
    """The box of a buffer that a kernel writes all of; None where it is not known to."""
    kernel = launch.kernel
    visible = [n for n, operand in enumerate(kernel.operands) if operand.role != "scratch"]
    written = visible[launch.buffers.index(target)]
    if kernel.form != "map" or len(kernel.stages) != 1 or launch.buffers.count(target) != 1:
        return None
    stores = [i.body for i in kernel.instructions if isinstance(i.body, k.Store) and i.body.operand == written]
    outermost = [line.body for line in kernel.stages[0].instructions]
    if len(stores) != 1 or stores[0] not in outermost or len(stores[0].indices) != len(target.shape):
        return None
    axes = [index.axis for index in stores[0].indices]
    if sorted(axis for axis in axes if axis is not None) != sorted(kernel.outer) or kernel.stages[0].axes:
        return None
    box = []
    for index in stores[0].indices:
        start = launch.integers[index.start.slot] if isinstance(index.start, k.Integer) else index.start
        length = 1 if index.axis is None else launch.extents[index.axis]
        if index.step != 1:
            return None
        box.append((start, add(start, length)))
    return tuple(box)


class _Coalescing:
    """Drops the copies whose source nothing needs any more: their targets then are the sources' own memory.

    places: the positions of the steps that mention each buffer, so that a long program is not gone through for each.
    failing: the position of the last step that may fail, -1 for none.
    """

    def __init__(self, program: Program, contiguous: Container[int], carries: Container[Buffer]) -> None:
        self.program, self.contiguous, self.carries = program, contiguous, carries
        self.own = defined(program)
        self.steps: list[Step | None] = list(program.steps)
        self.places: dict[Buffer, set[int]] = {}
        for position, step in enumerate(program.steps):
            for buffer in _mentioned(step):
                self.places.setdefault(buffer, set()).add(position)
        self.failing = max((n for n, step in enumerate(program.steps) if _may_fail(step)), default=-1)

    def run(self) -> Program:
        """Each copy in turn, until none goes."""
        changed = True
        while changed:
            changed = False
            for position, step in enumerate(self.steps):
                if isinstance(step, Copy) and self._may_go(step) and self._source_is_free(position, step):
                    self._drop(position, step)
                    changed = True
        return replace(self.program, steps=tuple(step for step in self.steps if step is not None))

    def _may_go(self, copy: Copy) -> bool:
        """Whether the source is memory that may be written to.  That of the program around is read again later."""
        source = copy.source
        if source.kind == "argument":
            return source.leaf in self.contiguous
        return source.kind == "allocated" and (source in self.carries or source in self.own)

    def _source_is_free(self, position: int, copy: Copy) -> bool:
        """Whether no step after the copy and no output needs the source's old value."""
        if copy.source in self.program.outputs:
            return False
        if copy.source.kind == "argument":
            final = dict(self.program.writebacks).get(copy.source.leaf)
            mentions = [self.steps[place] for place in self.places[copy.target]]
            if any(isinstance(s, Loop) and copy.target in s.carries for s in mentions):
                # A loop's variable holds other memory after each iteration.
                return False
            if final is None or (final != copy.target and not self._is_passing(position, copy)):
                return False
        aliases = self._aliases(copy.source)
        for place in {place for alias in aliases for place in self.places[alias] if place > position}:
            later = self.steps[place]
            if later is None or not any(buffer in aliases for buffer in reads(later)):
                continue
            if not reads_where_it_writes(later, copy, aliases):
                return False
        return not any(output in aliases for output in self.program.outputs)

    def _is_passing(self, position: int, copy: Copy) -> bool:
        """Whether an argument's copy is nothing that comes out, and the argument gets a later value for certain."""
        aliases = self._aliases(copy.target)
        given = any(output in aliases for output in self.program.outputs)
        return not given and position > self.failing

    def _aliases(self, source: Buffer) -> set[Buffer]:
        """A buffer and the views of it."""
        found, pending = {source}, [source]
        while pending:
            viewed = pending.pop()
            steps = [self.steps[place] for place in self.places[viewed]]
            targets = {s.target for s in steps if isinstance(s, View) and s.source == viewed} - found
            found |= targets
            pending += targets
        return found

    def _drop(self, position: int, copy: Copy) -> None:
        for place in self.places.pop(copy.target):
            step = self.steps[place]
            if place == position or step is None or _allocates(step, copy.target):
                self.steps[place] = None
            else:
                self.steps[place] = rename(step, copy.target, copy.source)
                self.places[copy.source].add(place)
        self.places[copy.source].discard(position)
        self.program = replace(
            self.program,
            outputs=tuple(copy.source if b == copy.target else b for b in self.program.outputs),
            writebacks=tuple((leaf, copy.source if b == copy.target else b) for leaf, b in self.program.writebacks),
        )


def _mentioned(step: Step) -> Iterator[Buffer]:
    """All buffers that a step and the programs inside it name."""
    yield from reads(step)
    yield from writes(step)
    for program in inner_programs(step):
        yield from program.outputs
        for inner in program.steps:
            yield from _mentioned(inner)


def _allocates(step: Step, buffer: Buffer) -> bool:
    return isinstance(step, Allocate) and step.target == buffer


def _may_fail(step: Step) -> bool:
    """Whether a step is anything but a copy, a view, a product, or a kernel that meets no index out of bounds."""
    if not isinstance(step, (Allocate, View, Multiply, Copy, Launch)):
        return True
    return isinstance(step, Launch) and any(isinstance(line.body, k.Gather) for line in step.kernel.instructions)


def _cannot_fail(steps: Sequence[Step]) -> bool:
    return not any(map(_may_fail, steps))


def _aliases(program: Program, source: Buffer) -> set[Buffer]:
    """A buffer and the views of it."""
    found = {source}
    for step in program.steps:
        if isinstance(step, View) and step.source in found:
            found.add(step.target)
    return found


def reads_where_it_writes(step: Step, copy: Copy, aliases: set[Buffer]) -> bool:
    """Whether a kernel reads the old value only at the very element that it then writes.

    Stages do not matter: the element is one of the same row, or column, and all of that is read before any is written.
    """
    if not isinstance(step, Launch) or copy.target not in step.buffers or copy.source not in step.buffers:
        return False
    kernel = step.kernel
    visible = [n for n, operand in enumerate(kernel.operands) if operand.role != "scratch"]
    read, written = (visible[step.buffers.index(b)] for b in (copy.source, copy.target))
    stores = {i.body.indices for i in kernel.instructions if isinstance(i.body, k.Store) and i.body.operand == written}
    loads = {i.body.indices for i in kernel.instructions if isinstance(i.body, k.Load) and i.body.operand == read}
    # An element that is read after its new value is stored would be the new one.
    touched = [i.body for i in kernel.instructions if isinstance(i.body, (k.Load, k.Store))]
    first = next((n for n, b in enumerate(touched) if isinstance(b, k.Store) and b.operand == written), len(touched))
    if any(isinstance(b, k.Load) and b.operand == read for b in touched[first:]):
        return False
    gathers = any(isinstance(i.body, k.Gather) and i.body.operand == read for i in kernel.instructions)
    if loads != stores or len(stores) != 1 or gathers:
        return False
    # The function that ends a `reduce_all` kernel reads again what does not vary.
    varies = any(index.axis is not None for index in next(iter(stores)))
    return kernel.form in ("map", "reduce_columns") or (kernel.form == "reduce_all" and varies)


def _renamed(program: Program, position: int, copy: Copy) -> Program:
    steps: list[Step] = []
    for number, step in enumerate(program.steps):
        if number == position or _allocates(step, copy.target):
            continue
        steps.append(rename(step, copy.target, copy.source))
    outputs = tuple(copy.source if b == copy.target else b for b in program.outputs)
    writebacks = tuple((leaf, copy.source if b == copy.target else b) for leaf, b in program.writebacks)
    return Program(tuple(steps), outputs, writebacks)


def rename(step: Step, old: Buffer, new: Buffer) -> Step:
    """The step with one buffer for another."""

    def one(buffer: Buffer) -> Buffer:
        return new if buffer == old else buffer

    if isinstance(step, Launch):
        return replace(step, buffers=tuple(map(one, step.buffers))) if old in step.buffers else step
    if isinstance(step, (Copy, View)):
        return replace(step, source=one(step.source), target=one(step.target))
    if isinstance(step, (CallNumpy, CallInPlace)):
        return replace(step, operands=tuple(map(one, step.operands)), target=one(step.target))
    if isinstance(step, Multiply):
        return Multiply(one(step.left), one(step.right), one(step.target))
    if isinstance(step, Place):
        return replace(step, source=one(step.source), target=one(step.target))
    if isinstance(step, Together):
        return Together(tuple(rename(call, old, new) for call in step.calls))  # type: ignore[misc]
    if isinstance(step, Numbers):
        return Numbers(step.expressions, one(step.target))
    if isinstance(step, Loop):
        condition = None if step.condition is None else _renamed_inside(step.condition, old, new)
        carries, ys = tuple(map(one, step.carries)), tuple(map(one, step.ys))
        return replace(step, body=_renamed_inside(step.body, old, new), condition=condition, carries=carries, ys=ys)
    if isinstance(step, Branch):
        branches = tuple(_renamed_inside(program, old, new) for program in step.branches)
        return Branch(one(step.selector), branches, tuple(map(one, step.targets)))
    return Allocate(one(step.target))


def _renamed_inside(program: Program, old: Buffer, new: Buffer) -> Program:
    """An inner program with one buffer of the program around for another."""
    steps = tuple(rename(step, old, new) for step in program.steps)
    return Program(steps, tuple(new if buffer == old else buffer for buffer in program.outputs))


def _write_results_in_place(program: Program, contiguous: Container[int]) -> Program:
    """`x += 1`, `out[:] = a @ b`: the step that computes an argument's new value stores straight into the argument."""
    for leaf, result in program.writebacks:
        found = _producer(program, result)
        if found is None or result.kind != "allocated":
            continue
        position, step = found
        argument = next((b for s in program.steps for b in reads(s) if b.kind == "argument" and b.leaf == leaf), None)
        if argument is None:
            if leaf in contiguous and _is_only_written(program, position, leaf, result):
                program = _renamed(program, -1, Copy(replace(result, kind="argument", leaf=leaf), result))
            continue
        if argument.shape != result.shape:
            continue
        if leaf not in contiguous and any(result in reads(step) for step in program.steps[position + 1 :]):
            # The later steps were built for a result in C order.
            continue
        copy = Copy(argument, result)
        aliases = _aliases(program, argument)
        if any(
            any(b in aliases for b in reads(later)) and not reads_where_it_writes(later, copy, aliases)
            for later in program.steps[position:]
        ):
            continue
        early = leaf in contiguous and _cannot_fail(program.steps[position:])
        fits = early or (isinstance(step, Launch) and _unit_strides_hold(step, result, argument))
        if argument in program.outputs or not fits:
            continue
        program = _renamed(program, -1, copy)
    return program


def _is_only_written(program: Program, position: int, leaf: int, result: Buffer) -> bool:
    """Whether an argument that no step reads may take its new value early: nothing fails, and no output needs it."""
    given = program.outputs.count(result) > sum(buffer == result for _, buffer in program.writebacks)
    if given or any(b.kind == "argument" and b.leaf == leaf for b in program.outputs):
        return False
    return _cannot_fail(program.steps[position:])


def _unit_strides_hold(launch: Launch, result: Buffer, argument: Buffer) -> bool:
    """Whether an argument that is read in the same kernel lies as the result that the kernel was built for."""
    visible = [operand for operand in launch.kernel.operands if operand.role != "scratch"]
    written = visible[launch.buffers.index(result)]
    return any(
        buffer == argument and operand.rank == written.rank and operand.unit == written.unit
        for operand, buffer in zip(visible, launch.buffers, strict=True)
    )


def _producer(program: Program, result: Buffer) -> tuple[int, Launch | Multiply] | None:
    """The only step that writes a buffer, if it is a kernel or a product."""
    writers = [
        (position, step)
        for position, step in enumerate(program.steps)
        if result in writes(step) and not isinstance(step, Allocate)
    ]
    if len(writers) != 1 or not isinstance(writers[0][1], (Launch, Multiply)):
        return None
    return writers[0]  # type: ignore[return-value]
