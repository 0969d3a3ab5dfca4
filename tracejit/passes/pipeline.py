"""The order of the passes, and running them: each can be switched off by name (TRACEJIT_PASSES_OFF=simplify,...)."""

from __future__ import annotations

import os
from collections.abc import Callable

from tracejit.ir.graph import Graph
from tracejit.ir.verify import verify
from tracejit.passes.common_subexpressions import common_subexpressions
from tracejit.passes.dead_code import dead_code
from tracejit.passes.fold_constants import fold_constants
from tracejit.passes.fold_views import fold_views
from tracejit.passes.narrow_broadcasts import narrow_broadcasts
from tracejit.passes.simplify import simplify

PIPELINE: tuple[Callable[[Graph], Graph], ...] = (
    common_subexpressions,
    fold_views,
    narrow_broadcasts,
    fold_constants,
    simplify,
    fold_views,
    narrow_broadcasts,
    fold_constants,
    simplify,
    dead_code,
    fold_views,
)


def optimize(graph: Graph, check: bool = False) -> Graph:
    """Run the pipeline; `check` verifies the graph after each pass."""
    off = set(os.environ.get("TRACEJIT_PASSES_OFF", "").split(","))
    for function in PIPELINE:
        if function.__name__ in off:
            continue
        graph = function(graph)
        if check:
            verify(graph, after=function.__name__)
    return graph
