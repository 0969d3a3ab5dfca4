"""What many rows share, and would be gathered with a stride for each of them, is copied for a tile once.

                                                for tile in range(0, m, WIDTH):
for i in range(n):                                  for r in range(3):
    for tile in range(0, m, WIDTH):                     for j in tile: row[r, j] = y[j, r]
        for r in range(3):              ->          for i in range(n):
            for j in tile:                              for r in range(3):
                ... x[i, r] - y[j, r]                       for j in tile:
                                                                ... x[i, r] - row[r, j]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracejit.schedule.kernel import Body, Index, Instruction, Kernel, Load, Operand, Stage, Store, rewritten


@dataclass(frozen=True)
class Packed:
    """A kernel for tiles of its last outer axis, whose first `copies` stages run once a tile, before any other axis."""

    kernel: Kernel
    copies: int = 0


def packed(kernel: Kernel) -> Packed:
    """The kernel reading copies of what has a stride along the tile and is the same for all other outer axes."""
    places: dict[tuple[int, tuple[Index, ...]], tuple[int, ...]] = {}
    for stage in kernel.stages:
        for line in stage.instructions:
            if isinstance(line.body, Load) and _pays(kernel, stage, line.body):
                used = {index.axis for index in line.body.indices}
                places[line.body.operand, line.body.indices] = tuple(axis for axis in stage.axes if axis in used)
    if not places:
        return Packed(kernel)
    operands, copies, number = list(kernel.operands), [], max(line.number for line in kernel.instructions) + 1
    rows: dict[tuple[int, tuple[Index, ...]], Load] = {}
    for (operand, indices), axes in places.items():
        dtype = kernel.operands[operand].dtype
        row = rows[operand, indices] = Load(len(operands), tuple(map(Index, axes)))
        operands.append(Operand(dtype, len(axes), (False,) * len(axes), "scratch", axes))
        load = Instruction(number, Load(operand, indices), dtype)
        store = Instruction(number + 1, Store(row.operand, row.indices, number), "")
        copies.append(Stage(axes, (load, store)))
        number += 2

    def from_row(line: Instruction) -> Body:
        body = line.body
        return rows.get((body.operand, body.indices), body) if isinstance(body, Load) else body

    stages = tuple(replace(stage, instructions=rewritten(stage.instructions, from_row)) for stage in kernel.stages)
    return Packed(replace(kernel, stages=(*copies, *stages), operands=tuple(operands)), len(copies))


def _pays(kernel: Kernel, stage: Stage, load: Load) -> bool:
    repeated = len(kernel.outer) > 1 and kernel.operands[load.operand].role == "in"
    everywhere = all(index.axis in (None, kernel.outer[-1], *stage.axes) for index in load.indices)
    return repeated and everywhere and _is_strided(kernel, load)


def _is_strided(kernel: Kernel, load: Load) -> bool:
    """Whether neighbours along the last outer axis may stand apart in memory."""
    operand = kernel.operands[load.operand]
    along = [dimension for dimension, index in enumerate(load.indices) if index.axis == kernel.outer[-1]]
    return operand.role != "scratch" and bool(along) and not operand.unit[along[0]]


def reads_with_stride(kernel: Kernel) -> bool:
    """Whether a vector of places of the last outer axis has to be loaded element by element."""
    return any(isinstance(line.body, Load) and _is_strided(kernel, line.body) for line in kernel.instructions)
