"""Layers over images and sequences: convolutions and pooling, on (batch, channels, *axes)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.eager.functions import function
from tracejit.nn import functional, initializers
from tracejit.nn.module import Module, Parameter


class Convolution(Module):
    """What Conv1d and Conv2d have in common: `activation(convolution(x, weight) + bias)`.

    channels, outputs: of images and results; kernel: its length on every axis, or one for each.
    stride, padding, dilation, groups: as `tracejit.conv2d` takes them.
    """

    rank = 2
    weight: Any
    bias: Any

    def __init__(
        self,
        channels: int,
        outputs: int,
        kernel: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        activation: Any = None,
        initializer: Any = initializers.fan_in_uniform,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        if channels % groups or outputs % groups:
            raise ValueError(f"{channels} channels and {outputs} outputs do not fall into {groups} groups evenly")
        lengths = (kernel,) * self.rank if isinstance(kernel, int) else tuple(kernel)
        if len(lengths) != self.rank:
            raise ValueError(f"{type(self).__name__} has a kernel of {self.rank} axes, and {kernel} has {len(lengths)}")
        self.channels, self.outputs, self.kernel = channels, outputs, lengths
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.activation = functional.activation(activation)
        self.weight = Parameter(initializers.drawn(initializer, (outputs, channels // groups, *lengths), dtype))
        self.has_bias = bias
        if bias:
            self.bias = Parameter(np.zeros(outputs, dtype))

    def forward(self, x: Any) -> Any:
        found = function(f"conv{self.rank}d")(
            x, self.weight, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )
        if self.has_bias:
            found = found + self.bias[(slice(None), *[None] * self.rank)]
        return self.activation(found)

    def extra(self) -> str:
        return f"{self.channels}, {self.outputs}, {self.kernel}"


class Conv1d(Convolution):
    """Convolution along one axis; see Convolution.

    >>> import numpy as np
    >>> from tracejit import nn
    >>> nn.Conv1d(3, 8, 5, padding="same")(np.zeros((2, 3, 20), np.float32)).shape
    (2, 8, 20)
    """

    rank = 1


class Conv2d(Convolution):
    """Convolution along two axes; see Convolution.

    >>> import numpy as np
    >>> from tracejit import nn
    >>> nn.Conv2d(1, 4, 3)(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 4, 6, 6)
    """

    rank = 2


class Pooling(Module):
    """One number for each window of the images."""

    name = ""

    def __init__(self, window: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.window, self.stride, self.padding = window, stride, padding

    def forward(self, x: Any) -> Any:
        return function(self.name)(x, window=self.window, stride=self.stride, padding=self.padding)

    def extra(self) -> str:
        return f"{self.window}"


class MaxPool1d(Pooling):
    """The largest of each window along one axis."""

    name = "max_pool1d"


class MaxPool2d(Pooling):
    """The largest of each window along two axes."""

    name = "max_pool2d"


class AvgPool1d(Pooling):
    """The mean of each window along one axis."""

    name = "avg_pool1d"


class AvgPool2d(Pooling):
    """The mean of each window along two axes."""

    name = "avg_pool2d"
