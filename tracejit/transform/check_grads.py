"""`check_grads`: a user's derivatives against differences, in random directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.trace.pytree import flatten, rebuild
from tracejit.transform.gradients import jvp, vjp


def check_grads(
    function: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("forward", "reverse"),
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Check the derivatives of `function` at `args` against central differences in random directions.

    args: a tuple of pytrees of float arrays.  order: how many times to differentiate.  modes: "forward" (jvp),
    "reverse" (vjp) or both; each mode's derivative is checked against both at the next order.
    tolerance: relative, to the size of the values compared; by default what the dtype allows.

    Raises AssertionError with the mode, the order and both numbers where they disagree; ValueError for an unknown mode.

    >>> import numpy as np, tracejit as tj
    >>> tj.check_grads(lambda x: np.sin(x) * x, (np.array([1.0, 2.0]),), order=2)
    """
    for mode in modes:
        if mode not in ("forward", "reverse"):
            raise ValueError(f'modes must be of "forward" and "reverse", not {mode!r}')
    _check(function, tuple(args), order, tuple(modes), tolerance, np.random.default_rng(seed), "")


def _check(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    tolerance: float | None,
    generator: np.random.Generator,
    path: str,
) -> None:
    direction = _random_like(args, generator)
    expected, scale = _difference(function, args, direction)
    allowed = _tolerance(args) if tolerance is None else tolerance
    if "forward" in modes:
        _, pushed = jvp(function, args, direction)
        _agree(pushed, expected, scale, allowed, f"{path}forward")
    if "reverse" in modes:
        result, pullback = vjp(function, *args)
        weights = _random_like(result, generator)
        pulled = pullback(weights)
        _agree(_dot(pulled, direction), _dot(weights, expected), scale * _size(weights), allowed, f"{path}reverse")
    if order < 2:
        return
    if "forward" in modes:
        _check(
            lambda *a: jvp(function, a, direction)[1],
            args,
            order - 1,
            modes,
            tolerance,
            generator,
            f"{path}forward, then ",
        )
    if "reverse" in modes:
        _check(
            lambda *a: vjp(function, *a)[1](weights),
            args,
            order - 1,
            modes,
            tolerance,
            generator,
            f"{path}reverse, then ",
        )


def _leaves(value: Any) -> list[Any]:
    leaves: list[Any] = []
    flatten(value, leaves)
    return leaves


def _random_like(value: Any, generator: np.random.Generator) -> Any:
    """A value of the same structure with normal random leaves."""
    leaves: list[Any] = []
    tree = flatten(value, leaves)
    return rebuild(tree, [_alike(generator.standard_normal(np.shape(leaf)), leaf) for leaf in leaves])


def _alike(value: Any, leaf: Any) -> Any:
    """A value in the dtype of a leaf; a Python float for a Python float."""
    array = np.asarray(value, np.asarray(leaf).dtype)
    return float(array) if type(leaf) is float else array


def _difference(function: Callable[..., Any], args: tuple[Any, ...], direction: Any) -> tuple[list[Any], float]:
    """The derivative along a direction by central differences, extrapolated once (Richardson), and the values' size."""
    step = _coarsest(args) ** 0.2

    def along(h: float) -> list[Any]:
        leaves: list[Any] = []
        tree = flatten(args, leaves)
        moved = [
            _alike(np.asarray(leaf) + np.asarray(h * np.asarray(d), np.asarray(leaf).dtype), leaf)
            for leaf, d in zip(leaves, _leaves(direction), strict=True)
        ]
        return [np.asarray(leaf, float) for leaf in _leaves(function(*rebuild(tree, moved)))]

    def central(h: float) -> list[Any]:
        return [(a - b) / (2 * h) for a, b in zip(along(h), along(-h), strict=True)]

    coarse, fine = central(step), central(step / 2)
    values = [(4 * f - c) / 3 for c, f in zip(coarse, fine, strict=True)]
    return values, max([1.0, *(_size(v) for v in values), *(_size(v) for v in along(0.0))])


def _size(value: Any) -> float:
    return max((float(np.max(np.abs(leaf), initial=0.0)) for leaf in _leaves(value)), default=0.0)


def _tolerance(args: Any) -> float:
    return float(20 * _coarsest(args) ** 0.5)


def _coarsest(args: Any) -> float:
    """The largest spacing of numbers near 1 among the dtypes of the arguments."""
    return max(float(np.finfo(np.asarray(leaf).dtype).eps) for leaf in _leaves(args))


def _dot(a: Any, b: Any) -> float:
    return float(
        sum(np.sum(np.asarray(x, float) * np.asarray(y, float)) for x, y in zip(_leaves(a), _leaves(b), strict=True))
    )


def _agree(found: Any, expected: Any, scale: float, tolerance: float, what: str) -> None:
    for a, b in zip(_leaves(found), _leaves(expected), strict=True):
        worst = float(np.max(np.abs(np.asarray(a, float) - np.asarray(b, float)), initial=0.0))
        if not worst <= tolerance * scale:
            raise AssertionError(
                f"{what} mode: derivative {np.asarray(a)} against {np.asarray(b)} by differences: they differ by "
                f"{worst:.3g}, more than {tolerance * scale:.3g}"
            )
