"""`cond` and `switch`: branches of which only the taken one is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracejit.control import plain
from tracejit.control.running import Structured
from tracejit.trace import branching as recorded

_cond = Structured("cond", lambda f, o: recorded.cond(o[0], *f, *o[1]), lambda f, o: plain.cond(o[0], *f, *o[1]))
_switch = Structured("switch", lambda f, o: recorded.switch(o[0], f, *o[1]), lambda f, o: plain.switch(o[0], f, *o[1]))


def cond(predicate: Any, true_function: Callable[..., Any], false_function: Callable[..., Any], *operands: Any) -> Any:
    """`true_function(*operands)` where the predicate holds, else `false_function(*operands)`.

    Only the one that is taken is computed, and work done before for its sake alone is skipped with it.

    predicate: one bool or number (a 0-d array or a Python or NumPy scalar).
    true_function, false_function: operands -> results of one structure and of the same shapes; dtypes are promoted.
        They may also use arrays from around them.
    operands: arrays and numbers in any nesting of containers.

    Raises TypeError where the functions' results do not fit together, and where one of them writes to an array from
    outside or asks for the value of a traced array; ValueError for a predicate of more than one element.

    >>> import numpy as np, tracejit as tj
    >>> @tj.jit
    ... def root_or_zero(x):
    ...     return tj.cond(np.all(x >= 0), np.sqrt, np.zeros_like, x)
    >>> root_or_zero(np.array([4.0, 9.0])), root_or_zero(np.array([4.0, -9.0]))
    (array([2., 3.]), array([0., 0.]))
    """
    return _cond((true_function, false_function), (predicate, operands))


def switch(index: Any, functions: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`functions[index](*operands)`, an index out of bounds taken as the nearest one; only that one is computed.

    index: one integer.
    functions: as in `cond`.

    Raises TypeError for an index that is no integer, ValueError where there are no functions; else as `cond`.

    >>> import numpy as np, tracejit as tj
    >>> [float(tj.switch(k, [np.sin, np.cos, np.negative], 0.0)) for k in (0, 1, 5)]
    [0.0, 1.0, -0.0]
    """
    return _switch(tuple(functions), (index, operands))
