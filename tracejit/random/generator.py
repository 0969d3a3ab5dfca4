"""A generator: a key that moves on with each use, for code that draws numbers without naming keys."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tracejit.random import distributions
from tracejit.random.keys import fold_in, key
from tracejit.trace.state import ACTIVE


class Generator:
    """Draws random numbers one call after the other; `state` and `restore` make a run repeatable from any point.

    >>> import tracejit as tj
    >>> one, two = tj.random.Generator(3), tj.random.Generator(3)
    >>> bool((one.normal((5,)) == two.normal((5,))).all())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self._key, self._count, self._lock = key(seed), 0, threading.Lock()

    def seed(self, seed: int) -> None:
        """Begin anew."""
        with self._lock:
            self._key, self._count = key(seed), 0

    def key(self) -> Any:
        """A key that was not used before."""
        if ACTIVE.trace is not None:
            raise RuntimeError(
                "a generator moves on with each call, and a compiled function does not run Python at each call: pass "
                "it a key as an argument (tracejit.random.key(seed), or one of tracejit.random.split(key))"
            )
        with self._lock:
            self._count += 1
            return fold_in(self._key, self._count)

    @property
    def state(self) -> np.ndarray[Any, Any]:
        """Where the generator is: three integers."""
        with self._lock:
            return np.array([*self._key, self._count], np.int64)

    def restore(self, state: Any) -> None:
        """Go to where a generator was when its `state` was read."""
        with self._lock:
            self._key, self._count = np.asarray(state[:2]).astype(np.uint32), int(state[2])

    def uniform(self, shape: Any = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = np.float64) -> Any:
        """See `tracejit.random.uniform`."""
        return distributions.uniform(self.key(), shape, low, high, dtype)

    def normal(self, shape: Any = (), mean: Any = 0.0, deviation: Any = 1.0, dtype: Any = np.float64) -> Any:
        """See `tracejit.random.normal`."""
        return distributions.normal(self.key(), shape, mean, deviation, dtype)

    def integers(self, shape: Any, low: int, high: int) -> Any:
        """See `tracejit.random.integers`."""
        return distributions.integers(self.key(), shape, low, high)

    def permutation(self, what: Any) -> Any:
        """See `tracejit.random.permutation`."""
        return distributions.permutation(self.key(), what)


DEFAULT = Generator(0)
"""The generator of the process: initial weights and dropout come from it where no other source is named."""


def seed(seed: int) -> None:
    """Let the generator of the process begin anew.

    >>> import tracejit as tj
    >>> tj.random.seed(0)
    """
    DEFAULT.seed(seed)


def default_generator() -> Generator:
    """The generator of the process."""
    return DEFAULT
