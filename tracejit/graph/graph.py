"""`Graph`: nodes in the order in which they were made, names, scopes, collections, and which graph is the default."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from tracejit.driver import Jitted
from tracejit.graph.errors import GraphError, GrowingGraph
from tracejit.graph.inference import Inferred, infer
from tracejit.graph.nodes import Call, Constant, Group, Node, Operation, Part, Place, Source, constant_array
from tracejit.graph.program import callable_of
from tracejit.graph.structure import leaves, transformed
from tracejit.graph.tensor import Tensor
from tracejit.runtime.device import Device
from tracejit.trace.state import PACKAGE, user_line

N = TypeVar("N", bound=Node)

GLOBAL_VARIABLES = "variables"
"""The collection of all variables."""

TRAINABLE_VARIABLES = "trainable_variables"
"""The collection of the variables that optimizers change."""

_NAMES = {"truediv": "div", "getitem": "getitem", "and_": "and", "or_": "or"}


class Graph:
    """A computation to be run by a `Session`.

    Nodes that are made inside `with graph.as_default():` belong to it; without one they belong to a default graph of
    the process (`tracejit.graph.get_default_graph`).

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default() as graph:
    ...     c = tf.constant(5.0) * tf.constant(6.0)
    >>> float(tf.Session(graph).run(c))
    30.0
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: tuple[Tensor, ...] = ()
        self.outputs: Any = None
        self.runs = 0
        self.seed = 0
        self.source: Source | None = None
        self._by_name: dict[str, Node | None] = {}
        self._collections: dict[str, list[Any]] = {}
        self._scopes: list[str] = []
        self._control: list[tuple[Node, ...]] = []
        self._devices: list[str] = []
        self._grown: dict[Any, int] = {}
        self._sessions: list[Any] = []
        self._lock = threading.RLock()

    # ---- which graph, which scope

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Nodes made inside the `with` block belong to this graph."""
        _stack().append(self)
        try:
            yield self
        finally:
            _stack().pop()

    @contextmanager
    def name_scope(self, name: str) -> Iterator[str]:
        """Names of nodes made inside begin with `name/`; a name that ends in a slash enters that scope again."""
        scope = name[:-1] if name.endswith("/") else self._unique("/".join([*self._scopes[-1:], name]))
        self._by_name.setdefault(scope, None)
        self._scopes.append(scope)
        try:
            yield scope + "/"
        finally:
            self._scopes.pop()

    @contextmanager
    def top_scope(self) -> Iterator[None]:
        """Names of nodes made inside begin with no scope."""
        outer, self._scopes = self._scopes, []
        try:
            yield
        finally:
            self._scopes = outer

    @contextmanager
    def control_dependencies(self, operations: Sequence[Any] | None) -> Iterator[None]:
        """Nodes made inside run after the given tensors and operations; None: after none of those around either."""
        outer = self._control
        self._control = [] if operations is None else [*outer, tuple(handle.node for handle in operations)]
        try:
            yield
        finally:
            self._control = outer

    @contextmanager
    def device(self, name: str) -> Iterator[None]:
        """Nodes made inside are placed on a device: "/cpu:0", or "/gpu:0" where there is one."""
        try:
            where = Device(name)
        except ValueError:
            raise GraphError(f'no device is called {name!r}: there are "/cpu:0" and, with a GPU, "/gpu:0"') from None
        self._devices.append(f"/{'cpu' if where.kind == 'cpu' else 'gpu'}:{where.index}")
        try:
            yield
        finally:
            self._devices.pop()

    # ---- collections

    def add_to_collection(self, name: str, value: Any) -> None:
        """Remember a value under a name."""
        self._collections.setdefault(name, []).append(value)

    def get_collection(self, name: str) -> list[Any]:
        """What was remembered under a name, in order."""
        return list(self._collections.get(name, ()))

    # ---- nodes

    def place(self, name: str) -> Place:
        """The next node's place: a name of its own, the user's line, what is around it."""
        scoped = self._unique("/".join([*self._scopes[-1:], name]))
        device = self._devices[-1] if self._devices else ""
        return Place(self, len(self.nodes), scoped, user_line(), device, self.control_inputs)

    @property
    def control_inputs(self) -> tuple[Node, ...]:
        """What runs before the nodes made at this place."""
        return tuple(dict.fromkeys(node for group in self._control for node in group))

    def add(self, name: str, make: Callable[[Place], N]) -> N:
        """A new node, made for its place."""
        with self._lock:
            self._refuse_growth()
            node = make(self.place(name))
            self.nodes.append(node)
            self._by_name[node.name] = node
            return node

    def apply(self, function: Callable[..., Any], args: Any, options: dict[str, Any], name: str = "") -> Any:
        """The tensor, or tensors, of a call."""
        for leaf in leaves((args, options)):
            if isinstance(leaf, Tensor) and leaf.graph is not self:
                raise GraphError(f"{leaf.node.described()} belongs to another graph: one graph cannot use it")
        if self._control:
            args, options = transformed((args, options), lambda leaf: leaf.now() if isinstance(leaf, Tensor) else leaf)
        label = name or getattr(function, "__name__", "call")
        try:
            found = infer(function, args, options)
        except Exception as error:
            types = ", ".join(str(leaf) for leaf in leaves((args, options)) if isinstance(leaf, Tensor))
            raise GraphError(f"{label} does not take {types} (at {user_line()}): {error}") from error
        node = self.add(
            _NAMES.get(label, label.rstrip("_")),
            lambda place: Call(place, found.dtype, found.shape, function, tuple(args), dict(options)),
        )
        return self.results(node, found)

    def results(self, node: Node, found: Inferred) -> Any:
        """The tensor of a node; a tuple of tensors where it has several results."""
        if found.parts is None:
            return Tensor(node)
        return tuple(Tensor(self._part(node, position, part)) for position, part in enumerate(found.parts))

    def _part(self, node: Node, position: int, part: Inferred) -> Node:
        name = node.name.rpartition("/")[2]
        return self.add(name, lambda place: Part(place, part.dtype, part.shape, position, whole=node))

    def constant(self, value: Any, dtype: Any = None, shape: Any = None, name: str = "Const") -> Tensor:
        """See `tracejit.graph.constant`."""
        array = constant_array(value, dtype, shape)
        return Tensor(self.add(name, lambda place: Constant(place, array.dtype, array.shape, array)))

    def tensor(self, value: Any, dtype: Any = None) -> Tensor:
        """A value as a tensor of this graph."""
        return value if isinstance(value, Tensor) else self.constant(value, dtype)

    def group(self, *handles: Any, name: str = "group") -> Operation:
        """An operation that runs all of them."""
        with self.control_dependencies(handles):
            return Operation(self.add(name, Group))

    def handle(self, name: str) -> Tensor | Operation:
        """The tensor or operation of a name; TensorFlow's ending `:0` may be there."""
        node = self._by_name.get(name.removesuffix(":0"))
        if node is None:
            raise KeyError(f"no node is called {name!r}; there are {', '.join(sorted(self._by_name)[:20])}")
        return Operation(node) if isinstance(node, Group) else Tensor(node)

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor of a name."""
        found = self.handle(name)
        if isinstance(found, Operation):
            raise KeyError(f"{name!r} is an operation: it has no value")
        return found

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation that computes the tensor of a name."""
        return Operation(self.handle(name).node)

    def as_function(self, inputs: Sequence[Tensor] | None = None, outputs: Any = None) -> Jitted:
        """A jitted function of the values of `inputs` that gives those of `outputs`, a structure of tensors.

        Both are the graph's own `inputs` and `outputs` where they are not given (see `tracejit.graph.function`).

        Raises GraphError where the outputs need a variable or a placeholder that is not among the inputs.

        >>> import numpy as np, tracejit.graph as tf
        >>> with tf.Graph().as_default() as graph:
        ...     x = tf.placeholder(tf.float64, (None,))
        ...     double = graph.as_function([x], 2 * x)
        >>> double(np.array([1.0, 2.0]))
        array([2., 4.])
        """
        chosen = self.outputs if outputs is None else outputs
        if chosen is None:
            raise GraphError(
                "as_function() of a graph that was built by hand needs its inputs and outputs: "
                "graph.as_function([x, y], z)"
            )
        return callable_of(self, self.inputs if inputs is None else inputs, chosen)

    def default_session(self) -> Any:
        """The session whose `with` block is entered."""
        if not self._sessions:
            raise GraphError("no session is the default: use `with Session() as session:`, or pass one")
        return self._sessions[-1]

    def _unique(self, name: str) -> str:
        if name not in self._by_name:
            return name
        number = 1
        while f"{name}_{number}" in self._by_name:
            number += 1
        return f"{name}_{number}"

    def _refuse_growth(self) -> None:
        """A place in the program that adds nodes once more after another run is a loop: it would never end growing."""
        if not self.runs:
            return
        place = _user_stack()
        if place is None:
            return
        before = self._grown.setdefault(place, self.runs)
        if before != self.runs:
            raise GrowingGraph(
                f"this line adds nodes to the graph each time the loop around it runs the graph: {user_line()}. Build "
                "the graph before the loop and feed what changes through a placeholder; or build in a new Graph()"
            )


def _user_stack() -> Any:
    """The lines of the user's code that led here; None where a line does not tell a place (an interpreter's prompt)."""
    frame: FrameType | None = sys._getframe(2)
    found: list[Any] = []
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith(PACKAGE):
            if not found and path in ("<stdin>", "<string>"):
                return None
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


class _Default(threading.local):
    def __init__(self) -> None:
        self.stack: list[Graph] = []


_DEFAULT = _Default()
_PROCESS_GRAPH: list[Graph] = [Graph()]


def _stack() -> list[Graph]:
    return _DEFAULT.stack


def get_default_graph() -> Graph:
    """The graph that new nodes belong to."""
    return _DEFAULT.stack[-1] if _DEFAULT.stack else _PROCESS_GRAPH[0]


def reset_default_graph() -> None:
    """Begin with an empty default graph."""
    if _DEFAULT.stack:
        raise GraphError("reset_default_graph() inside of a graph's as_default()")
    _PROCESS_GRAPH[0] = Graph()


def graph_of(*values: Any) -> Graph:
    """The graph of the first tensor among the values, else the default one."""
    for leaf in leaves(values):
        if isinstance(leaf, Tensor):
            return leaf.graph  # type: ignore[no-any-return]
    return get_default_graph()


def convert_to_tensor(value: Any, dtype: Any = None, name: str = "Const") -> Tensor:
    """A value as a tensor; one that is a tensor already stays itself.

    >>> import tracejit.graph as tf
    >>> tf.convert_to_tensor([1.0, 2.0]).shape
    (2,)
    """
    if not isinstance(value, Tensor):
        return get_default_graph().constant(value, dtype, name=name)
    if dtype is not None and value.dtype != np.dtype(dtype):
        raise GraphError(f"{value.node.described()} has dtype {value.dtype}, not {np.dtype(dtype)}: cast it")
    return value
