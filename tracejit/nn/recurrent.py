"""Recurrent layers on `scan`: RNN, LSTM, GRU.  The loop over time is one loop of the graph, forward and backward."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracejit.control import scan
from tracejit.eager.functions import function
from tracejit.nn import initializers
from tracejit.nn.module import Module, Parameter
from tracejit.random import uniform as draw


class Recurrent(Module):
    """What the three have in common: (batch, time, inputs) -> (batch, time, hidden), and the last state.

    gates: how many matrices of each kind stand side by side in the weights.
    """

    gates = 1
    weight: Any
    recurrent: Any
    bias: Any

    def __init__(self, inputs: int, hidden: int, dtype: Any = np.float32) -> None:
        super().__init__()
        if inputs < 1 or hidden < 1:
            raise ValueError(f"a recurrent layer has at least one input and one state, not {inputs} and {hidden}")
        self.inputs, self.hidden = inputs, hidden
        width = self.gates * hidden
        bound = 1.0 / math.sqrt(hidden)

        def uniform(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
            return draw(key, shape, -bound, bound, dtype)

        self.weight = Parameter(initializers.drawn(uniform, (inputs, width), dtype))
        self.recurrent = Parameter(initializers.drawn(uniform, (hidden, width), dtype))
        self.bias = Parameter(initializers.drawn(uniform, (width,), dtype))

    def start(self, x: Any) -> Any:
        """The state before the first time: zeros."""
        return _zeros(x, self.hidden)

    def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        """(states at all times, the last state); state: where to begin."""
        if len(x.shape) != 3:
            raise ValueError(f"{self!r} takes (batch, time, inputs), and got an array of shape {tuple(x.shape)}")
        recurrent, step = self.recurrent, self.step
        # What comes from the inputs is one product for all times.
        driven = np.swapaxes(x @ self.weight + self.bias, 0, 1)
        last, states = scan(
            lambda carry, drive: step(carry, drive, recurrent), self.start(x) if state is None else state, driven
        )
        return np.swapaxes(states, 0, 1), last

    def step(self, state: Any, drive: Any, recurrent: Any) -> tuple[Any, Any]:
        """(the next state, what shows of it) from a state and what the inputs give."""
        raise NotImplementedError

    def extra(self) -> str:
        return f"{self.inputs}, {self.hidden}"


def _zeros(x: Any, hidden: int) -> Any:
    """(batch, hidden) zeros of x's dtype."""
    return np.zeros_like(x[:, 0, :1]) + np.zeros(hidden, x.dtype)


class RNN(Recurrent):
    """h = tanh(x W + h R + b) (Elman, 1990).

    >>> import numpy as np
    >>> from tracejit import nn
    >>> states, last = nn.RNN(3, 5)(np.zeros((2, 7, 3), np.float32))
    >>> states.shape, last.shape
    ((2, 7, 5), (2, 5))
    """

    def step(self, state: Any, drive: Any, recurrent: Any) -> tuple[Any, Any]:
        new = np.tanh(drive + state @ recurrent)
        return new, new


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997); the state is (h, c), gates in the order i, f, g, o."""

    gates = 4

    def start(self, x: Any) -> Any:
        return _zeros(x, self.hidden), _zeros(x, self.hidden)

    def step(self, state: Any, drive: Any, recurrent: Any) -> tuple[Any, Any]:
        sigmoid, n = function("sigmoid"), self.hidden
        hidden, cell = state
        gates = drive + hidden @ recurrent
        cell = sigmoid(gates[:, n : 2 * n]) * cell + sigmoid(gates[:, :n]) * np.tanh(gates[:, 2 * n : 3 * n])
        hidden = sigmoid(gates[:, 3 * n :]) * np.tanh(cell)
        return (hidden, cell), hidden


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al., 2014), with the reset after the product; gates in the order r, z, n."""

    gates = 3
    recurrent_bias: Any

    def __init__(self, inputs: int, hidden: int, dtype: Any = np.float32) -> None:
        super().__init__(inputs, hidden, dtype)
        self.recurrent_bias = Parameter(np.zeros(hidden, dtype))

    def step(self, state: Any, drive: Any, recurrent: Any) -> tuple[Any, Any]:
        sigmoid, n = function("sigmoid"), self.hidden
        from_state = state @ recurrent
        reset = sigmoid(drive[:, :n] + from_state[:, :n])
        update = sigmoid(drive[:, n : 2 * n] + from_state[:, n : 2 * n])
        new = np.tanh(drive[:, 2 * n :] + reset * (from_state[:, 2 * n :] + self.recurrent_bias))
        state = (1 - update) * new + update * state
        return state, state
