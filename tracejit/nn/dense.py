"""`Dense`: a linear layer as Keras has it, which learns from the first input how many features there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.nn import functional, initializers
from tracejit.nn.layers import Linear
from tracejit.nn.module import Module
from tracejit.trace.state import ACTIVE


class Dense(Linear):
    """activation(x @ weight + bias) of so many outputs.

    activation: a name ("relu", "tanh", ...) or a function.  dtype: of the parameters.
    input_dim: the features of x; where it is not given, the first call makes the parameters, as `Sequential` does as
    soon as the layers before are known.

    Raises RuntimeError where compiled code calls it before its parameters are made.

    >>> from tracejit import nn
    >>> model = nn.Sequential()
    >>> model.add(nn.Dense(3, activation="sigmoid", input_dim=4))
    >>> model.add(nn.Dense(1))
    >>> model
    Sequential(
      (layers): ModuleList(
        (0): Dense(3, input_dim=4)
        (1): Dense(1, input_dim=3)
      )
    )
    """

    def __init__(
        self,
        outputs: int,
        activation: Any = None,
        bias: bool = True,
        input_dim: int | None = None,
        initializer: Any = initializers.fan_in_uniform,
        dtype: Any = np.float32,
    ) -> None:
        Module.__init__(self)
        if not isinstance(outputs, int | np.integer) or outputs < 1:
            raise ValueError(f"a Dense layer has at least one output, not {outputs!r}")
        self.outputs, self.has_bias, self.dtype = outputs, bias, np.dtype(dtype)
        self.activation = functional.activation(activation)
        self.initializer = initializer
        self.inputs = 0
        if input_dim is not None:
            self.build(input_dim)

    @property
    def built(self) -> bool:
        """Whether the parameters are made."""
        return self.inputs > 0

    def build(self, inputs: int) -> None:
        """Make the parameters for so many inputs."""
        self._make(inputs, self.initializer, self.dtype)

    def forward(self, x: Any) -> Any:
        if not self.built:
            if ACTIVE.trace is not None:
                raise RuntimeError(
                    f"{self!r} does not know yet how many inputs it has, and compiled code cannot make its parameters: "
                    "give input_dim, or call the model once on an array"
                )
            self.build(x.shape[-1])
        return super().forward(x)

    def extra(self) -> str:
        return f"{self.outputs}" + (f", input_dim={self.inputs}" if self.built else "")


def unbuilt(model: Module) -> bool:
    """Whether some layer has no parameters yet."""
    return any(isinstance(module, Dense) and not module.built for module in model.modules())
