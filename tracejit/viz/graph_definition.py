"""Graphs as TensorBoard's GraphDef: names, ops, inputs, shapes, devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit import graph as graph_mode
from tracejit.graph.nodes import Node as GraphNode
from tracejit.ir.graph import Graph as IrGraph
from tracejit.ir.node import Node as IrNode

_TYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
"""TensorFlow's numbers of the dtypes (its `types.proto`)."""


def graph_definition(graph: graph_mode.Graph | IrGraph) -> Any:
    """The GraphDef of a graph of graph mode, or of what `tracejit.jit` has traced."""
    nodes = _of_session(graph) if isinstance(graph, graph_mode.Graph) else _of_trace(graph)
    from tensorboardX.proto.graph_pb2 import GraphDef
    from tensorboardX.proto.versions_pb2 import VersionDef

    return GraphDef(node=nodes, versions=VersionDef(producer=22))


def _definition(name: str, op: str, inputs: Sequence[str], device: str, dtype: Any, shape: Any) -> Any:
    from tensorboardX.proto.attr_value_pb2 import AttrValue
    from tensorboardX.proto.node_def_pb2 import NodeDef
    from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

    attributes = {}
    if dtype is not None and np.dtype(dtype).name in _TYPES:
        attributes["dtype"] = AttrValue(type=_TYPES[np.dtype(dtype).name])
    if shape is not None:
        lengths = [TensorShapeProto.Dim(size=-1 if length is None else length) for length in shape]
        attributes["_output_shapes"] = AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=lengths)]))
    return NodeDef(name=name, op=op, input=inputs, device=device, attr=attributes)


def _of_session(graph: graph_mode.Graph) -> list[Any]:
    return [
        _definition(
            node.name,
            _kind(node),
            [source.name for source in node.inputs] + [f"^{source.name}" for source in node.place.control_inputs],
            node.device,
            node.dtype,
            node.shape,
        )
        for node in graph.nodes
    ]


def _kind(node: GraphNode) -> str:
    function = getattr(node, "function", None)
    return node.kind if function is None else str(getattr(function, "__name__", node.kind))


def _of_trace(graph: IrGraph) -> list[Any]:
    """Nodes of the IR, named by op and number; the lengths that a call decides are open."""
    names: dict[int, str] = {}
    found = []
    for number, node in enumerate(graph.nodes):
        names[id(node)] = f"{node.op}_{number}"
        shape = tuple(length if isinstance(length, int) else None for length in node.shape)
        inputs = [names[id(source)] for source in node.inputs]
        found.append(_definition(names[id(node)], _op(node), inputs, "/cpu:0", node.dtype, shape))
    for position, node in enumerate(graph.outputs):
        found.append(_definition(f"output_{position}", "output", [names[id(node)]], "/cpu:0", node.dtype, None))
    return found


def _op(node: IrNode) -> str:
    return str(node["call"].name) if node.op == "call" else node.op
