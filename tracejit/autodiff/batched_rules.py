"""Derivative rules along a batch axis: the rule of one example, on parameters, is batched when it is asked for.

So that the derivative of a mapped function is that of the function, mapped, wherever a rule is all that is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracejit.autodiff.batch_axis import BatchAxis, Batched
from tracejit.autodiff.context import Rules
from tracejit.ir.node import SEVERAL, ArrayType, Node
from tracejit.ops.table import OPS


@dataclass(frozen=True, eq=False)
class BatchedRule:
    """The rule of a batched node whose inputs all have the batch axis.

    one: the node of one example, whose inputs stand for those of the batched node.
    """

    axis: BatchAxis
    one: Node

    def parameters(
        self, rules: Rules, batched: Sequence[Node | None], likes: Sequence[Node]
    ) -> tuple[list[Any], dict[int, Batched]]:
        """One example's share of each node, as parameters, and what these stand for."""
        parameters = rules.builder.parameters(ArrayType(like.dtype, like.shape) for like in likes)
        known = {id(p): (node, True) for p, node in zip(parameters, batched, strict=True) if node is not None}
        return [None if node is None else p for p, node in zip(parameters, batched, strict=True)], known

    def batched(self, node: Node, results: Sequence[Node | None], known: dict[int, Batched]) -> list[Node | None]:
        """What a rule made of one example, for all."""
        stands = {id(old): (new, True) for old, new in zip(self.one.inputs, node.inputs, strict=True)}
        # Loops and branches are batched once more, for their parts' sake; they come out as the same nodes.
        done = {key: found for key, found in self.axis.done.items() if found[0].type != SEVERAL}
        inner = self.axis.inner({**done, **stands, **known}, self.axis.active)
        found = iter(inner.results([result for result in results if result is not None]))
        return [None if result is None else inner.widened(*next(found)) for result in results]


class BatchedCustom(BatchedRule):
    """The rule of a `custom` node; results are a node's first inputs."""

    def jvp(self, rules: Rules, node: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
        """The tangents of the results."""
        given, known = self.parameters(rules, tangents, self.one.inputs)
        return self.batched(node, self.one["rule"].jvp(rules, self.one, given), known)

    def vjp(self, rules: Rules, node: Node, cotangents: dict[int, Node]) -> list[Node | None]:
        """The cotangents of the inputs."""
        values = [self.one.inputs[index] for index in cotangents]
        given, known = self.parameters(rules, list(cotangents.values()), values)
        pulled = self.one["rule"].vjp(rules, self.one, dict(zip(cotangents, given, strict=True)))
        return self.batched(node, pulled, known)


class BatchedCall(BatchedRule):
    """The rule of a call made for each example in turn: that of the function called."""

    def jvp(self, rules: Rules, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """The tangent of the result."""
        given, known = self.parameters(rules, tangents, self.one.inputs)
        rule = OPS[self.one.op].jvp
        assert rule is not None
        return self.batched(node, [rule(rules, self.one, given)], known)[0]

    def vjp(self, rules: Rules, node: Node, cotangent: Node) -> list[Node | None]:
        """The cotangents of the operands."""
        (given,), known = self.parameters(rules, [cotangent], [self.one])
        rule = OPS[self.one.op].vjp
        assert rule is not None
        return self.batched(node, rule(rules, self.one, given), known)
