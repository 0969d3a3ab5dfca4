"""`checkpoint`: recompute in the backward pass instead of keeping; `stop_gradient`: constant to derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tracejit.autodiff.context import Rules
from tracejit.autodiff.reverse import cotangents
from tracejit.autodiff.traced import name_of
from tracejit.eager.calls import detached
from tracejit.ir.node import Node
from tracejit.trace.pytree import flatten, rebuild
from tracejit.trace.state import ACTIVE, current
from tracejit.trace.tracer import Tracer, fresh
from tracejit.transform.custom import Signature, attach, traced_numbers


def stop_gradient(value: Any) -> Any:
    """The value itself (a pytree of arrays), as if it were constant to every derivative.

    >>> import tracejit as tj
    >>> tj.grad(lambda x: x * tj.stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    if ACTIVE.trace is None:
        return detached(value)
    trace = current()
    leaves: list[Any] = []
    tree = flatten(value, leaves)
    stopped = [
        fresh(trace, trace.builder.node("stop_gradient", (leaf.node,), {}, leaf.node.type), leaf.scalar)
        if isinstance(leaf, Tracer)
        else leaf
        for leaf in leaves
    ]
    return rebuild(tree, stopped)


class _Recompute:
    """The rule of a checkpointed function: backward runs it again, on copies that no other use shares."""

    def __init__(self, signature: Signature, function: Callable[..., Any]) -> None:
        self.signature, self.function = signature, function

    def jvp(self, rules: Rules, node: Node, tangents: Any) -> Any:
        return tangents[: self.signature.count]

    def vjp(self, rules: Rules, node: Node, given: dict[int, Node]) -> Any:
        signature, builder = self.signature, rules.builder
        arguments = node.inputs[signature.count :]
        apart = [builder.node("barrier", (argument,), {}, argument.type) for argument in arguments]
        again = builder.node("custom", (*node.inputs[: signature.count], *apart), dict(node.params), node.type)
        leaves: list[Any] = []
        flatten(self.function(*signature.arguments(rules.trace, again)), leaves)
        outputs = [leaf.node if isinstance(leaf, Tracer) else None for leaf in leaves]
        chosen = [place for place, slot in enumerate(signature.result_slots) if slot is not None]
        pairs = [
            (outputs[place], given[signature.result_slots[place]])  # type: ignore[index]
            for place in chosen
            if signature.result_slots[place] in given and outputs[place] is not None
        ]
        wanted = [a for a in apart if a.dtype.kind == "f"]
        found = iter(cotangents(rules, [p for p, _ in pairs], [c for _, c in pairs], wanted))  # type: ignore[misc]
        return [*[None] * signature.count, *(next(found) if a.dtype.kind == "f" else None for a in apart)]


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose inner values are computed anew in the backward pass instead of being kept for it.

    Trades one more forward pass for memory (Griewank and Walther, Revolve, ACM TOMS 26, 2000, in its simplest form).

    >>> import numpy as np, tracejit as tj
    >>> tj.grad(lambda x: tj.checkpoint(np.sin)(x) ** 2)(1.0)
    np.float64(0.9092974268256817)
    """

    def checkpointed(*args: Any, **options: Any) -> Any:
        if ACTIVE.trace is None or not ACTIVE.trace.variables:
            return function(*args, **options)
        given = traced_numbers(args)
        result = function(*given, **options)
        bound = functools.partial(function, **options) if options else function
        return attach(name_of(function), given, result, lambda signature: _Recompute(signature, bound))

    functools.update_wrapper(checkpointed, function)
    return checkpointed
