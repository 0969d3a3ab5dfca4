"""Loops and branches inside a kernel, as Python's: carries and results are variables that are assigned again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracejit.lower.cuda.text import TextScalar, cast
from tracejit.lower.settled_loop import Settling, settling
from tracejit.schedule.kernel import Branch, Gather, Loop, walk

if TYPE_CHECKING:
    from tracejit.lower.cuda.body import Body


def write_loop(body: Body, loop: Loop) -> tuple[TextScalar, ...]:
    """A sequential loop; returns the last carries."""
    text = body.text
    carries = []
    for carry, number in zip(loop.carries, loop.initial, strict=True):
        initial = cast(body.value(number), carry.dtype)
        carries.append(TextScalar(text, text.define(initial.name, "carry"), carry.dtype))
    counter = text.fresh("at")
    if loop.axis is None:
        head = "while True:"
    elif loop.reverse:
        text.line(f"{counter} = {body.index(f'n{loop.axis} - 1')}")
        head = f"while {counter} >= 0:"
    else:
        head = f"for {counter} in range(n{loop.axis}):"
    with body.level(), text.block(head):
        for carry, value in zip(loop.carries, carries, strict=True):
            body.define(carry.number, value)
        if loop.condition is not None:
            _leave(body, loop)
        if loop.axis is not None:
            body.stand(loop.axis, counter)
        body.run(loop.body.instructions)
        settled = settling(body.kernel, loop)
        if settled is not None and not settled.compared:
            _leave_settled(body, settled)
        _assign(body, carries, loop.body.values)
        if loop.axis is not None:
            del body.axes[loop.axis]
            if loop.reverse:
                text.line(f"{counter} = {body.index(f'{counter} - 1')}")
    return tuple(carries)


def _leave(body: Body, loop: Loop) -> None:
    """Out of the loop unless its condition holds, and after an index out of bounds: it might hold for ever."""
    assert loop.condition is not None
    with body.level():
        body.run(loop.condition.instructions)
        (number,) = loop.condition.values
        ends = f"not {body.value(number).name}"
    inside = [*loop.condition.instructions, *loop.body.instructions]
    if any(isinstance(line.body, Gather) for line in walk(inside)):
        ends += " or error[0] != int64(0)"
    with body.text.block(f"if {ends}:"):
        body.text.line("break")


def _leave_settled(body: Body, settled: Settling) -> None:
    """Out of the loop where no mask lets anything change any more."""
    masks = ((body.value(number).name, lets_through) for number, lets_through in settled.masks)
    changes = [name if lets_through else f"not {name}" for name, lets_through in masks]
    with body.text.block(f"if not ({' or '.join(changes)}):"):
        body.text.line("break")


def write_branch(body: Body, branch: Branch) -> tuple[TextScalar, ...]:
    """Only the selected block is done; returns its values."""
    text = body.text
    dtypes = [body.dtype(number) for number in branch.blocks[0].values]
    selector = body.value(branch.selector)
    results = [TextScalar(text, text.fresh("chosen"), dtype) for dtype in dtypes]
    places = list(range(len(branch.blocks)))
    if selector.dtype.kind == "b":
        places, heads = places[::-1], [f"if {selector.name}:", "else:"]
    else:
        heads = [f"{'elif' if place else 'if'} {selector.name} == int64({place}):" for place in places[:-1]]
        heads.append("else:" if heads else "if True:")
    for place, head in zip(places, heads, strict=True):
        with body.level(), text.block(head):
            body.run(branch.blocks[place].instructions)
            for result, number in zip(results, branch.blocks[place].values, strict=True):
                text.line(f"{result.name} = {cast(body.value(number), result.dtype).name}")
    return tuple(results)


def _assign(body: Body, targets: Sequence[TextScalar], numbers: Sequence[int]) -> None:
    """Assign all at once: what is itself a target is put aside before it changes."""
    names = {target.name for target in targets}
    values = [cast(body.value(n), target.dtype).name for target, n in zip(targets, numbers, strict=True)]
    changing = [value if value not in names else body.text.define(value) for value in values]
    for target, value, put_aside in zip(targets, values, changing, strict=True):
        if target.name != value:
            body.text.line(f"{target.name} = {put_aside}")
