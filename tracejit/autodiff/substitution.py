"""A graph's nodes again, on other inputs: what a derivative was worked out for in general is filled in.

v0: f64[n] = p0 * x0             ->      v1: f64[n] = x1 * x0            (p0 is replaced by x1)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracejit.ir.node import Builder, Node


def substitute(builder: Builder, outputs: Sequence[Node | None], replacement: Mapping[int, Node]) -> list[Node | None]:
    """The outputs with nodes replaced (by identity); what does not depend on those stays the same node."""
    done: dict[int, Node] = dict(replacement)
    for output in outputs:
        if output is None:
            continue
        stack: list[tuple[Node, bool]] = [(output, False)]
        while stack:
            node, expanded = stack.pop()
            if id(node) in done:
                continue
            if expanded:
                inputs = tuple(done[id(source)] for source in node.inputs)
                same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
                done[id(node)] = node if same else builder.rebuilt(node, inputs)
            else:
                stack.append((node, True))
                stack.extend((source, False) for source in node.inputs)
    return [done[id(output)] if output is not None else None for output in outputs]
