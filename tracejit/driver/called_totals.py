"""Where a device has functions of its own for running totals, these are calls; kernels do them on a CPU.

v1: f64[n] = cumsum(v0, axis=0)     ->     v1: f64[n] = call(np.add.accumulate(v0, axis=0, dtype=float64))
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tracejit.ir.graph import Graph, with_bodies
from tracejit.ir.node import Builder, Node
from tracejit.ops.table import OPS
from tracejit.trace.opaque import Call, Slot, spelling


def called_totals(graph: Graph, functions: Collection[Any]) -> Graph:
    """The graph with calls of those of NumPy's `functions` that are running totals."""

    def rule(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op in ("loop", "branch"):
            return with_bodies(builder, node, inputs, lambda body: called_totals(body, functions))
        function = OPS[node.op].reference if node.kind == "accumulate" else None
        if function is None or function not in functions:
            return builder.rebuilt(node, inputs)
        call = Call(function, (Slot(0),), {"axis": node["axis"], "dtype": node.dtype}, spelling(function))
        return builder.node("call", inputs, {"call": call}, node.type, node.line)

    return graph.rewritten(rule) if functions else graph
