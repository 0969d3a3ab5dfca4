"""An optimizer bound to eager parameters: `loss.backward()`, `step()`, `zero_grad()`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.driver import Jitted
from tracejit.eager import Array, no_grad

if TYPE_CHECKING:
    from tracejit.optim.optimizer import Optimizer


class BoundOptimizer:
    """Changes parameters by the gradients that `backward` left in them; made by `Optimizer.over`.

    A step over all parameters is one compiled update.  One without a gradient stays as it is, and so do its slots.
    """

    def __init__(self, rule: Optimizer, parameters: Iterable[Any]) -> None:
        self.rule, self.parameters = rule, [_array(parameter) for parameter in parameters]
        if not self.parameters:
            raise ValueError("an optimizer over no parameters: there is nothing to change")
        self.state = rule.init([np.asarray(parameter) for parameter in self.parameters])
        self._update = Jitted(rule.update, (), fullgraph=False, fastmath=False)

    def step(self) -> None:
        """Change each parameter that has a gradient.

        Raises ValueError where none has one.
        """
        chosen = [n for n, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not chosen:
            raise ValueError(
                "no parameter has a gradient: call backward() on a loss that depends on them before step()"
            )
        slots = tuple(self.state.slots[n] for n in chosen)
        arrays = [self.parameters[n] for n in chosen]
        gradients = [np.asarray(array.grad) for array in arrays]
        state = type(self.state)(self.state.step, slots)
        new, state = self._update(gradients, state, [np.asarray(array) for array in arrays])
        with no_grad():
            for array, value in zip(arrays, new, strict=True):
                array[...] = value
        kept = dict(zip(chosen, state.slots, strict=True))
        self.state = type(state)(state.step, tuple(kept.get(n, row) for n, row in enumerate(self.state.slots)))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """The steps done, and each slot by the parameter's number: what exact resume needs besides the parameters."""
        return {"step": np.array(self.state.step), **{name: np.array(slot) for name, slot in self._slots()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a state was taken.

        Raises KeyError for names that are missing, ValueError for a slot of another shape.
        """
        own = self.state_dict()
        missing = sorted(own.keys() - state.keys())
        if missing:
            raise KeyError(f"the optimizer's state has no {', '.join(missing[:5])}")
        for name, value in own.items():
            if np.shape(state[name]) != value.shape:
                raise ValueError(f"{name} has shape {value.shape}, and the state has {np.shape(state[name])}")
        given = {name: np.array(state[name], value.dtype) for name, value in own.items()}
        names = self.rule.slot_names
        slots = tuple(tuple(given[f"{n}.{name}"] for name in names) for n in range(len(self.parameters)))
        self.state = type(self.state)(given["step"], slots)

    def _slots(self) -> Iterable[tuple[str, Any]]:
        for number, row in enumerate(self.state.slots):
            for name, slot in zip(self.rule.slot_names, row, strict=True):
                yield f"{number}.{name}", slot

    def __repr__(self) -> str:
        return f"{self.rule!r}.over({len(self.parameters)} parameters)"


def _array(parameter: Any) -> Array:
    """The eager array of a module's parameter; an array that gathers gradients is its own."""
    array = getattr(parameter, "array", parameter)
    if not isinstance(array, Array):
        raise TypeError(
            "a bound optimizer changes what backward() leaves gradients in, a module's parameters or tracejit.Array, "
            f"not {type(parameter).__name__}"
        )
    return array
