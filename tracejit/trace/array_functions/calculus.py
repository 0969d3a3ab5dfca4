"""Differences, gradients and integrals of samples; convolution and interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ops.table import OPS
from tracejit.trace.array_functions.joins import concatenate
from tracejit.trace.array_functions.shapes import broadcast_to
from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.record import all_scalars, elementwise, normalize_axes, operand, reduce, where
from tracejit.trace.state import current
from tracejit.trace.tracer import Tracer


def _along(axis: int, key: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * axis, key)


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    tracer = asarray(a)
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    (axis,) = normalize_axes(axis, tracer.ndim)
    edge = tuple(1 if p == axis else d for p, d in enumerate(tracer.shape))
    ends = [None if end is np._NoValue else asarray(end) for end in (prepend, append)]
    before, after = (broadcast_to(end, edge) if end is not None and not end.ndim else end for end in ends)
    if n and (before is not None or after is not None):
        tracer = concatenate([part for part in (before, tracer, after) if part is not None], axis)
    for _ in range(n):
        op = OPS["not_equal" if tracer.dtype.kind == "b" else "subtract"]
        tracer = elementwise(op, tracer[_along(axis, slice(1, None))], tracer[_along(axis, slice(None, -1))])
    return tracer


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    tracer = asarray(y)
    (axis,) = normalize_axes(axis, tracer.ndim)
    if x is None:
        width = operand(current(), dx)
    else:
        width = diff(x) if asarray(x).ndim == 1 else diff(x, 1, axis)
        if asarray(x).ndim == 1:
            width = width[tuple(slice(None) if p == axis else None for p in range(tracer.ndim))]
    ends = elementwise(OPS["add"], tracer[_along(axis, slice(1, None))], tracer[_along(axis, slice(None, -1))])
    return reduce(OPS["sum"], elementwise(OPS["divide"], elementwise(OPS["multiply"], width, ends), 2.0), axis)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences inside, one-sided ones at the ends, as NumPy weighs them."""
    tracer = asarray(f)
    given = (axis,) if axis is not None and not isinstance(axis, (tuple, list)) else axis
    axes = tuple(range(tracer.ndim)) if given is None else tuple(position % tracer.ndim for position in given)
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    if len(varargs) not in (0, 1, len(axes)):
        raise TypeError("invalid number of arguments")
    if tracer.dtype.kind not in "iuf" or (len(varargs) == 1 and len(axes) > 1 and asarray(varargs[0]).ndim):
        return interrupt_call(np.gradient, (f, *varargs), {"axis": axis, "edge_order": edge_order})
    tracer = tracer if tracer.dtype.kind == "f" else tracer.astype(np.float64)
    spacings = list(varargs) or [1.0]
    spacings = spacings * len(axes) if len(spacings) == 1 else spacings
    for position in axes:
        if tracer.shape[position] < edge_order + 1:
            raise ValueError(
                "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are "
                "required."
            )
    found = [_gradient_along(tracer, position, h, edge_order) for position, h in zip(axes, spacings, strict=True)]
    return found[0] if len(axes) == 1 else tuple(found)


def _gradient_along(f: Tracer, axis: int, spacing: Any, edge_order: int) -> Tracer:
    def at(start: Any, stop: Any) -> Any:
        return f[_along(axis, slice(start, stop))]

    if isinstance(spacing, (list, tuple, np.ndarray)) or (isinstance(spacing, Tracer) and spacing.ndim):
        steps = diff(asarray(spacing))
        shape = tuple(slice(None) if p == axis else None for p in range(f.ndim))

        def step(start: Any, stop: Any) -> Any:
            return steps[start:stop][shape]

        left, right = step(None, -1), step(1, None)
        a, b, c = -right / (left * (left + right)), (right - left) / (left * right), left / (right * (left + right))
        inside = a * at(None, -2) + b * at(1, -1) + c * at(2, None)
    else:

        def step(start: Any, stop: Any) -> Any:
            return spacing

        inside = (at(2, None) - at(None, -2)) / (2.0 * spacing)
    if edge_order == 1:
        first = (at(1, 2) - at(0, 1)) / step(0, 1)
        last = (at(-1, None) - at(-2, -1)) / step(-1, None)
    else:
        first = _end(at(0, 1), at(1, 2), at(2, 3), step(0, 1), step(1, 2))
        last = -_end(at(-1, None), at(-2, -1), at(-3, -2), step(-1, None), step(-2, -1))
    return concatenate([first, inside, last], axis, dtype=f.dtype)  # type: ignore[no-any-return]


def _end(f0: Any, f1: Any, f2: Any, h1: Any, h2: Any) -> Any:
    """The slope at the first of three samples, of second order."""
    return -(2.0 * h1 + h2) / (h1 * (h1 + h2)) * f0 + (h1 + h2) / (h1 * h2) * f1 - h1 / (h2 * (h1 + h2)) * f2


# ---- NumPy's loops


def _sliding(function: Any, default: str) -> None:
    def call(a: Any, v: Any, mode: str = default) -> Any:
        left, right = (asarray(value) for value in (a, v))
        if mode not in ("full", "same", "valid") or left.ndim > 1 or right.ndim > 1:
            return interrupt_call(function, (a, v, mode), {})
        left, right = (tracer if tracer.ndim else tracer.reshape(1) for tracer in (left, right))
        trace = current()
        (n,), (m,) = left.symbolic_shape, right.symbolic_shape
        if trace.equal(n, 0) or trace.equal(m, 0):
            return interrupt_call(function, (a, v, mode), {})
        few, many = (n, m) if trace.less(n, m) else (m, n)
        length = {
            "full": sizes.subtract(sizes.add(n, m), 1),
            "same": many,
            "valid": sizes.add(sizes.subtract(many, few), 1),
        }[mode]
        if not isinstance(length, int) and trace.value(length) == 1 and trace.equal(length, 1):
            length = 1
        return call_node(function, (left, right), {"mode": mode}, (length,), np.result_type(left.dtype, right.dtype))

    implements(function)(call)


_sliding(np.convolve, "full")
_sliding(np.correlate, "valid")


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    places, known, values = (asarray(value) for value in (x, xp, fp))
    trace = current()
    plain = period is None and all(end is None or type(end) in (int, float) for end in (left, right))
    plain = plain and values.dtype.kind in "biuf" and known.ndim == values.ndim == 1
    if not plain or not trace.equal(known.symbolic_shape[0], values.symbolic_shape[0]):
        return interrupt_call(np.interp, (x, xp, fp, left, right, period), {})
    if trace.equal(known.symbolic_shape[0], 0):
        raise ValueError("array of sample points is empty")
    options = {key: end for key, end in (("left", left), ("right", right)) if end is not None}
    scalar = all_scalars([operand(trace, x)])
    return call_node(np.interp, (places, known, values), options, places.symbolic_shape, np.float64, scalar=scalar)


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    trace = current()
    ordered, values = asarray(a), operand(trace, v)
    if sorter is not None or ordered.ndim != 1:
        return interrupt_call(np.searchsorted, (a, v, side, sorter), {})
    shape = values.symbolic_shape if isinstance(values, Tracer) else ()
    return call_node(np.searchsorted, (ordered, values), {"side": str(side)}, shape, np.intp, scalar=not shape)


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), with NumPy's tiny number in the place of zero."""
    tracer = asarray(x)
    if tracer.dtype.kind not in "biuf":
        return interrupt_call(np.sinc, (x,), {})
    tracer = tracer if tracer.dtype.kind == "f" else tracer.astype(np.float64)
    angle = elementwise(OPS["multiply"], np.pi, tracer)
    angle = where(elementwise(OPS["equal"], angle, 0), float(np.finfo(tracer.dtype).eps), angle)
    result = elementwise(OPS["divide"], elementwise(OPS["sin"], angle), angle)
    result.scalar = not result.ndim
    return result


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """Horner's rule, over as many coefficients as there are."""
    coefficients, value = asarray(p), operand(current(), x)
    if coefficients.ndim != 1:
        return interrupt_call(np.polyval, (p, x), {})
    total: Any = np.zeros_like(asarray(value))
    for coefficient in coefficients:
        total = total * value + coefficient
    return total


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    flat = asarray(ary).reshape(-1)
    parts = [to_begin, diff(flat), to_end]
    return concatenate([asarray(part).reshape(-1) for part in parts if part is not None], dtype=flat.dtype)
