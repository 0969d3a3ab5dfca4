"""A graph: the outputs of one traced segment and all that they need, and how it prints."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from operator import is_
from typing import Any

import numpy as np

from tracejit.ir.node import SEVERAL, Builder, Node
from tracejit.ops.table import OPS
from tracejit.records import dataclass


@dataclass(frozen=True)
class Graph:
    """Typed SSA in dependency order.

    inputs: the array inputs, by argument position (some may be unused).
    outputs: the values that leave the graph.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that an output needs, inputs before users, in the order of first use."""
        order: list[Node] = []
        seen: set[int] = set()
        for output in self.outputs:
            stack: list[tuple[Node, bool]] = [(output, False)]
            while stack:
                node, expanded = stack.pop()
                if expanded:
                    order.append(node)
                elif id(node) not in seen:
                    seen.add(id(node))
                    stack.append((node, True))
                    stack.extend((source, False) for source in reversed(node.inputs))
        # A node can be pushed for expansion once only, so `order` has no duplicates.
        return tuple(order)

    @cached_property
    def names(self) -> dict[int, str]:
        """Printed name of each node by identity."""
        named = {id(node): f"x{position}" for position, node in enumerate(self.inputs)}
        count = 0
        for node in self.nodes:
            if id(node) not in named:
                if node.kind == "source" and node.op in ("constant", "scalar") and not node.shape:
                    named[id(node)] = _inline(node)
                else:
                    named[id(node)] = f"v{count}"
                    count += 1
        return named

    def uses(self) -> dict[int, list[Node]]:
        """The nodes that read each node, by identity of the node read."""
        readers: dict[int, list[Node]] = {id(node): [] for node in self.nodes}
        for node in self.nodes:
            for source in node.inputs:
                readers[id(source)].append(node)
        return readers

    def __str__(self) -> str:
        return "\n".join(self.lines("graph"))

    def lines(self, name: str) -> list[str]:
        """The graph as text, bodies of control nodes indented under them."""
        names = self.names
        arguments = ", ".join(f"{names[id(node)]}: {node.type}" for node in self.inputs)
        lines = [f"{name}({arguments}):"]
        for node in self.nodes:
            if node.op in ("input", "parameter") or names[id(node)] == _inline(node):
                continue
            type = "" if node.type == SEVERAL else f": {node.type}"
            text = f"    {names[id(node)]}{type} = {expression(node, [names[id(s)] for s in node.inputs])}"
            lines.append(f"{text:<72}  # {node.line}" if node.line else text)
            for label, body in bodies(node).items():
                lines += [f"        {line}" for line in body.lines(label)]
        lines.append(f"    return {', '.join(names[id(node)] for node in self.outputs)}")
        return lines

    def rewritten(self, rule: Callable[[Builder, Node, tuple[Node, ...]], Node]) -> Graph:
        """Every node rebuilt, inputs first, by `rule(builder, node, rebuilt inputs)`; inputs of the graph stay.

        A graph that no rule has changed is returned itself.
        """
        builder = Builder()
        done: dict[int, Node] = {id(node): node for node in self.inputs}
        for node in self.nodes:
            if id(node) not in done:
                done[id(node)] = rule(builder, node, tuple([done[id(source)] for source in node.inputs]))
        outputs = tuple(done[id(node)] for node in self.outputs)
        return self if all(map(is_, outputs, self.outputs)) else Graph(self.inputs, outputs)


def bodies(node: Node) -> dict[str, Graph]:
    """The graphs inside a control node, by what they are called there, in the order in which they run."""
    if node.op == "loop":
        condition = {} if node["condition"] is None else {"while": node["condition"]}
        return {**condition, "do": node["body"]}
    if node.op == "branch":
        is_bool = node.inputs[0].dtype.kind == "b"
        labels = ["else", "if"] if is_bool else [f"case {number}" for number in range(len(node["branches"]))]
        return dict(zip(labels, node["branches"], strict=True))
    return {}


def with_bodies(builder: Builder, node: Node, inputs: tuple[Node, ...], change: Callable[[Graph], Graph]) -> Node:
    """The node on other inputs, each of its bodies changed."""
    if node.op not in ("loop", "branch"):
        return builder.rebuilt(node, inputs)
    params = dict(node.params)
    if node.op == "loop":
        params["body"] = change(params["body"])
        params["condition"] = None if params["condition"] is None else change(params["condition"])
    else:
        params["branches"] = tuple(change(body) for body in params["branches"])
    return builder.node(node.op, inputs, params, node.type, node.line)


def literal(node: Node) -> Any:
    """The value of a `constant` node as a NumPy array."""
    return np.frombuffer(node["data"], node.dtype).reshape(node.shape)


def _inline(node: Node) -> str:
    if node.op == "constant" and not node.shape:
        return str(literal(node)[()])
    return str(node["expression"]) if node.op == "scalar" else ""


def expression(node: Node, operands: list[str]) -> str:
    """The right-hand side of a printed node."""
    op = OPS[node.op]
    if node.op == "view":
        return f"{operands[0]}[{', '.join(map(str, node['indices']))}]"
    if node.op == "update":
        return f"update({operands[0]}, [{', '.join(map(str, node['indices']))}] = {operands[1]})"
    if node.kind == "call":
        return node["call"].text(operands)  # type: ignore[no-any-return]
    if op.symbol is not None and op.kind == "elementwise":
        return op.symbol.format(*operands, **dict(node.params))
    if node.op == "scalars":
        first, *rest = node["expressions"]
        return f"scalars({first}, ... {len(rest)} more)"
    if node.op == "part":
        return f"{operands[0]}[{node['index']}]"
    if node.op == "loop":
        return _loop(node, operands)
    if node.op == "branch":
        return f"branch on {operands[0]}({', '.join(operands[1:])})"
    shown = [f"{key}={value}" for key, value in node.params if key not in ("data", "position")]
    return f"{node.op}({', '.join(operands + shown)})"


def _loop(node: Node, operands: list[str]) -> str:
    """A loop without its bodies: how often, and what goes in as constants, carries and xs."""
    first, last = node["constants"], node["constants"] + node["carries"]
    groups = {"constants": operands[:first], "carries": operands[first:last], "xs": operands[last:]}
    shown = [f"{name}=[{', '.join(items)}]" for name, items in groups.items() if items]
    times = "while" if node["length"] is None else f"{node['length']} times{', last to first' * node['reverse']}"
    return f"loop {times}({', '.join(shown)})"
