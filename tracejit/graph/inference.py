"""Dtypes and shapes of calls before any run: the function is traced on stand-ins of the known shapes.

An open length stands for some number while tracing; what of the result's shape depends on it stays open.  Where the
number that was taken does not fit the others (broadcasting against a known length), another is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from tracejit.graph.structure import leaves, transformed
from tracejit.graph.tensor import StaticShape, Tensor
from tracejit.ir import size as sizes
from tracejit.trace.number import HostNumber
from tracejit.trace.state import ACTIVE, Trace, Untraceable
from tracejit.trace.tracer import Tracer, fresh

STAND_IN = 7
"""What an open length is while tracing, at the first try."""

MOST_ELEMENTS = 10_000
"""Elements of arguments with which a function is called to learn what it returns, where tracing does not tell."""

MOST_RANKS = 4
"""Ranks that are tried for a tensor of unknown rank, to learn the dtype of a result."""


@dataclass(frozen=True)
class Inferred:
    """The type of one result; of several, one each in `parts`."""

    dtype: Any = None
    shape: StaticShape = None
    parts: tuple[Inferred, ...] | None = None


UNKNOWN = Inferred()


class _NeedsValues(Exception):
    """The type of the result depends on values."""


def infer(function: Callable[..., Any], args: Any, options: Any) -> Inferred:
    """The type of `function(*args, **options)`, tensors among the arguments.

    Raises what the function raises for such arguments, where no open length could mend it.
    """
    tensors = list(dict.fromkeys(leaf for leaf in leaves((args, options)) if isinstance(leaf, Tensor)))
    if any(tensor.dtype is None for tensor in tensors):
        return UNKNOWN
    if any(tensor.shape is None for tensor in tensors):
        return _without_ranks(function, args, options, tensors)
    shapes = {tensor: tensor.shape for tensor in tensors}
    known = [length for shape in shapes.values() for length in shape or () if length is not None]
    is_open = any(None in (shape or ()) for shape in shapes.values())
    candidates = dict.fromkeys((STAND_IN, *known, 1)) if is_open else (STAND_IN,)
    first: Exception | None = None
    for length in candidates:
        try:
            return _traced(function, args, options, shapes, length)
        except (_NeedsValues, Untraceable):
            return _evaluated(function, args, options, shapes)
        except Exception as error:  # noqa: BLE001 - the function's own, raised again below
            first = first or error
    assert first is not None
    raise first


def _evaluated(function: Any, args: Any, options: Any, shapes: dict[Tensor, StaticShape]) -> Inferred:
    """What a call on ones tells of a function whose result's shape depends on values: how many results, their ranks."""
    lengths = {tensor: tuple(2 if n is None else n for n in shape or ()) for tensor, shape in shapes.items()}
    if sum(math.prod(shape) for shape in lengths.values()) > MOST_ELEMENTS:
        return UNKNOWN
    ones = {tensor: np.ones(shape, tensor.dtype) for tensor, shape in lengths.items()}
    given, named = transformed((args, options), lambda leaf: ones.get(leaf) if isinstance(leaf, Tensor) else leaf)
    try:
        result = function(*given, **named)
    except Exception:  # noqa: BLE001 - ones are no values that it takes; a run will tell
        return UNKNOWN
    parts = result if isinstance(result, tuple) else (result,)
    found = [np.asarray(part) for part in parts]
    types = tuple(Inferred(part.dtype, (None,) * part.ndim) if part.dtype != object else UNKNOWN for part in found)
    return Inferred(parts=types) if isinstance(result, tuple) else types[0]


def _without_ranks(function: Any, args: Any, options: Any, tensors: list[Tensor]) -> Inferred:
    """The dtype, if some rank suits the function, and what the shapes for all such ranks have in common."""
    found: list[Inferred] = []
    for rank in range(MOST_RANKS + 1):
        shapes: dict[Tensor, StaticShape] = {t: (None,) * rank if t.shape is None else t.shape for t in tensors}
        with suppress(Exception):  # another rank may do; a run will tell
            found.append(_traced(function, args, options, shapes, STAND_IN))
    return reduce(_common, found) if found else UNKNOWN


def _common(a: Inferred, b: Inferred) -> Inferred:
    if a.parts is not None and b.parts is not None and len(a.parts) == len(b.parts):
        return Inferred(parts=tuple(map(_common, a.parts, b.parts)))
    return Inferred(a.dtype if a.dtype == b.dtype else None, common_shape(a.shape, b.shape))


def common_shape(a: StaticShape, b: StaticShape) -> StaticShape:
    """What is known of a shape that is one or the other."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(n if n == m else None for n, m in zip(a, b, strict=True))


def _traced(function: Any, args: Any, options: Any, shapes: dict[Tensor, StaticShape], length: int) -> Inferred:
    def refuse(*_: Any) -> Any:
        raise _NeedsValues

    trace = Trace(interrupt=refuse)
    open_lengths = any(None in (shape or ()) for shape in shapes.values())
    open_names: set[str] = set()
    stand_ins = {
        tensor: _leaf(trace, tensor.dtype, shape or (), length, open_names) for tensor, shape in shapes.items()
    }
    given, named = transformed((args, options), lambda leaf: stand_ins.get(leaf) if isinstance(leaf, Tensor) else leaf)
    outer = ACTIVE.trace
    ACTIVE.enter(trace)
    try:
        found = _type_of(trace, function(*given, **named), open_names)
    finally:
        ACTIVE.enter(outer)
    # A stand-in of length one has no symbol: which ones of the result come from it cannot be told.
    return _opened(found) if length == 1 and open_lengths else found


def _opened(found: Inferred) -> Inferred:
    if found.parts is not None:
        return Inferred(parts=tuple(map(_opened, found.parts)))
    shape = found.shape and tuple(None if length == 1 else length for length in found.shape)
    return Inferred(found.dtype, shape)


def _leaf(trace: Trace, dtype: Any, shape: tuple[int | None, ...], length: int, open_names: set[str]) -> Tracer:
    """A stand-in without memory; the symbols of its open lengths are added to `open_names`."""
    lengths = tuple(length if n is None else n for n in shape)
    leaf = trace.add_leaf("array", np.broadcast_to(np.zeros((), dtype), lengths))
    node = trace.inputs[leaf.position]
    open_names.update(str(d) for d, n in zip(node.shape, shape, strict=True) if n is None and not isinstance(d, int))
    return fresh(trace, node)


def _type_of(trace: Trace, result: Any, open_names: set[str]) -> Inferred:
    if isinstance(result, Tracer):
        canonical = [trace.canonical(dimension) for dimension in result.symbolic_shape]
        shape = tuple(None if sizes.names(d) & open_names else trace.value(d) for d in canonical)
        return Inferred(result.dtype, shape)
    if isinstance(result, tuple | list):
        return Inferred(parts=tuple(_type_of(trace, item, open_names) for item in result))
    if isinstance(result, HostNumber):
        return Inferred(np.asarray(result.value).dtype, ())
    array = np.asarray(result)
    return Inferred(array.dtype, array.shape) if array.dtype != object else UNKNOWN
