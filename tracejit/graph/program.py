"""Running nodes: which are needed for given fetches and feeds, and one function that runs them all.

That function takes the feeds and the variables' values, is jitted, and gives the fetched values; variables that are
assigned to are written in place, so a training step is one compiled graph over memory that it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from tracejit.driver import Jitted
from tracejit.graph.errors import GraphError
from tracejit.graph.nodes import Assign, Node, Operation, Placeholder, Source
from tracejit.graph.tensor import Tensor
from tracejit.runtime.device import Device
from tracejit.trace.pytree import flatten, rebuild
from tracejit.trace.state import ACTIVE
from tracejit.trace.tracer import Tracer


@dataclass(eq=False, repr=False)
class Evaluation:
    """Values of nodes and of variables while nodes are run.

    alone: each call is compiled by itself and runs at once, for looking at values node by node.
    """

    values: dict[Node, Any]
    state: dict[Any, Any]
    alone: bool = False
    assigned: dict[Any, Any] = field(default_factory=dict)

    def value(self, leaf: Any) -> Any:
        """What stands for a leaf of a call's arguments."""
        return self.values[leaf.node] if isinstance(leaf, Tensor) else leaf

    def called(self, function: Callable[..., Any], args: Any, options: Any) -> Any:
        """The function's result."""
        if self.alone and ACTIVE.trace is None:
            return _compiled(function)(*args, **options)
        return function(*args, **options)

    def read(self, variable: Any) -> Any:
        """The variable's value now."""
        return self.state[variable]

    def assign(self, variable: Any, value: Any) -> Any:
        """From now on the variable has this value, in its own dtype."""
        held = np.broadcast_to(value, variable.shape) if _fills(variable, value) else value
        held = held if held.dtype == variable.dtype else held.astype(variable.dtype)
        self.state[variable] = self.assigned[variable] = held
        return held

    def inner(self) -> Evaluation:
        """For nodes inside of a branch, a loop or a derivative: what is known so far, and changes of its own."""
        return Evaluation(dict(self.values), dict(self.state), self.alone)

    def run(self, nodes: Iterable[Node]) -> None:
        """Run nodes that have no value yet, in order."""
        for node in nodes:
            if node not in self.values:
                try:
                    self.values[node] = node.run(self)
                except GraphError:
                    raise
                except Exception as error:
                    raise GraphError(f"{node.described()}: {error}") from error

    def fetch(self, targets: Sequence[Node]) -> list[Any]:
        """Run what the targets need and has not run yet, and give their values."""
        self.run(required(targets, self.values))
        return [self.values[target] for target in targets]


def _fills(variable: Any, value: Any) -> bool:
    """Whether a single value is assigned to a variable of more dimensions."""
    return bool(variable.shape) and None not in variable.shape and np.ndim(value) == 0


@lru_cache(maxsize=1024)
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """One call by itself, with the bits that it has in a compiled graph."""
    if isinstance(function, Jitted):
        return function

    def alone(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    alone.__name__ = getattr(function, "__name__", "call")
    return Jitted(alone, (), fullgraph=False, fastmath=False)


def required(targets: Iterable[Node], known: Any = ()) -> list[Node]:
    """The nodes that run for the targets, in the order in which they were made; those in `known` need not."""
    return _reached(targets, known, lambda node: node.needs)


def reachable(targets: Iterable[Node], known: Any = ()) -> list[Node]:
    """The same with all that branches may need, taken or not."""
    return _reached(targets, known, lambda node: (*node.needs, *node.may_need))


def _reached(targets: Iterable[Node], known: Any, below: Callable[[Node], Iterable[Node]]) -> list[Node]:
    found: set[Node] = set()
    pending = [target for target in targets if target not in known]
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(source for source in below(node) if source not in known and source not in found)
    return sorted(found, key=lambda node: node.number)


@dataclass(frozen=True)
class Plan:
    """What a run of given fetches under given feeds does.

    fetched: the nodes wanted; silent: those of them that are operations, which give no value;
    fed: the nodes whose values are given; reads: variables whose values are taken; writes: those assigned to.
    """

    fetched: tuple[Node, ...]
    silent: tuple[bool, ...]
    fed: tuple[Node, ...]
    nodes: tuple[Node, ...]
    reads: tuple[Any, ...]
    writes: tuple[Any, ...]

    @staticmethod
    def of(handles: Sequence[Tensor | Operation], fed: Sequence[Node]) -> Plan:
        """The plan for what is fetched and what is fed."""
        fetched = tuple(handle.node for handle in handles)
        silent = tuple(isinstance(handle, Operation) for handle in handles)
        nodes = reachable(fetched, set(fed))
        reads = [variable for node in nodes for variable in node.reads]
        writes = [node.variable for node in nodes if isinstance(node, Assign)]
        return Plan(
            fetched, silent, tuple(fed), tuple(nodes), tuple(dict.fromkeys(reads)), tuple(dict.fromkeys(writes))
        )

    @cached_property
    def source(self) -> Source | None:
        """Where random numbers come from, if some are drawn."""
        return next((source for source in self.reads if isinstance(source, Source)), None)

    @property
    def unfed(self) -> list[Placeholder]:
        """Placeholders without a value."""
        return [n for n in self.nodes if isinstance(n, Placeholder) and n.default is None and n not in self.fed]

    def evaluation(self, values: Sequence[Any], alone: bool = False) -> Evaluation:
        """The given values put in place."""
        count = len(self.fed)
        fed = dict(zip(self.fed, values[:count], strict=True))
        return Evaluation(fed, dict(zip(self.reads, values[count:], strict=True)), alone)

    def perform(self, values: Sequence[Any], alone: bool = False) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Fetched values, and the new values of the variables of `writes`."""
        evaluation = self.evaluation(values, alone)
        found = evaluation.fetch(self.fetched)
        shown = tuple(None if quiet else value for value, quiet in zip(found, self.silent, strict=True))
        return shown, tuple(evaluation.assigned[variable] for variable in self.writes)

    @property
    def device(self) -> Device:
        """Where it runs: where the nodes that compute are placed, the CPU if none is.

        Raises GraphError for nodes on several devices: one run is one program, on one of them.
        """
        found: dict[str, Node] = {}
        for node in self.nodes:
            if node.computes and node.place.device:
                found.setdefault(node.place.device, node)
        if len(found) > 1:
            first, second, *_ = found.values()
            raise GraphError(
                f'{first.described()} is placed on "{first.device}", and {second.described()} on "{second.device}": '
                "a run is on one device. Place both on one, or run them one after the other"
            )
        return Device(next(iter(found), "cpu"))

    def compiled(self, in_place: Sequence[bool], device: Device) -> Jitted:
        """All of it as one jitted function; `in_place` says which of `writes` are written to where they are."""

        def session_run(*values: Any) -> Any:
            fetched, written = self.perform(values)
            held = dict(zip(self.reads, values[len(self.fed) :], strict=True))
            results = [_apart(value) for value in fetched]
            fresh = []
            for variable, value, here in zip(self.writes, written, in_place, strict=True):
                if here:
                    held[variable][...] = value
                else:
                    fresh.append(value)
            return tuple(results), tuple(fresh)

        where = None if device.kind == "cpu" else device
        return Jitted(session_run, (), fullgraph=False, fastmath=False, device=where)


def _apart(value: Any) -> Any:
    """A result that views memory of the session's, or of the caller's, is copied."""
    viewed = value.storage.leaf is not None if isinstance(value, Tracer) else isinstance(value, np.ndarray)
    return value.copy() if viewed else value


def callable_of(graph: Any, inputs: Sequence[Tensor], outputs: Any) -> Jitted:
    """A jitted function of the values of `inputs` that gives those of `outputs`; see `Graph.as_function`."""
    leaves: list[Any] = []
    tree = flatten(outputs, leaves)
    targets, given = [leaf.node for leaf in leaves], [tensor.node for tensor in inputs]
    for node in reachable(targets, set(given)):
        if node.graph is not graph:
            raise GraphError(f"{node.described()} belongs to another graph")
        if node.reads or isinstance(node, Assign) or (isinstance(node, Placeholder) and node.default is None):
            raise GraphError(
                f"the outputs need {node.described()}: make it one of the inputs, or run the graph in a Session"
            )

    def graph_function(*values: Any) -> Any:
        if len(values) != len(given):
            raise TypeError(f"the function takes {len(given)} arguments, and got {len(values)}")
        return rebuild(tree, Evaluation(dict(zip(given, values, strict=True)), {}).fetch(targets))

    return Jitted(graph_function, (), fullgraph=False, fastmath=False)
