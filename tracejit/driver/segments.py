"""Segments: a trace is a tree of them.

Where Python needs a value (`if t > 0`, `float(t)`) or NumPy must be asked (`np.unique(t)`), the graph so far ends: it
is compiled and run, and tracing goes on with its results as new inputs.  What came out there decides the branch; a
branch seen before is run without Python, a new one is traced by running the function again with the known outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import field, replace
from functools import cache
from typing import Any

import numpy as np

from tracejit.driver.host_code import MISS, Code
from tracejit.ir.graph import Graph
from tracejit.ir.size import symbol
from tracejit.records import dataclass
from tracejit.runtime.device_array import DeviceArray
from tracejit.runtime.kernel_cache import CacheCounts
from tracejit.runtime.vectorcall import CallDraft
from tracejit.schedule.steps import Program
from tracejit.trace.handover import Handover
from tracejit.trace.impure import CalledEachTime, generators
from tracejit.trace.number import HostNumber
from tracejit.trace.opaque import Call, Expression, FrozenArray
from tracejit.trace.pytree import Tree, flatten, rebuild
from tracejit.trace.record import KERNEL_DTYPES
from tracejit.trace.state import Leaf, Trace
from tracejit.trace.tracer import Tracer

MAX_BRANCHES = 1024
"""Branches kept of one function; past it, a new branch is traced at each call (its code is that of equal segments)."""


class Run:
    """One call under way: its arguments, the leaves of the next segment, and the outcomes at each break.

    tracing: the segment runs for the trace, which wants the `outcome` of its break only.
    saved: while tracing, arguments as they were before a segment wrote to them, by leaf; wrote: a segment has written
    to an argument without that (see `Jitted.trace_run`).
    """

    # Each replay of a function with breaks makes one: what is the same at first is the class's.
    tracing = False
    outcome: Any = None
    wrote = False

    def __init__(self, jitted: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.jitted, self.args, self.kwargs = jitted, args, kwargs
        self.leaves: list[Any] = []
        self.path: list[tuple[Break, Any]] = []
        self.saved: dict[int, Any] = {}

    def outcomes(self) -> list[tuple[Break, Any]]:
        """The breaks so far, and what came out of each."""
        return [(following, self._result(result)) for following, result in self.path]

    def _result(self, result: Any) -> Any:
        found = self.leaves[result.position] if isinstance(result, Held) else result
        return found.stand_in() if isinstance(found, Gone) else found


@dataclass(frozen=True)
class Held:
    """On a path, for a result that is the leaf at a position."""

    position: int


_held = cache(Held)


class Gone:
    """In the place of an array that nothing needs any more: how long it was, for the sizes of others, and of what."""

    __slots__ = ("dtype", "shape")

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype = array.shape, array.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def stand_in(self) -> np.ndarray[Any, Any]:
        """An array that looks like it, for a trace of a path on which its elements are not read."""
        return np.lib.stride_tricks.as_strided(np.zeros(1, self.dtype), self.shape, (0,) * len(self.shape))


@dataclass(eq=False, repr=False)
class Segment:
    """One compiled stretch of a function, and what follows it.

    function: of a run, or for the first segment of a function of (args, kwargs, run); it returns MISS where a guard
    fails, else the outcome of the break, or the result of the call where nothing follows.
    definitions: the names of parts of expressions; checks: of a first segment, its guards alone.
    draft: of a segment that takes whole calls, how emitted code can do the same; native: whether it does, and why not.
    loss: of a first segment, why calls that it takes run as plain NumPy (see `driver.profit`).
    donated: what became of each donated argument.
    """

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
    definitions: dict[str, str]
    checks: Code | None = None
    following: Break | None = None
    draft: CallDraft | None = None
    native: str = "no, the function has several segments"
    loss: str | None = None
    donated: tuple[str, ...] = ()

    def accepts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the guards of a first segment hold; nothing else of it is run."""
        return self.accepting()(args, kwargs) is not MISS

    def accepting(self) -> Callable[..., Any]:
        """The guards of a first segment alone, as a function of (args, kwargs) that returns MISS where one fails."""
        assert self.checks is not None
        code = replace(self.checks, lines=[*self.checks.lines, "return None"], namespace=dict(self.checks.namespace))
        return code.function("accepts", "args, kwargs, run=None")

    def named_values(self, leaves: Sequence[Any]) -> dict[str, Any]:
        """The sizes and numbers that guards speak of, for given leaf values."""
        names: dict[str, Any] = {
            f"a{n}": leaf for n, leaf in enumerate(leaves) if leaf_kind(leaf) in ("number", "array")
        }
        for name, (position, axis) in self.origins.items():
            if position < len(leaves) and axis < np.ndim(leaves[position]):
                names[name] = np.shape(leaves[position])[axis]
        for name, text in self.definitions.items():
            with suppress(NameError, ArithmeticError):
                names[name] = eval(text, {"math": math}, names)  # noqa: S307 - an expression of our own making
        return names


def describe(value: Any) -> str:
    """A leaf's type as guards see it."""
    if isinstance(value, (np.ndarray, DeviceArray)):
        ones = ",".join("1" if length == 1 else "n" for length in value.shape)
        where = f" on {value.device}" if isinstance(value, DeviceArray) else ""
        return f"{value.dtype}[{ones}] {'contiguous' if value.flags.c_contiguous else 'strided'}{where}"
    return type(value).__name__


@dataclass(eq=False, repr=False)
class Break:
    """What happens between segments, and where it can lead.

    call: what Python or NumPy does there; `outcome`: its plain result decides the branch.
    handover: the values that go on as leaves of the next segment.
    """

    call: Call
    outcome: bool
    handover: Handover
    line: str
    branches: dict[Hashable, list[Segment]] = field(default_factory=dict)
    latest: Segment | None = None

    def add(self, result: Any, segment: Segment) -> None:
        """A segment that follows on a result like this one."""
        self.branches.setdefault(self._branch(result)[0], []).append(segment)
        self.latest = segment

    def take(self, result: Any, run: Run) -> Sequence[Segment]:
        """The segments that may follow on a result; the run gets its leaves."""
        if not self.outcome and type(result) is np.ndarray:
            result_on_path: Any = _held(len(run.leaves))
        else:
            result_on_path = result
        run.path.append((self, result_on_path))
        branch, leaves = self._branch(result)
        if leaves:
            run.leaves += leaves
        return self.branches.get(branch, ())

    def known(self, result: Any) -> Sequence[Segment]:
        """The segments that may follow on a result."""
        return self.branches.get(self._branch(result)[0], ())

    def _branch(self, result: Any) -> tuple[Hashable, list[Any]]:
        """Equal for results that lead the same way, and the leaves that a result adds."""
        kind = type(result)
        if kind is bool and self.outcome:
            return result, []
        if kind is Raised:
            return result, []
        return (_plain_key(result), []) if self.outcome else _result_leaves(result)


def go_on(segment: Segment, result: Any, run: Run) -> Any:
    """The rest of a call whose first segment has run up to its break, with that result: known segments, or a trace."""
    following = segment.following
    while following is not None:
        for segment in following.take(result, run):
            result = segment.function(run)
            if result is not MISS:
                following = segment.following
                break
        else:
            return run.jitted.trace_tail(run)
    return result


@dataclass(frozen=True, eq=False, repr=False)
class Raised:
    """What a call between segments came to: an exception, which the user's code may catch."""

    error: Exception

    def __eq__(self, other: object) -> bool:
        alike = isinstance(other, Raised) and type(self.error) is type(other.error)
        return alike and str(self.error) == str(other.error)  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self.error), str(self.error)))


@dataclass(frozen=True, eq=False)
class _Same:
    """An object that equals nothing but itself."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _plain_key(value: Any) -> Hashable:
    """Of a plain value: types and signs of zero count, NaN equals NaN."""
    return (type(value), value) if isinstance(value, (int, str, FrozenArray)) else (type(value), repr(value))


def _result_leaves(result: Any) -> tuple[Hashable, list[Any]]:
    """Equal for results of the same structure, and the leaves in it: arrays, scalars, numbers, generators."""
    if result is None:
        return None, []
    if isinstance(result, (tuple, list)):  # what most functions of NumPy with several results give
        kinds = [leaf_kind(item) for item in result]
        if "static" not in kinds:
            return (type(result), tuple(map(type, result))), _leaves(result, kinds)
    elif (kind := leaf_kind(result)) != "static":
        return type(result).__name__, [np.asarray(result) if kind == "generic" else result]
    items: list[Any] = []
    tree = flatten(result, items)
    kinds = [leaf_kind(item) for item in items]
    fixed = tuple(
        (kind, _static_key(item) if kind == "static" else type(item)) for item, kind in zip(items, kinds, strict=True)
    )
    return (tree, fixed), _leaves(items, kinds)


def _leaves(items: Sequence[Any], kinds: Sequence[str]) -> list[Any]:
    pairs = zip(items, kinds, strict=True)
    return [np.asarray(item) if kind == "generic" else item for item, kind in pairs if kind != "static"]


def _static_key(value: Any) -> Hashable:
    return value if value is None or isinstance(value, (str, bytes)) else _Same(value)


def leaf_kind(value: Any) -> str:
    """How a value enters a trace: "array", "generic", "number", "object" or "static"."""
    if type(value) is np.ndarray or type(value) is DeviceArray:
        return "array" if value.dtype in KERNEL_DTYPES or value.dtype.kind == "c" else "static"
    if isinstance(value, np.generic):
        return "generic" if value.dtype in KERNEL_DTYPES else "static"
    if type(value) in (int, float, complex, bool):
        return "number"
    return "object" if isinstance(value, generators()) else "static"


def trace_results(trace: Trace, result: Any) -> Any:
    """A call's result as the user's code sees it: tracers and host numbers."""
    items: list[Any] = []
    tree: Tree = flatten(result, items)
    return rebuild(tree, [trace_leaf(trace, item) for item in items])


def trace_leaf(trace: Trace, value: Any) -> Any:
    """A new leaf of the trace and what stands for it."""
    kind = leaf_kind(value)
    if kind == "static":
        return value
    if kind == "object":
        return CalledEachTime(value, Expression(f"a{trace.add_leaf('object', value).position}"))
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
