"""All derivatives of all outputs: `jacobian` and `hessian`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.autodiff.jacobians import jacobian_of
from tracejit.autodiff.traced import record
from tracejit.trace.pytree import flatten, rebuild
from tracejit.transform.gradients import grad, vjp, within
from tracejit.transform.transformed import Transformed


def jacobian(function: Callable[..., Any], argnums: int | Sequence[int] = 0, mode: str = "auto") -> Callable[..., Any]:
    """The function that gives the Jacobian: every element of the result by every element of an argument.

    argnums: the positional arguments to differentiate by; a tuple gives a tuple.  For a result of shape s and an
    argument of shape t it is an array of shape s + t; pytrees of results give pytrees of (pytrees of) such arrays.
    mode: "reverse" works it out by rows (cheap where the result is small), "forward" by columns (where the argument
    is), "auto" takes the one with fewer.

    Raises TypeError for arguments that are not real floats, ValueError for an unknown mode.

    >>> import numpy as np, tracejit as tj
    >>> tj.jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ValueError(f'mode must be "auto", "forward" or "reverse", not {mode!r}')
    single = isinstance(argnums, int)
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def traced(*args: Any, **options: Any) -> Any:
        recorded = record(function, args, options, within(positions, args, function))
        found = jacobian_of(recorded, mode)
        recorded.release()
        return _first_of_each(found, recorded.result) if single else found

    def eager(*args: Any, **options: Any) -> Any:
        found = _by_rows(function, args, options, within(positions, args, function))
        return _first_of_each(found, function(*args, **options)) if single else found

    return Transformed(function, traced, eager, "jacobian")


def _first_of_each(found: Any, like: Any) -> Any:
    """For each leaf of the result the entry of the only argument, out of its tuple of one."""
    leaves: list[Any] = []
    tree = flatten(like, leaves)
    entries: list[Any] = []

    def collect(value: Any, node: Any) -> None:
        if node.kind is None:
            entries.append(value[0])
            return
        children = value.values() if isinstance(value, dict) else value
        for child, below in zip(children, node.children, strict=True):
            collect(child, below)

    collect(found, tree)
    return rebuild(tree, entries)


def _by_rows(
    function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any], positions: Sequence[int]
) -> Any:
    """Without a trace: one pullback for each element of the result."""

    def of_chosen(*chosen: Any) -> Any:
        given = list(args)
        for position, value in zip(positions, chosen, strict=True):
            given[position] = value
        return function(*given, **options)

    result, pullback = vjp(of_chosen, *(args[position] for position in positions))
    leaves: list[Any] = []
    tree = flatten(result, leaves)
    zeros = [np.zeros(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]
    rows = []
    for number, leaf in enumerate(leaves):
        pulled = []
        for place in np.ndindex(np.shape(leaf)):
            unit = [zero.copy() for zero in zeros]
            unit[number][place] = 1
            pulled.append(pullback(rebuild(tree, [u if u.ndim else u[()] for u in unit])))
        rows.append(_stacked(pulled, np.shape(leaf)))
    return rebuild(tree, rows)


def _stacked(pulled: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Pytrees of the same structure as one, leaves side by side under a leading shape."""
    columns: list[list[Any]] = []
    for value in pulled:
        leaves: list[Any] = []
        tree = flatten(value, leaves)
        columns.append(leaves)
    stacked = [np.stack(column).reshape(shape + np.shape(column[0])) for column in zip(*columns, strict=True)]
    return rebuild(tree, stacked)


def hessian(function: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The function that gives the matrix of second derivatives of a scalar function, by forward over reverse mode.

    For an argument of shape t it has shape t + t.  Raises what `grad` and `jacobian` raise.

    >>> import numpy as np, tracejit as tj
    >>> tj.hessian(lambda x: x[0] ** 2 * x[1])(np.array([3.0, 5.0]))
    array([[10.,  6.],
           [ 6.,  0.]])
    """
    return jacobian(grad(function, argnums), argnums, mode="forward")
