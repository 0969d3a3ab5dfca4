"""Where instructions stand: at the depth of the deepest loop that they depend on."""

from __future__ import annotations

from tracejit.schedule.kernel import (
    Accumulate,
    Branch,
    Gather,
    Index,
    Instruction,
    Kernel,
    Load,
    Loop,
    Position,
    Product,
    Reduce,
    Store,
    arguments,
    blocks,
    walk,
)


class Placement:
    """For an order of loops: how many of them an instruction stands in."""

    def __init__(self, kernel: Kernel, order: tuple[int, ...], reduced: int) -> None:
        self._place = {axis: position + 1 for position, axis in enumerate(order)}
        self._reduced = reduced
        self._by_number = {i.number: i for i in kernel.instructions}
        self._written = {i.body.operand for i in kernel.instructions if isinstance(i.body, Store)}
        self._known: dict[int, int] = {}

    def depth(self, number: int) -> int:
        """The number of loops around an instruction; a Reduce's value (and a Product) has the depth `reduced`."""
        if number not in self._known:
            self._known[number] = self._depth(self._by_number[number])
        return self._known[number]

    def _depth(self, instruction: Instruction) -> int:
        body = instruction.body
        if isinstance(body, Reduce | Product):
            return self._reduced
        if isinstance(body, Accumulate):
            return max(self._place.values())
        if isinstance(body, Position):
            return self._place.get(body.axis, 0)
        found = [self.depth(x) for x in arguments(body)]
        if isinstance(body, Loop | Branch):
            # Control stands where all that its blocks need is known; the counters are of its own making.
            inside = list(walk((instruction,)))
            found += [self.depth(line.number) for line in inside[1:]]
            found += [self.depth(x) for line in inside for block in blocks(line.body) for x in block.values]
        if isinstance(body, Load | Gather | Store):
            axes = [x.axis for x in body.indices if isinstance(x, Index) and x.axis is not None]
            found += [self._place.get(axis, 0) for axis in axes]
            if body.operand in self._written:
                found.append(self._reduced)  # never moved ahead of another stage's store
        return max(found, default=0)


def placements(kernel: Kernel) -> list[Placement]:
    """For each stage its placement in the plain order: the outer loops, then the stage's (which may have one again)."""
    outer = kernel.outer[:-1] if kernel.form == "panels" else kernel.outer
    return [Placement(kernel, outer + stage.axes, len(outer)) for stage in kernel.stages]
