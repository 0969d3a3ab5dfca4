"""Learning rates as functions of the step, which counts from 0.  Each works on numbers and on traced values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

Schedule: TypeAlias = "Callable[[Any], Any]"


def constant(rate: float) -> Schedule:
    """The same rate at every step."""
    return lambda step: rate + 0.0 * step


def exponential(rate: float, decay_steps: int, decay_rate: float, staircase: bool = False) -> Schedule:
    """rate * decay_rate ** (step / decay_steps), the quotient rounded down under `staircase`.

    >>> import tracejit as tj
    >>> float(tj.optim.schedules.exponential(0.1, 10, 0.5)(20))
    0.025
    """

    def schedule(step: Any) -> Any:
        quotient = step / decay_steps
        return rate * decay_rate ** (np.floor(quotient) if staircase else quotient)

    return schedule


def step_decay(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """Multiplied by `factor` every so many steps."""
    return exponential(rate, every, factor, staircase=True)


def piecewise(boundaries: Sequence[int], rates: Sequence[float]) -> Schedule:
    """rates[i] until boundaries[i] (that step not included), and the last rate from then on."""
    if len(rates) != len(boundaries) + 1:
        raise ValueError(f"{len(boundaries)} boundaries part {len(boundaries) + 1} rates, not {len(rates)}")

    def schedule(step: Any) -> Any:
        chosen: Any = rates[-1] + 0.0 * step
        for boundary, rate in reversed(list(zip(boundaries, rates[:-1], strict=True))):
            chosen = np.where(step < boundary, rate, chosen)
        return chosen

    return schedule


def cosine(rate: float, steps: int, lowest: float = 0.0) -> Schedule:
    """Half a cosine from `rate` down to `lowest` in so many steps (Loshchilov and Hutter, SGDR, 2017)."""

    def schedule(step: Any) -> Any:
        done = np.minimum(step / steps, 1.0)
        return lowest + (rate - lowest) * 0.5 * (1 + np.cos(math.pi * done))

    return schedule


def warmup(schedule: Schedule | float, steps: int) -> Schedule:
    """The rate grows from 0 in a straight line during the first steps; then the given schedule, from its own start.

    >>> import tracejit as tj
    >>> [float(tj.optim.schedules.warmup(1.0, 4)(step)) for step in (0, 2, 4, 9)]
    [0.25, 0.75, 1.0, 1.0]
    """
    after = schedule if callable(schedule) else constant(schedule)

    def warmed(step: Any) -> Any:
        rising = np.minimum((step + 1.0) / steps, 1.0)
        return rising * after(np.maximum(step - steps, 0))

    return warmed
