"""Graph mode: build a graph, then run it in a session.

    import tracejit.graph as tf

    x = tf.placeholder(tf.float32, (None,))
    w = tf.Variable([0.4], dtype=tf.float32)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(w * x, {x: [1, 2, 3]})

Tensors take NumPy's operators and functions (`np.sin(t)`, `t.sum(axis=0)`), every function of `tracejit`, and the names
that TensorFlow 1 had for them (`reduce_sum`, `matmul`, ...), which this module has too.
"""

from contextlib import AbstractContextManager
from typing import Any

from tracejit.graph import names, nn, train
from tracejit.graph.control import cond, while_loop
from tracejit.graph.derivatives import gradients
from tracejit.graph.errors import BadFeed, GraphError, GrowingGraph, MissingFeed, UninitializedVariable
from tracejit.graph.functions import function
from tracejit.graph.graph import Graph, convert_to_tensor, get_default_graph, reset_default_graph
from tracejit.graph.inputs import (
    Variable,
    constant,
    global_variables,
    global_variables_initializer,
    placeholder,
    placeholder_with_default,
    trainable_variables,
    variables_initializer,
)
from tracejit.graph.model_graph import model_graph
from tracejit.graph.names import add_n, cast, concat, group, identity, matmul, no_op, ones, reshape, transpose, zeros
from tracejit.graph.nodes import Operation
from tracejit.graph.random_nodes import random_normal, random_uniform, set_random_seed, truncated_normal
from tracejit.graph.session import Session
from tracejit.graph.tensor import Tensor

__all__ = [
    "BadFeed",
    "Graph",
    "GraphError",
    "GrowingGraph",
    "MissingFeed",
    "Operation",
    "Session",
    "Tensor",
    "UninitializedVariable",
    "Variable",
    "add_n",
    "cast",
    "concat",
    "cond",
    "constant",
    "control_dependencies",
    "convert_to_tensor",
    "device",
    "function",
    "get_default_graph",
    "global_variables",
    "global_variables_initializer",
    "gradients",
    "group",
    "identity",
    "matmul",
    "model_graph",
    "name_scope",
    "nn",
    "no_op",
    "ones",
    "placeholder",
    "placeholder_with_default",
    "random_normal",
    "random_uniform",
    "reset_default_graph",
    "reshape",
    "set_random_seed",
    "train",
    "trainable_variables",
    "transpose",
    "truncated_normal",
    "variables_initializer",
    "while_loop",
    "zeros",
]


def name_scope(name: str) -> AbstractContextManager[str]:
    """Names of nodes made inside begin with `name/`."""
    return get_default_graph().name_scope(name)


def control_dependencies(operations: Any) -> AbstractContextManager[None]:
    """Nodes made inside run after the given tensors and operations."""
    return get_default_graph().control_dependencies(operations)


def device(name: str) -> AbstractContextManager[None]:
    """Nodes made inside are placed on a device: "/cpu:0", or "/gpu:0" where there is one."""
    return get_default_graph().device(name)


def __getattr__(name: str) -> Any:
    found = names.lookup(name)
    if found is None:
        raise AttributeError(f"module 'tracejit.graph' has no attribute {name!r}")
    globals()[name] = found
    return found
