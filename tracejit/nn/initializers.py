"""Initial weights: functions of (key, shape, dtype)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tracejit.random import default_generator, normal, truncated_normal, uniform

Initializer: TypeAlias = "Callable[[Any, tuple[int, ...], Any], Any]"


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(inputs, outputs) of a weight of shape (inputs, outputs), or (outputs, inputs, *kernel) of a convolution."""
    if len(shape) < 2:
        return (shape[0] if shape else 1,) * 2
    if len(shape) == 2:
        return shape[0], shape[1]
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


def zeros(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """All zero."""
    return np.zeros(shape, dtype)


def ones(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """All one."""
    return np.ones(shape, dtype)


def constant(value: float) -> Initializer:
    """One value everywhere."""

    def initializer(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        return np.full(shape, value, dtype)

    return initializer


def standard_normal(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """Normal of mean 0 and variance 1."""
    return normal(key, shape, 0.0, 1.0, dtype)


def glorot_uniform(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """Uniform within sqrt(6 / (inputs + outputs)) (Glorot and Bengio, 2010)."""
    bound = math.sqrt(6.0 / sum(fans(shape)))
    return uniform(key, shape, -bound, bound, dtype)


def glorot_normal(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """Normal of variance 2 / (inputs + outputs), cut at two deviations."""
    return truncated_normal(key, shape, 0.0, math.sqrt(2.0 / sum(fans(shape))) / 0.87962566103423978, dtype)


def he_uniform(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """Uniform within sqrt(6 / inputs), for relu (He et al., 2015)."""
    bound = math.sqrt(6.0 / fans(shape)[0])
    return uniform(key, shape, -bound, bound, dtype)


def he_normal(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """Normal of variance 2 / inputs, for relu (He et al., 2015)."""
    return normal(key, shape, 0.0, math.sqrt(2.0 / fans(shape)[0]), dtype)


def fan_in_uniform(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """Uniform within 1 / sqrt(inputs), as PyTorch's layers begin."""
    bound = 1.0 / math.sqrt(fans(shape)[0])
    return uniform(key, shape, -bound, bound, dtype)


def orthogonal(key: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """A matrix with orthonormal rows or columns (Saxe et al., 2014)."""
    if len(shape) != 2:
        raise ValueError(f"an orthogonal weight is a matrix, and the shape is {shape}")
    rows, columns = shape
    q, r = np.linalg.qr(normal(key, (max(shape), min(shape))))
    q = q * np.sign(np.diagonal(r))
    return (q if rows >= columns else q.T).astype(dtype)


def drawn(initializer: Initializer, shape: tuple[int, ...], dtype: Any) -> Any:
    """A value by the generator of the process."""
    return np.asarray(initializer(default_generator().key(), shape, dtype))
