"""L-BFGS: a function of all parameters minimized to the end, by its value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.trace.pytree import flatten, rebuild
from tracejit.transform.gradients import value_and_grad

ARMIJO, CURVATURE = 1e-4, 0.9
"""The constants of the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, 2nd edition, ch. 3)."""


@dataclass(frozen=True)
class Minimum:
    """Where a minimization ended.

    parameters, value; gradient_norm: the largest magnitude in the gradient; iterations, evaluations;
    converged, message: whether a tolerance was met, and what ended it.
    """

    parameters: Any
    value: float
    gradient_norm: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


class LBFGS:
    """Limited-memory BFGS with a line search for the strong Wolfe conditions (Nocedal and Wright, ch. 7).

    iterations: at most so many; history: pairs of steps and changes of gradient that are kept;
    gradient_tolerance, change_tolerance: done when the largest magnitude in the gradient, or the relative decrease of
    the value, is below.

    >>> import numpy as np, tracejit as tj
    >>> def rosenbrock(x):
    ...     return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    >>> found = tj.optim.LBFGS().minimize(rosenbrock, np.array([-1.2, 1.0]))
    >>> np.round(found.parameters, 6), found.converged
    (array([1., 1.]), True)
    """

    def __init__(
        self,
        iterations: int = 200,
        history: int = 10,
        gradient_tolerance: float = 1e-8,
        change_tolerance: float = 1e-14,
    ) -> None:
        if iterations < 1 or history < 1:
            raise ValueError(f"iterations and history must be at least 1, not {iterations} and {history}")
        self.iterations, self.history = iterations, history
        self.gradient_tolerance, self.change_tolerance = gradient_tolerance, change_tolerance

    def minimize(self, function: Callable[..., Any], parameters: Any, *args: Any) -> Minimum:
        """Minimize `function(parameters, *args)`, a float scalar, beginning at `parameters`, a pytree of float arrays.

        Raises ValueError where the value or gradient at the beginning is not finite.
        """
        evaluate = _Flat(function, parameters, args)
        point = evaluate.start
        value, gradient = evaluate(point)
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            raise ValueError(f"the function is {value} at the beginning, or its gradient is not finite: nowhere to go")
        pairs: list[tuple[Any, Any]] = []
        message = "the limit of iterations was reached"
        iteration = 0
        for iteration in range(1, self.iterations + 1):
            if np.max(np.abs(gradient), initial=0.0) <= self.gradient_tolerance:
                return evaluate.minimum(point, value, gradient, iteration - 1, True, "the gradient vanished")
            direction = _direction(gradient, pairs)
            slope = float(direction @ gradient)
            if slope >= 0:  # rounding has spoilt the memory
                pairs.clear()
                direction, slope = -gradient, -float(gradient @ gradient)
            first = 1.0 if pairs else min(1.0, 1.0 / float(np.sum(np.abs(gradient))))
            found = _line_search(evaluate, point, value, slope, direction, first)
            if found is None:
                message = "no lower value was found along the search direction"
                break
            step, new_value, new_gradient = found
            moved, changed = step * direction, new_gradient - gradient
            if float(moved @ changed) > 1e-10 * float(changed @ changed):
                pairs = [*pairs[-self.history + 1 :], (moved, changed)]
            decrease = value - new_value
            point, value, gradient = point + moved, new_value, new_gradient
            if decrease <= self.change_tolerance * max(abs(value), 1e-300):
                return evaluate.minimum(point, value, gradient, iteration, True, "the value changed no more")
        small = bool(np.max(np.abs(gradient), initial=0.0) <= self.gradient_tolerance)
        return evaluate.minimum(point, value, gradient, iteration, small, message)


class _Flat:
    """The function as one of a single vector of float64, counting its evaluations."""

    def __init__(self, function: Callable[..., Any], parameters: Any, args: tuple[Any, ...]) -> None:
        leaves: list[Any] = []
        self.tree = flatten(parameters, leaves)
        self.leaves = [np.asarray(leaf) for leaf in leaves]
        self.start = np.concatenate([leaf.ravel().astype(np.float64) for leaf in self.leaves])
        self.compiled, self.args, self.evaluations = value_and_grad(function), args, 0

    def unflattened(self, point: Any) -> Any:
        """The parameters that a vector stands for."""
        ends = np.cumsum([leaf.size for leaf in self.leaves])[:-1]
        parts = np.split(point, ends)
        arrays = [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, self.leaves, strict=True)]
        return rebuild(self.tree, arrays)

    def __call__(self, point: Any) -> tuple[float, Any]:
        self.evaluations += 1
        value, gradient = self.compiled(self.unflattened(point), *self.args)
        leaves: list[Any] = []
        flatten(gradient, leaves)
        return float(value), np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in leaves])

    def minimum(
        self, point: Any, value: float, gradient: Any, iterations: int, converged: bool, message: str
    ) -> Minimum:
        """What is told at the end."""
        norm = float(np.max(np.abs(gradient), initial=0.0))
        return Minimum(self.unflattened(point), value, norm, iterations, self.evaluations, converged, message)


def _direction(gradient: Any, pairs: list[tuple[Any, Any]]) -> Any:
    """Minus the inverse Hessian's estimate times the gradient, by two loops (Nocedal and Wright, algorithm 7.4)."""
    direction = -gradient
    kept = []
    for moved, changed in reversed(pairs):
        weight = float(moved @ direction) / float(moved @ changed)
        kept.append(weight)
        direction = direction - weight * changed
    if pairs:
        moved, changed = pairs[-1]
        direction = direction * (float(moved @ changed) / float(changed @ changed))
    for (moved, changed), weight in zip(pairs, reversed(kept), strict=True):
        direction = direction + moved * (weight - float(changed @ direction) / float(moved @ changed))
    return direction


def _line_search(
    evaluate: _Flat, point: Any, value: float, slope: float, direction: Any, step: float
) -> tuple[float, float, Any] | None:
    """(step, value, gradient) that meet the strong Wolfe conditions, by bisection; None if none is found.

    Nocedal and Wright, algorithms 3.5 and 3.6, with bisection in place of interpolation.
    """
    low, high = 0.0, float("inf")
    best: tuple[float, float, Any] | None = None
    for _ in range(40):
        new_value, new_gradient = evaluate(point + step * direction)
        new_slope = float(new_gradient @ direction)
        if not np.isfinite(new_value) or new_value > value + ARMIJO * step * slope:
            high = step
        else:
            best = (step, new_value, new_gradient) if best is None or new_value < best[1] else best
            if abs(new_slope) <= -CURVATURE * slope:
                return step, new_value, new_gradient
            if new_slope > 0:
                high = step
            else:
                low = step
        step = 0.5 * (low + high) if np.isfinite(high) else 2.0 * step
    return best
