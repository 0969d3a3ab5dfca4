"""From a plain function to a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracejit.graph.graph import Graph
from tracejit.graph.inputs import placeholder
from tracejit.trace.pytree import flatten, rebuild


def function(f: Callable[..., Any], signature: Sequence[Any]) -> Graph:
    """The graph of what a plain NumPy function does; its `as_function()` is a callable again.

    signature: for each argument (dtype, shape), lengths of None for what may differ from call to call.
    The graph's `inputs` are the placeholders, its `outputs` the tensors in the structure of the function's result.

    Raises GraphError where the function asks for a value while the graph is built (`if`, `float()`): a graph has none.

    >>> import numpy as np, tracejit.graph as tf
    >>> def f(x, y):
    ...     return np.sin(x) @ y
    >>> graph = tf.function(f, [(np.float64, (None, 3)), (np.float64, (3,))])
    >>> graph.outputs
    <Tensor 'matmul' shape=(?,) dtype=float64>
    >>> graph.as_function()(np.zeros((2, 3)), np.ones(3))
    array([0., 0.])
    """
    graph = Graph()
    with graph.as_default():
        inputs = [placeholder(dtype, shape, name=f"x{n}") for n, (dtype, shape) in enumerate(signature)]
        leaves: list[Any] = []
        tree = flatten(f(*inputs), leaves)
        graph.inputs = tuple(inputs)
        graph.outputs = rebuild(tree, [graph.tensor(leaf) for leaf in leaves])
    return graph
