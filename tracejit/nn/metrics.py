"""Metrics: (prediction, target) -> one number for a batch, a mean over its examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.nn.losses import LOSSES
from tracejit.nn.positions import positions


def accuracy(logits: Any, labels: Any) -> Any:
    """The share of examples whose largest logit is at the label (integers, or one-hot rows)."""
    wanted = np.argmax(labels, axis=-1) if labels.dtype.kind == "f" else labels
    return np.mean(np.argmax(logits, axis=-1) == wanted)


def binary_accuracy(logits: Any, target: Any) -> Any:
    """The share of elements on the right side of 0."""
    return np.mean((logits > 0) == (target > 0.5))


def top_5_accuracy(logits: Any, labels: Any) -> Any:
    """The share of examples whose label is among the five largest logits."""
    own = np.sum(np.where(labels[..., None] == positions(logits.shape[-1]), logits, 0), axis=-1, keepdims=True)
    return np.mean(np.sum(logits > own, axis=-1) < 5)


METRICS: dict[str, Callable[..., Any]] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "top_5_accuracy": top_5_accuracy,
    **LOSSES,
}
"""The metrics by name; losses are metrics too."""


def metric(choice: Any) -> tuple[str, Callable[..., Any]]:
    """(name, function) of a metric given by name or as a function.

    Raises ValueError for a name that there is not.
    """
    if callable(choice):
        return getattr(choice, "__name__", type(choice).__name__), choice
    if choice not in METRICS:
        raise ValueError(f"no metric is called {choice!r}; there are {', '.join(METRICS)}")
    return choice, METRICS[choice]
