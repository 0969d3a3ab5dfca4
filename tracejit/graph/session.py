"""`Session`: the values of variables, and one compiled function for each (fetches, feeds)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from tracejit import random
from tracejit.eager import device_put
from tracejit.graph.errors import BadFeed, GraphError, MissingFeed, UninitializedVariable
from tracejit.graph.graph import Graph, get_default_graph
from tracejit.graph.inputs import Variable
from tracejit.graph.nodes import Node, Operation
from tracejit.graph.program import Plan
from tracejit.graph.tensor import Tensor, fits, shown
from tracejit.runtime.device import NoDevice
from tracejit.runtime.devices import cuda_home
from tracejit.trace.pytree import Tree, flatten, rebuild


class Session:
    """Runs a graph, and keeps its variables.

    graph: the default graph where none is given.

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default():
    ...     a, b = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    ...     product = a * b
    ...     with tf.Session() as session:
    ...         session.run(product, {a: [1, 3], b: [2, 4]})
    array([ 2., 12.], dtype=float32)
    """

    def __init__(self, graph: Graph | None = None) -> None:
        self.graph = graph or get_default_graph()
        self.values: dict[Any, Any] = {}
        self._calls: dict[Any, _Call] = {}
        self._lock = threading.RLock()
        self._closed = False
        self.on_devices = False
        """Whether variables have been on a GPU, so that a run looks where they are."""

    def run(self, fetches: Any, feed_dict: dict[Any, Any] | None = None, eager: bool = False) -> Any:
        """The values of tensors, in the structure of `fetches`; an operation is performed and gives None.

        fetches: a tensor, an operation or a name, or a tuple, list or dict of such, in any nesting.
        feed_dict: values for placeholders, or in place of any other tensor (by tensor or name).
        eager: run node by node, each by itself, so that a debugger can look in and errors come from the node at fault.

        Raises MissingFeed, BadFeed, UninitializedVariable, and RuntimeError once the session is closed.
        """
        feeds = feed_dict or {}
        call = self._call(fetches, tuple(feeds))
        return call.run(feeds.values(), eager)

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] = ()) -> Callable[..., Any]:
        """`run` of these fetches as a function of the values of `feed_list`, without the look-ups of each call."""
        call = self._call(fetches, tuple(feed_list))

        def function(*values: Any) -> Any:
            if len(values) != len(feed_list):
                raise TypeError(f"the callable takes {len(feed_list)} values, and got {len(values)}")
            return call.run(values)

        return function

    def explain(self, fetches: Any, feed_dict: dict[Any, Any] | None = None) -> Any:
        """What becomes of such a run (which is performed): graphs, passes, kernels."""
        feeds = feed_dict or {}
        return self._call(fetches, tuple(feeds)).explain(feeds.values())

    def load(self, variable: Variable, value: Any) -> None:
        """Give a variable a value without running anything."""
        array = np.array(value, variable.dtype)
        if variable.validate_shape and not fits(array.shape, variable.shape):
            raise BadFeed(f"variable {variable.name!r} has shape {shown(variable.shape)}, the value {array.shape}")
        with self._lock:
            self.values[variable] = array

    def value(self, variable: Variable) -> Any:
        """A copy of a variable's value."""
        with self._lock:
            self.initialized([variable])
            return np.array(self.values[variable])

    @property
    def random_state(self) -> Any:
        """Where the random numbers are: three uint32; None where nothing has been drawn.  Setting it goes there."""
        with self._lock:
            return self.values.get(self.graph.source)

    @random_state.setter
    def random_state(self, state: Any) -> None:
        source = self.graph.source
        if source is None:
            raise GraphError("the graph draws no random numbers: there is no state to set")
        array = np.array(state, source.dtype)
        if array.shape != source.shape:
            raise GraphError(f"a state of random numbers is three uint32, not an array of shape {array.shape}")
        with self._lock:
            self.values[source] = array

    def initialized(self, variables: Iterable[Variable]) -> None:
        """Refuse to go on without a value of one of these."""
        for variable in variables:
            if variable not in self.values:
                raise UninitializedVariable(
                    f"variable {variable.name!r} ({variable.node.place.line}) has no value in this session: run "
                    "tracejit.graph.global_variables_initializer() first"
                )

    def close(self) -> None:
        """Let go of variables and compiled functions; `run` raises from now on."""
        with self._lock:
            self._closed = True
            self.values.clear()
            self._calls.clear()

    def __enter__(self) -> Session:
        self.graph._sessions.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.graph._sessions.remove(self)
        self.close()

    def _call(self, fetches: Any, feeds: tuple[Any, ...]) -> _Call:
        key = fetches if type(fetches) is not list else (list, *fetches)
        try:
            call = self._calls.get((key, feeds))
        except TypeError:  # a nested structure
            leaves: list[Any] = []
            tree = flatten(fetches, leaves)
            key = (tree, *leaves)
            call = self._calls.get((key, feeds))
        if call is None:
            if self._closed:
                raise RuntimeError("the session is closed")
            with self._lock:
                call = self._calls[key, feeds] = self._make(fetches, feeds)
        return call

    def _make(self, fetches: Any, feeds: tuple[Any, ...]) -> _Call:
        leaves: list[Any] = []
        tree = flatten(fetches, leaves)
        handles = [self._handle(leaf, "fetched") for leaf in leaves]
        plan = Plan.of(handles, [self._handle(feed, "fed").node for feed in feeds])
        for missing in plan.unfed:
            raise MissingFeed(
                f"{missing.described()} of dtype {missing.dtype} and shape {shown(missing.shape)} is needed for "
                f"{handles[0].name!r} and has no value: give it one in feed_dict"
            )
        self._begin_drawing(plan)
        return _Call(self, plan, tree)

    def _begin_drawing(self, plan: Plan) -> None:
        """The first state of the graph's random numbers, where the plan draws some."""
        source = plan.source
        if source is not None and source not in self.values:
            self.values[source] = np.array([*random.key(self.graph.seed), 0], np.uint32)

    def _handle(self, handle: Any, what: str) -> Tensor | Operation:
        if isinstance(handle, str):
            return self.graph.handle(handle)
        if not isinstance(handle, Tensor | Operation):
            raise TypeError(f"a tensor, an operation or a name can be {what}, not {handle!r}")
        if handle.graph is not self.graph:
            raise GraphError(f"{handle.node.described()} belongs to another graph than the session's")
        return handle


@dataclass
class _Call:
    """A run of given fetches under given feeds; variables that it reads and assigns to keep their memory."""

    session: Session
    plan: Plan
    tree: Tree

    def __post_init__(self) -> None:
        self._single = self.tree.kind is None
        kept = set(self.plan.reads)
        self._in_place = tuple(variable in kept and variable.validate_shape for variable in self.plan.writes)
        self._replaced = [v for v, stays in zip(self.plan.writes, self._in_place, strict=True) if not stays]
        self._device = self.plan.device
        self._on_cpu = self._device.kind == "cpu"
        if not self._on_cpu:
            self._find_device()
        self._function = self.plan.compiled(self._in_place, self._device)

    def _find_device(self) -> None:
        """Refuse a device that is not there, naming a node that is placed on it."""
        try:
            cuda_home(self._device.index)
        except NoDevice as error:
            node = next(node for node in self.plan.nodes if node.place.device.startswith("/gpu"))
            raise GraphError(f'{node.described()} is placed on "{node.device}", but {error}') from None

    def run(self, feeds: Iterable[Any], eager: bool = False) -> Any:
        """Feed, run, store."""
        session, plan = self.session, self.plan
        if eager and not self._on_cpu:
            raise GraphError(f"node by node (eager=True) a run is on the CPU, and these nodes are on {self._device}")
        fed = [self._fed(node, value) for node, value in zip(plan.fed, feeds, strict=True)]
        with session._lock:
            if session._closed:
                raise RuntimeError("the session is closed")
            values = self._values(fed)
            session.graph.runs += 1
            if plan.source is not None:
                session.values[plan.source] = _next(session.values[plan.source])
            if eager:
                results, written = plan.perform(values, alone=True)
                self._store(plan.writes, written)
                results = tuple(value.copy() if isinstance(value, np.ndarray) else value for value in results)
            else:
                results, written = self._function(*values)
                if written:
                    self._store(self._replaced, written)
                if not self._on_cpu:
                    results = tuple(np.asarray(value)[()] for value in results)
        return results[0] if self._single else rebuild(self.tree, list(results))

    def explain(self, feeds: Iterable[Any]) -> Any:
        """The explanation of the compiled function."""
        plan = self.plan
        fed = [self._fed(node, value) for node, value in zip(plan.fed, feeds, strict=True)]
        with self.session._lock:
            return self._function.explain(*self._values(fed))

    def _values(self, fed: list[Any]) -> list[Any]:
        held = self.session.values
        try:
            values = [held[variable] for variable in self.plan.reads]
        except KeyError:
            self.session.initialized(self.plan.reads)
            raise
        if self.session.on_devices or not self._on_cpu:
            self.session.on_devices = True
            values = [self._moved(variable, value) for variable, value in zip(self.plan.reads, values, strict=True)]
        return [*fed, *values]

    def _moved(self, variable: Any, value: Any) -> Any:
        """A variable's value where the run is; it stays there for the runs after."""
        if variable is self.plan.source:
            return value
        if self._on_cpu and isinstance(value, np.ndarray):
            return value
        held = np.array(value) if self._on_cpu else device_put(value, self._device)
        self.session.values[variable] = held
        return held

    def _store(self, variables: Sequence[Variable], values: Sequence[Any]) -> None:
        for variable, value in zip(variables, values, strict=True):
            self.session.values[variable] = np.array(value, variable.dtype) if self._on_cpu else value

    def _fed(self, node: Node, value: Any) -> Any:
        """A fed value as an array of the node's dtype."""
        if type(value) is np.ndarray and value.dtype == node.dtype:
            array = value
        else:
            array = _converted(node, value)
        if node.shape is not None and not fits(array.shape, node.shape):
            raise BadFeed(f"{node.described()} takes shape {shown(node.shape)}, and was fed one of {array.shape}")
        return array


def _next(state: Any) -> Any:
    """The state of random numbers for the run after."""
    following = state.copy()
    following[2] += 1
    return following


def _converted(node: Node, value: Any) -> Any:
    if isinstance(value, Tensor):
        raise BadFeed(f"{node.described()} was fed a tensor: feed its value, session.run(...)")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise BadFeed(f"{node.described()} was fed what is no array: {error}") from None
    if array.dtype == node.dtype or node.dtype is None:
        return array
    # Python numbers and lists of them take the dtype; arrays keep within their kind.
    typed = isinstance(value, np.ndarray | np.generic)
    if not np.can_cast(array.dtype, node.dtype, "same_kind") and not (array.size == 0 and not typed):
        raise BadFeed(f"{node.described()} takes {node.dtype}, and was fed {array.dtype}: convert it")
    return array.astype(node.dtype)
