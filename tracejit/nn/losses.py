"""Losses: (prediction, target) -> one number, the mean over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.nn.functional import log_softmax, softplus
from tracejit.nn.positions import positions


def _same_shape(prediction: Any, target: Any, name: str) -> None:
    if len(prediction.shape) != len(np.shape(target)):
        raise ValueError(
            f"{name}: predictions have shape {tuple(prediction.shape)} and targets {tuple(np.shape(target))}; reshape "
            "one of them, or they would be broadcast"
        )


def mean_squared_error(prediction: Any, target: Any) -> Any:
    """The mean of (prediction - target)**2 over all elements."""
    _same_shape(prediction, target, "mean_squared_error")
    return np.mean(np.square(prediction - target))


def mean_absolute_error(prediction: Any, target: Any) -> Any:
    """The mean of |prediction - target| over all elements."""
    _same_shape(prediction, target, "mean_absolute_error")
    return np.mean(np.abs(prediction - target))


def huber(prediction: Any, target: Any, delta: float = 1.0) -> Any:
    """Squared near the target, linear beyond delta (Huber, 1964)."""
    _same_shape(prediction, target, "huber")
    distance = np.abs(prediction - target)
    return np.mean(np.where(distance <= delta, 0.5 * distance * distance, delta * (distance - 0.5 * delta)))


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean of -log softmax(logits) at the labels.

    logits: (..., classes).  labels: integers (...), or probabilities (..., classes).
    """
    logarithms = log_softmax(logits)
    if labels.dtype.kind == "f":
        _same_shape(logits, labels, "cross_entropy")
        return -np.mean(np.sum(labels * logarithms, axis=-1))
    chosen = labels[..., None] == positions(logits.shape[-1])
    return -np.mean(np.sum(np.where(chosen, logarithms, 0), axis=-1))


def binary_cross_entropy(logits: Any, target: Any) -> Any:
    """The mean of -log p of the target under p = sigmoid(logits); targets from 0 to 1."""
    _same_shape(logits, target, "binary_cross_entropy")
    return np.mean(softplus(logits) - logits * target)


LOSSES: dict[str, Callable[..., Any]] = {
    "mse": mean_squared_error,
    "mean_squared_error": mean_squared_error,
    "mae": mean_absolute_error,
    "mean_absolute_error": mean_absolute_error,
    "huber": huber,
    "cross_entropy": cross_entropy,
    "sparse_categorical_crossentropy": cross_entropy,
    "categorical_crossentropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "binary_crossentropy": binary_cross_entropy,
}
"""The losses by name; those of classes take logits, not probabilities."""


def loss(choice: Any) -> Callable[..., Any]:
    """A loss by name, or itself.

    Raises ValueError for a name that there is not.
    """
    if callable(choice):
        return choice  # type: ignore[no-any-return]
    if choice not in LOSSES:
        raise ValueError(f"no loss is called {choice!r}; there are {', '.join(LOSSES)}")
    return LOSSES[choice]
