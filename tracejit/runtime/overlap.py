"""Whether arrays share memory, for many arrays at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def overlap(written: Sequence[Any], read: Sequence[Any]) -> bool:
    """Whether the memory of a written array overlaps that of any other array.

    By the bounds of each, as np.may_share_memory: of n arrays in n log n steps, where asking for each pair takes n^2.
    """
    spans = [(*_bounds(array), True) for array in written] + [(*_bounds(array), False) for array in read]
    spans.sort()
    end_of_written = end_of_any = 0
    for begin, end, is_written in spans:
        if begin == end:
            continue
        if begin < (end_of_any if is_written else end_of_written):
            return True
        end_of_any = max(end_of_any, end)
        if is_written:
            end_of_written = max(end_of_written, end)
    return False


def _bounds(array: Any) -> tuple[int, int]:
    """The first byte of an array's memory, and the one after its last."""
    begin = array.__array_interface__["data"][0]
    if array.flags.c_contiguous:
        return begin, begin + array.nbytes
    if not array.size:
        return begin, begin
    end = begin + array.itemsize
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            begin += (length - 1) * stride
        else:
            end += (length - 1) * stride
    return begin, end
