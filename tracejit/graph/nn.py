"""`tracejit.graph.nn`: TensorFlow 1's functions of neural networks, on tensors.

Images are (batch, height, width, channels) and kernels (height, width, inputs, outputs), as there; `tracejit.conv2d`
and its kin take channels first, so the axes are turned on the way in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.eager.functions import function
from tracejit.graph.names import applied, recorded
from tracejit.graph.random_nodes import dropout
from tracejit.graph.tensor import Tensor
from tracejit.nn import functional

relu = recorded(functional.relu)
elu = recorded(functional.elu)
leaky_relu = recorded(functional.leaky_relu)
sigmoid = recorded(functional.sigmoid)
softplus = recorded(functional.softplus)
tanh = recorded(functional.tanh)
softmax = recorded(functional.softmax)
log_softmax = recorded(functional.log_softmax)


def bias_add(value: Tensor, bias: Any, name: str = "bias_add") -> Tensor:
    """value + bias along the last axis."""
    return _apply(np.add, (value, bias), name)


def l2_loss(t: Tensor, name: str = "l2_loss") -> Tensor:
    """Half the sum of squares."""
    return _apply(_half_of_squares, (t,), name)


def _half_of_squares(x: Any) -> Any:
    return np.sum(x * x) * x.dtype.type(0.5)


def moments(x: Tensor, axes: Sequence[int], keepdims: bool = False, name: str = "moments") -> tuple[Tensor, Tensor]:
    """Mean and variance over axes."""
    return _apply(_moments, (x, tuple(axes), keepdims), name)  # type: ignore[return-value]


def _moments(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return np.mean(x, axis=axes, keepdims=keepdims), np.var(x, axis=axes, keepdims=keepdims)


def softmax_cross_entropy_with_logits(*, labels: Any, logits: Tensor, name: str = "cross_entropy") -> Tensor:
    """-sum(labels * log softmax(logits)) along the last axis: one loss an example.

    labels: probabilities, of the shape of logits.  Arguments go by name, as the two are easily mistaken for each other.
    """
    return _apply(_cross_entropy, (labels, logits), name)


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return -np.sum(labels * functional.log_softmax(logits), axis=-1)


softmax_cross_entropy_with_logits_v2 = softmax_cross_entropy_with_logits


def sparse_softmax_cross_entropy_with_logits(*, labels: Any, logits: Tensor, name: str = "cross_entropy") -> Tensor:
    """-log softmax(logits) at the labels, integers: one loss an example.

    labels: of the shape of logits without its last axis.
    """
    return _apply(_sparse_cross_entropy, (labels, logits), name)


def _sparse_cross_entropy(labels: Any, logits: Any) -> Any:
    return -np.take_along_axis(functional.log_softmax(logits), labels[..., None], axis=-1)[..., 0]


def sigmoid_cross_entropy_with_logits(*, labels: Any, logits: Tensor, name: str = "cross_entropy") -> Tensor:
    """-labels * log p - (1 - labels) * log(1 - p) for p = sigmoid(logits), element by element, without overflow."""
    return _apply(_binary_cross_entropy, (labels, logits), name)


def _binary_cross_entropy(labels: Any, logits: Any) -> Any:
    return functional.softplus(logits) - labels * logits


def conv2d(
    input: Tensor, filter: Any, strides: Sequence[int], padding: str, data_format: str = "NHWC", name: str = "conv2d"
) -> Tensor:
    """Convolution of images.

    input: (batch, height, width, inputs).  filter: (height, width, inputs, outputs).  strides: (1, down, across, 1).
    padding: "SAME" or "VALID".

    Raises ValueError for another order of axes, and for strides of the batch or of channels.
    """
    steps = _inner(strides, "strides", data_format)
    return _apply(_convolved, (input, filter, steps, padding.lower()), name)


def _convolved(x: Any, w: Any, steps: tuple[int, int], padding: str) -> Any:
    images, kernel = np.transpose(x, (0, 3, 1, 2)), np.transpose(w, (3, 2, 0, 1))
    return np.transpose(function("conv2d")(images, kernel, stride=steps, padding=padding), (0, 2, 3, 1))


def _pooling(name: str) -> Callable[..., Tensor]:
    def pool(
        value: Tensor,
        ksize: Sequence[int],
        strides: Sequence[int],
        padding: str,
        data_format: str = "NHWC",
        name: str = name,
    ) -> Tensor:
        window, steps = _inner(ksize, "ksize", data_format), _inner(strides, "strides", data_format)
        return _apply(pooled, (value, window, steps, padding.lower()), name)

    def pooled(x: Any, window: Any, steps: Any, padding: str) -> Any:
        images = np.transpose(x, (0, 3, 1, 2))
        return np.transpose(function(f"{name}2d")(images, window, stride=steps, padding=padding), (0, 2, 3, 1))

    pool.__name__ = name
    pool.__doc__ = f"""`tracejit.{name}2d` of images (batch, height, width, channels).

    ksize, strides: (1, down, across, 1).  padding: "SAME" or "VALID".

    Raises ValueError for another order of axes.
    """
    return pool


max_pool, avg_pool = _pooling("max_pool"), _pooling("avg_pool")


def _inner(four: Sequence[int], name: str, data_format: str) -> tuple[int, int]:
    """The two middle ones of (1, down, across, 1)."""
    if data_format != "NHWC":
        raise ValueError(f'data_format is "NHWC", not {data_format!r}: transpose, or call tracejit.conv2d (NCHW)')
    if len(four) != 4 or four[0] != 1 or four[3] != 1:
        raise ValueError(f"{name} is (1, down, across, 1), not {tuple(four)}")
    return int(four[1]), int(four[2])


def _apply(called: Callable[..., Any], args: tuple[Any, ...], name: str) -> Tensor:
    return applied(called, args, {}, name)  # type: ignore[no-any-return]


__all__ = [
    "avg_pool",
    "bias_add",
    "conv2d",
    "dropout",
    "elu",
    "l2_loss",
    "leaky_relu",
    "log_softmax",
    "max_pool",
    "moments",
    "relu",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "softplus",
    "sparse_softmax_cross_entropy_with_logits",
    "tanh",
]
