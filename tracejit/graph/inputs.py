"""What a graph begins with: constants, placeholders and variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.graph.errors import GraphError
from tracejit.graph.graph import GLOBAL_VARIABLES, TRAINABLE_VARIABLES, get_default_graph
from tracejit.graph.nodes import Assign, Node, Operation, Place, Placeholder, Read
from tracejit.graph.program import reachable
from tracejit.graph.tensor import Tensor, fits


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str = "Const") -> Tensor:
    """A tensor of a value that never changes.

    value: what np.array takes; copied.  dtype: NumPy's for the value where it is not given.  shape: a value of one
    element fills it, any other is reshaped.

    >>> import tracejit.graph as tf
    >>> tf.constant([1, 2, 3], tf.float32, name="counts")
    <Tensor 'counts' shape=(3,) dtype=float32>
    """
    return get_default_graph().constant(value, dtype, shape, name)


def placeholder(dtype: Any, shape: Any = None, name: str = "Placeholder") -> Tensor:
    """A tensor whose value `feed_dict` brings.

    shape: lengths, None for those that may differ from run to run; None as a whole leaves the rank open too.

    >>> import tracejit.graph as tf
    >>> tf.placeholder(tf.float64, (None, 3), name="x")
    <Tensor 'x' shape=(?, 3) dtype=float64>
    """
    lengths = None if shape is None else _lengths(shape)
    return Tensor(get_default_graph().add(name, lambda place: Placeholder(place, np.dtype(dtype), lengths)))


def placeholder_with_default(value: Any, shape: Any = None, name: str = "PlaceholderWithDefault") -> Tensor:
    """A placeholder that may be left without a feed, and then has a value of its own."""
    array = np.array(value)
    lengths = array.shape if shape is None else _lengths(shape)
    return Tensor(get_default_graph().add(name, lambda place: Placeholder(place, array.dtype, lengths, array)))


def _lengths(shape: Any) -> tuple[int | None, ...]:
    return tuple(
        None if n is None or n == -1 else int(n) for n in (shape if isinstance(shape, tuple | list) else (shape,))
    )


class Variable(Tensor):
    """A tensor whose value a session keeps from run to run.

    initial_value: what np.array takes, a tensor, or a function without arguments that gives one of them; it becomes the
        value when `initializer` runs.
    trainable: whether optimizers change it.  A dtype is taken here too, as second positional argument.
    dtype: NumPy's of the initial value where it is not given.

    Reading it gives the value at the start of the run; under `control_dependencies` of what changes it, the one after
    that change.

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default():
    ...     v = tf.Variable([0.5], dtype=tf.float32)
    ...     with tf.Session() as session:
    ...         session.run(tf.global_variables_initializer())
    ...         session.run(v.assign_add([1.0]))
    array([1.5], dtype=float32)
    """

    __slots__ = ("initial_value", "initializer", "trainable", "validate_shape")

    def __init__(
        self,
        initial_value: Any,
        trainable: Any = True,
        name: str = "Variable",
        dtype: Any = None,
        validate_shape: bool = True,
    ) -> None:
        if not isinstance(trainable, bool):
            trainable, dtype = True, trainable
        graph = get_default_graph()
        value = initial_value() if callable(initial_value) and not isinstance(initial_value, Tensor) else initial_value
        with graph.name_scope(name) as scope, graph.control_dependencies(None):
            self.initial_value = (
                value if isinstance(value, Tensor) else graph.constant(value, dtype, name="initial_value")
            )
            known = np.dtype(dtype) if dtype is not None else self.initial_value.dtype
            if known is None:
                raise GraphError(
                    f"the dtype of variable {scope[:-1]!r} cannot be told from its initial value: give one"
                )
            shape = self.initial_value.shape if validate_shape else None
            super().__init__(graph.add("read", lambda place: Read(place, known, shape)))
            self.node.variable = self  # type: ignore[attr-defined]
            self.trainable, self.validate_shape = trainable, validate_shape
            self.initializer = Operation(self._assigned(self.initial_value, None, "assign").node)
        graph.add_to_collection(GLOBAL_VARIABLES, self)
        if trainable:
            graph.add_to_collection(TRAINABLE_VARIABLES, self)

    @property
    def name(self) -> str:
        return self.node.name.rpartition("/")[0]

    @property
    def op(self) -> Operation:
        """The reading node as an operation."""
        return Operation(self.node)

    def assign(self, value: Any, name: str = "assign") -> Tensor:
        """The tensor of the new value; running it changes the variable."""
        return self._assigned(value, None, name)

    def assign_add(self, value: Any, name: str = "assign_add") -> Tensor:
        """Add to the variable; the tensor is the new value."""
        return self._assigned(value, np.add, name)

    def assign_sub(self, value: Any, name: str = "assign_sub") -> Tensor:
        """Subtract from the variable; the tensor is the new value."""
        return self._assigned(value, np.subtract, name)

    def read_value(self) -> Tensor:
        """The value at this place of the order of nodes, after the control dependencies around."""
        return self._own("read", lambda place: Read(place, self.dtype, self.shape, self))

    def now(self) -> Tensor:
        before = reachable(self.graph.control_inputs)
        return self.read_value() if any(self is changed for node in before for changed in node.writes) else self

    def value(self) -> Tensor:
        """The tensor that reads it."""
        return Tensor(self.node)

    def initialized_value(self) -> Tensor:
        """The initial value, for variables that begin with the value of another."""
        return self.initial_value

    def load(self, value: Any, session: Any = None) -> None:
        """Set the value in a session, without a node."""
        (session or self.graph.default_session()).load(self, value)

    def _assigned(self, value: Any, combine: Any, name: str) -> Tensor:
        given = value.now() if isinstance(value, Tensor) else np.asarray(value, self.dtype)
        self._check(given)
        return self._own(name, lambda place: Assign(place, self.dtype, self.shape, self, given, combine))

    def _own(self, name: str, make: Callable[[Place], Node]) -> Tensor:
        """A tensor in the variable's own scope."""
        with self.graph.name_scope(f"{self.name}/"):
            return Tensor(self.graph.add(name, make))

    def _check(self, value: Any) -> None:
        """A value of another shape or kind is refused where the node is made."""
        if value.dtype is not None and not np.can_cast(value.dtype, self.dtype, "same_kind"):
            raise GraphError(f"{value.dtype} cannot be assigned to variable {self.name!r} of {self.dtype}: cast it")
        if self.validate_shape and value.shape != () and not fits(value.shape, self.shape):
            raise GraphError(
                f"a value of shape {value.shape} cannot be assigned to variable {self.name!r} of shape {self.shape}"
            )

    def __repr__(self) -> str:
        return f"<Variable {self.name!r} shape={self.shape} dtype={self.dtype}>"

    __hash__ = Tensor.__hash__


def global_variables() -> list[Variable]:
    """All variables of the default graph."""
    return get_default_graph().get_collection(GLOBAL_VARIABLES)


def trainable_variables() -> list[Variable]:
    """The variables of the default graph that optimizers change."""
    return get_default_graph().get_collection(TRAINABLE_VARIABLES)


def variables_initializer(variables: Any, name: str = "init") -> Operation:
    """The operation that gives variables their initial values."""
    return get_default_graph().group(*(variable.initializer for variable in variables), name=name)


def global_variables_initializer() -> Operation:
    """The operation that gives every variable of the default graph its initial value.

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as session:
    ...     w = tf.Variable(0.25)
    ...     session.run(tf.global_variables_initializer())
    ...     float(session.run(w))
    0.25
    """
    return variables_initializer(global_variables())
