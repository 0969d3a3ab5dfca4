"""Ops that are calls of NumPy: how an entry with derivative rules is made of a function and rules in plain NumPy.

A rule is called with traced arrays, so it is written as a user would write it:

    library(np.linalg.inv, jvp=[lambda t, out, a: -out @ t @ out], vjp=[lambda g, out, a: -out.T @ g @ out.T])

What it does becomes nodes of the same graph, which fuse and are differentiated again by the rules of what it calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tracejit.ops.table import Op, register

F = TypeVar("F", bound=Callable[..., Any])

Linear = Callable[..., Any]
"""A tangent's (cotangent's) image under the derivative by one operand (its transpose):
`rule(tangent, result, *args, **options)`, with the arguments that the function was called with."""


class NoRule(Exception):
    """A derivative rule does not cover a call; the text says why, and how to mend it."""


def overridable(function: F) -> F:
    """A function of ours that traced arrays take over, as they do NumPy's functions (NEP 18)."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        for value in args:
            take_over = getattr(value, "__array_function__", None)
            if take_over is not None and type(value) is not np.ndarray:
                return take_over(call, (type(value),), args, options)
        return function(*args, **options)

    return call  # type: ignore[return-value]


def library(
    function: Callable[..., Any],
    doc: str,
    *,
    name: str = "",
    jvp: Sequence[Linear] | Callable[[int], Linear] = (),
    vjp: Sequence[Linear] | Callable[[int], Linear] = (),
    stand_in: Callable[..., Any] | None = None,
    stacks: bool = False,
    one_core: bool = False,
    options: tuple[str, ...] = (),
) -> Op:
    """Register a function that is called between kernels.

    jvp, vjp: a rule for each traced operand, or a function from an operand's number to its rule.
    stand_in: instead of rules: a function of the same arguments, made of differentiable ones, whose value is the same.
    stacks: whether the function works on stacks of matrices, or along the last axis, for any axes before.
    one_core: see `Op`.
    options: for a function of `tracejit` itself, which a trace never calls: its parameters that are no arrays.
    """
    own = name or function.__name__
    spelt = f"{function.__module__}.{function.__name__}"
    return register(
        Op(
            own,
            "call",
            spellings=(spelt,) if spelt.startswith("numpy.") else (),
            reference=function,
            jvp=_push_stand_in(stand_in) if stand_in else _pushed(jvp) if jvp else None,
            vjp=_pull_stand_in(stand_in) if stand_in else _pulled(vjp) if vjp else None,
            batch=stack_batch if stacks else call_batch,
            one_core=one_core,
            options=options,
            doc=doc,
        )
    )


def _rule(rules: Sequence[Linear] | Callable[[int], Linear], position: int) -> Linear:
    return rules(position) if callable(rules) else rules[position]


def _pushed(partials: Sequence[Linear] | Callable[[int], Linear]) -> Callable[..., Any]:
    def jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
        total = None
        for position, tangent in enumerate(tangents):
            if tangent is not None:
                term = rules.traced(_rule(partials, position), tangent, node, by=node, like=node)
                total = term if total is None else rules.add(total, term)
        return total

    return jvp


def _pulled(partials: Sequence[Linear] | Callable[[int], Linear]) -> Callable[..., Any]:
    def vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
        return [
            rules.traced(_rule(partials, position), cotangent, node, by=node, like=source)
            if source.dtype.kind == "f"
            else None
            for position, source in enumerate(node.inputs)
        ]

    return vjp


def _push_stand_in(function: Callable[..., Any]) -> Callable[..., Any]:
    def jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
        result, variables = rules.stand_in(function, node)
        moving = [(v, t) for v, t in zip(variables, tangents, strict=True) if t is not None]
        (tangent,) = rules.push([result], [v for v, _ in moving], [t for _, t in moving])
        return tangent

    return jvp


def _pull_stand_in(function: Callable[..., Any]) -> Callable[..., Any]:
    def vjp(rules: Any, node: Any, cotangent: Any) -> Any:
        result, variables = rules.stand_in(function, node)
        return rules.pull([result], [cotangent], variables)

    return vjp


def call_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    """Batching of a call: see `autodiff.batching_calls`."""
    return rules.batched_call(node, inputs, batched)


def stack_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    """Batching of a call that takes any axes before its own."""
    return rules.batched_stacks(node, inputs, batched)
