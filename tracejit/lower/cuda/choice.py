"""Which variant of a kernel a call takes: pure functions of what the call looks like."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from tracejit.lower.cuda.elementwise import element_vectors, is_elementwise
from tracejit.lower.cuda.kernel import INDEX_LIMIT, Device, Extents, Variant
from tracejit.lower.cuda.panels import panel_bytes
from tracejit.lower.cuda.products import factors
from tracejit.lower.cuda.reduce_all import whole_vectors
from tracejit.lower.cuda.rows import row_group, row_vectors
from tracejit.lower.cuda.scratch import shared_bytes
from tracejit.lower.cuda.split_columns import can_split
from tracejit.lower.cuda.staging import staged
from tracejit.schedule.kernel import Kernel

SHORT_ROW = 8
"""Elements of a row up to which it is the work of one thread."""

WARP_ROW = 1024
"""Elements of a row up to which a warp has it: every thread does eight vectors of four floats."""

FULL_WARP = 32

LONG_ROW_BYTES = 16 << 10
"""Bytes of a row from which on the rows of all blocks of a multiprocessor do not fit in its nearest cache."""

MANY_STEPS = 256
"""Steps on a reduced axis from which on several blocks share a column."""

USUAL = Device(multiprocessors=80)
"""A GPU of middling size."""


def choose(
    kernel: Kernel,
    extents: Extents,
    reach: int,
    aligned: Callable[[int], bool],
    device: Device = USUAL,
    block: int = 256,
) -> Variant:
    """The variant for a call.

    reach: the largest magnitude of a byte offset into any operand, and of an integer that is a start of an index.
    aligned: of an operand's number: are its address and all strides but the unit one multiples of 16 bytes?
    block: threads in a block, where nothing else is better.
    """
    small = max(reach, math.prod(max(1, extent) for extent in extents)) < INDEX_LIMIT
    wanted = vectorized(kernel)
    variant = Variant(32 if small else 64, bool(wanted) and all(map(aligned, wanted)), True, FULL_WARP, block)
    if kernel.form == "reduce_columns":
        variant = _column_threads(kernel, extents, device, variant)
    elif kernel.form == "map" and not is_elementwise(kernel):
        variant = replace(variant, row=_row_threads(kernel, extents, device, block))
        variant = _staged(kernel, extents, device, variant)
    if kernel.form == "panels":
        return replace(variant, shared=panel_bytes(kernel)(extents) <= device.shared_bytes)
    if any(operand.role == "scratch" for operand in kernel.operands) and not variant.staged:
        return _fitting(kernel, extents, device, variant)
    return variant


def vectorized(kernel: Kernel) -> frozenset[int]:
    """The operands that the variant with `vector` reads and writes by vectors."""
    if factors(kernel) is not None:
        return frozenset()
    if kernel.form == "reduce_all":
        plan = whole_vectors(kernel)
    elif is_elementwise(kernel):
        plan = element_vectors(kernel)
    elif kernel.form == "panels":
        plan = None
    else:
        return row_vectors(kernel)
    return frozenset() if plan is None else plan.operands


def _row_threads(kernel: Kernel, extents: Extents, device: Device, block: int) -> int:
    """A thread, some threads of a warp, a warp or a block for a row, by how long it is and how many there are."""
    length = max(math.prod(extents[axis] for axis in stage.axes) for stage in kernel.stages)
    count = math.prod(extents[axis] for axis in kernel.outer)
    if length <= SHORT_ROW:
        return 1
    few = count * FULL_WARP < device.multiprocessors * block
    if length > (WARP_ROW // 8 if few else WARP_ROW):
        return block
    return min(FULL_WARP, 1 << max(2, (length // 4).bit_length() - 1))


def _staged(kernel: Kernel, extents: Extents, device: Device, variant: Variant) -> Variant:
    """Rows that are read again are kept in shared memory if they are long and it holds one."""
    kept = staged(kernel)
    needed = shared_bytes(kept, 1)(extents)
    if kept is kernel or not LONG_ROW_BYTES <= needed <= device.shared_bytes:
        return variant
    return replace(variant, row=variant.block, staged=True)


def _column_threads(kernel: Kernel, extents: Extents, device: Device, variant: Variant) -> Variant:
    """A thread a column where there are columns enough to keep the GPU busy; else more, in one block or in several."""
    columns = math.prod(extents[axis] for axis in kernel.outer)
    if columns >= device.multiprocessors * 1024:
        return replace(variant, row=1)
    steps = max(extents[axis] for stage in kernel.stages for axis in stage.axes)
    if can_split(kernel) and steps >= MANY_STEPS:
        side = min(FULL_WARP, 1 << max(0, columns - 1).bit_length())
        return replace(variant, row=max(1, variant.block // side), split=True)
    return replace(variant, row=8)


def _fitting(kernel: Kernel, extents: Extents, device: Device, variant: Variant) -> Variant:
    """Fewer rows in a block where their scratch does not fit in its shared memory, or else scratch in work arrays."""
    for row in sorted({variant.row, FULL_WARP, variant.block}):
        wider = replace(variant, row=max(row, variant.row))
        if shared_bytes(kernel, row_group(kernel, wider).count)(extents) <= device.shared_bytes:
            return wider
    return replace(variant, shared=False)
