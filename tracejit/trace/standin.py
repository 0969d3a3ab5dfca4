"""Stand-ins for `np`, `math` and some builtins in a traced function's globals, for what NumPy's protocols do not catch.

`np.zeros(n)` with no traced argument never reaches `__array_function__`, and `np.asarray(t)` and `math.exp(t)` want
real values.  While a function is traced, names in its globals (and in those of the helpers that it can reach) that hold
NumPy, `math` or one of the functions below are rebound to stand-ins; they pass everything through to the real module
in any thread that does not trace.
"""

from __future__ import annotations

import dis
import functools
import math
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from functools import lru_cache
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType
from tracejit.records import dataclass
from tracejit.trace.array_functions.creation import full_node
from tracejit.trace.array_functions.shapes import new_shape
from tracejit.trace.conversions import CONVERSIONS
from tracejit.trace.dispatch import asarray, copy, dispatch_function, dispatch_ufunc
from tracejit.trace.impure import CalledEachTime, generators, is_impure_module, traced_print
from tracejit.trace.indexing import arange_from
from tracejit.trace.number import HostNumber, as_dimension, host_math
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.plain_types import isscalar, traced_isinstance, traced_type
from tracejit.trace.record import KERNEL_DTYPES, _contains_traced
from tracejit.trace.state import ACTIVE, current
from tracejit.trace.tracer import Tracer, fresh


def _traced(*values: Any) -> bool:
    return any(_contains_traced(value) for value in values)


def zeros(shape: Any, dtype: Any = float, order: str = "C", **options: Any) -> Any:
    return full_node(shape, 0, dtype or float)


def ones(shape: Any, dtype: Any = None, order: str = "C", **options: Any) -> Any:
    return full_node(shape, 1, dtype or float)


def empty(shape: Any, dtype: Any = float, order: str = "C", **options: Any) -> Any:
    trace = current()
    type = ArrayType(np.dtype(dtype or float), new_shape(shape))
    return fresh(trace, trace.builder.node("empty", (), {}, type))


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **options: Any) -> Any:
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, Tracer) else np.asarray(_plain(fill_value)).dtype
    return full_node(
        shape, fill_value if not isinstance(fill_value, (list, np.ndarray)) else asarray(fill_value), dtype
    )


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, HostNumber) else value


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, **options: Any) -> Any:
    """Symbolic where a bound is; NumPy's own otherwise."""
    if stop is None:
        start, stop = 0, start
    if not _traced(start, stop, step):
        return _call(np.arange, (start, stop, step, dtype), options)
    low, high = as_dimension(start), as_dimension(stop)
    if (
        low is None
        or high is None
        or not isinstance(step, int)
        or step <= 0
        or (dtype is not None and np.dtype(dtype).kind not in "iuf")
    ):
        return interrupt_call(np.arange, (start, stop, step), {"dtype": dtype})
    trace = current()
    if trace.less(high, low):
        high = low
    count = sizes.floor_divide(sizes.add(sizes.subtract(high, low), step - 1), step)
    return arange_from(trace, start, step, count, dtype or np.int64)


def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    **options: Any,
) -> Any:
    """NumPy's formula, start + i * step with the last element exact, for scalar ends."""
    if (
        not _traced(start, stop, num)
        or retstep
        or axis != 0
        or dtype is not None
        or any(isinstance(v, Tracer) and v.ndim for v in (start, stop))
    ):
        return (interrupt_call if _traced(start, stop, num) else _call)(
            np.linspace, (start, stop, num), {"endpoint": endpoint, "retstep": retstep, "dtype": dtype, "axis": axis}
        )
    trace = current()
    count = as_dimension(num)
    if count is None or trace.less(count, 2):
        return interrupt_call(np.linspace, (start, stop, num), {"endpoint": endpoint})
    divisions = num - 1 if endpoint else num
    result = copy(asarray(arange_from(trace, start, (stop - start) / divisions, count, np.float64)))
    if endpoint:
        result[-1] = stop
    return result


def _call(function: Callable[..., Any], args: Any, options: Any) -> Any:
    return new_memory(function)(*args, **options)


def array(object: Any, dtype: Any = None, *, copy: bool = True, ndmin: int = 0, **options: Any) -> Any:
    if not _traced(object):
        return constant(np.array(object, dtype, copy=copy, ndmin=ndmin, **options))
    result = as_array(object, dtype)
    return result.copy() if isinstance(object, Tracer) and result is object else result


def as_array(a: Any, dtype: Any = None, order: Any = None, **options: Any) -> Any:
    if not _traced(a):
        plain = np.asarray(a, dtype, order, **options)
        return plain if isinstance(a, np.ndarray) else constant(plain)
    tracer = asarray(a)
    tracer = Tracer(tracer.storage, tracer.steps, tracer.symbolic_shape, tracer.dtype) if tracer.scalar else tracer
    return tracer if dtype is None or np.dtype(dtype) == tracer.dtype else tracer.astype(dtype)


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, type(np.concatenate))


def new_memory(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function whose new array, made of no array, may be written to: at each call of the trace it is new."""

    def call(*args: Any, **options: Any) -> Any:
        if _in_lists(args):
            return dispatch_function(function, args, options)
        result = function(*args, **options)
        arrays = any(isinstance(value, np.ndarray) for value in (*args, *options.values()))
        return result if arrays or type(result) is not np.ndarray else constant(result)

    return call


def constant(array: np.ndarray[Any, Any]) -> Any:
    """A tracer in memory of its own that begins as a given array."""
    trace = current()
    if array.dtype not in KERNEL_DTYPES:
        return array
    if array.nbytes <= CONSTANT_BYTES:
        return fresh(trace, trace.builder.constant(array))
    return fresh(trace, trace.inputs[trace.capture(array)])


CONSTANT_BYTES = 1 << 12
"""Larger constants are kept as arrays beside the graph, not as bytes in it."""

NUMPY: dict[str, Callable[..., Any]] = {
    "zeros": zeros,
    "ones": ones,
    "empty": empty,
    "full": full,
    "arange": arange,
    "linspace": linspace,
    "array": array,
    "asarray": as_array,
    "asanyarray": as_array,
    "ascontiguousarray": as_array,
    "isscalar": isscalar,
}
"""What replaces the NumPy function of each name during a trace."""


def _in_lists(args: tuple[Any, ...]) -> bool:
    """Whether a list or tuple among the arguments holds something traced, which NumPy's protocols do not look for."""
    return any(type(arg) in (list, tuple) and _contains_traced(arg) for arg in args)


class _Ufunc:
    """A ufunc that takes lists of traced values, too."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    def __call__(self, *args: Any, **options: Any) -> Any:
        if ACTIVE.trace is not None and _in_lists(args):
            return dispatch_ufunc(self._ufunc, "__call__", args, options)
        return self._ufunc(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ufunc, name)


_ufunc = lru_cache(maxsize=None)(_Ufunc)
"""One stand-in for each ufunc."""


class NumpyStandIn:
    """`np`, but for the names in NUMPY while this thread traces."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if ACTIVE.trace is None:
            return found
        if name in NUMPY:
            return NUMPY[name]
        if name == "random":
            return CalledEachTime(np.random)
        if isinstance(found, np.ufunc):
            return _ufunc(found)
        return new_memory(found) if isinstance(found, _FUNCTIONS) else found


class MathStandIn:
    """`math`, its functions of one traced argument recorded."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(math, name)
        if ACTIVE.trace is None or not callable(function):
            return function
        return lambda *args: _math(name, function, args)


_MATH_NAMES = {
    "fabs": "fabs",
    "pow": "power",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "radians": "deg2rad",
    "degrees": "rad2deg",
}


def _math(name: str, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    if any(isinstance(arg, Tracer) for arg in args):
        ufunc = getattr(np, _MATH_NAMES.get(name, name), None)
        if isinstance(ufunc, np.ufunc) and name not in ("floor", "ceil", "trunc", "gcd", "lcm"):
            return ufunc(*args)
        return function(*(float(arg) if isinstance(arg, Tracer) else arg for arg in args))
    if any(isinstance(arg, HostNumber) for arg in args):
        return host_math(name, *args)
    return function(*args)


BUILTINS: dict[str, Any] = {"print": traced_print, "isinstance": traced_isinstance, "type": traced_type, **CONVERSIONS}
"""What replaces the builtin of each name during a trace."""

_TYPES = ("float", "int", "type")
"""Those of them that are types: only where they are called and nothing else."""

STANDIN, MATH = NumpyStandIn(), MathStandIn()
_BY_IDENTITY: dict[int, Any] = {id(np): STANDIN, id(math): MATH}
_BY_IDENTITY.update({id(getattr(np, name)): ours for name, ours in NUMPY.items()})
_LOCK = threading.RLock()


def stand_for(value: Any) -> Any:
    """What replaces a global or a closure variable of that value during a trace; None for nothing."""
    if isinstance(value, generators()) or is_impure_module(value):
        return CalledEachTime(value)
    return _BY_IDENTITY.get(id(value))


@dataclass
class Reachable:
    """Where the function and the Python functions that its code can name look names up, found without running it.

    mentioned: builtins that they use for something else than to call them.
    """

    namespaces: dict[int, dict[str, Any]] = field(default_factory=dict)
    cells: dict[int, types.CellType] = field(default_factory=dict)
    mentioned: set[str] = field(default_factory=set)

    @staticmethod
    def of(function: Any) -> Reachable:
        found = Reachable()
        seen: set[int] = set()
        pending: list[Any] = [function]
        while pending:
            item = pending.pop()
            wrapped = getattr(item, "__wrapped__", getattr(item, "__func__", None))
            if wrapped is not None:
                pending.append(wrapped)
                continue
            if isinstance(item, functools.partial):
                pending.extend((item.func, *item.args, *item.keywords.values()))
            if id(item) in seen or len(seen) > 500:
                continue
            if hasattr(type(item), "__guard_parts__"):
                seen.add(id(item))
                pending.extend(item.__guard_parts__())
                pending.extend(vars(type(item)).values())
            if not isinstance(item, types.FunctionType):
                continue
            seen.add(id(item))
            home = (item.__module__ or "").split(".")[0]
            if home in ("numpy", "scipy", "numba"):
                continue
            if home == "tracejit":
                pending.extend(_held(item))  # a function of the library may call the user's
                continue
            found.namespaces[id(item.__globals__)] = item.__globals__
            found.mentioned.update(_mentioned(item.__code__))
            found.cells.update({id(cell): cell for cell in item.__closure__ or ()})
            pending.extend(_named_functions(item))
        return found


def _held(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):
            yield cell.cell_contents


def _named_functions(function: types.FunctionType) -> Iterator[Any]:
    yield from _held(function)
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
        for name in code.co_names:
            value = function.__globals__.get(name)
            if isinstance(value, types.ModuleType):
                yield from (vars(value).get(other) for other in code.co_names)
            elif isinstance(value, type):
                yield from vars(value).values()
            elif value is not None:
                yield value


@lru_cache(maxsize=4096)
def _mentioned(code: types.CodeType) -> frozenset[str]:
    """The types among the builtins that the code uses for something else than to call them (`dtype=float`)."""
    found: set[str] = set()
    for inner in code.co_consts:
        found |= _mentioned(inner) if isinstance(inner, types.CodeType) else set()
    named = dis.get_instructions(code) if set(_TYPES) & set(code.co_names) else ()
    for instruction in named:
        # The lowest bit of a LOAD_GLOBAL says that a call of it follows.
        if instruction.argval in _TYPES and instruction.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
            found |= {instruction.argval} if not (instruction.arg or 0) & 1 else set()
    return frozenset(found)


@contextmanager
def standins(*functions: Any) -> Iterator[None]:
    """Rebind NumPy, `math` and generators where the functions look them up; one trace at a time does so."""
    with _LOCK, ExitStack() as undo:
        for function in functions:
            reachable = Reachable.of(function)
            for namespace in reachable.namespaces.values():
                for name, value in list(namespace.items()):
                    if (ours := stand_for(value)) is not None:
                        undo.callback(namespace.__setitem__, name, value)
                        namespace[name] = ours
                for name, ours in BUILTINS.items():
                    if name not in namespace and name not in reachable.mentioned:
                        undo.callback(namespace.__delitem__, name)
                        namespace[name] = ours
            for cell in reachable.cells.values():
                with suppress(ValueError):
                    if (ours := stand_for(value := cell.cell_contents)) is not None:
                        undo.callback(setattr, cell, "cell_contents", value)
                        cell.cell_contents = ours
        yield
