"""Derivatives of functions: `grad` and its kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tracejit.autodiff.traced import Recorded, fitted, name_of, pull_back, push_forward, record
from tracejit.eager import tape
from tracejit.ir.node import Node
from tracejit.trace.pytree import rebuild
from tracejit.trace.state import ACTIVE, NotDifferentiable, current
from tracejit.transform.transformed import Transformed

FUNCTIONS_KEPT = 256
"""Functions whose compiled derivatives are remembered for calls that name the function anew each time."""


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    unconnected: str = "zero",
) -> Callable[..., Any]:
    """The function that gives a scalar function's value and its gradient.

    function: returns a float scalar (shape ()), or (scalar, aux) under `has_aux`.
    argnums: the positional arguments to differentiate by; a tuple gives a tuple of gradients.  Each may be a pytree of
    float arrays; the gradient has its structure, shapes and dtypes.
    unconnected: gradient of what the result does not depend on: "zero", or "none" for None.

    Raises TypeError for arguments or results that are not real floats, ValueError for a result that is no scalar.
    The function sees a copy of what it is differentiated by, and may write to it.  What Python makes of a value by
    `float(t)`, `t.item()` or `if t` counts as constant, as in PyTorch.  Reverse mode: Griewank and Walther,
    Evaluating Derivatives, 2nd edition, section 3.2.

    >>> import numpy as np, tracejit as tj
    >>> def loss(w, x):
    ...     return np.sum((x @ w) ** 2)
    >>> tj.value_and_grad(loss)(np.array([1.0, 2.0]), np.eye(2))
    (np.float64(5.0), array([2., 4.]))
    """
    positions = _positions(argnums)
    _check_choice(unconnected)

    def traced(*args: Any, **options: Any) -> Any:
        recorded = record(function, args, options, within(positions, args, function), has_aux)
        node = scalar_output(recorded, function)
        seed = current().builder.constant(np.ones((), node.dtype))
        leaves = pull_back(recorded, [seed], unconnected, mark=False)
        recorded.release()
        gradients = rebuild(recorded.tree, leaves)
        value = (recorded.result, recorded.aux) if has_aux else recorded.result
        return value, gradients[0] if isinstance(argnums, int) else gradients

    def eager(*args: Any, **options: Any) -> Any:
        chosen = within(positions, args, function)
        value, gradients = tape.value_and_gradients(function, args, options, chosen, has_aux, unconnected)
        return value, gradients[0] if isinstance(argnums, int) else gradients

    return Transformed(function, traced, eager, "value_and_grad")


def grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    unconnected: str = "zero",
) -> Callable[..., Any]:
    """The function that gives a scalar function's gradient (under `has_aux`: and aux); see `value_and_grad`.

    >>> import numpy as np, tracejit as tj
    >>> tj.grad(np.sin)(0.0)
    np.float64(1.0)
    >>> tj.grad(tj.grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    both = value_and_grad(function, argnums, has_aux, unconnected)

    def gradient(*args: Any, **options: Any) -> Any:
        value, gradients = both(*args, **options)
        return (gradients, value[1]) if has_aux else gradients

    return Transformed(function, gradient, gradient, "grad")


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(f(*primals), pullback): the result, and the function from cotangents of it to cotangents of the primals.

    pullback(cotangent) wants the structure, shapes and dtypes of the result and returns a tuple, one for each primal.
    Under `has_aux`, f returns (result, aux), and this (result, pullback, aux).

    Raises TypeError for primals that are not real floats, ValueError for a cotangent of another structure or shape.
    Inside a trace the pullback shares the work of f; outside one it computes anew what it needs of it.

    >>> import numpy as np, tracejit as tj
    >>> y, pullback = tj.vjp(lambda x: x**2, np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    if ACTIVE.trace is None:
        run, pull = _vjp_functions(function, has_aux)
        results = run(*primals)
        parts = results if has_aux else (results,)
        return (parts[0], lambda cotangent: pull(primals, cotangent), *parts[1:])
    recorded = record(function, primals, {}, range(len(primals)), has_aux)

    def pullback(cotangent: Any) -> Any:
        return _pulled(recorded, cotangent)

    return (recorded.result, pullback, recorded.aux) if has_aux else (recorded.result, pullback)


def _pulled(recorded: Recorded, cotangent: Any) -> Any:
    seeds = fitted(recorded.trace, cotangent, recorded.result_tree, recorded.outputs, "cotangents")
    return rebuild(recorded.tree, pull_back(recorded, seeds))


@lru_cache(maxsize=FUNCTIONS_KEPT)
def _vjp_functions(function: Callable[..., Any], has_aux: bool) -> tuple[Transformed, Transformed]:
    """The result, and the pullback as a function of (primals, cotangent)."""

    def pulled(primals: Any, cotangent: Any) -> Any:
        recorded = record(function, primals, {}, range(len(primals)), has_aux)
        cotangents = _pulled(recorded, cotangent)
        recorded.release()
        return cotangents

    def eager(primals: Any, cotangent: Any) -> Any:
        return tape.pulled(function, primals, cotangent, has_aux)

    plain = Transformed(function, function, function, "result")
    return plain, Transformed(function, pulled, eager, "vjp")


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """(f(*primals), tangent): the result, and its directional derivative along `tangents`, in one forward pass.

    primals, tangents: tuples of the same structure, shapes and dtypes; floats.

    Raises TypeError for primals that are not real floats, ValueError for tangents of another structure or shape.

    >>> import numpy as np, tracejit as tj
    >>> tj.jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))
    """
    if len(primals) != len(tangents):
        raise ValueError(f"jvp got {len(primals)} primals and {len(tangents)} tangents; give each primal one tangent")
    return _jvp_function(function)(tuple(primals), tuple(tangents))


@lru_cache(maxsize=FUNCTIONS_KEPT)
def _jvp_function(function: Callable[..., Any]) -> Transformed:
    def traced(primals: Any, tangents: Any) -> Any:
        recorded = record(function, primals, {}, range(len(primals)))
        given = fitted(recorded.trace, tangents, recorded.tree, recorded.nodes, "tangents")
        pushed = push_forward(recorded, [node for node in given if node is not None])
        recorded.release()
        return recorded.result, rebuild(recorded.result_tree, pushed)

    def eager(primals: Any, tangents: Any) -> Any:
        return tape.pushed(function, primals, tangents)

    return Transformed(function, traced, eager, "jvp")


def linearize(function: Callable[..., Any], *primals: Any) -> Any:
    """(f(*primals), pushforward): the result, and the linear function from tangents of the primals to its tangent.

    Inside a trace the pushforward shares the work of f; outside one it computes anew what it needs of it.

    >>> import numpy as np, tracejit as tj
    >>> y, pushforward = tj.linearize(np.exp, 0.0)
    >>> pushforward(3.0)
    np.float64(3.0)
    """
    if ACTIVE.trace is None:
        forward = _jvp_function(function)
        result, _ = _vjp_functions(function, False)
        return result(*primals), lambda *tangents: forward(primals, tangents)[1]
    recorded = record(function, primals, {}, range(len(primals)))

    def pushforward(*tangents: Any) -> Any:
        given = fitted(recorded.trace, tangents, recorded.tree, recorded.nodes, "tangents")
        pushed = push_forward(recorded, [node for node in given if node is not None])
        return rebuild(recorded.result_tree, pushed)

    return recorded.result, pushforward


def scalar_output(recorded: Recorded, function: Any) -> Node:
    """The one float scalar that a gradient is of."""
    nodes = [node for node in recorded.outputs if node is not None]
    name = name_of(function)
    if len(recorded.outputs) != 1 or len(nodes) != 1:
        raise TypeError(
            f"{name} returns {len(recorded.outputs)} values, and a gradient is of one scalar: return the loss alone, "
            "or (loss, aux) with has_aux=True"
        )
    node = nodes[0]
    if node.shape:
        shape = tuple(recorded.trace.value(d) for d in node.shape)
        raise ValueError(
            f"{name} returns an array of shape {shape}, and a gradient is of a scalar: reduce it (np.sum, np.mean), or "
            "use tracejit.vjp or tracejit.jacobian"
        )
    if node.dtype.kind != "f":
        raise NotDifferentiable(f"{name} returns {node.dtype}, and derivatives are of real floats")
    return node


def _positions(argnums: int | Sequence[int]) -> tuple[int, ...]:
    return (argnums,) if isinstance(argnums, int) else tuple(argnums)


def within(positions: Sequence[int], args: Sequence[Any], function: Any) -> list[int]:
    """The positions counted from the start; each must name a given argument."""
    for position in positions:
        if not -len(args) <= position < len(args):
            raise ValueError(
                f"argnums names argument {position} of {name_of(function)}, which was given {len(args)} positional "
                "arguments"
            )
    return [position % len(args) for position in positions]


def _check_choice(unconnected: str) -> None:
    if unconnected not in ("zero", "none"):
        raise ValueError(f'unconnected must be "zero" or "none", not {unconnected!r}')
