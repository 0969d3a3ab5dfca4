"""Segments: a trace is a tree of them.

Where Python needs a value (`if t > 0`, `float(t)`) or NumPy must be asked (`np.unique(t)`), the graph so far ends: it
is compiled and run, and tracing goes on with its results as new inputs.  What came out there decides the branch; a
branch seen before is run without Python, a new one is traced by running the function again with the known outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracejit.driver.host_code import MISS
from tracejit.ir.graph import Graph
from tracejit.ir.size import symbol
from tracejit.runtime.kernel_cache import CacheCounts
from tracejit.schedule.steps import Program
from tracejit.trace.impure import GENERATORS, CalledEachTime
from tracejit.trace.number import HostNumber
from tracejit.trace.opaque import Call, Expression, Slot
from tracejit.trace.pytree import Tree, flatten, rebuild
from tracejit.trace.record import KERNEL_DTYPES
from tracejit.trace.state import Leaf, Trace
from tracejit.trace.tracer import Tracer

MAX_BRANCHES = 64
"""Branches kept of one function; past it, a new branch is traced at each call (its kernels are cached)."""


@dataclass
class Run:
    """One call under way: its arguments, the leaf values so far, and the outcomes at each break.

    saved: while tracing, arguments as they were before a segment wrote to them, by leaf; wrote: a segment has written
    to an argument without that (see `Jitted.trace_run`).
    """

    jitted: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    leaves: list[Any] = field(default_factory=list)
    path: list[tuple[Break, Any]] = field(default_factory=list)
    tracing: bool = False
    collected: tuple[tuple[Any, ...], tuple[Any, ...]] = ((), ())
    origins: dict[str, tuple[int, int]] = field(default_factory=dict)
    saved: dict[int, Any] = field(default_factory=dict)
    wrote: bool = False

    def evaluate(self, text: str) -> Any:
        """A host number's value at a break."""
        names: dict[str, Any] = {f"a{position}": leaf for position, leaf in enumerate(self.leaves)}
        for name, (position, axis) in self.origins.items():
            names[name] = np.shape(self.leaves[position])[axis]
        return eval(text, {"math": math}, names)  # noqa: S307 - an expression of our own making


@dataclass
class Segment:
    """One compiled stretch of a function."""

    traced: Graph
    graph: Graph
    program: Program
    function: Callable[..., Any]
    source: str
    guards: tuple[tuple[str, str], ...]
    counts: CacheCounts
    tree: Tree
    leaf_types: tuple[str, ...]
    origins: dict[str, tuple[int, int]]
    following: Break | None = None

    def named_values(self, leaves: Sequence[Any]) -> dict[str, Any]:
        """The sizes and numbers that guards speak of, for given leaf values."""
        names: dict[str, Any] = {f"a{n}": leaf for n, leaf in enumerate(leaves) if leaf_kind(leaf) == "number"}
        for name, (position, axis) in self.origins.items():
            if position < len(leaves) and axis < np.ndim(leaves[position]):
                names[name] = np.shape(leaves[position])[axis]
        return names


def describe(value: Any) -> str:
    """A leaf's type as guards see it."""
    if isinstance(value, np.ndarray):
        ones = ",".join("1" if length == 1 else "n" for length in value.shape)
        return f"{value.dtype}[{ones}] {'contiguous' if value.flags.c_contiguous else 'strided'}"
    return type(value).__name__


@dataclass(eq=False)
class Break:
    """What happens between segments, and where it can lead.

    call: what Python or NumPy does there; `outcome`: its plain result decides the branch.
    rebound: the numbers of the storages that go on as new leaves, in order.
    """

    call: Call
    outcome: bool
    rebound: tuple[int, ...]
    line: str
    origins: dict[str, tuple[int, int]]
    children: list[tuple[Any, Segment]] = field(default_factory=list)

    def resume(self, run: Run, new_leaves: tuple[Any, ...], operands: tuple[Any, ...]) -> Any:
        """Go on after the segment before: perform the call, find the branch, run it (or trace it)."""
        run.leaves.extend(new_leaves)
        run.origins = self.origins
        if run.tracing:
            run.collected = (new_leaves, operands)
            return None
        result = perform(self.call, operands, run)
        run.path.append((self, result))
        decides = self.outcome or isinstance(result, Raised)
        if not decides:
            add_result_leaves(result, run.leaves)
        for key, segment in self.children:
            if same_outcome(key, result) if decides else not isinstance(key, Raised):
                found = segment.function(run)
                if found is not MISS:
                    return found
        return run.jitted.trace_tail(run)


@dataclass(frozen=True, eq=False)
class Raised:
    """What a call between segments came to: an exception, which the user's code may catch."""

    error: Exception

    def __eq__(self, other: object) -> bool:
        alike = isinstance(other, Raised) and type(self.error) is type(other.error)
        return alike and str(self.error) == str(other.error)  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self.error), str(self.error)))


def same_outcome(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b or (a != a and b != b))


def perform(call: Call, operands: tuple[Any, ...], run: Run) -> Any:
    """The call itself, on real values; what it raises is its result."""

    def fill(item: Any) -> Any:
        if isinstance(item, Slot):
            return operands[item.position]
        if isinstance(item, Expression):
            return run.evaluate(item.text)
        if isinstance(item, Call):
            return item.function(*map(fill, item.args))
        if type(item) in (tuple, list):
            return type(item)(map(fill, item))
        return {key: fill(value) for key, value in item.items()} if type(item) is dict else item

    try:
        return call.function(*map(fill, call.args), **{key: fill(value) for key, value in call.options.items()})
    except Exception as error:
        return Raised(error.with_traceback(None))


def leaf_kind(value: Any) -> str:
    """How a value enters a trace: "array", "generic", "number" or "static"."""
    if type(value) is np.ndarray:
        return "array" if value.dtype in KERNEL_DTYPES or value.dtype.kind == "c" else "static"
    if isinstance(value, np.generic):
        return "generic" if value.dtype in KERNEL_DTYPES else "static"
    return "number" if type(value) in (int, float, complex, bool) else "static"


def add_result_leaves(result: Any, leaves: list[Any]) -> None:
    """The leaves that a call's result adds: its arrays, scalars and numbers."""
    items: list[Any] = []
    flatten(result, items)
    leaves.extend(np.asarray(i) if leaf_kind(i) == "generic" else i for i in items if leaf_kind(i) != "static")


def trace_results(trace: Trace, result: Any) -> Any:
    """A call's result as the user's code sees it: tracers and host numbers."""
    items: list[Any] = []
    tree: Tree = flatten(result, items)
    return rebuild(tree, [trace_leaf(trace, item) for item in items])


def trace_leaf(trace: Trace, value: Any) -> Any:
    """A new leaf of the trace and what stands for it."""
    kind = leaf_kind(value)
    if kind == "static":
        return CalledEachTime(value) if isinstance(value, GENERATORS) else value
    if kind == "number":
        leaf = trace.add_leaf("number", value)
        return number_of(leaf)
    leaf = trace.add_leaf("array" if kind == "array" else "generic", value if kind == "array" else np.asarray(value))
    node = trace.inputs[leaf.position]
    owner = leaf.position if kind == "array" else None
    return Tracer(trace.storage(node, owner), (), node.shape, node.dtype, kind == "generic")


def number_of(leaf: Leaf) -> HostNumber:
    from_int = type(leaf.value) is int
    text = f"a{leaf.position}"
    return HostNumber(leaf.value, text, symbol(text) if from_int else None)
