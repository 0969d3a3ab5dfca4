"""Layers of weights and the small ones: Linear, Embedding, Dropout, Flatten, activations, Sequential."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracejit.nn import functional, initializers
from tracejit.nn.module import Module, Parameter, current_key
from tracejit.random import bernoulli


class Linear(Module):
    """activation(x @ weight + bias); weight is (inputs, outputs).

    activation: a name ("relu", "tanh", ...) or a function.  dtype: of the parameters.

    >>> from tracejit import nn
    >>> nn.Linear(784, 10)
    Linear(784, 10)
    """

    weight: Any
    bias: Any

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool = True,
        activation: Any = None,
        initializer: Any = initializers.fan_in_uniform,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        if inputs < 1 or outputs < 1:
            raise ValueError(f"a Linear layer has at least one input and one output, not {inputs} and {outputs}")
        self.outputs, self.has_bias = outputs, bias
        self.activation = functional.activation(activation)
        self._make(inputs, initializer, dtype)

    def _make(self, inputs: int, initializer: Any, dtype: Any) -> None:
        """The parameters for so many inputs."""
        self.inputs = inputs
        self.weight = Parameter(initializers.drawn(initializer, (inputs, self.outputs), dtype))
        if self.has_bias:
            self.bias = Parameter(np.zeros(self.outputs, dtype))

    def forward(self, x: Any) -> Any:
        if x.shape[-1] is None or x.shape[-1] == self.inputs:
            product = x @ self.weight
            return self.activation(product + self.bias if self.has_bias else product)
        raise ValueError(f"{self!r} takes inputs of {self.inputs} features, and got an array of shape {tuple(x.shape)}")

    def extra(self) -> str:
        return f"{self.inputs}, {self.outputs}" + (", bias=False" if not self.has_bias else "")


class Embedding(Module):
    """A row of weights for each index.

    >>> import numpy as np
    >>> from tracejit import nn
    >>> nn.Embedding(10, 4)(np.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    weight: Any

    def __init__(
        self, entries: int, features: int, initializer: Any = initializers.standard_normal, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        self.entries, self.features = entries, features
        self.weight = Parameter(initializers.drawn(initializer, (entries, features), dtype))

    def forward(self, indices: Any) -> Any:
        return self.weight[indices]

    def extra(self) -> str:
        return f"{self.entries}, {self.features}"


class Dropout(Module):
    """While training, each element is zero with a probability, and the others grow to keep the mean.

    Srivastava et al., 2014.  In compiled code the random numbers come from the key of the call.
    """

    def __init__(self, probability: float = 0.5) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"the probability of dropping is at least 0 and below 1, not {probability}")
        self.probability = probability

    def forward(self, x: Any) -> Any:
        if not self.training or not self.probability:
            return x
        kept = bernoulli(current_key(), 1 - self.probability, x.shape)
        return np.where(kept, x / (1 - self.probability), 0)

    def extra(self) -> str:
        return f"{self.probability}"


class Flatten(Module):
    """All axes but the first as one."""

    def forward(self, x: Any) -> Any:
        return x.reshape(-1, math.prod(x.shape[1:]))


class Activation(Module):
    """A function of the elements, by name or itself."""

    def __init__(self, choice: Any) -> None:
        super().__init__()
        self.function = functional.activation(choice)

    def forward(self, x: Any) -> Any:
        return self.function(x)

    def extra(self) -> str:
        return getattr(self.function, "__name__", "")


def _fixed(function: Callable[..., Any], name: str) -> type[Module]:
    def forward(self: Module, x: Any) -> Any:
        return function(x)

    return type(name, (Module,), {"forward": forward, "__doc__": function.__doc__, "__module__": __name__})


ReLU = _fixed(functional.relu, "ReLU")
LeakyReLU = _fixed(functional.leaky_relu, "LeakyReLU")
ELU = _fixed(functional.elu, "ELU")
SiLU = _fixed(functional.silu, "SiLU")
GELU = _fixed(functional.gelu, "GELU")
Sigmoid = _fixed(functional.sigmoid, "Sigmoid")
Tanh = _fixed(functional.tanh, "Tanh")
Softmax = _fixed(functional.softmax, "Softmax")
Identity = _fixed(functional.identity, "Identity")


class ModuleList(Module):
    """Modules by number; iterate over it, or index it."""

    def __init__(self, modules: Any = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        """One more at the end."""
        setattr(self, str(len(self)), module)

    def __len__(self) -> int:
        return len(vars(self)["_modules"])

    def __iter__(self) -> Iterator[Module]:
        return iter(vars(self)["_modules"].values())

    def __getitem__(self, position: int) -> Module:
        return list(self)[position]
