"""Equal expressions become one node; interning does it while the graph is rebuilt.

v0: f64[n] = exp(x0)                             v0: f64[n] = exp(x0)
v1: f64[n] = exp(x0)                     ->      v1: f64[n] = v0 + v0
v2: f64[n] = v0 + v1
"""

from __future__ import annotations

from tracejit.ir.graph import Graph


def common_subexpressions(graph: Graph) -> Graph:
    return graph.rewritten(lambda builder, node, inputs: builder.interned(builder.rebuilt(node, inputs)))
