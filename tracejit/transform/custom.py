"""Derivative rules of the user's own: `custom_vjp`, `custom_jvp`, and what is built on such rules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tracejit.autodiff.context import Rules
from tracejit.autodiff.reverse import cotangents
from tracejit.autodiff.traced import fitted, name_of, node_of
from tracejit.eager.calls import one_operation
from tracejit.ir.node import SEVERAL, Node
from tracejit.trace.pytree import Tree, flatten, rebuild
from tracejit.trace.record import as_tracer
from tracejit.trace.state import ACTIVE, NotDifferentiable, Trace, current
from tracejit.trace.tracer import Tracer, fresh


@dataclass(frozen=True)
class Signature:
    """A custom node's inputs taken apart: the first `count` are results, the rest arguments (some leaves are neither).

    slots: for each argument leaf its place among the argument nodes, or None and the leaf itself in `leaves`.
    """

    name: str
    count: int
    tree: Tree
    slots: tuple[int | None, ...]
    leaves: tuple[Any, ...]
    result_tree: Tree
    result_slots: tuple[int | None, ...]
    scalars: tuple[bool, ...]

    def arguments(self, trace: Trace, node: Node) -> Any:
        """The arguments as the function saw them."""
        nodes = node.inputs[self.count :]
        leaves = [
            leaf if slot is None else fresh(trace, nodes[slot], self.scalars[slot])
            for slot, leaf in zip(self.slots, self.leaves, strict=True)
        ]
        return rebuild(self.tree, leaves)


@dataclass(frozen=True, eq=False)
class ReverseRule:
    """The rule of a `custom_vjp`: residuals kept by the forward function, and the backward function."""

    signature: Signature
    backward: Callable[..., Any]
    residuals: Any

    def jvp(self, rules: Rules, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        """Forward mode goes through what the forward function did."""
        return tangents[: self.signature.count]

    def vjp(self, rules: Rules, node: Node, given: dict[int, Node]) -> Sequence[Node | None]:
        signature = self.signature
        leaves = [
            None if slot is None else _cotangent(rules, node.inputs[slot], given.get(slot))
            for slot in signature.result_slots
        ]
        returned = self.backward(self.residuals, rebuild(signature.result_tree, leaves))
        return _matched(rules, signature, node, returned)


@dataclass(frozen=True, eq=False)
class ForwardRule:
    """The rule of a `custom_jvp`; reverse mode transposes it, since it is linear in the tangents."""

    signature: Signature
    function: Callable[..., Any]

    def jvp(self, rules: Rules, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        arguments = node.inputs[self.signature.count :]
        given = [
            t if t is not None else rules.zeros(a.type) if a.dtype.kind == "f" else None
            for a, t in zip(arguments, tangents[self.signature.count :], strict=True)
        ]
        return self._pushed(rules, node, given)

    def vjp(self, rules: Rules, node: Node, given: dict[int, Node]) -> Sequence[Node | None]:
        arguments = node.inputs[self.signature.count :]
        taps = [
            rules.builder.node("tap", (rules.zeros(a.type),), {}, a.type) if a.dtype.kind == "f" else None
            for a in arguments
        ]
        pushed = self._pushed(rules, node, taps)
        pairs = [(pushed[place], cotangent) for place, cotangent in given.items() if pushed[place] is not None]
        wanted = [tap for tap in taps if tap is not None]
        found = iter(cotangents(rules, [p for p, _ in pairs], [c for _, c in pairs], wanted))  # type: ignore[misc]
        return [*[None] * self.signature.count, *(next(found) if tap is not None else None for tap in taps)]

    def _pushed(self, rules: Rules, node: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
        """The tangents of the results, by the user's rule."""
        signature = self.signature
        leaves = [
            None if slot is None or (tangent := tangents[slot]) is None else fresh(rules.trace, tangent)
            for slot in signature.slots
        ]
        returned = self.function(signature.arguments(rules.trace, node), rebuild(signature.tree, leaves))
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(f"the jvp rule of {signature.name} must return (result, tangent of the result)")
        likes = [None if slot is None else node.inputs[slot] for slot in signature.result_slots]
        fits = fitted(rules.trace, returned[1], signature.result_tree, likes, "tangents")
        return [fit for fit, slot in zip(fits, signature.result_slots, strict=True) if slot is not None]


def _cotangent(rules: Rules, output: Node, given: Node | None) -> Any:
    """A result's cotangent as the backward function sees it; zeros where nothing depends on the result."""
    if given is None:
        return fresh(rules.trace, rules.zeros(output.type)) if output.dtype.kind == "f" else None
    return fresh(rules.trace, given, scalar=not given.shape)


def _matched(rules: Rules, signature: Signature, node: Node, returned: Any) -> Sequence[Node | None]:
    """What a backward function returns, as cotangents of the custom node's inputs."""
    arguments = node.inputs[signature.count :]
    if not isinstance(returned, tuple) or len(returned) != len(signature.tree.children):
        raise TypeError(
            f"the backward function of {signature.name} must return a tuple of {len(signature.tree.children)} "
            "cotangents, one for each argument (None for zero)"
        )
    found: list[Node | None] = [None] * len(arguments)
    slots = iter(signature.slots)
    for value, tree in zip(returned, signature.tree.children, strict=True):
        count = _leaf_count(tree)
        places = [next(slots) for _ in range(count)]
        if value is None:
            continue
        likes = [None if place is None else arguments[place] for place in places]
        for place, fit in zip(places, fitted(rules.trace, value, tree, likes, "cotangents"), strict=True):
            if place is not None and fit is not None:
                found[place] = rules.mark(fit)
    return [*[None] * signature.count, *found]


def _leaf_count(tree: Tree) -> int:
    return 1 if tree.kind is None else sum(map(_leaf_count, tree.children))


def attach(
    name: str,
    args: tuple[Any, ...],
    result: Any,
    make_rule: Callable[[Signature], Any],
) -> Any:
    """`result` as what a custom node gives, whose derivative is the rule's."""
    trace = current()
    leaves: list[Any] = []
    tree = flatten(args, leaves)
    nodes: list[Node] = []
    scalars: list[bool] = []
    slots: list[int | None] = []
    for leaf in leaves:
        traced = isinstance(leaf, Tracer)
        slots.append(len(nodes) if traced else None)
        if traced:
            nodes.append(leaf.node)
            scalars.append(leaf.scalar)
    outputs: list[Any] = []
    result_tree = flatten(result, outputs)
    held = [node_of(trace, leaf) for leaf in outputs]
    places = iter(range(len(held)))
    result_slots = tuple(next(places) if node is not None else None for node in held)
    results = [node for node in held if node is not None]
    kept = tuple(None if slot is not None else leaf for slot, leaf in zip(slots, leaves, strict=True))
    signature = Signature(name, len(results), tree, tuple(slots), kept, result_tree, result_slots, tuple(scalars))
    rule = make_rule(signature)
    node = trace.builder.node("custom", (*results, *nodes), {"rule": rule, "count": len(results)}, SEVERAL)
    shown = [
        leaf if slot is None else fresh(trace, trace.builder.part(node, slot, results[slot].type), _is_scalar(leaf))
        for leaf, slot in zip(outputs, result_slots, strict=True)
    ]
    return rebuild(result_tree, shown)


def _is_scalar(leaf: Any) -> bool:
    return leaf.scalar if isinstance(leaf, Tracer) else True


class custom_vjp:  # noqa: N801 - a decorator
    """A function whose reverse-mode derivative is given by two functions.

    forward(*args) -> (result, residuals); backward(residuals, cotangent) -> a tuple of cotangents, one an argument,
    None for zero.  Forward mode differentiates `forward` itself.

    >>> import numpy as np, tracejit as tj
    >>> @tj.custom_vjp
    ... def clipped(x):
    ...     return np.clip(x, -1.0, 1.0)
    >>> clipped.defvjp(lambda x: (np.clip(x, -1.0, 1.0), None), lambda residuals, cotangent: (cotangent,))
    >>> tj.grad(clipped)(3.0)
    np.float64(1.0)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.forward: Callable[..., Any] | None = None
        self.backward: Callable[..., Any] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Give the rule."""
        self.forward, self.backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        if ACTIVE.trace is None:
            return one_operation(self, self.function, args)
        if not ACTIVE.trace.variables:
            return self.function(*args)
        if self.forward is None or self.backward is None:
            raise NotDifferentiable(f"{name_of(self.function)} is a custom_vjp without a rule: call its defvjp first")
        given = traced_numbers(args)
        returned = self.forward(*given)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(f"the forward function of {name_of(self.function)} must return (result, residuals)")
        result, residuals = returned
        backward = self.backward
        return attach(
            name_of(self.function), given, result, lambda signature: ReverseRule(signature, backward, residuals)
        )


class custom_jvp:  # noqa: N801 - a decorator
    """A function whose derivative is given by a rule: rule(primals, tangents) -> (result, tangent of the result).

    primals and tangents are tuples, one entry an argument; the rule is linear in the tangents, and reverse mode is its
    transpose.

    >>> import numpy as np, tracejit as tj
    >>> @tj.custom_jvp
    ... def softened(x):
    ...     return np.abs(x)
    >>> softened.defjvp(lambda primals, tangents: (np.abs(primals[0]), tangents[0] * np.tanh(primals[0])))
    >>> tj.grad(softened)(0.5)
    np.float64(0.46211715726000973)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> None:
        """Give the rule."""
        self.rule = rule

    def __call__(self, *args: Any) -> Any:
        if ACTIVE.trace is None:
            return one_operation(self, self.function, args)
        if not ACTIVE.trace.variables:
            return self.function(*args)
        if self.rule is None:
            raise NotDifferentiable(f"{name_of(self.function)} is a custom_jvp without a rule: call its defjvp first")
        given, rule = traced_numbers(args), self.rule
        return attach(
            name_of(self.function), given, self.function(*given), lambda signature: ForwardRule(signature, rule)
        )


def traced_numbers(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with Python floats as tracers, so that a derivative can be taken by them."""
    leaves: list[Any] = []
    tree = flatten(args, leaves)
    trace = current()
    held = [as_tracer(trace, leaf) if node_of(trace, leaf) is not None else leaf for leaf in leaves]
    shown = [
        Tracer(h.storage, h.steps, h.symbolic_shape, h.dtype, scalar=not h.ndim)
        if isinstance(h, Tracer) and not isinstance(leaf, Tracer)
        else h
        for h, leaf in zip(held, leaves, strict=True)
    ]
    return tuple(rebuild(tree, shown))
