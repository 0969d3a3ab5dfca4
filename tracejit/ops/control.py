"""Structured control flow, and the marks that derivatives leave in a graph.

A control node has several results; `part` nodes pick them.  Its bodies are graphs of their own, whose inputs are
`parameter` nodes; what a body needs from outside comes in through the control node's inputs.

    loop   inputs:     (*constants, *carries, *xs)
           body:       Graph (counter, *constants, *carries, *slices of xs) -> (*carries, *slices of ys)
           condition:  Graph (*constants, *carries) -> (bool,), or None
           length:     iterations, a size known to the host, or None where `condition` decides
           parts:      (*last carries, *stacked ys)
    branch inputs:     (selector, *operands)
           branches:   Graphs (*operands) -> results of the same types; only the selected one is computed
           parts:      (*results)

The counter is an int64: the place in xs and ys, 0 .. length-1; `reverse` loops from the last to the first.  A branch's
selector is bool (branches: where false, where true) or int64 (a place in `branches`, within bounds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracejit.ops.table import Op, register
from tracejit.vecmath.language import Scalar


def _itself(x: Scalar) -> Scalar:
    return x


def _loop_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_loop(node, inputs, batched)


def _branch_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_branch(node, inputs, batched)


def _custom_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_custom(node, inputs, batched)


def _mapped_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_call(node, inputs, batched)


register(Op("parameter", "source", doc="An input of a body, by scope and position."))
register(Op("part", "control", doc="One result of a node that has several."))


def _loop_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Sequence[Any]:
    return rules.loop_jvp(node, tangents)  # type: ignore[no-any-return]


def _loop_vjp(rules: Any, node: Any, cotangents: dict[int, Any]) -> Sequence[Any]:
    return rules.loop_vjp(node, cotangents)  # type: ignore[no-any-return]


def _branch_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Sequence[Any]:
    return rules.branch_jvp(node, tangents)  # type: ignore[no-any-return]


def _branch_vjp(rules: Any, node: Any, cotangents: dict[int, Any]) -> Sequence[Any]:
    return rules.branch_vjp(node, cotangents)  # type: ignore[no-any-return]


register(
    Op(
        "loop",
        "control",
        jvp=_loop_jvp,
        vjp=_loop_vjp,
        batch=_loop_batch,
        doc="A body done again and again: a count known beforehand, or while a condition holds.",
    )
)
register(
    Op(
        "branch",
        "control",
        jvp=_branch_jvp,
        vjp=_branch_vjp,
        batch=_branch_batch,
        doc="One of several bodies, the one that a selector names.",
    )
)


def _custom_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Sequence[Any]:
    return node["rule"].jvp(rules, node, tangents)  # type: ignore[no-any-return]


def _custom_vjp(rules: Any, node: Any, cotangents: dict[int, Any]) -> Sequence[Any]:
    return node["rule"].vjp(rules, node, cotangents)  # type: ignore[no-any-return]


register(
    Op(
        "custom",
        "control",
        jvp=_custom_jvp,
        vjp=_custom_vjp,
        batch=_custom_batch,
        doc="Values with a derivative rule of the user's; erased before optimization.",
    )
)
register(
    Op(
        "mapped",
        "call",
        jvp=_custom_jvp,
        vjp=_custom_vjp,
        batch=_mapped_batch,
        doc="A call made for each example of a batch, with the derivative rule of one.",
    )
)
for _name, _derivative, _doc in (
    ("tap", ("1",), "The value itself, apart from all others: what a derivative is taken by."),
    ("stop_gradient", ("0",), "The value itself, as if constant to derivatives."),
    ("barrier", ("1",), "The value itself, kept apart from equal values by every pass: what is computed anew."),
):
    register(Op(_name, "elementwise", scalar=_itself, derivative=_derivative, doc=_doc))
