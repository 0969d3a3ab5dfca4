"""`cond` and `while_loop` of graphs: nodes with nodes inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.control import cond as native_cond
from tracejit.control import while_loop as native_while_loop
from tracejit.graph.errors import GraphError
from tracejit.graph.graph import Graph, graph_of
from tracejit.graph.inference import Inferred, common_shape
from tracejit.graph.nodes import Assign, Call, Node, Operation, Placeholder
from tracejit.graph.program import Evaluation, reachable
from tracejit.graph.tensor import Tensor


@dataclass(eq=False, repr=False)
class Cond(Node):
    """One of two branches; what only one of them needs runs only where it is taken."""

    predicate: Any = None
    branches: tuple[tuple[Node, ...], tuple[Node, ...]] = ((), ())

    def __post_init__(self) -> None:
        inside = reachable([*self.branches[0], *self.branches[1]])
        self.assigned = tuple(dict.fromkeys(node.variable for node in inside if isinstance(node, Assign)))

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.predicate.node,)

    @property
    def may_need(self) -> tuple[Node, ...]:
        return (*self.branches[0], *self.branches[1])

    @property
    def reads(self) -> tuple[Any, ...]:
        return self.assigned

    @property
    def writes(self) -> tuple[Any, ...]:
        return self.assigned

    def run(self, evaluation: Evaluation) -> Any:
        def branch(nodes: tuple[Node, ...]) -> Callable[[], Any]:
            def taken() -> Any:
                inner = evaluation.inner()
                values = inner.fetch(nodes)
                return _values(nodes, values), tuple(inner.read(variable) for variable in self.assigned)

            return taken

        results, states = native_cond(evaluation.value(self.predicate), *map(branch, self.branches))
        for variable, value in zip(self.assigned, states, strict=True):
            evaluation.assign(variable, value)
        return results


def _values(nodes: Sequence[Node], values: Sequence[Any]) -> tuple[Any, ...]:
    """Results of branches; an operation has none."""
    return tuple(value for value in values if value is not None)


def cond(predicate: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], name: str = "cond") -> Any:
    """The tensors that `true_fn()` gives where the predicate holds, else those of `false_fn()`.

    predicate: a tensor of one bool.  The functions take nothing and give the same number of tensors (or operations)
    of the same dtypes.  Only one of them runs, and with it whatever no one else needs, though made outside.

    Raises GraphError where the functions' results do not fit together.

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as session:
    ...     x = tf.placeholder(tf.float64, ())
    ...     root = tf.cond(x >= 0, lambda: tf.sqrt(x), lambda: x * 0)
    ...     [float(session.run(root, {x: value})) for value in (9.0, -9.0)]
    [3.0, -0.0]
    """
    graph = graph_of(predicate)
    with graph.name_scope(name):
        predicate = graph.tensor(predicate)
        taken, otherwise = (_branch(graph, function) for function in (true_fn, false_fn))
    if len(taken) != len(otherwise):
        raise GraphError(f"cond {name!r}: the functions give {len(taken)} and {len(otherwise)} results")
    types = [_joined(name, a, b) for a, b in zip(taken, otherwise, strict=True) if isinstance(a, Tensor)]
    branches = (tuple(handle.node for handle in taken), tuple(handle.node for handle in otherwise))
    node = graph.add(name, lambda place: Cond(place, predicate=predicate, branches=branches))
    if not types:
        return Operation(node)
    parts = graph.results(node, Inferred(parts=tuple(types)))
    return parts[0] if len(parts) == 1 else parts


def _differ(a: Any, b: Any) -> bool:
    """Whether two dtypes are known and not the same."""
    return a is not None and b is not None and a != b


def _branch(graph: Graph, function: Callable[[], Any]) -> list[Any]:
    result = function()
    items = list(result) if isinstance(result, tuple | list) else [result]
    return [item if isinstance(item, Tensor | Operation) else graph.tensor(item) for item in items]


def _joined(name: str, a: Any, b: Any) -> Inferred:
    if not isinstance(b, Tensor):
        raise GraphError(f"cond {name!r}: one function gives a tensor where the other gives an operation")
    if _differ(a.dtype, b.dtype):
        raise GraphError(f"cond {name!r}: the functions give {a.dtype} and {b.dtype}; cast one of them")
    return Inferred(a.dtype or b.dtype, common_shape(a.shape, b.shape))


@dataclass(eq=False, repr=False)
class Loop(Node):
    """A loop: `variables` are placeholders that hold the values of an iteration."""

    initial: tuple[Any, ...] = ()
    variables: tuple[Node, ...] = ()
    condition: Node | None = None
    body: tuple[Node, ...] = ()

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (*(tensor.node for tensor in self.initial), *self._captured)

    def __post_init__(self) -> None:
        assert self.condition is not None
        inside = reachable([self.condition, *self.body], set(self.variables))
        changing = set(self.variables)
        for node in inside:
            if isinstance(node, Call) and node.draws and node.number > self.variables[-1].number:
                raise GraphError(
                    f"{node.described()} stands in the body of a while_loop, where it would give the same numbers in "
                    "each turn: draw them before the loop for all turns, or use tracejit.random with a key that is "
                    "folded with the loop variable"
                )
            if isinstance(node, Assign):
                raise GraphError(
                    f"{node.described()} stands in the body of a while_loop: hand the value on as a loop variable, "
                    "and assign it after the loop"
                )
            if any(source in changing for source in (*node.needs, *node.may_need)):
                changing.add(node)
        # What does not change from turn to turn is computed before the loop.
        self._captured = tuple(node for node in inside if node not in changing)

    def run(self, evaluation: Evaluation) -> Any:
        def fetch(carry: Any, targets: Sequence[Node]) -> tuple[Any, ...]:
            inner = evaluation.inner()
            inner.values.update(zip(self.variables, carry, strict=True))
            return tuple(inner.fetch(targets))

        assert self.condition is not None
        condition, initial = self.condition, tuple(map(evaluation.value, self.initial))
        return native_while_loop(lambda c: fetch(c, [condition])[0], lambda c: fetch(c, self.body), initial)


def _variable(graph: Graph, like: Tensor) -> Tensor:
    """What stands for a loop variable inside of the loop."""
    zero = np.zeros((), like.dtype)
    return Tensor(graph.add("loop_variable", lambda place: Placeholder(place, like.dtype, like.shape, zero)))


def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Sequence[Any], name: str = "while"
) -> Any:
    """Do `loop_vars = body(*loop_vars)` while `cond(*loop_vars)` holds; the tensors of the last ones.

    cond: loop variables -> a tensor of one bool.  body: loop variables -> as many, of the same dtypes and shapes.
    The functions are called once, to build the loop, which then runs as native code.

    Raises GraphError where the body gives another number of tensors or other dtypes, or assigns to a variable.

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as session:
    ...     i, total = tf.while_loop(lambda i, s: i < 5, lambda i, s: (i + 1, s + i), [tf.constant(0), tf.constant(0)])
    ...     int(session.run(total))
    10
    """
    graph = graph_of(*loop_vars)
    with graph.name_scope(name):
        initial = tuple(map(graph.tensor, loop_vars))
        variables = tuple(_variable(graph, tensor) for tensor in initial)
        condition = graph.tensor(cond(*variables))
        result = body(*variables)
        results = tuple(map(graph.tensor, result if isinstance(result, tuple | list) else (result,)))
    if len(results) != len(initial):
        raise GraphError(f"while_loop {name!r}: the body gives {len(results)} values for {len(initial)} loop variables")
    for before, after in zip(initial, results, strict=True):
        if _differ(before.dtype, after.dtype):
            raise GraphError(
                f"while_loop {name!r}: a loop variable goes in as {before.dtype} and comes out as {after.dtype}: cast "
                "one of them"
            )
    nodes = tuple(variable.node for variable in variables)
    body_nodes = tuple(tensor.node for tensor in results)
    node = graph.add(
        name,
        lambda place: Loop(place, initial=initial, variables=nodes, condition=condition.node, body=body_nodes),
    )
    types = tuple(Inferred(a.dtype, common_shape(a.shape, b.shape)) for a, b in zip(initial, results, strict=True))
    parts = graph.results(node, Inferred(parts=types))
    return parts[0] if len(parts) == 1 else parts
