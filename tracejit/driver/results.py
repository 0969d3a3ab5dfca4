"""What a segment gives at its end: arguments that were written to, and the leaves of the function's result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracejit.ir.node import Node
from tracejit.trace.state import Storage, Trace
from tracejit.trace.tracer import Tracer


def outgoing(
    trace: Trace, leaves: Sequence[Any]
) -> tuple[list[Storage], list[Node], list[tuple[str, int, Tracer | None]]]:
    """The arguments that were written to, what else is computed, and what each leaf of a result is of that.

    A leaf is "own" memory, or a view of memory that is "shared" with other leaves (the number says which of what is
    computed), or of an argument (then the text is empty).
    """
    live = [s for s in trace.live_storages() if s.leaf is not None and s.mutated]
    counts: dict[int, int] = {}
    for leaf in leaves:
        if isinstance(leaf, Tracer) and leaf.storage.leaf is None:
            counts[id(leaf.storage)] = counts.get(id(leaf.storage), 0) + 1
    extra: list[Node] = []
    texts: list[tuple[str, int, Tracer | None]] = []
    shared: dict[int, int] = {}
    for leaf in leaves:
        if not isinstance(leaf, Tracer):
            texts.append(("", -1, None))
        elif leaf.storage.leaf is not None:
            texts.append(("", -1, leaf))
        elif counts[id(leaf.storage)] > 1:
            if id(leaf.storage) not in shared:
                shared[id(leaf.storage)] = len(extra)
                extra.append(leaf.storage.node)
            texts.append(("shared", shared[id(leaf.storage)], leaf))
        else:
            extra.append(leaf.node)
            texts.append(("own", len(extra) - 1, leaf))
    return live, extra, texts
