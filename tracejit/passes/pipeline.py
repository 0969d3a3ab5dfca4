"""The order of the passes, and running them: each can be switched off by name (TRACEJIT_PASSES_OFF=simplify,...)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from tracejit.ir.graph import Graph, with_bodies
from tracejit.ir.verify import verify
from tracejit.passes.common_subexpressions import common_subexpressions
from tracejit.passes.dead_code import dead_code
from tracejit.passes.drop_dead_carries import drop_dead_carries
from tracejit.passes.expand_convolutions import expand_convolutions
from tracejit.passes.expand_dot_products import expand_dot_products
from tracejit.passes.expand_matrix_vector import expand_matrix_vector
from tracejit.passes.flatten_stacks import flatten_stacks
from tracejit.passes.fold_constants import fold_constants
from tracejit.passes.fold_views import fold_views
from tracejit.passes.merge_loops import merge_loops
from tracejit.passes.merge_updates import merge_updates
from tracejit.passes.narrow_broadcasts import narrow_broadcasts
from tracejit.passes.scalarize_loops import scalarize_loops
from tracejit.passes.simplify import simplify
from tracejit.passes.sink_into_branches import sink_into_branches

PIPELINE: tuple[Callable[[Graph], Graph], ...] = (
    expand_convolutions,
    expand_dot_products,
    common_subexpressions,
    expand_matrix_vector,
    flatten_stacks,
    merge_loops,
    drop_dead_carries,
    sink_into_branches,
    fold_views,
    narrow_broadcasts,
    fold_constants,
    simplify,
    fold_views,
    merge_updates,
    narrow_broadcasts,
    fold_constants,
    simplify,
    scalarize_loops,
    dead_code,
    fold_views,
)


def optimize(graph: Graph, check: bool = False) -> Graph:
    """Run the pipeline, then on each body; `check` verifies the graph after each pass."""
    off = set(os.environ.get("TRACEJIT_PASSES_OFF", "").split(","))
    for function in PIPELINE:
        if function.__name__ in off:
            continue
        graph = function(graph)
        if check:
            verify(graph, after=function.__name__)
    if not any(node.op in ("loop", "branch") for node in graph.nodes):
        return graph
    # From the outside in: what is dropped or moved outside decides what there is to do inside.
    return graph.rewritten(
        lambda builder, node, inputs: with_bodies(builder, node, inputs, partial(optimize, check=check))
    )
