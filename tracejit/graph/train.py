"""Optimizers of graphs: the rules of `tracejit.optim` on variables, by TensorFlow 1's names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit import optim
from tracejit.graph.derivatives import gradients
from tracejit.graph.errors import GraphError
from tracejit.graph.graph import TRAINABLE_VARIABLES, Graph
from tracejit.graph.inference import Inferred
from tracejit.graph.inputs import Variable
from tracejit.graph.nodes import Node, Operation
from tracejit.graph.program import Evaluation
from tracejit.graph.saver import Saver
from tracejit.graph.tensor import Tensor
from tracejit.optim.optimizer import OptimizerState


@dataclass(eq=False, repr=False)
class Update(Node):
    """One step of an optimizer over all its variables: new values, new slots, the next step."""

    optimizer: Any = None
    gradients: tuple[Any, ...] = ()
    state: tuple[Variable, ...] = ()
    slots: int = 0

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (*(tensor.node for tensor in self.gradients), *(variable.node for variable in self.state))

    def run(self, evaluation: Evaluation) -> Any:
        step, *held = (evaluation.value(variable) for variable in self.state)
        count = len(self.gradients)
        parameters, kept = held[:count], held[count:]
        slots = tuple(tuple(kept[n * self.slots : (n + 1) * self.slots]) for n in range(count))
        given = [evaluation.value(tensor) for tensor in self.gradients]
        new, state = evaluation.called(self.optimizer.update, (given, OptimizerState(step, slots), parameters), {})
        return (state.step, *new, *(slot for each in state.slots for slot in each))


class Optimizer:
    """Changes variables so that a loss falls, by a rule of `tracejit.optim`.

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as session:
    ...     w = tf.Variable(3.0)
    ...     step = tf.train.GradientDescentOptimizer(0.25).minimize(tf.square(w))
    ...     session.run(tf.global_variables_initializer())
    ...     session.run(step)
    ...     float(session.run(w))
    1.5
    """

    def __init__(self, rule: optim.Optimizer, name: str) -> None:
        self.rule, self.name = rule, name

    def minimize(
        self, loss: Tensor, global_step: Variable | None = None, var_list: Sequence[Variable] | None = None
    ) -> Operation:
        """The operation that does one step; `global_step` is counted up by it."""
        pairs = self.compute_gradients(loss, var_list)
        if all(gradient is None for gradient, _ in pairs):
            raise GraphError(
                f"{loss.node.described()} depends on none of the variables: there is nothing to minimize by"
            )
        return self.apply_gradients(pairs, global_step)

    def compute_gradients(
        self, loss: Tensor, var_list: Sequence[Variable] | None = None
    ) -> list[tuple[Tensor | None, Variable]]:
        """(gradient, variable) for each variable; None for one that the loss does not depend on."""
        chosen = var_list or loss.graph.get_collection(TRAINABLE_VARIABLES)
        if not chosen:
            raise GraphError("there is no trainable variable in the graph, and var_list names none")
        return list(zip(gradients(loss, list(chosen)), chosen, strict=True))

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Variable]], global_step: Variable | None = None
    ) -> Operation:
        """The operation that changes each variable by its gradient, all in one fused update."""
        pairs = [(gradient, variable) for gradient, variable in grads_and_vars if gradient is not None]
        if not pairs:
            raise GraphError("apply_gradients got no gradient: each is None")
        graph: Graph = pairs[0][1].graph
        variables = [variable for _, variable in pairs]
        names = self.rule.slot_names
        with graph.as_default(), graph.name_scope(self.name):
            step = Variable(np.zeros((), np.int64), trainable=False, name="step")
            slots = [
                Variable(np.zeros(v.shape, v.dtype), trainable=False, name=f"{v.name}/{slot}".replace("/", "_"))
                for v in variables
                for slot in names
            ]
            state = (step, *variables, *slots)
            node = graph.add(
                "update",
                lambda place: Update(
                    place,
                    optimizer=self.rule,
                    gradients=tuple(graph.tensor(gradient) for gradient, _ in pairs),
                    state=state,
                    slots=len(names),
                ),
            )
            parts = graph.results(node, Inferred(parts=tuple(Inferred(v.dtype, v.shape) for v in state)))
            changes: list[Any] = [variable.assign(part) for variable, part in zip(state, parts, strict=True)]
            if global_step is not None:
                changes.append(global_step.assign_add(1))
            return graph.group(*changes, name="apply")


def _named(rule: type[optim.Optimizer], name: str, renamed: dict[str, str]) -> Any:
    def make(*args: Any, **options: Any) -> Optimizer:
        given = {renamed.get(key, key): value for key, value in options.items() if key not in ("name", "use_locking")}
        return Optimizer(rule(*args, **given), options.get("name", name))

    make.__name__ = make.__qualname__ = name
    make.__doc__ = rule.__doc__
    return make


GradientDescentOptimizer = _named(optim.SGD, "GradientDescent", {})
AdagradOptimizer = _named(optim.Adagrad, "Adagrad", {})
RMSPropOptimizer = _named(optim.RMSProp, "RMSProp", {})
AdamOptimizer = _named(optim.Adam, "Adam", {})


def MomentumOptimizer(learning_rate: Any, momentum: float, use_nesterov: bool = False, **options: Any) -> Optimizer:  # noqa: N802
    """Gradient descent with momentum; see `tracejit.optim.SGD`."""
    return Optimizer(optim.SGD(learning_rate, momentum, use_nesterov, **options), "Momentum")


__all__ = [
    "AdagradOptimizer",
    "AdamOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "Optimizer",
    "RMSPropOptimizer",
    "Saver",
]
