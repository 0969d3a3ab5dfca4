"""A function made of a function: recorded inside a trace, compiled outside one, run eagerly where neither can be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tracejit.driver.explain import Explanation
from tracejit.driver.function import Jitted, Stats, disabled
from tracejit.ir.graph import Graph
from tracejit.trace.state import ACTIVE


class Transformed:
    """What `grad`, `vmap` and their kin return.

    traced: does the work inside a trace; eager: outside one, for functions that cannot be traced and under
    `disable_jit`.
    """

    __wrapped__: Callable[..., Any]

    def __init__(
        self, function: Callable[..., Any], traced: Callable[..., Any], eager: Callable[..., Any], name: str
    ) -> None:
        functools.update_wrapper(self, function)
        self.__name__ = f"{name}({getattr(function, '__name__', type(function).__name__)})"

        def body(*args: Any, **options: Any) -> Any:
            return (traced if ACTIVE.trace is not None else eager)(*args, **options)

        functools.update_wrapper(body, function)
        body.__name__ = self.__name__
        self._body = body
        # What is made of a function for a device runs there too.
        self._compiled = Jitted(body, (), fullgraph=False, fastmath=False, device=getattr(function, "device", None))

    def __call__(self, *args: Any, **options: Any) -> Any:
        if ACTIVE.trace is not None or disabled():
            return self._body(*args, **options)
        return self._compiled(*args, **options)

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    @property
    def compiled(self) -> Jitted:
        """The jitted function that calls outside a trace go through."""
        return self._compiled

    @property
    def stats(self) -> Stats:
        """Counts of `compiled`."""
        return self._compiled.stats

    def explain(self, *args: Any, **options: Any) -> Explanation:
        """What becomes of a call with these arguments (which is performed): graphs, kernels, guards, costs."""
        return self._compiled.explain(*args, **options)

    def trace(self, *args: Any, **options: Any) -> Graph:
        """The graph of a call with these arguments, as traced (the call is performed)."""
        return self._compiled.trace(*args, **options)
