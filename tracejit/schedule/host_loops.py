"""The body of a loop that the host runs, as one iteration reads and writes memory: xs and ys at the counter.

body(i, c, x: f64[n]):                 iteration(c, xs: f64[t, n]):
    y = c + x                    ->        y = c + xs[i, j]           (y is memory of ys at i)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tracejit.ir.graph import Graph
from tracejit.ir.node import Builder, Index, Node, compose, identity_indices
from tracejit.ir.size import symbol
from tracejit.schedule.steps import Allocate, Buffer, Place, Program


def iteration(loop: Node, counter: str) -> Graph:
    """A loop's body with the counter as a number that the host knows, and whole xs in place of their slices.

    Its inputs are (*constants, *carries, *xs).
    """
    body: Graph = loop["body"]
    builder = Builder()
    first, last = 1, 1 + loop["constants"] + loop["carries"]
    xs = builder.parameters(source.type for source in loop.inputs[last - 1 :])
    done = {id(node): node for node in body.inputs}
    number, *_ = body.inputs
    done[id(number)] = builder.node("scalar", (), {"expression": counter}, number.type)
    for part, whole in zip(body.inputs[last:], xs, strict=True):
        indices = (Index(None, 1, symbol(counter)), *identity_indices(part.shape))
        done[id(part)] = builder.view(whole, indices, part.shape)
    for node in body.nodes:
        if id(node) not in done:
            done[id(node)] = _rebuilt(builder, node, tuple(done[id(source)] for source in node.inputs))
    return Graph((*body.inputs[first:last], *xs), tuple(done[id(output)] for output in body.outputs))


def _rebuilt(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> Node:
    """The node on other inputs; a view of a view is one view, which NumPy can make as it is."""
    if node.op == "view" and inputs[0].op == "view":
        source = inputs[0]
        return builder.view(source.inputs[0], compose(source["indices"], node["indices"]), node.shape, node.line)
    return builder.rebuilt(node, inputs)


def write_in_place(body: Program, counter: str, carries: int, ys: tuple[Buffer, ...]) -> Program:
    """What the body allocates for a slice of ys is that slice's own memory, where nothing else wants it."""
    times = Counter(body.outputs)
    places = {
        output: Place(whole, counter, output)
        for output, whole in zip(body.outputs[carries:], ys, strict=True)
        if times[output] == 1
    }
    steps = tuple(
        places[step.target] if isinstance(step, Allocate) and step.target in places else step for step in body.steps
    )
    return replace(body, steps=steps)
