"""A model as a graph of named nodes: its modules become name scopes, its parameters variables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from tracejit.graph.graph import Graph
from tracejit.graph.inputs import Variable, placeholder
from tracejit.nn.module import Bound, Module, binding


def model_graph(model: Module, *inputs: Any) -> Graph:
    """The graph of `model(*inputs)`, as `Session` runs it and TensorBoard draws it.

    inputs: arrays of the dtypes and shapes that are fed later.  The graph's `inputs` are its placeholders, its
    `outputs` what the model returns.

    >>> import numpy as np, tracejit as tj
    >>> from tracejit import nn
    >>> model = nn.Sequential(nn.Linear(2, 3, activation="tanh"), nn.Linear(3, 1))
    >>> graph = tj.graph.model_graph(model, np.zeros((5, 2), np.float32))
    >>> graph.outputs.shape
    (5, 1)
    >>> sorted({node.name.split("/")[1] for node in graph.nodes if node.name.startswith("layers/")})
    ['0', '1']
    """
    graph = Graph()
    with graph.as_default():
        values = {
            parameter: Variable(parameter.memory, trainable=parameter.trainable, name=name.replace(".", "/"))
            for name, parameter in model._state().items()
        }
        given = [np.asarray(value) for value in inputs]
        graph.inputs = tuple(placeholder(value.dtype, value.shape, name="input") for value in given)
        with _scopes(graph, model), binding(Bound(dict(values))):
            graph.outputs = model(*graph.inputs)
    return graph


class _scopes:  # noqa: N801 - reads as the function that it is
    """While it is entered, calls of a model's modules stand in name scopes of their names."""

    def __init__(self, graph: Graph, model: Module) -> None:
        self.graph, self.model = graph, model
        self.open: list[ExitStack] = []
        self.removals: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        for name, module in self.model.named_modules():
            if name:
                scope = name.replace(".", "/") + "/"
                self.removals.append(module.register_forward_pre_hook(self._enter(scope)))
                self.removals.append(module.register_forward_hook(self._leave))

    def __exit__(self, *_: object) -> None:
        for remove in self.removals:
            remove()
        while self.open:
            self.open.pop().close()

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(module: Module, inputs: Any) -> None:
            stack = ExitStack()
            stack.enter_context(self.graph.name_scope(name))
            self.open.append(stack)

        return enter

    def _leave(self, module: Module, inputs: Any, result: Any) -> None:
        self.open.pop().close()
