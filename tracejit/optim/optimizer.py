"""What all optimizers share: a rule for one parameter, applied to all of them in one compiled update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tracejit.optim.bound import BoundOptimizer
from tracejit.trace.pytree import flatten, rebuild

Rate: TypeAlias = "float | Callable[[Any], Any]"
"""A learning rate, or a function of the step (0 at the first) that gives it."""


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer remembers between steps: how many were done, and for each parameter its slots."""

    step: Any
    slots: tuple[tuple[Any, ...], ...]


class Optimizer(ABC):
    """A rule that makes new parameters of old ones and gradients.

    As pure functions of pytrees, which `jit` compiles together with the loss and its gradient:

        state = optimizer.init(parameters)
        parameters, state = optimizer.update(gradients, state, parameters)

    learning_rate: a number, or a function of the step (see `tracejit.optim.schedules`).
    weight_decay: the fraction of a parameter that is taken away each step, times the rate, apart from the gradient.
    clip_norm: gradients longer than this, all taken as one vector, are shortened to it.
    """

    def __init__(self, learning_rate: Rate, weight_decay: float = 0.0, clip_norm: float | None = None) -> None:
        if not callable(learning_rate) and learning_rate < 0:
            raise ValueError(f"learning_rate must not be negative, and is {learning_rate}")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, and is {weight_decay}")
        if clip_norm is not None and clip_norm <= 0:
            raise ValueError(f"clip_norm must be positive, and is {clip_norm}")
        self.learning_rate, self.weight_decay, self.clip_norm = learning_rate, weight_decay, clip_norm

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The names of the arrays that are kept for each parameter, of its shape and dtype, zeros at first."""
        return ()

    @abstractmethod
    def change(
        self, parameter: Any, gradient: Any, slots: tuple[Any, ...], rate: Any, step: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """The new value of one parameter, and its new slots.  `step` counts from 0."""

    def init(self, parameters: Any) -> OptimizerState:
        """The state before the first step.

        Raises TypeError for a parameter that is no array of floats.
        """
        leaves: list[Any] = []
        flatten(parameters, leaves)
        for leaf in leaves:
            if not hasattr(leaf, "dtype") or leaf.dtype.kind != "f":
                raise TypeError(f"an optimizer changes arrays of floats, and a parameter is {leaf!r}")
        slots = tuple(tuple(np.zeros_like(leaf) for _ in self.slot_names) for leaf in leaves)
        return OptimizerState(np.zeros((), np.int64), slots)

    def update(self, gradients: Any, state: OptimizerState, parameters: Any) -> tuple[Any, OptimizerState]:
        """(new parameters, new state): one step.  `gradients` has the structure of `parameters`.

        Raises ValueError where the structures differ.
        """
        old: list[Any] = []
        tree = flatten(parameters, old)
        given: list[Any] = []
        if flatten(gradients, given) != tree:
            raise ValueError("gradients and parameters have different structures")
        rate = self.rate(state.step)
        clipped = given if self.clip_norm is None else clip_by_global_norm(given, self.clip_norm)[0]
        changed = [
            self.step(parameter, gradient, slots, rate, state.step)
            for parameter, gradient, slots in zip(old, clipped, state.slots, strict=True)
        ]
        new = rebuild(tree, [parameter for parameter, _ in changed])
        return new, OptimizerState(state.step + 1, tuple(slots for _, slots in changed))

    def over(self, parameters: Iterable[Any]) -> BoundOptimizer:
        """This rule for parameters of eager code, PyTorch's way: backward, `step()`, `zero_grad()`.

        parameters: those of a module (`model.parameters()`), or tracejit.Arrays that gather gradients.

        Raises ValueError for none, TypeError for anything else.

        >>> import tracejit as tj
        >>> w = tj.Array([3.0], requires_grad=True)
        >>> optimizer = tj.optim.SGD(0.25).over([w])
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        Array([1.5])
        """
        return BoundOptimizer(self, parameters)

    def rate(self, step: Any) -> Any:
        """The learning rate of a step."""
        return self.learning_rate(step) if callable(self.learning_rate) else self.learning_rate

    def step(
        self, parameter: Any, gradient: Any, slots: tuple[Any, ...], rate: Any, step: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """`change`, with weight decay (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019)."""
        gradient = gradient.astype(parameter.dtype)
        rate = rate.astype(parameter.dtype) if hasattr(rate, "astype") else rate
        changed, slots = self.change(parameter, gradient, slots, rate, step)
        if self.weight_decay:
            changed = changed - rate * self.weight_decay * parameter
        return changed, slots

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if not key.startswith("_"))
        return f"{type(self).__name__}({shown})"


def global_norm(gradients: Any) -> Any:
    """The Euclidean length of all arrays of a pytree taken as one vector."""
    leaves: list[Any] = []
    flatten(gradients, leaves)
    return np.sqrt(_total(np.sum(np.square(leaf)) for leaf in leaves))


def _total(values: Iterable[Any]) -> Any:
    total: Any = 0.0
    for value in values:
        total = total + value
    return total


def clip_by_global_norm(gradients: Any, clip_norm: float) -> tuple[Any, Any]:
    """(gradients, their length before): scaled down together where they are longer than `clip_norm`.

    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013.

    >>> import numpy as np, tracejit as tj
    >>> clipped, length = tj.optim.clip_by_global_norm([np.array([3.0]), np.array([4.0])], 1.0)
    >>> [round(float(c[0]), 6) for c in clipped], float(length)
    ([0.6, 0.8], 5.0)
    """
    leaves: list[Any] = []
    tree = flatten(gradients, leaves)
    length = global_norm(gradients)
    factor = clip_norm / np.maximum(length, clip_norm)
    return rebuild(tree, [leaf * factor.astype(leaf.dtype) for leaf in leaves]), length


def clip_by_value(gradients: Any, low: float, high: float) -> Any:
    """Every element within bounds."""
    leaves: list[Any] = []
    tree = flatten(gradients, leaves)
    return rebuild(tree, [np.clip(leaf, low, high) for leaf in leaves])
