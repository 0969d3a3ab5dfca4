"""`jit`: the decorator, and the callable that it makes."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from array import array
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from types import MethodType
from typing import Any, TypeVar, overload

import numpy as np

from tracejit.driver.arguments import take_apart
from tracejit.driver.donation import donated
from tracejit.driver.environment_guards import read_environment
from tracejit.driver.errors import clarified, fullgraph_error
from tracejit.driver.explain import Explanation, explain_segments, retrace_reason
from tracejit.driver.host_code import MISS
from tracejit.driver.logging import enabled, log
from tracejit.driver.placing import placed, shown
from tracejit.driver.profit import loss
from tracejit.driver.segments import MAX_BRANCHES, Break, Run, Segment
from tracejit.driver.tracing import SharedMemory, Tracing
from tracejit.ir.graph import Graph
from tracejit.lower.linking import NotNative
from tracejit.records import dataclass
from tracejit.runtime.device import Device, DeviceMismatch, NoDeviceForm
from tracejit.runtime.vectorcall import Dispatched, NativeCall, attach, detach, vectorcalled
from tracejit.trace.pytree import flatten
from tracejit.trace.state import ACTIVE, BYPASSING, Untraceable

F = TypeVar("F", bound=Callable[..., Any])


HOT_CALLS = 1000
"""Of so many calls, the signature of the last one gets emitted code (which takes some milliseconds to make)."""

_COPIED = 'arguments that are NumPy arrays are copied to {0}; to be written to, one must be device_put(x, "{0}")'
"""What is to be known where a function writes to an argument that it cannot write to."""

_PLAIN = frozenset({np.ndarray, int, float, complex, bool, str, type(None), np.float64, np.int64, np.float32})
"""Types of arguments that need no look inside to see that plain NumPy can take them."""

MAX_TRACES = 64
"""Traces kept for one function; past it, calls that fit none run as plain NumPy."""


@contextmanager
def disable_jit() -> Iterator[None]:
    """Run jitted functions as plain NumPy inside the `with` block, so that `pdb` and `print` work.

    The environment variable TRACEJIT_DISABLE=1 does the same for a whole process.

    >>> import numpy as np, tracejit as tj
    >>> @tj.jit
    ... def f(x):
    ...     return x + 1
    >>> with tj.disable_jit():
    ...     f(np.zeros(2))
    array([1., 1.])
    """
    before = ACTIVE.disabled
    ACTIVE.disable(True)
    try:
        yield
    finally:
        ACTIVE.disable(before)


def disabled() -> bool:
    """Whether jitted functions run as plain NumPy in this thread."""
    return ACTIVE.disabled or os.environ.get("TRACEJIT_DISABLE", "") not in ("", "0")


@dataclass
class Stats:
    """Counts since the function was made.

    traces: times that Python ran on tracers;
    kernels_compiled, cache_hits: kernels compiled, found in memory or on disk;
    plain_calls: calls that ran as plain NumPy; compile_seconds: spent in the compiler;
    calls: calls in all, portable_calls those that ran Python, native_calls[0] those that did not.
    """

    traces: int = 0
    kernels_compiled: int = 0
    cache_hits: int = 0
    plain_calls: int = 0
    compile_seconds: float = 0.0
    portable_calls: int = field(default=0, repr=False)
    native_calls: array[int] = field(default_factory=lambda: array("q", [0]), repr=False)

    @property
    def calls(self) -> int:
        return self.portable_calls + self.native_calls[0]


@vectorcalled
class Jitted(Dispatched):
    """A function under `jit`; see there.  `stats` counts, `explain` tells, `trace` gives the graph.

    on_device: whether it has run on a GPU; then calls look whether their results are to be shown as Arrays.
    """

    __name__: str
    most_traces: float = MAX_TRACES

    def __init__(
        self,
        function: Callable[..., Any],
        static_argnames: Sequence[str],
        fullgraph: bool,
        fastmath: bool,
        device: Device | None = None,
        donate: str | int | Sequence[str | int] = (),
    ) -> None:
        detach(self)
        self.__name__ = type(function).__name__  # of an object that can be called: it has no name of its own
        functools.update_wrapper(self, function)
        self.function = function
        self.fullgraph, self.fastmath, self.device = fullgraph, fastmath, device
        self.check = "verify" in os.environ.get("TRACEJIT_DEBUG", "")
        self.stats = Stats()
        self.roots: list[Segment] = []
        self._entries: list[Callable[..., Any]] = []
        self.segments: dict[Hashable, Segment] = {}
        self.branches = 0
        self.lazy = self.overfull = self.on_device = False
        self.reasons: list[str] = []
        self.opaque: list[str] = []
        self.plain_reason: str | None = None
        self.static_names = frozenset(static_argnames)
        self._static_positions = _positions(function, static_argnames)
        self.donated = donated(function, donate, self.static_names)
        self._lock = threading.RLock()
        self.disabled = os.environ.get("TRACEJIT_DISABLE", "") not in ("", "0")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if ACTIVE.bypass or self.disabled:
            if self.device is not None:
                self._refuse_other_device()
            return self.function(*args, **kwargs)
        stats = self.stats
        stats.portable_calls += 1
        for entry in self._entries:
            result = entry(args, kwargs)
            if result is not MISS:
                if not stats.portable_calls % HOT_CALLS:
                    self._make_native(entry)
                return result if not self.on_device else shown(result)
        result = self._first_call(args, kwargs)
        return result if not self.on_device else shown(result)

    def _refuse_other_device(self) -> None:
        """Called while a function is traced that runs elsewhere."""
        trace = ACTIVE.trace
        if trace is not None and trace.device is not None and trace.device != self.device:
            raise DeviceMismatch(
                f"{self.__name__}, jitted for {self.device}, is called by a function traced for {trace.device}: "
                f'one graph runs on one device. Jit the outer function with device="{self.device}" too'
            )

    def _make_native(self, entry: Callable[..., Any]) -> None:
        """Calls that this entry takes are done by emitted code from now on, if it can be."""
        if not self._lock.acquire(blocking=False):
            return  # somebody traces; there will be another hot call
        try:
            segment = next((root for root in self.roots if root.function is entry), None)
            draft = segment.draft if segment is not None else None
            if segment is not None and draft is not None:
                segment.draft = None
                try:
                    portable = Jitted.__call__
                    call = NativeCall(draft, self._native, portable, self.stats.native_calls, BYPASSING)
                    attach(self, call)
                    segment.native = "yes"
                except NotNative as reason:
                    segment.native = f"no, because of {reason}"
        finally:
            self._lock.release()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def run_plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function as it is."""
        if self.device is not None and self.device.kind != "cpu":
            raise NoDeviceForm(_no_plain(self))
        self.stats.plain_calls += 1
        return self.function(*args, **kwargs)

    def attempt(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A compiled call, or MISS where the function would run as plain NumPy (nothing of it has happened then)."""
        for root in self.roots:
            result = root.function(args, kwargs)
            if result is not MISS:
                return result
        if self.plain_reason is not None or len(self.roots) >= self.most_traces:
            return MISS
        return self._trace_call(Run(self, args, kwargs))

    def _first_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        handler = _handler(args, kwargs)
        if handler is not None:
            return handler(self, args, kwargs)
        if self.plain_reason is not None or len(self.roots) >= self.most_traces:
            if self.plain_reason is None and not self.overfull:
                self.overfull = True
                self.reasons.append(f"more than {self.most_traces} traces; further argument types run as plain NumPy")
            return self.run_plain(args, kwargs)
        return self.trace_run(Run(self, args, kwargs))

    def trace_run(self, run: Run) -> Any:
        """Trace what is new in a call, and finish the call."""
        result = self._trace_call(run)
        return self.run_plain(run.args, run.kwargs) if result is MISS else result

    def _trace_call(self, run: Run) -> Any:
        """The result of a traced call, or MISS where it cannot be traced."""
        with self._lock:
            try:
                run.args, run.kwargs, target = placed(run.args, run.kwargs, self.device)
                self.on_device = self.on_device or target.device.kind != "cpu"
                arguments = take_apart(run.args, run.kwargs, self._static_positions, set(self.static_names))
                if not run.path and self.roots:
                    self.reasons.append(retrace_reason(self.roots, arguments))
                    log("retrace", f"{self.__name__}: {self.reasons[-1]}")
                environment = read_environment(self.function, arguments.objects)
                tracing = Tracing(self, run, arguments, environment, target)
                self.stats.traces += 1
                result = tracing.execute()
                if target.device.kind == "cpu":
                    self._weigh(run)
                return result
            except Untraceable as reason:
                self._become_plain(run, reason)
                log("plain", f"{self.__name__} runs as plain NumPy: {reason}")
            except SharedMemory:
                pass
            except Exception as error:  # noqa: BLE001 - the user's own exception, raised again
                if self.device is not None and self.device.kind != "cpu" and "read-only" in str(error):
                    error.add_note(_COPIED.format(self.device))
                raise clarified(error, self.__name__, run) from error.__cause__
        return MISS

    def _weigh(self, run: Run) -> None:
        """Whether calls like one that was traced are compiled ones from now on, or plain NumPy."""
        if not run.path:
            return
        number = next(n for n, root in enumerate(self.roots) if root.following is run.path[0][0])
        root = self.roots[number]
        reason = None if root.loss else loss(root, run.outcomes())
        if reason:
            root.loss = reason
            self._entries[number] = self._plain_entry(root.accepting())
            log("plain", f"{self.__name__} runs as plain NumPy: {reason}")

    def _plain_entry(self, accepts: Callable[..., Any]) -> Callable[..., Any]:
        """Calls that are accepted, as plain NumPy."""

        def entry(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return MISS if accepts(args, kwargs) is MISS else self.run_plain(args, kwargs)

        return entry

    def _become_plain(self, run: Run, reason: Untraceable) -> None:
        """From now on plain NumPy; what the traced part of this call wrote is taken back first."""
        detach(self)
        self.roots, self._entries, self.plain_reason = [], [self._plain_entry(_plain)], self.plain_reason or str(reason)
        if run.wrote:
            raise RuntimeError(
                f"{self.__name__} cannot be traced ({reason}), which came to light after a compiled part of this call "
                "had written to an argument. Later calls run as plain NumPy."
            ) from None
        for leaf, before in run.saved.items():
            run.leaves[leaf][...] = before

    def trace_tail(self, run: Run) -> Any:
        """A branch that was not seen before."""
        return self.trace_run(run)

    def add_segment(self, segment: Segment, after: Break | None, outcome: Any, tracing: Tracing) -> None:
        """Remember a compiled segment where the next call looks for it."""
        self.stats.kernels_compiled += segment.counts.compiled
        self.stats.cache_hits += segment.counts.memory_hits + segment.counts.disk_hits
        self.stats.compile_seconds += segment.counts.compile_seconds
        self.opaque = list(dict.fromkeys([*self.opaque, *tracing.trace.opaque]))
        if enabled("graph"):
            log("graph", f"{self.__name__}\n{segment.graph}")
        log("code", segment.source)
        if after is None:
            self.roots.append(segment)
            self._entries.append(segment.function)
        elif self.branches < MAX_BRANCHES:
            after.add(outcome, segment)
            self.branches += 1
        elif not self.lazy:
            self.lazy = True
            self.reasons.append(f"more than {MAX_BRANCHES} branches on data: further ones are traced at each call")

    def fullgraph_error(self, at: Break) -> Exception:
        return fullgraph_error(self.__name__, at)

    # Seeing

    def trace(self, *args: Any, **kwargs: Any) -> Graph:
        """The graph of a call with these arguments, as traced (the call is performed)."""
        self._ensure(args, kwargs)
        return self._segment_for(args, kwargs).traced

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """What becomes of a call with these arguments (which is performed): graphs, kernels, guards, costs."""
        self._ensure(args, kwargs)
        first = None if self.plain_reason is not None else self._segment_for(args, kwargs)
        return explain_segments(self, first, args, kwargs)

    def _ensure(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if ACTIVE.bypass or self.disabled:
            raise RuntimeError(
                f"{self.__name__} has no graph now: jit is disabled (TRACEJIT_DISABLE or disable_jit), or a trace runs"
            )
        self(*args, **kwargs)

    def _segment_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Segment:
        for segment in self.roots:
            if segment.accepts(args, kwargs):
                return segment
        raise RuntimeError(f"{self.__name__} has no graph for these arguments: {self.plain_reason or self.reasons}")

    def sources(self) -> str:
        """The generated host code of every root segment."""
        return "\n\n".join(segment.source for segment in self.roots)

    def clear(self) -> None:
        """Forget all traces."""
        with self._lock:
            detach(self)
            self.roots, self._entries, self.branches, self.plain_reason = [], [], 0, None
            self.segments.clear()


def _no_plain(jitted: Jitted) -> str:
    reasons = [jitted.plain_reason] if jitted.plain_reason is not None else jitted.reasons[-1:]
    why = reasons[0] if reasons else "arguments of it share memory, and it writes to one"
    return (
        f"{jitted.__name__} cannot run on {jitted.device}: {why}. On the CPU it would run as plain NumPy, which does "
        "not reach arrays on a GPU."
    )


def _plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """MISS where an argument may be one that takes calls over (see `_handler`)."""
    return MISS if kwargs or not _PLAIN.issuperset(map(type, args)) else None


def _handler(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What takes calls over that are given its values: `__jitted_call__` of the type of a leaf, if one has it."""
    leaves: list[Any] = []
    flatten((args, kwargs), leaves)
    return next((found for leaf in leaves if (found := getattr(type(leaf), "__jitted_call__", None))), None)


def _positions(function: Callable[..., Any], names: Sequence[str]) -> set[int]:
    if not names:
        return set()
    parameters = list(inspect.signature(function).parameters)
    unknown = [name for name in names if name not in parameters]
    if unknown:
        raise ValueError(
            f"static_argnames {unknown} are no parameters of "
            f"{getattr(function, '__name__', function)}{inspect.signature(function)}"
        )
    return {parameters.index(name) for name in names}


@overload
def jit(function: F) -> F: ...
@overload
def jit(
    function: None = None,
    *,
    static_argnames: str | Sequence[str] = (),
    fullgraph: bool = False,
    fastmath: bool = False,
    device: str | Device | None = None,
    donate: str | int | Sequence[str | int] = (),
) -> Callable[[F], F]: ...
def jit(
    function: Any = None,
    *,
    static_argnames: str | Sequence[str] = (),
    fullgraph: bool = False,
    fastmath: bool = False,
    device: str | Device | None = None,
    donate: str | int | Sequence[str | int] = (),
) -> Any:
    """Compile a function written with plain NumPy.

    The function is traced at the first call with arguments of a kind (dtypes, ranks, layouts), its graph optimized and
    lowered to fused kernels; later calls run those without running Python.  NumPy arrays go in, NumPy arrays come out,
    and arrays that the function writes to are written to.

    static_argnames: parameters to take as constants; each new value traces anew.
    fullgraph: raise instead of splitting the graph where Python needs a value (`if t > 0`).
    fastmath: let floating-point arithmetic be reordered; NaN and infinities keep their meaning.
    device: where to run: "cpu", "cuda", "cuda:1". NumPy arrays are copied there; results are `tracejit.Array`s on it.
        None: where the arguments are.
    donate: parameters, by name or position, whose arrays the caller gives up. A result that is computed from one
        element by element, with its shape and dtype, then takes its memory: it is the same array, with new contents.
        Whether that is done depends on the function (`explain` says so), so of a donated array use the result alone.

    >>> import numpy as np, tracejit as tj
    >>> @tj.jit
    ... def scaled(x, factor):
    ...     return np.sum(x * factor, axis=1)
    >>> scaled(np.ones((2, 3)), 2.0)
    array([6., 6.])

    >>> descend = tj.jit(lambda w, slope: w - 0.5 * slope, donate="w")
    >>> w = np.ones(3)
    >>> new = descend(w, np.full(3, 2.0))
    >>> new, new is w
    (array([0., 0., 0.]), True)

    Raises ValueError where `static_argnames` or `donate` name what is no parameter; a call does for a donated array
    that is read-only.
    """
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    where = None if device is None else Device(device)
    if function is None:
        return lambda inner: Jitted(inner, names, fullgraph, fastmath, where, donate)
    if not callable(function):
        raise TypeError(f"jit expects a function, got {type(function).__name__}")
    return Jitted(function, names, fullgraph, fastmath, where, donate)
