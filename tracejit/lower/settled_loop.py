"""Counted loops that may end early: an iteration that changes nothing is the last one that matters.

for t in range(T):                         for t in range(T):
    alive = z * z <= 4.0                       alive = z * z <= 4.0
    z = z * z + c if alive else z      ->      z = z * z + c if alive else z
    n = n + (1 if alive else 0)                n = n + (1 if alive else 0)
                                               if not alive: break

The body has to be a function of its carries and of what does not vary: then a state that it leaves as it is stays for
ever.  To look costs something, so it is done only where selects by a mask can keep the whole state, as above.  No LLVM
is needed to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from tracejit.records import dataclass
from tracejit.schedule.kernel import (
    Accumulate,
    Apply,
    Body,
    Carry,
    Gather,
    Index,
    Instruction,
    Kernel,
    Literal,
    Load,
    Loop,
    Position,
    Store,
    arguments,
    blocks,
    walk,
)

Masks: TypeAlias = frozenset[tuple[int, bool]]
"""Bools and the value at which each lets a change through."""

_NONE: Masks = frozenset()
_ADDITIONS = frozenset({"add", "bitwise_or", "bitwise_xor", "logical_or"})
_IDEMPOTENT = frozenset({"maximum", "minimum", "bitwise_and", "bitwise_or", "logical_and", "logical_or"})


@dataclass(frozen=True)
class Settling:
    """An iteration changes nothing where none of the masks lets a change through and the compared carries are equal.

    compared: places among the carries; equal are those of the same bits.
    """

    masks: tuple[tuple[int, bool], ...]
    compared: tuple[int, ...]


def settling(kernel: Kernel, loop: Loop) -> Settling | None:
    """How to tell that an iteration of a kernel's loop changed nothing; None where it is not worth a look."""
    if loop.condition is not None or not _depends_on_carries_alone(loop):
        return None
    lines = {line.number: line for line in kernel.instructions}
    masks: Masks = _NONE
    compared = []
    for place, (carry, value) in enumerate(zip(loop.carries, loop.body.values, strict=True)):
        found = _changes(lines, value, carry)
        if found is not None:
            masks |= found
        elif _may_keep(lines, value, carry):
            compared.append(place)
        else:
            return None
    return Settling(tuple(sorted(masks)), tuple(compared)) if masks else None


def _depends_on_carries_alone(loop: Loop) -> bool:
    """Whether iterations differ in nothing but their carries, and leave nothing else behind."""
    inside = list(walk(loop.body.instructions))
    used = {x for line in inside for x in arguments(line.body)} | {*_block_values(loop)}
    for line in inside:
        match line.body:
            case Store() | Accumulate():
                return False
            case Position(axis=axis) if axis == loop.axis and line.number in used:
                return False
            case Load(indices=indices) | Gather(indices=indices):
                if any(isinstance(index, Index) and index.axis == loop.axis for index in indices):
                    return False
    return True


def _block_values(body: Body) -> Iterator[int]:
    for block in blocks(body):
        yield from block.values
        for line in block.instructions:
            yield from _block_values(line.body)


def _changes(lines: Mapping[int, Instruction], number: int, carry: Instruction) -> Masks | None:
    """Masks without which a value is the carry, bit for bit; None where they do not decide."""
    if number == carry.number:
        return _NONE
    match lines.get(number):
        case Instruction(body=Apply(op="where", args=args)):
            return _selected(args, lambda x: _changes(lines, x, carry))
        case Instruction(body=Apply(op=op, args=(x, y)), dtype=dtype) if op in _ADDITIONS:
            # -0.0 + 0.0 is another number than -0.0.
            return None if dtype.startswith(("float", "complex")) else _added(lines, x, y, carry)
    return None


def _added(lines: Mapping[int, Instruction], x: int, y: int, carry: Instruction) -> Masks | None:
    """Masks without which a sum is the carry: one addend is, the other is nothing."""
    if carry.number not in (x, y):
        return None
    return _nonzero(lines, y if x == carry.number else x)


def _nonzero(lines: Mapping[int, Instruction], number: int) -> Masks | None:
    """Masks without which a value is zero; None where they do not decide."""
    match lines.get(number):
        case Instruction(dtype="bool", body=body) if not isinstance(body, Literal):
            return frozenset({(number, True)})
        case Instruction(body=Literal(data=data)):
            return _NONE if not any(data) else None
        case Instruction(body=Apply(op="cast", args=(x,))):
            return _nonzero(lines, x)
        case Instruction(body=Apply(op="where", args=args)):
            return _selected(args, lambda x: _nonzero(lines, x))
    return None


def _selected(args: tuple[int, ...], rule: Callable[[int], Masks | None]) -> Masks | None:
    """Masks of a select: its own lets through what no mask of the value that it takes decides."""
    mask, *values = args
    where_true, where_false = map(rule, values)
    if where_true is None and where_false is None:
        return None
    if where_true is None:
        return (where_false or _NONE) | {(mask, True)}
    if where_false is None:
        return where_true | {(mask, False)}
    return where_true | where_false


def _may_keep(lines: Mapping[int, Instruction], number: int, carry: Instruction) -> bool:
    """Whether a value is likely to be the carry again once all others stay: a look will tell."""
    match lines.get(number):
        case Instruction(body=Carry()):
            return True
        case Instruction(body=Apply(op="add", args=(x, y))):
            return _added(lines, x, y, carry) is not None
        case Instruction(body=Apply(op=op, args=args)) if op in _IDEMPOTENT:
            return carry.number in args
    return False
