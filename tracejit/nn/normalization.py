"""Normalization: LayerNorm, BatchNorm."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.nn.module import Module, Parameter


class LayerNorm(Module):
    """The last axis with mean 0 and variance 1, then scaled and shifted (Ba et al., 2016)."""

    weight: Any
    bias: Any

    def __init__(self, features: int, epsilon: float = 1e-5, dtype: Any = np.float32) -> None:
        super().__init__()
        self.features, self.epsilon = features, epsilon
        self.weight, self.bias = Parameter(np.ones(features, dtype)), Parameter(np.zeros(features, dtype))

    def forward(self, x: Any) -> Any:
        centered = x - np.mean(x, axis=-1, keepdims=True)
        variance = np.mean(centered * centered, axis=-1, keepdims=True)
        return centered / np.sqrt(variance + self.epsilon) * self.weight + self.bias

    def extra(self) -> str:
        return f"{self.features}"


class BatchNorm(Module):
    """Each feature with mean 0 and variance 1 over the batch, then scaled and shifted (Ioffe and Szegedy, 2015).

    features: the length of axis 1; all other axes are averaged over.  While training, the batch's statistics count and
    running ones are kept (`momentum`: the weight of the batch's); after it, the running ones count.
    """

    weight: Any
    bias: Any
    running_mean: Any
    running_variance: Any

    def __init__(self, features: int, momentum: float = 0.1, epsilon: float = 1e-5, dtype: Any = np.float32) -> None:
        super().__init__()
        self.features, self.momentum, self.epsilon = features, momentum, epsilon
        self.weight, self.bias = Parameter(np.ones(features, dtype)), Parameter(np.zeros(features, dtype))
        self.register_buffer("running_mean", np.zeros(features, dtype))
        self.register_buffer("running_variance", np.ones(features, dtype))

    def forward(self, x: Any) -> Any:
        axes = (0, *range(2, x.ndim))
        broadcast = (slice(None), *[None] * (x.ndim - 2))
        if self.training:
            mean = np.mean(x, axis=axes)
            centered = x - mean[broadcast]
            variance = np.mean(centered * centered, axis=axes)
            self._remember(x, mean, variance)
        else:
            mean, variance = self.running_mean, self.running_variance
            centered = x - mean[broadcast]
        scale = self.weight / np.sqrt(variance + self.epsilon)
        return centered * scale[broadcast] + self.bias[broadcast]

    def _remember(self, x: Any, mean: Any, variance: Any) -> None:
        count = x.size / x.shape[1]
        unbiased = variance * (count / np.maximum(count - 1.0, 1.0))
        for name, new in (("running_mean", mean), ("running_variance", unbiased)):
            old = getattr(self, name)
            self.update_buffer(name, (old + self.momentum * (new - old)).astype(old.dtype))

    def extra(self) -> str:
        return f"{self.features}"
