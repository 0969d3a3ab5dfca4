"""The rule context of a running derivation: rules that meet graphs within the graph differentiate those too."""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.autodiff import control
from tracejit.autodiff.context import Rules
from tracejit.autodiff.forward import tangents
from tracejit.autodiff.reverse import cotangents
from tracejit.ir.node import Node


class Derivation(Rules):
    """`Rules` that can differentiate the bodies of loops and branches."""

    def pull(self, outputs: Sequence[Node], seeds: Sequence[Node | None], wrt: Sequence[Node]) -> Sequence[Node | None]:
        return cotangents(self, outputs, seeds, wrt)

    def push(self, outputs: Sequence[Node], wrt: Sequence[Node], given: Sequence[Node]) -> Sequence[Node | None]:
        return tangents(self, outputs, wrt, given)

    def loop_jvp(self, node: Node, given: Sequence[Node | None]) -> Sequence[Node | None]:
        return control.loop_jvp(self, node, given)

    def loop_vjp(self, node: Node, given: dict[int, Node]) -> Sequence[Node | None]:
        return control.loop_vjp(self, node, given)

    def branch_jvp(self, node: Node, given: Sequence[Node | None]) -> Sequence[Node | None]:
        return control.branch_jvp(self, node, given)

    def branch_vjp(self, node: Node, given: dict[int, Node]) -> Sequence[Node | None]:
        return control.branch_vjp(self, node, given)
