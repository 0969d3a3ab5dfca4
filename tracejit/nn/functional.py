"""Activations, and the functions that layers and losses are made of: plain NumPy, on arrays and traced values alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.eager.functions import function
from tracejit.nn.positions import positions

sigmoid = function("sigmoid")
softplus = function("softplus")
gelu = function("gelu")


def identity(x: Any) -> Any:
    """x itself."""
    return x


def relu(x: Any) -> Any:
    """max(x, 0)."""
    return np.maximum(x, 0)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x where positive, else slope * x."""
    return np.where(x > 0, x, slope * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, else alpha * (exp(x) - 1) (Clevert et al., 2016)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def silu(x: Any) -> Any:
    """x * sigmoid(x) (Elfwing et al., 2018)."""
    return x * sigmoid(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return np.tanh(x)


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) over its sum along an axis; no overflow for large x."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """The logarithm of softmax, right where softmax underflows."""
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def one_hot(labels: Any, classes: int, dtype: Any = np.float32) -> Any:
    """1 at the label's place, along a new last axis.  Labels out of range give no 1."""
    return (labels[..., None] == positions(classes)).astype(dtype)


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "linear": identity,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "silu": silu,
    "gelu": gelu,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "tanh": tanh,
    "softmax": softmax,
}
"""The activations by the names that layers take."""


def activation(choice: Any) -> Callable[..., Any]:
    """An activation by name, or itself; None is none.

    Raises ValueError for a name that there is not.
    """
    if choice is None:
        return identity
    if callable(choice):
        return choice  # type: ignore[no-any-return]
    if choice not in ACTIVATIONS:
        raise ValueError(f"no activation is called {choice!r}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[choice]


def attention(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    """softmax(query key^T / sqrt(d)) value over the last two axes (Vaswani et al., 2017).

    mask: booleans that broadcast to (..., queries, keys); False hides a key.
    """
    scores = query @ np.swapaxes(key, -1, -2) * (1.0 / math.sqrt(query.shape[-1]))
    if mask is not None:
        scores = np.where(mask, scores, -1e30)
    return softmax(scores) @ value
