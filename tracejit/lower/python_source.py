"""A kernel as the Python loop nest that it is: for `explain`, for reading, and - on small arrays - for running.

The text says what the machine code computes, not in which order it adds up: chunks, tiles and blocks are left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import field
from typing import TypeAlias

import numpy as np

from tracejit.lower.placement import Placement, placements
from tracejit.ops.table import OPS
from tracejit.records import dataclass
from tracejit.schedule.kernel import (
    Accumulate,
    Apply,
    Block,
    Branch,
    Gather,
    Index,
    Instruction,
    Integer,
    IntegerValue,
    Kernel,
    Literal,
    Load,
    Loop,
    Position,
    Product,
    Reduce,
    Result,
    ScalarParameter,
    Stage,
    Store,
    arguments,
    blocks,
    walk,
)

WIDTH = 88
"""A line grows no longer than this by taking in the values that only it uses."""

_AXES = "ijklmnuvw"

_Spot: TypeAlias = tuple[str, int, int]
"""Where a line stands: ("stage", number, depth) or ("block", instruction, which of its blocks)."""


def python_source(kernel: Kernel, name: str = "kernel") -> str:
    """The kernel as a function of its arrays, extents, integers and scalars, in the order of a native call."""
    return _Printer(kernel).function(name)


@dataclass
class _Pending:
    """An expression that has no line of its own yet; `reads` are the operands that it loads from."""

    text: str
    reads: frozenset[int] = frozenset()
    name: str = ""


@dataclass
class _Printer:
    kernel: Kernel
    lines: list[str] = field(default_factory=list)
    values: dict[int, _Pending] = field(default_factory=dict)
    depth: int = 1

    def __post_init__(self) -> None:
        kernel = self.kernel
        self.operands = _operand_names(kernel)
        self.axes = [_AXES[a] if a < len(_AXES) else f"i{a}" for a in range(kernel.axes)]
        self._named = 0
        self.outer = len(kernel.outer) - (kernel.form == "panels")  # tiles are left out
        self._uses: dict[int, int] = {}
        self._used_at: dict[int, set[_Spot]] = {}
        self._by_number = {i.number: i for i in kernel.instructions}
        self._registers: dict[int, list[str]] = {}
        self._registers_named = 0
        for number, (stage, placement) in enumerate(zip(kernel.stages, placements(kernel), strict=True)):
            for instruction in stage.instructions:
                depth = self.outer + len(stage.axes)
                if not isinstance(instruction.body, Reduce):
                    depth = placement.depth(instruction.number)
                self.count(instruction, ("stage", number, depth))

    def count(self, instruction: Instruction, at: _Spot) -> None:
        """Take down what an instruction at a spot, and those in its blocks, use."""
        self._count(arguments(instruction.body), at)
        for which, block in enumerate(blocks(instruction.body)):
            inside = ("block", instruction.number, which)
            for line in block.instructions:
                self.count(line, inside)
            self._count(block.values, inside)

    def _count(self, used: Sequence[int], at: _Spot) -> None:
        for number in used:
            self._uses[number] = self._uses.get(number, 0) + 1
            self._used_at.setdefault(number, set()).add(at)

    # ---- the nest

    def function(self, name: str) -> str:
        """The whole text."""
        kernel, by_stage = self.kernel, placements(self.kernel)
        for number, operand in enumerate(kernel.operands):
            if operand.role == "scratch":
                shape = ", ".join(f"n{axis}" for axis in operand.scratch_axes)
                self.line(f"{self.operands[number]} = np.empty(({shape},), np.{operand.dtype})")
        for depth, axis in enumerate(kernel.outer[: self.outer]):
            for number, stage in enumerate(kernel.stages):
                self.place(number, stage, by_stage[number], depth)
            self.open(axis)
        for number, stage in enumerate(kernel.stages):
            self.stage(number, stage, by_stage[number])
        return "\n".join([f"def {name}({', '.join(self.parameters())}):", *self.lines, ""])

    def parameters(self) -> list[str]:
        """Names of the parameters."""
        kernel = self.kernel
        arrays = [self.operands[k] for k, x in enumerate(kernel.operands) if x.role not in ("scratch", "partial")]
        extents = [f"n{axis}" for axis in range(kernel.axes)]
        return (
            arrays + extents + [f"m{k}" for k in range(kernel.integers)] + [f"s{k}" for k in range(len(kernel.scalars))]
        )

    def stage(self, number: int, stage: Stage, placement: Placement) -> None:
        """One stage; what it reduces starts before its loops."""
        base, depth = self.depth, self.outer
        self.place(number, stage, placement, depth)
        reduces = [i for i in stage.instructions if isinstance(i.body, Reduce)]
        for instruction in (*reduces, *(i for i in stage.instructions if isinstance(i.body, Accumulate))):
            self.start(instruction)
        for offset, axis in enumerate(stage.axes):
            self.open(axis)
            self.place(number, stage, placement, depth + offset + 1)
        for instruction in reduces:
            if OPS[instruction.body.op].position_of:  # type: ignore[union-attr]
                self.search(instruction, stage.axes)
            else:
                self.step(instruction)
        self.depth = base

    def open(self, axis: int) -> None:
        """A loop over an axis."""
        self.line(f"for {self.axes[axis]} in range(n{axis}):")
        self.depth += 1

    def line(self, text: str) -> None:
        """A line at the current depth."""
        self.lines.append("    " * self.depth + text)

    # ---- instructions

    def place(self, number: int, stage: Stage, placement: Placement, depth: int) -> None:
        """The instructions of a stage that stand at a depth."""
        for instruction in stage.instructions:
            if not isinstance(instruction.body, Reduce) and placement.depth(instruction.number) == depth:
                self.run(instruction, ("stage", number, depth))

    def run(self, instruction: Instruction, at: _Spot) -> None:
        """One instruction."""
        match instruction.body:
            case Store():
                self.store(instruction.body)
            case Loop():
                self.settle_reads(instruction)
                self.loop(instruction.number, instruction.body)
            case Branch():
                self.settle_reads(instruction)
                self.branch(instruction.number, instruction.body)
            case Product():
                self.product(instruction.body)
            case Accumulate():
                self.step(instruction)
            case _ if self._uses.get(instruction.number):
                self.define(instruction, at)

    def define(self, instruction: Instruction, at: _Spot) -> None:
        """A value: kept for the line that uses it if that is the only one and stands here, else given a name."""
        value = _Pending(_tidy(self.expression(instruction)), self.reads(instruction))
        self.values[instruction.number] = value
        simple = value.text.isidentifier() or isinstance(instruction.body, Literal)
        once_here = self._uses[instruction.number] == 1 and self._used_at[instruction.number] == {at}
        if not simple and not (once_here and len(value.text) + 4 * self.depth < WIDTH - 24):
            self.name(value)

    def name(self, value: _Pending) -> None:
        """Give a value its own line."""
        name = f"v{self._named}"
        self._named += 1
        self.line(f"{name} = {value.text}")
        value.text, value.reads = name, frozenset()

    def reads(self, instruction: Instruction) -> frozenset[int]:
        """The operands that an expression reads when it is evaluated."""
        own = {instruction.body.operand} if isinstance(instruction.body, Load | Gather) else set()
        used = () if isinstance(instruction.body, Result) else arguments(instruction.body)
        return frozenset(own).union(*(self.values[x].reads for x in used))

    def store(self, body: Store) -> None:
        """An assignment; whatever else still has to read the operand reads it before."""
        value = self.values[body.value]
        for other in self.values.values():
            if other is not value and body.operand in other.reads:
                self.name(other)
        self.line(f"{self.element(body.operand, body.indices)} = {value.text}")
        if self._uses[body.value] == 1:
            value.reads = frozenset()

    # ---- loops and branches

    def settle_reads(self, instruction: Instruction) -> None:
        """What was to be read before a loop or branch that writes the same array is read before it."""
        written = {line.body.operand for line in walk((instruction,)) if isinstance(line.body, Store)}
        for value in list(self.values.values()):
            if value.reads & written:
                self.name(value)

    def loop(self, number: int, loop: Loop) -> None:
        """A sequential loop; its carries are variables."""
        names = self.registers(number, len(loop.carries))
        self.assign(names, loop.initial)
        for name, carry in zip(names, loop.carries, strict=True):
            self.values[carry.number] = _Pending(name)
        if loop.axis is not None:
            bounds = f"n{loop.axis}"
            self.line(f"for {self.axes[loop.axis]} in range({bounds + ' - 1, -1, -1' if loop.reverse else bounds}):")
        if loop.condition is not None:
            self.test(number, loop.condition)
        self.block(("block", number, len(blocks(loop)) - 1), loop.body, names)

    def test(self, number: int, condition: Block) -> None:
        """The head of a `while`."""
        start = len(self.lines)
        self.depth += 1
        for instruction in condition.instructions:
            self.run(instruction, ("block", number, 0))
        self.depth -= 1
        truth = self.values[condition.values[0]].text
        if len(self.lines) == start:
            self.line(f"while {truth}:")
        else:
            self.lines.insert(start, "    " * self.depth + "while True:")
            self.line(f"    if not ({truth}):")
            self.line("        break")

    def branch(self, number: int, branch: Branch) -> None:
        """An if; its results are variables that each way assigns."""
        names = self.registers(number, len(branch.blocks[0].values))
        selector = self.values[branch.selector].text
        places = list(range(len(branch.blocks)))
        if self._by_number[branch.selector].dtype == "bool":
            places, tests = places[::-1], [f"if {selector}:", "else:"]
        else:
            tests = [f"{'elif' if place else 'if'} {selector} == {place}:" for place in places[:-1]]
            tests.append("else:" if tests else "if True:")
        for place, test in zip(places, tests, strict=True):
            self.line(test)
            self.block(("block", number, place), branch.blocks[place], names)

    def block(self, at: _Spot, block: Block, names: list[str]) -> None:
        """An indented block that ends by assigning what leaves it."""
        start = len(self.lines)
        self.depth += 1
        for instruction in block.instructions:
            self.run(instruction, at)
        self.assign(names, block.values)
        if len(self.lines) == start:
            self.line("pass")
        self.depth -= 1

    def registers(self, number: int, count: int) -> list[str]:
        """Names of the carries or results of a loop or branch."""
        first, self._registers_named = self._registers_named, self._registers_named + count
        self._registers[number] = [f"c{k}" for k in range(first, first + count)]
        return self._registers[number]

    def assign(self, names: list[str], numbers: Sequence[int]) -> None:
        """Assign all at once; a Python number takes its dtype, which it would not have by itself."""
        texts = []
        for number in numbers:
            line, text = self._by_number[number], self.values[number].text
            plain = isinstance(line.body, Literal | ScalarParameter | IntegerValue | Position)
            texts.append(f"np.{line.dtype}({text})" if plain else text)
        changed = [(name, text) for name, text in zip(names, texts, strict=True) if name != text]
        if changed:
            self.line(f"{', '.join(name for name, _ in changed)} = {', '.join(text for _, text in changed)}")

    def product(self, body: Product) -> None:
        """A matrix product, as NumPy's of the operands as matrices."""
        own = (body.rows, body.depth)
        keys = [self.slice(index) if index.axis in own else self.index(index) for index in body.indices]
        turned = [index.axis for index in body.indices if index.axis in own] != list(own)
        left = f"{self.operands[body.left]}[{', '.join(keys)}]{'.T' * turned}"
        width = " * ".join(f"n{axis}" for axis in self.kernel.operands[body.tile].scratch_axes[1:])
        panel, tile = self.operands[body.panel], self.operands[body.tile]
        self.line(f"{tile}[...] = ({left} @ {panel}.reshape(n{body.depth}, {width})).reshape({tile}.shape)")

    # ---- reductions

    def start(self, instruction: Instruction) -> None:
        """The accumulator of a reduction, or of running totals."""
        assert isinstance(instruction.body, Reduce | Accumulate)
        op = OPS[instruction.body.op]
        name = f"{op.name}{instruction.number}"
        self.values[instruction.number] = _Pending(name)
        if op.position_of:
            self.line(f"{op.position_of}{instruction.number}, {name} = None, -1")
            return
        assert op.identity is not None
        identity = op.identity(np.dtype(instruction.dtype))
        self.line(f"{name} = {_number(identity)}")

    def step(self, instruction: Instruction) -> None:
        """One step of a reduction, or of running totals."""
        assert isinstance(instruction.body, Reduce | Accumulate)
        op, value = OPS[instruction.body.op], self.values[instruction.body.value].text
        name = self.values[instruction.number].text
        step = OPS.get(op.resolve.__name__) if op.resolve is not None else None
        if step is not None:
            self.line(_augmented(name, _tidy(_call(step.name, [name, f"({value})"]))))
        else:
            self.line(f"{name} = tj.{op.name}({name}, {value})")

    def search(self, instruction: Instruction, axes: Sequence[int]) -> None:
        """One step of the search for the first extremum."""
        assert isinstance(instruction.body, Reduce)
        name, value = self.values[instruction.number].text, self.values[instruction.body.value].text
        extremum = OPS[instruction.body.op].position_of
        best, better = f"{extremum}{instruction.number}", ">" if extremum == "max" else "<"
        place = self.axes[axes[0]]
        for axis in axes[1:]:
            place = f"({place}) * n{axis} + {self.axes[axis]}"
        worse = f"{value} {better} {best} or {value} != {value} and {best} == {best}"
        self.line(f"if {name} < 0 or {worse}:")
        self.line(f"    {best}, {name} = {value}, {place}")

    def expression(self, instruction: Instruction) -> str:
        """An instruction as an expression."""
        body = instruction.body
        match body:
            case Load():
                return self.element(body.operand, body.indices)
            case Gather():
                return self.element(body.operand, body.indices)
            case Apply():
                arguments = [f"({self.values[x].text})" for x in body.args]
                if body.op == "cast":
                    return f"np.{np.dtype(instruction.dtype).name}({arguments[0]})"
                return _call(body.op, arguments, dict(body.params))
            case Literal():
                return _number(np.frombuffer(body.data, instruction.dtype)[0].item())
            case ScalarParameter():
                return f"s{body.slot}"
            case Position():
                return self.axes[body.axis]
            case IntegerValue():
                return f"m{body.slot}"
            case Result():
                return self._registers[body.of][body.slot]
            case _:
                raise TypeError(f"no expression for {body}")

    def element(self, operand: int, indices: tuple[int | Index, ...] | tuple[Index, ...]) -> str:
        """An element of an operand."""
        texts = [self.values[x].text if isinstance(x, int) else self.index(x) for x in indices]
        return f"{self.operands[operand]}[{', '.join(texts) or '()'}]"

    def slice(self, index: Index) -> str:
        """All places that an axis comes to."""
        if index == Index(index.axis):
            return ":"
        start = f"m{index.start.slot}" if isinstance(index.start, Integer) else str(index.start)
        return f"{start} + {index.step} * np.arange(n{index.axis})"

    def index(self, index: Index) -> str:
        """`start + step * axis`, without what adds nothing."""
        start = f"m{index.start.slot}" if isinstance(index.start, Integer) else str(index.start)
        if index.axis is None:
            return start
        axis = self.axes[index.axis]
        moved = axis if abs(index.step) == 1 else f"{abs(index.step)} * {axis}"
        if index.step < 0:
            return f"{start} - {moved}"
        return moved if start == "0" else f"{moved} + {start}"


def _operand_names(kernel: Kernel) -> list[str]:
    """x0, x1 for what is read, out0 for what is written, y0 for both, row0 for scratch, part0 for partial results."""
    prefixes = {"in": "x", "out": "out", "inout": "y", "scratch": "row", "partial": "part"}
    counts: dict[str, int] = {}
    names = []
    for operand in kernel.operands:
        number = counts.get(operand.role, 0)
        counts[operand.role] = number + 1
        names.append(f"{prefixes[operand.role]}{number}")
    return names


def _call(op_name: str, arguments: list[str], params: dict[str, object] | None = None) -> str:
    """An op as it is spelled in user code: by its symbol, as a NumPy call, or as one of ours."""
    op = OPS[op_name]
    if op.symbol is not None:
        return op.symbol.format(*arguments, **(params or {}))
    numpy_name = next((s.split(".", 1)[1] for s in op.spellings if s.startswith("numpy.")), None)
    spelled = f"np.{numpy_name}" if numpy_name else f"tj.{op_name}"
    extra = [f"{key}={value!r}" for key, value in (params or {}).items()]
    return f"{spelled}({', '.join(arguments + extra)})"


def _augmented(name: str, expression: str) -> str:
    """`name = name + rest` as `name += rest`."""
    match = re.fullmatch(rf"{name} ([-+*|&]) (\S+|\(.*\))", expression)
    return f"{name} {match[1]}= {_tidy(match[2])}" if match else f"{name} = {expression}"


def _number(number: object) -> str:
    if isinstance(number, float) and not np.isfinite(number):
        return "np.nan" if np.isnan(number) else "np.inf" if number > 0 else "-np.inf"
    return repr(number)


def _tidy(expression: str) -> str:
    """The expression without parentheses that change nothing."""
    return ast.unparse(ast.parse(expression, mode="eval"))
