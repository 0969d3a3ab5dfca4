"""Optimizers that go by the gradient alone: SGD, Adagrad, RMSProp, Adam, AdamW, Lion."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.optim.optimizer import Optimizer, Rate


class SGD(Optimizer):
    """Gradient descent, with momentum (Polyak, 1964) and Nesterov's form of it (Sutskever et al., 2013).

    v = momentum * v + g;  p = p - rate * v,  or under `nesterov`  p = p - rate * (g + momentum * v)

    >>> import numpy as np, tracejit as tj
    >>> optimizer = tj.optim.SGD(0.1)
    >>> state = optimizer.init(np.array([1.0]))
    >>> optimizer.update(np.array([2.0]), state, np.array([1.0]))[0]
    array([0.8])
    """

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm)
        if nesterov and not momentum:
            raise ValueError("nesterov=True needs a momentum")
        self.momentum, self.nesterov = momentum, nesterov

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def change(
        self, parameter: Any, gradient: Any, slots: tuple[Any, ...], rate: Any, step: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        if not slots:
            return parameter - rate * gradient, ()
        velocity = self.momentum * slots[0] + gradient
        direction = gradient + self.momentum * velocity if self.nesterov else velocity
        return parameter - rate * direction, (velocity,)


class Adagrad(Optimizer):
    """Rates that fall with the squares seen so far (Duchi, Hazan and Singer, 2011)."""

    def __init__(self, learning_rate: Rate = 0.01, epsilon: float = 1e-10, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.epsilon = epsilon

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("squares",)

    def change(
        self, parameter: Any, gradient: Any, slots: tuple[Any, ...], rate: Any, step: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        squares = slots[0] + gradient * gradient
        return parameter - rate * gradient / (np.sqrt(squares) + self.epsilon), (squares,)


class RMSProp(Optimizer):
    """Rates by a running mean of squares (Tieleman and Hinton, 2012), with momentum where asked."""

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        decay: float = 0.99,
        momentum: float = 0.0,
        epsilon: float = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.decay, self.momentum, self.epsilon = decay, momentum, epsilon

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("squares", "momentum") if self.momentum else ("squares",)

    def change(
        self, parameter: Any, gradient: Any, slots: tuple[Any, ...], rate: Any, step: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        squares = self.decay * slots[0] + (1 - self.decay) * gradient * gradient
        direction = gradient / (np.sqrt(squares) + self.epsilon)
        if not self.momentum:
            return parameter - rate * direction, (squares,)
        velocity = self.momentum * slots[1] + direction
        return parameter - rate * velocity, (squares, velocity)


class Adam(Optimizer):
    """Running means of the gradient and of its square, both corrected for their start (Kingma and Ba, 2015)."""

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, and is {beta}")
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("mean", "squares")

    def change(
        self, parameter: Any, gradient: Any, slots: tuple[Any, ...], rate: Any, step: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        mean = self.beta1 * slots[0] + (1 - self.beta1) * gradient
        squares = self.beta2 * slots[1] + (1 - self.beta2) * gradient * gradient
        # The corrections are two numbers a step, in double precision whatever the parameters are.
        first, second = (1 - beta ** (step + 1.0) for beta in (self.beta1, self.beta2))
        factor = (rate / first).astype(parameter.dtype)
        root = np.sqrt(second).astype(parameter.dtype)
        return parameter - factor * mean / (np.sqrt(squares) / root + self.epsilon), (mean, squares)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019)."""

    def __init__(self, learning_rate: Rate = 0.001, weight_decay: float = 0.01, **options: Any) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **options)


class Lion(Optimizer):
    """The sign of a mix of gradient and momentum (Chen et al., Symbolic Discovery of Optimization Algorithms, 2023)."""

    def __init__(self, learning_rate: Rate = 1e-4, beta1: float = 0.9, beta2: float = 0.99, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.beta1, self.beta2 = beta1, beta2

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("momentum",)

    def change(
        self, parameter: Any, gradient: Any, slots: tuple[Any, ...], rate: Any, step: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        direction = np.sign(self.beta1 * slots[0] + (1 - self.beta1) * gradient)
        momentum = self.beta2 * slots[0] + (1 - self.beta2) * gradient
        return parameter - rate * direction, (momentum,)
