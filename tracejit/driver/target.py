"""`Target`: what differs between devices in a segment's host code, which is the same text for all of them.

b3 = empty((n0,), float64)      empty, copyto, matmul, ..: NumPy's, or those of arrays on a GPU (`names`)
error = kernel(b3, a0, ...)     how a kernel is called (`write_launch`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracejit.records import dataclass
from tracejit.runtime.device import Device
from tracejit.runtime.kernel_cache import CacheCounts
from tracejit.schedule.kernel import Kernel
from tracejit.schedule.steps import Launch, Program
from tracejit.trace.opaque import Call
from tracejit.trace.state import Leaf

if TYPE_CHECKING:
    from tracejit.driver.host_code import Code


@dataclass(frozen=True, eq=False)
class Target:
    """Where a trace runs.

    names: what host code calls between kernels: empty, np_empty, copyto, copy_around, ascontiguousarray, asarray,
        broadcast_to, matmul, may_share_memory, overlap.
    constant: an array of the graph as the kernels take it.
    calls: what stands here for functions that NumPy does between kernels.
    get_kernels: the kernels compiled; each has its callable as `entry`.
    write_launch: the lines that call one (code, step, entry, what raises its error).
    write_argument: the lines that check an array argument (code, leaf, layout, whether it is written to).
    write_captured: the lines that fetch an array that is no argument (code, name, array).
    result: the expression of a result (its text, whether it is memory of the call's own).
    refuse: raises NoDeviceForm for a program, or a call between segments, that has no form here.
    """

    device: Device
    names: Mapping[str, Any]
    constant: Callable[[Any], Any]
    calls: Mapping[Any, Callable[..., Any]]
    get_kernels: Callable[[Sequence[Kernel], CacheCounts], Sequence[Any]]
    write_launch: Callable[[Code, Launch, Any, Callable[..., Any]], None]
    write_argument: Callable[[Code, Leaf, str, bool], None]
    write_captured: Callable[[Code, str, Any], None]
    result: Callable[[Code, str, bool], str]
    refuse: Callable[[Program, Call | None, str], None]
