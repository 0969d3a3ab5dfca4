"""The nodes of a graph: what each kind needs, and what it does when it is run.

Nodes are run in the order in which they were made, on traced values inside a jitted function (see `program`), or one
by one on arrays.  Each gives one value; a call with several results gives a tuple, of which `Part` nodes pick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.graph.structure import leaves, transformed
from tracejit.graph.tensor import StaticShape, Tensor, shown

if TYPE_CHECKING:
    from tracejit.graph.graph import Graph
    from tracejit.graph.program import Evaluation


@dataclass(frozen=True)
class Place:
    """Where a node was made: its graph, number and name there, the user's line, the device ("" where none was named),
    what must run before.
    """

    graph: Graph
    number: int
    name: str
    line: str
    device: str
    control_inputs: tuple[Node, ...]


@dataclass(eq=False, repr=False)
class Node:
    """One node; `dtype` and `shape` as far as they are known."""

    place: Place
    dtype: Any = None
    shape: StaticShape = None

    @property
    def graph(self) -> Graph:
        return self.place.graph

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def number(self) -> int:
        return self.place.number

    @property
    def device(self) -> str:
        return self.place.device or "/cpu:0"

    @property
    def computes(self) -> bool:
        """Whether it is more than a value that a run begins with, which goes wherever it is needed."""
        return not isinstance(self, Placeholder | Constant | Read)

    @property
    def kind(self) -> str:
        """What the node is, in one word."""
        return type(self).__name__.lower()

    def described(self) -> str:
        """The node as messages name it."""
        return f"{self.kind} {self.name!r} ({self.place.line})"

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes whose values this one takes."""
        return ()

    @property
    def needs(self) -> tuple[Node, ...]:
        """The nodes that run before this one whenever it runs."""
        return (*self.inputs, *self.place.control_inputs)

    @property
    def may_need(self) -> tuple[Node, ...]:
        """The nodes that run inside this one, if they run (those of branches)."""
        return ()

    @property
    def reads(self) -> tuple[Any, ...]:
        """The variables whose values the node looks at."""
        return ()

    @property
    def writes(self) -> tuple[Any, ...]:
        """The variables that the node may change."""
        return ()

    def run(self, evaluation: Evaluation) -> Any:
        """The value, from those of the inputs."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self.described()} {self.dtype}{shown(self.shape)}>"


@dataclass(eq=False, repr=False)
class Placeholder(Node):
    """A value that `feed_dict` brings; `default` where it brings none."""

    default: Any = None

    def run(self, evaluation: Evaluation) -> Any:
        return self.default


@dataclass(eq=False, repr=False)
class Constant(Node):
    """An array that never changes."""

    value: Any = None

    def run(self, evaluation: Evaluation) -> Any:
        return self.value


@dataclass(eq=False, repr=False)
class Call(Node):
    """A function on tensors and constants, in any nesting of containers; `draws`: other numbers in each run."""

    function: Callable[..., Any] = tuple
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    draws: bool = False

    def __post_init__(self) -> None:
        found = leaves((self.args, self.options))
        self._inputs = tuple(dict.fromkeys(leaf.node for leaf in found if isinstance(leaf, Tensor)))

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self._inputs

    def run(self, evaluation: Evaluation) -> Any:
        args, options = transformed((self.args, self.options), evaluation.value)
        return evaluation.called(self.function, args, options)


@dataclass(eq=False, repr=False)
class Part(Node):
    """One of several results."""

    whole: Node = field(kw_only=True)
    position: int = 0

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.whole,)

    def run(self, evaluation: Evaluation) -> Any:
        return evaluation.values[self.whole][self.position]


@dataclass(eq=False, repr=False)
class Read(Node):
    """The value that a variable has at this place of the order."""

    variable: Any = None

    @property
    def reads(self) -> tuple[Any, ...]:
        return (self.variable,)

    def run(self, evaluation: Evaluation) -> Any:
        return evaluation.read(self.variable)


@dataclass(eq=False)
class Source:
    """Where a graph's random numbers come from; a session keeps its state as if it were a variable.

    The state is three uint32: the key of the graph's seed, and the number of runs that have drawn.
    """

    node: Read | None = field(default=None, repr=False)
    dtype: Any = field(default_factory=lambda: np.dtype(np.uint32))
    shape: StaticShape = (3,)


@dataclass(eq=False, repr=False)
class Assign(Node):
    """A variable's new value, which is the node's value too; `combine` makes it of the old one and the given one."""

    variable: Any = None
    value: Any = None
    combine: Callable[[Any, Any], Any] | None = None

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.value.node,) if isinstance(self.value, Tensor) else ()

    @property
    def reads(self) -> tuple[Any, ...]:
        return () if self.combine is None else (self.variable,)

    @property
    def writes(self) -> tuple[Any, ...]:
        return (self.variable,)

    def run(self, evaluation: Evaluation) -> Any:
        value = evaluation.value(self.value)
        if self.combine is not None:
            value = evaluation.called(self.combine, (evaluation.read(self.variable), value), {})
        return evaluation.assign(self.variable, value)


@dataclass(eq=False, repr=False)
class Group(Node):
    """Nothing but what must run before it."""

    def run(self, evaluation: Evaluation) -> Any:
        return None


class Operation:
    """What does something and gives no value; `Session.run` of it returns None."""

    __slots__ = ("__weakref__", "node")

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def name(self) -> str:
        """The node's name in its graph."""
        return self.node.name

    @property
    def graph(self) -> Graph:
        """The graph that it belongs to."""
        return self.node.graph

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Do it, in a session (the default one where none is given)."""
        (session or self.graph.default_session()).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<Operation {self.name!r}>"


def constant_array(value: Any, dtype: Any = None, shape: Any = None) -> np.ndarray[Any, Any]:
    """An array of its own that nobody writes to; one element fills a larger shape."""
    array = np.array(value, dtype)
    if array.dtype == object:
        raise TypeError(f"a constant holds numbers, booleans or strings, not {value!r}")
    if shape is not None:
        array = np.array(np.broadcast_to(array, shape) if array.size == 1 else array.reshape(shape))
    array.setflags(write=False)
    return array
