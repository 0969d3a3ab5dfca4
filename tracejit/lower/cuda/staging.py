"""Rows that several stages read are kept in shared memory, where they are too long for the nearest cache to keep them.

for j: largest = max(largest, x[i, j])             for j: row[j] = x[i, j]; largest = max(largest, row[j])
for j: total += exp(x[i, j] - largest)      ->     for j: total += exp(row[j] - largest)
for j: out[i, j] = exp(x[i, j] - ..) / total       for j: out[i, j] = exp(row[j] - ..) / total

Each thread reads what it wrote itself, so none has to wait.
"""

from __future__ import annotations

from dataclasses import replace

from tracejit.schedule.kernel import Body, Index, Instruction, Kernel, Load, Operand, Stage, Store, rewritten

_Place = tuple[int, tuple[Index, ...]]


def staged(kernel: Kernel) -> Kernel:
    """The kernel with copies of the rows that several stages read along the same axes; itself if there are none."""
    repeated = _repeated(kernel)
    if not repeated:
        return kernel
    operands, number = list(kernel.operands), max(line.number for line in kernel.instructions) + 1
    rows: dict[_Place, Load] = {}
    seen: set[_Place] = set()
    stages = []
    for place, axes in repeated.items():
        rows[place] = Load(len(operands), tuple(map(Index, axes)))
        unit = tuple(d == len(axes) - 1 for d in range(len(axes)))
        operands.append(Operand(kernel.operands[place[0]].dtype, len(axes), unit, "scratch", axes))

    def from_row(line: Instruction) -> Body:
        body = line.body
        place = (body.operand, body.indices) if isinstance(body, Load) else None
        return rows[place] if place in seen and place in rows else body

    for stage in kernel.stages:
        lines = list(rewritten(stage.instructions, from_row))
        for line in stage.instructions:
            if isinstance(line.body, Load) and (place := (line.body.operand, line.body.indices)) in rows:
                if place not in seen:
                    row = rows[place]
                    at = next(k for k, item in enumerate(lines) if item.number == line.number) + 1
                    lines.insert(at, Instruction(number, Store(row.operand, row.indices, line.number), ""))
                    number += 1
                seen.add(place)
        stages.append(replace(stage, instructions=tuple(lines)))
    return replace(kernel, stages=tuple(stages), operands=tuple(operands))


def _repeated(kernel: Kernel) -> dict[_Place, tuple[int, ...]]:
    """What of memory that is only read several stages load, at a place for each place on their common axes."""
    found: dict[_Place, list[Stage]] = {}
    for stage in kernel.stages:
        for line in stage.instructions:
            if isinstance(line.body, Load) and kernel.operands[line.body.operand].role == "in":
                used = {index.axis for index in line.body.indices}
                if stage.axes and set(stage.axes) <= used and used & set(kernel.outer):
                    stages = found.setdefault((line.body.operand, line.body.indices), [])
                    stages += [stage] if stage not in stages else []
    alike = {place: stages for place, stages in found.items() if len(stages) > 1}
    return {p: stages[0].axes for p, stages in alike.items() if len({stage.axes for stage in stages}) == 1}
