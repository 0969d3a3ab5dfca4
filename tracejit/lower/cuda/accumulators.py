"""Accumulators of a thread, and how the threads of a group put theirs together: always in the same order.

Floats narrower than float64 add up in float64.  A sum of float64 keeps the rounding error of every addition (two-sum),
which costs nothing where memory is what a kernel waits for; with `fastmath` it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.lower.abi import accumulator_dtype
from tracejit.lower.cuda.body import Body
from tracejit.lower.cuda.text import Text, TextScalar, cast, literal
from tracejit.ops.table import OPS
from tracejit.schedule.kernel import Instruction, Reduce, Stage
from tracejit.vecmath import language
from tracejit.vecmath.language import Scalar

_BOOL = np.dtype(bool)
_HALF = np.dtype(np.float16)


class Accumulator:
    """Variables that take in values: a total, and for a compensated sum what its additions lost."""

    def __init__(self, body: Body, line: Instruction) -> None:
        assert isinstance(line.body, Reduce)
        self.body, self.line, self.reduce = body, line, line.body
        self.op = OPS[self.reduce.op]
        value = body.dtype(self.reduce.value)
        self.dtype: np.dtype[Any] = np.dtype(accumulator_dtype(self.op.name, value))
        self.compensated = self.op.compensated and value == "float64" and not body.kernel.fastmath
        self.names: list[str] = []

    @property
    def text(self) -> Text:
        """Where lines go."""
        return self.body.text

    def start(self) -> None:
        """New variables, that hold nothing."""
        assert self.op.identity is not None
        neutral = literal(self.op.identity(self.dtype), self.dtype)
        self.names = [self.text.define(neutral, "total")]
        if self.compensated:
            self.names.append(self.text.define(literal(0, self.dtype), "lost"))

    def step(self) -> None:
        """Take in the value of the place where the thread stands."""
        self.add(cast(self.body.value(self.reduce.value), self.dtype))

    def add(self, value: TextScalar, *lost: TextScalar) -> None:
        """Take in a value, or another's total with what that lost."""
        total = self.scalars()[0]
        if not self.compensated:
            assert self.op.scalar is not None
            self._assign(self.op.scalar(total, value))
            return
        together, error = two_sum(total, value)
        for other in lost:
            error = error + other
        self._assign(together, self.scalars()[1] + error)

    def scalars(self) -> list[TextScalar]:
        """The variables."""
        return [TextScalar(self.text, name, self.dtype) for name in self.names]

    def total(self) -> TextScalar:
        """All that was taken in, in the accumulator's dtype."""
        total, *lost = self.scalars()
        result: Any = language.select(lost[0] == 0, total, total + lost[0]) if lost else total
        assert isinstance(result, TextScalar)
        return result

    def result(self) -> TextScalar:
        """The value of the Reduce instruction; to float16 by way of float32, as NumPy's sums go."""
        total, dtype = self.total(), np.dtype(self.line.dtype)
        return cast(cast(total, "float32"), dtype) if dtype == _HALF else cast(total, dtype)

    def _assign(self, *values: Scalar) -> None:
        for name, value in zip(self.names, values, strict=True):
            assert isinstance(value, TextScalar)
            self.text.line(f"{name} = {value.name}")


def two_sum(total: Scalar, part: Scalar) -> tuple[Scalar, Scalar]:
    """total + part, and the rounding error of it; infinities and NaN lose nothing.

    D. E. Knuth, "The Art of Computer Programming", volume 2, section 4.2.2, theorem B.
    """
    together = total + part
    from_part = together - total
    error = (total - (together - from_part)) + (part - from_part)
    return together, language.select(abs(together) < float("inf"), error, 0.0)


def started(body: Body, stage: Stage) -> list[Accumulator]:
    """The accumulators of a stage's reductions, at their identities."""
    found = accumulators(body, stage)
    for accumulator in found:
        accumulator.start()
    return found


def step_all(found: Sequence[Accumulator]) -> Callable[[], None]:
    """What takes in one element, after the lines that compute it."""

    def step() -> None:
        for accumulator in found:
            accumulator.step()

    return step


def accumulators(body: Body, stage: Stage) -> list[Accumulator]:
    """One for each Reduce of a stage."""
    return [Accumulator(body, line) for line in stage.instructions if isinstance(line.body, Reduce)]


@dataclass(frozen=True)
class Group:
    """Threads that work on one row together.

    width: how many; 1, a power of two up to 32, or the whole block.
    block: threads in the block.
    side_by_side: neighbours are on neighbouring rows, and a row's threads are `block // width` apart.
    """

    width: int
    block: int
    side_by_side: bool = False

    @property
    def count(self) -> int:
        """Groups in a block."""
        return self.block // self.width

    @property
    def by_shuffles(self) -> bool:
        """Do the threads of a group stand in one warp?"""
        return self.width <= 32 and not self.side_by_side

    def head(self, body: Body) -> None:
        """`lane`, a thread's number in its group, `group`, its group's number, and who else is in it."""
        text = body.text
        text.line(f"thread = {body.index('cuda.threadIdx.x')}")
        shift = (self.count if self.side_by_side else self.width).bit_length() - 1
        high, low = body.index(f"thread >> {shift}"), body.index(f"thread & {(1 << shift) - 1}")
        lane, group = (high, low) if self.side_by_side else (low, high)
        text.line(f"lane = {lane}")
        text.line(f"group = {group}")
        if self.by_shuffles and 1 < self.width < 32:
            text.line(f"members = uint32(uint32({(1 << self.width) - 1}) << uint32(thread & {32 - self.width}))")
        elif self.width > 1:
            text.line(f"members = uint32({0xFFFFFFFF})")

    def wait(self, text: Text) -> None:
        """All threads of a group have come here, and see what the others wrote."""
        if self.width > 1:
            text.line("sync_warp(members)" if self.by_shuffles else "cuda.syncthreads()")

    def combine(self, found: list[Accumulator], text: Text) -> None:
        """Let every thread of the group have the total of all."""
        if self.width == 1 or not found:
            return
        if not self.side_by_side:
            for accumulator in found:
                self._butterfly(accumulator, text)
        if not self.by_shuffles:
            self._through_shared_memory(found, text)

    def _butterfly(self, accumulator: Accumulator, text: Text) -> None:
        distance = min(self.width, 32) >> 1
        while distance:
            moved = [
                text.value(f"shuffle_xor({name}, int32({distance}), members)", accumulator.dtype)
                for name in accumulator.names
            ]
            accumulator.add(*moved)
            distance >>= 1

    def _through_shared_memory(self, found: list[Accumulator], text: Text) -> None:
        """One place for each warp, or for each thread where neighbours are on other rows; all read them in order."""
        places, here, condition = self.block // 32, "lane >> 5", "lane & 31 == 0"
        parts, row = range(self.block // 32), "{k}"
        if self.side_by_side:
            places, here, condition = self.block, "thread", ""
            parts, row = range(self.width), f"{{k}} * {self.count} + group"
        arrays = {name: _shared(text, places, x.dtype) for x in found for name in x.names}
        for accumulator in found:
            for name in accumulator.names:
                line = f"{arrays[name]}[uint32({here})] = {stored(name, accumulator.dtype)}"
                if condition:
                    with text.block(f"if {condition}:"):
                        text.line(line)
                else:
                    text.line(line)
        text.line("cuda.syncthreads()")
        for accumulator in found:
            names = list(accumulator.names)
            accumulator.start()
            counter = text.fresh("k")
            with text.block(f"for {counter} in range({len(parts)}):"):
                place = f"uint32({row.format(k=counter)})"
                accumulator.add(*(read_stored(text, f"{arrays[name]}[{place}]", accumulator.dtype) for name in names))
        if self.side_by_side:
            text.line("cuda.syncthreads()")


def stored(name: str, dtype: np.dtype[Any]) -> str:
    """A value as it is kept in memory of the kernel's own: a bool is a byte."""
    return f"uint8({name})" if dtype == _BOOL else name


def read_stored(text: Text, element: str, dtype: np.dtype[Any]) -> TextScalar:
    """An element of such memory as a value."""
    return text.value(f"{element} != uint8(0)" if dtype == _BOOL else element, dtype)


def _shared(text: Text, places: int, dtype: np.dtype[Any]) -> str:
    """The name of a new array in shared memory."""
    name = text.fresh("shared")
    memory = "uint8" if dtype == _BOOL else dtype.name
    text.lines.insert(0, f"    {name} = cuda.shared.array({places}, {memory}_dtype)")
    return name
