"""NumPy's protocols: what makes `np.sin(tracer)` ours.  The handlers register themselves (see `dispatch`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

HANDLERS: dict[str, Callable[..., Any]] = {}
"""`ufunc`: (ufunc, method, inputs, options); `function`: (function, args, options)."""


class Traced:
    """A value that takes part in a trace."""

    __slots__ = ()
    __array_priority__ = 1000

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return HANDLERS["ufunc"](ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return HANDLERS["function"](function, args, options)
