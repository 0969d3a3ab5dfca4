"""One training step as one compiled function over memory that it keeps: loss, gradient, update, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tracejit.driver import Jitted
from tracejit.nn.losses import loss as named_loss
from tracejit.nn.metrics import metric as named_metric
from tracejit.nn.module import VERSION, Bound, Module, Parameter, binding
from tracejit.optim import Optimizer, OptimizerState
from tracejit.random import default_generator, fold_in
from tracejit.transform.gradients import value_and_grad


class TrainStep:
    """`step(inputs, targets)`: one step of the optimizer; returns the loss and the metrics before it.

    model: takes `inputs`; its parameters, buffers and the optimizer's slots are changed in place, in one compiled call.
    loss: a name or (prediction, target) -> number; metrics: names or functions of the same arguments.

    >>> import numpy as np
    >>> from tracejit import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> step = nn.TrainStep(model, "mse", optim.SGD(0.1))
    >>> x, y = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)
    >>> losses = [float(step(x, y)[0]) for _ in range(20)]
    >>> losses[-1] < 1e-3 * max(losses[0], 1e-3)
    True
    """

    def __init__(
        self, model: Module, loss: Any, optimizer: Optimizer, metrics: Sequence[Any] = (), seed: int | None = None
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.loss: Callable[..., Any] = named_loss(loss)
        self.metrics = tuple(named_metric(choice) for choice in metrics)
        self.key = np.array(default_generator().key() if seed is None else fold_in(np.array([0, 0], np.uint32), seed))
        self.count = np.zeros((), np.int64)
        self._mode: tuple[bool, int] | None = None
        self.trained: list[Parameter] = []
        self.slots: list[np.ndarray[Any, Any]] = []
        self._compiled = Jitted(self._function(), (), fullgraph=False, fastmath=False)
        self._evaluation = Jitted(self._evaluating(), (), fullgraph=False, fastmath=False)
        self.refresh()

    def refresh(self) -> None:
        """Look at which parameters the model has now; slots of those that stay are kept."""
        kept = dict(zip(self.trained, _rows(self.slots, len(self.trained)), strict=True))
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        others = [p for p in self.model.parameters() if not p.requires_grad]
        self.held = [*others, *(buffer for _, buffer in self.model.named_buffers())]
        fresh = self.optimizer.init([parameter.memory for parameter in self.trained]).slots
        rows = [kept.get(p, tuple(map(np.array, new))) for p, new in zip(self.trained, fresh, strict=True)]
        self.slots = [slot for row in rows for slot in row]

    def _bound(self, trained: Any, held: Any, key: Any) -> Bound:
        return Bound(dict(zip((*self.trained, *self.held), (*trained, *held), strict=True)), key)

    def _function(self) -> Callable[..., Any]:
        model, optimizer, loss, metrics = self.model, self.optimizer, self.loss, self.metrics
        bound_to = self._bound

        def train_step(inputs: Any, targets: Any, count: Any, key: Any, trained: Any, slots: Any, held: Any) -> Any:
            def objective(parameters: Any) -> Any:
                with binding(bound_to(parameters, held, fold_in(key, count))) as bound:
                    prediction = model(inputs)
                    value = loss(prediction, targets)
                measured = tuple(function(prediction, targets) for _, function in metrics)
                return value, (measured, [bound.values[buffer] for buffer in self.held])

            (value, (measured, buffers)), gradients = value_and_grad(objective, has_aux=True)(trained)
            rows = _rows(slots, len(trained))
            new, state = optimizer.update(gradients, OptimizerState(count, tuple(rows)), trained)
            for old, changed in zip(trained, new, strict=True):
                old[...] = changed
            for old, changed in zip(slots, (slot for row in state.slots for slot in row), strict=True):
                old[...] = changed
            for old, changed in zip(held, buffers, strict=True):
                if changed is not old:
                    old[...] = changed
            count[...] = state.step
            return (value, *measured)

        return train_step

    def _evaluating(self) -> Callable[..., Any]:
        model, loss, metrics, bound_to = self.model, self.loss, self.metrics, self._bound

        def evaluate(inputs: Any, targets: Any, trained: Any, held: Any) -> Any:
            with binding(bound_to(trained, held, None)):
                prediction = model(inputs)
            return (loss(prediction, targets), *(function(prediction, targets) for _, function in metrics))

        return evaluate

    def __call__(self, inputs: Any, targets: Any) -> tuple[Any, ...]:
        """(loss, *metrics) of the batch, before the step.

        inputs: an array, or a tuple of them for a model that takes several.
        """
        trained, held = self._memories()
        self._enter(True)
        result: tuple[Any, ...] = self._compiled(inputs, targets, self.count, self.key, trained, self.slots, held)
        for parameter in (*self.trained, *self.held):
            parameter.changed()
        return result

    def evaluate(self, inputs: Any, targets: Any) -> tuple[Any, ...]:
        """(loss, *metrics) of a batch, out of the mode of training; nothing is changed."""
        trained, held = self._memories()
        self._enter(False)
        result: tuple[Any, ...] = self._evaluation(inputs, targets, trained, held)
        return result

    def _enter(self, training: bool) -> None:
        """Into the mode of training, or out of it; a model in which nothing has changed is not walked through."""
        if self._mode != (training, VERSION.count):
            self.model.train(training)
            self._mode = (training, VERSION.count)

    def _memories(self) -> tuple[list[Any], list[Any]]:
        return [parameter.memory for parameter in self.trained], [parameter.memory for parameter in self.held]

    def explain(self, inputs: Any, targets: Any) -> Any:
        """What becomes of a step (which is performed): graphs, passes, kernels."""
        trained, held = self._memories()
        self._enter(True)
        return self._compiled.explain(inputs, targets, self.count, self.key, trained, self.slots, held)

    # ---- exact resume

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """All that decides how training goes on: parameters, buffers, slots, steps done, random state."""
        state = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        state |= {name: slot.copy() for name, slot in self._named_slots()}
        return {**state, "step": self.count.copy(), "key": self.key.copy()}

    def _named_slots(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """The optimizer's slots by parameter and name."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        for parameter, row in zip(self.trained, _rows(self.slots, len(self.trained)), strict=True):
            for slot, value in zip(self.optimizer.slot_names, row, strict=True):
                yield f"optimizer.{names[parameter]}.{slot}", value

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a state was taken.

        Raises KeyError for names that are missing, ValueError for values of another shape.
        """
        own = self.state_dict()
        missing = sorted(own.keys() - state.keys())
        if missing:
            raise KeyError(f"the state of training has no {', '.join(missing[:5])}")
        self.model.load_state_dict(
            {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
        )
        for name, slot in self._named_slots():
            slot[...] = state[name]
        self.count[...], self.key[...] = state["step"], state["key"]


def _rows(slots: Sequence[Any], count: int) -> list[tuple[Any, ...]]:
    """A flat list of slots as a tuple for each of `count` parameters."""
    width = len(slots) // max(count, 1)
    return [tuple(slots[n * width : (n + 1) * width]) for n in range(count)]
