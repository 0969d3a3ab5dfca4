"""`while_loop`, `fori_loop`, `scan` and `map`: loops whose body is compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracejit.control import plain
from tracejit.control.running import Structured
from tracejit.trace import looping as recorded

_while = Structured("while_loop", lambda f, o: recorded.while_loop(*f, *o), lambda f, o: plain.while_loop(*f, *o))
_fori = Structured(
    "fori_loop",
    lambda f, o: recorded.fori_loop(o[0], o[1], f[0], o[2]),
    lambda f, o: plain.fori_loop(o[0], o[1], f[0], o[2]),
)
_scan = Structured(
    "scan",
    lambda f, o, reverse: recorded.scan(f[0], o[0], o[1], o[2], reverse),
    lambda f, o, reverse: plain.scan(f[0], o[0], o[1], o[2], reverse),
)
_map = Structured("map", lambda f, o: recorded.map_leading(f[0], o[0]), lambda f, o: plain.map_leading(f[0], o[0]))


def while_loop(condition: Callable[[Any], Any], body: Callable[[Any], Any], initial: Any) -> Any:
    """Do `carry = body(carry)` while `condition(carry)` holds, beginning with `initial`; returns the last carry.

        carry = initial
        while condition(carry):
            carry = body(carry)
        return carry

    The loop is compiled once, however often it goes round; inside a jitted function it is part of the graph.

    condition: carry -> one bool (a 0-d array or NumPy scalar).
    body: carry -> carry of the same structure, shapes and dtypes.
    initial: arrays and numbers in any nesting of tuples, lists, dicts and dataclasses.  Python numbers become int64 or
        float64; a carry that comes out of the body with a wider dtype goes in with that from the start.

    Raises TypeError where a carry changes its structure or shape from one iteration to the next, where Python needs
    the value of a traced array (`if`, `float()`), and where the body writes to an array from outside.

    >>> import numpy as np, tracejit as tj
    >>> def unfinished(carry):
    ...     guess, target = carry
    ...     return abs(guess * guess - target) > 1e-12
    >>> def newton(carry):
    ...     guess, target = carry
    ...     return 0.5 * (guess + target / guess), target
    >>> root, _ = tj.while_loop(unfinished, newton, (1.0, 2.0))
    >>> round(float(root), 6)
    1.414214
    """
    return _while((condition, body), (initial,))


def fori_loop(low: Any, high: Any, body: Callable[[Any, Any], Any], initial: Any) -> Any:
    """Do `carry = body(i, carry)` for each i from `low` up to, not including, `high`; returns the last carry.

        carry = initial
        for i in range(low, high):
            carry = body(i, carry)
        return carry

    low, high: integers.  Another count compiles nothing anew; they may be computed by the jitted function, too.
    body: (i, carry) -> carry of the same structure, shapes and dtypes; i is an integer.
    initial: as in `while_loop`, and so are the errors.

    >>> import numpy as np, tracejit as tj
    >>> tj.fori_loop(0, 5, lambda i, x: x + i, np.zeros(3))
    array([10., 10., 10.])
    """
    return _fori((body,), (low, high, initial))


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]], initial: Any, xs: Any, length: Any = None, reverse: bool = False
) -> tuple[Any, Any]:
    """Go along the first axis of `xs`, handing on a carry and collecting results; returns (last carry, ys).

        carry, ys = initial, []
        for x in xs:
            carry, y = body(carry, x)
            ys.append(y)
        return carry, np.stack(ys)

    body: (carry, x) -> (carry, y); y may be any nesting of arrays, or None where nothing is collected.
    initial: as in `while_loop`.
    xs: arrays (in any nesting) whose first axes have one length; None with `length` for a mere count.
    length: the number of iterations; needed only without xs.
    reverse: go from the last to the first; ys stand where their xs do.

    Raises ValueError where the first axes differ in length or an array has none; else as `while_loop`.

    >>> import numpy as np, tracejit as tj
    >>> total, sums = tj.scan(lambda c, x: (c + x, c + x), 0.0, np.array([1.0, 2.0, 3.0]))
    >>> float(total), sums
    (6.0, array([1., 3., 6.]))
    """
    return _scan((body,), (initial, xs, length), reverse=bool(reverse))  # type: ignore[no-any-return]


def map(function: Callable[[Any], Any], xs: Any) -> Any:
    """`function` of each slice of `xs` along the first axis, one after the other, the results stacked.

        return np.stack([function(x) for x in xs])

    function: slice -> arrays in any nesting.
    xs: arrays (in any nesting) whose first axes have one length.

    >>> import numpy as np, tracejit as tj
    >>> tj.map(lambda row: row / row.sum(), np.array([[1.0, 3.0], [2.0, 2.0]]))
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    return _map((function,), (xs,))
