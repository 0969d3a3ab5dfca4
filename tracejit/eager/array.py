"""`Array`: a NumPy array that runs at once and knows how it came about."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracejit.eager import memory
from tracejit.eager.calls import detached, jitted_call
from tracejit.eager.core import apply, item, refresh, ufunc_call, value_of, wrap
from tracejit.eager.placement import Placed
from tracejit.eager.recording import STATE, Tracked
from tracejit.eager.walk import Walk, ones_like, plain
from tracejit.runtime.device_array import DeviceArray

_IN_PLACE: dict[Any, int] = {
    np.copyto: 0,
    np.put: 0,
    np.place: 0,
    np.putmask: 0,
    np.fill_diagonal: 0,
    np.put_along_axis: 0,
}
"""NumPy functions that change their first argument."""


class Array(Placed):
    """A NumPy array or scalar whose operations run at once and, where asked, are recorded for derivatives.

    value: anything that np.array takes; copied.
    requires_grad: whether `backward` leaves a gradient here (`grad`); floats only.

    All of NumPy works on it (`np.sin(x)`, `x + 1`, `x[1:]`, `x.sum(axis=0)`, `np.einsum(...)`): NumPy itself computes,
    with its dtypes and bits, and the results are Arrays.  Plain arrays may be mixed in; recorded operations keep a copy
    of those, so wrap once what is used often.  Calls of jitted functions are one operation, compiled both ways.
    `np.asarray(x)` is the value, read-only.

    >>> import numpy as np, tracejit as tj
    >>> x = tj.Array([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = np.sum(np.where(x > 1.5, x**2, 0.0))
    >>> y.backward()
    >>> x.grad
    Array([0., 4., 6.])

    Raises TypeError for requires_grad=True of anything but real floats.
    """

    __slots__ = ()
    __array_priority__ = 900

    def __init__(self, value: Any, requires_grad: bool = False) -> None:
        value = plain(value)
        self._value = value.copy().freeze() if type(value) is DeviceArray else np.array(value)
        if self._value.dtype == object:
            raise TypeError("an Array holds numbers or booleans, not Python objects")
        if type(self._value) is not DeviceArray:
            self._value.setflags(write=False)
        self._tracked, self._memory, self._saved = None, None, False
        if requires_grad:
            self.requires_grad_()

    # ---- what NumPy asks

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method == "__call__" and not options and ufunc.nout == 1:
            return ufunc_call(ufunc, inputs)
        if method == "at":
            return memory.change(inputs[0], ufunc.at, inputs[1:], options)
        out = options.pop("out", None)
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if out is not None and options.get("where", True) is not True:
            # Where the mask is false, `out` keeps what it holds.
            mask = options.pop("where")
            return _into(out[0], np.where(mask, apply(function, inputs, options, True), out[0]))
        result = apply(function, inputs, options, method == "__call__")
        if out is None:
            return result
        results = result if isinstance(result, tuple) else (result,)
        written = tuple(r if o is None else _into(o, r) for o, r in zip(out, results, strict=True))
        return written if len(written) > 1 else written[0]

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function in _IN_PLACE:
            return _change_first(function, *args, **options)
        out = options.get("out")
        if out is not None:
            options = {key: item for key, item in options.items() if key != "out"}
            return _into(out, apply(function, args, options))
        return apply(function, args, options)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        refresh(self)
        value = np.asarray(self._value)
        if dtype is not None and np.dtype(dtype) != value.dtype:
            return value.astype(dtype)
        if copy:
            return value.copy()
        shown = value.view()
        shown.setflags(write=False)
        return shown

    __jitted_call__ = staticmethod(jitted_call)

    # ---- gradients

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` follows what is computed from this."""
        refresh(self)
        return self._tracked is not None and self._tracked.requires

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Array:
        """Ask for a gradient, or no longer; returns the array itself."""
        refresh(self)
        if not self.is_leaf:
            if requires_grad:
                return self
            raise RuntimeError("only a variable can stop requiring a gradient; use detach() for a result")
        if requires_grad and self._value.dtype.kind != "f":
            raise TypeError(
                f"only real floats have gradients, and this array has dtype {self._value.dtype}: make it of floats "
                "(x.astype(float)), or split a complex one into real and imaginary parts"
            )
        if self._tracked is None:
            self._track(Tracked(requires_grad))
        else:
            self._tracked.requires = requires_grad
        return self

    def _track(self, tracked: Tracked) -> None:
        self._tracked = tracked
        if self._memory is not None and not self._steps:
            self._memory.tracked = tracked
            self._memory.version += 1
            self._version = self._memory.version

    @property
    def is_leaf(self) -> bool:
        """Whether this is a variable or a constant rather than the result of a recorded operation."""
        refresh(self)
        return self._tracked is None or self._tracked.record is None or not self._tracked.requires

    @property
    def grad(self) -> Any:
        """What `backward` has accumulated; None before."""
        refresh(self)
        return None if self._tracked is None else self._tracked.grad

    @grad.setter
    def grad(self, gradient: Any) -> None:
        refresh(self)
        if self._tracked is not None:
            self._tracked.grad = None if gradient is None else _as_array(gradient)
        elif gradient is not None:
            raise RuntimeError("an array that requires no gradient has none")

    def zero_grad(self) -> None:
        """Forget the gradient accumulated so far."""
        self.grad = None

    def retain_grad(self) -> None:
        """Let `backward` leave a gradient here though this is a result."""
        refresh(self)
        if self._tracked is None or not self._tracked.requires:
            raise RuntimeError("retain_grad() of an array that requires no gradient")
        self._tracked.retained = True

    def detach(self) -> Array:
        """The same value as a constant: derivatives do not follow it.  Writes to either do not show in the other."""
        return detached(self)  # type: ignore[no-any-return]

    def numpy(self) -> Any:
        """The value as NumPy has it: a read-only array, or a scalar."""
        refresh(self)
        return self._value if isinstance(self._value, np.generic) else self.__array__()

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add the derivatives of this by all variables that it was computed from to their `grad`.

        gradient: the cotangent to start from; a scalar starts from one.
        retain_graph: keep the records for another backward (by default only under create_graph).
        create_graph: record the computation of the gradients too, so that they can be differentiated again.

        Raises RuntimeError where no gradient is required, where the array is no scalar and `gradient` is not given, and
        where the records are gone.  Reverse mode: Griewank and Walther, Evaluating Derivatives, 2nd edition, chapter 3.

        >>> import tracejit as tj
        >>> x = tj.Array(3.0, requires_grad=True)
        >>> (x * x).backward()
        >>> x.grad
        Array(6.)
        """
        refresh(self)
        tracked = self._tracked
        if tracked is None or not tracked.requires:
            raise RuntimeError(
                "backward() of an array that requires no gradient: nothing that it was computed from was made with "
                "requires_grad=True, or it was computed under no_grad() or detached"
            )
        seed = self._seed(gradient, create_graph)
        retain = create_graph if retain_graph is None else retain_graph
        before, STATE.enabled = STATE.enabled, create_graph
        try:
            walk = Walk(lambda tracked: tracked.requires, create_graph, "zero")
            found = walk.back([(tracked, seed)], free=not retain)
            for variable, cotangent in found.items():
                total = cotangent if isinstance(cotangent, Array) else wrap(cotangent)
                variable.grad = total if variable.grad is None else variable.grad + total
        finally:
            STATE.enabled = before

    def _seed(self, gradient: Any, create_graph: bool) -> Any:
        if gradient is None:
            if self._value.size != 1:
                raise RuntimeError(
                    f"backward() of an array of shape {self._value.shape} needs `gradient`, its cotangent: several "
                    "values need a weight each, a scalar needs none (reduce it with np.sum or np.mean)"
                )
            return ones_like(self._value)
        value = plain(gradient)
        if np.shape(value) != self._value.shape:
            raise RuntimeError(f"gradient has shape {np.shape(value)}, and the array has shape {self._value.shape}")
        if create_graph and isinstance(gradient, Array):
            return gradient
        return np.array(value, self._value.dtype)[()]

    # ---- what NumPy arrays are

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._value.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return self._value.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self._value.size  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[position] for position in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return item(self, _index(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        memory.write_item(self, _index(key), value)

    def __contains__(self, value: Any) -> bool:
        return bool(np.any(self._current() == plain(value)))

    def _current(self) -> Any:
        refresh(self)
        return self._value

    def __bool__(self) -> bool:
        return bool(self._current())

    def __int__(self) -> int:
        return int(self._current())

    def __float__(self) -> float:
        return float(self._current())

    def __complex__(self) -> complex:
        return complex(self._current())

    def __index__(self) -> int:
        return operator.index(self._current())

    def item(self, *position: Any) -> Any:
        """An element as a Python number."""
        return self._current().item(*position)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._current().tolist()

    def __repr__(self) -> str:
        value = np.asarray(self._current())
        shown = np.array2string(value, separator=", ", prefix="Array(")
        parts = [shown]
        if value.dtype not in (np.dtype(float), np.dtype(int), np.dtype(bool)):
            parts.append(f"dtype={value.dtype}")
        if self.device.kind != "cpu":
            parts.append(f"device='{self.device}'")
        if self.requires_grad:
            parts.append("requires_grad=True")
        return f"Array({', '.join(parts)})"

    def __str__(self) -> str:
        return str(np.asarray(self))

    def __format__(self, spec: str) -> str:
        value = np.asarray(self)
        return format(value if value.ndim else value[()], spec)

    def __reduce__(self) -> Any:
        return Array, (np.asarray(self), self.requires_grad and self.is_leaf)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, seen: Any) -> Array:
        return Array(self, self.requires_grad and self.is_leaf)

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"'Array' object has no attribute {name!r}")
        if name in ("itemsize", "nbytes", "strides"):
            return getattr(self._value, name)
        if callable(getattr(np.ndarray, name)):
            return _Method(self, name)
        return apply(get_property, (self, name))

    @property
    def flat(self) -> Any:
        return self.reshape(-1)


class _Method:
    """A bound method of NumPy's."""

    __slots__ = ("_array", "_name")

    def __init__(self, array: Array, name: str) -> None:
        self._array, self._name = array, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        array, name = self._array, self._name
        if name in ("fill", "sort", "partition", "put"):
            return memory.change(array, name, args, options)
        if name in ("tobytes", "tofile", "dump", "dumps"):
            return getattr(array._current(), name)(*args, **options)
        if name in ("setflags", "setfield", "byteswap", "resize"):
            raise AttributeError(f"'Array' object has no attribute {name!r}")
        out = options.pop("out", None)
        result = apply(call_method, (array, name, *args), options)
        return result if out is None else _into(out, result)


def call_method(array: Any, name: str, *args: Any, **options: Any) -> Any:
    """A method of NumPy arrays."""
    return getattr(array, name)(*args, **options)


def get_property(array: Any, name: str) -> Any:
    """A property of NumPy arrays."""
    return getattr(array, name)


def _index(key: Any) -> Any:
    """A key whose lists are arrays, as NumPy takes them."""
    if type(key) is list:
        return (
            np.stack(key) if any(isinstance(item, Array) for item in key) else np.asarray(key, int if not key else None)
        )
    return tuple([_index(item) for item in key]) if type(key) is tuple else key


def _as_array(value: Any) -> Array:
    return value if isinstance(value, Array) else Array(value)


def _into(out: Any, result: Any) -> Any:
    """Store a result into `out=`."""
    target = out[0] if isinstance(out, tuple) else out
    if isinstance(target, Array):
        return memory.assign(target, result)
    if isinstance(result, Array) and result.requires_grad:
        raise RuntimeError("out= is a plain NumPy array, and the result requires a gradient; make it a tracejit.Array")
    np.copyto(target, plain(result), casting="same_kind")
    return target


def _change_first(function: Callable[..., Any], array: Any, *args: Any, **options: Any) -> None:
    """A NumPy function that changes its first argument."""
    if isinstance(array, Array):
        memory.change(array, function, args, options)
        return
    tracked: list[Tracked] = []
    values = [value_of(item, tracked) for item in args]
    if any(item.requires for item in tracked):
        raise RuntimeError(f"np.{function.__name__} into a plain NumPy array loses gradients; make it a tracejit.Array")
    function(array, *values, **{key: plain(item) for key, item in options.items()})


def _binary(function: Callable[..., Any], swapped: bool) -> Callable[[Any, Any], Any]:
    if swapped:
        return lambda self, other: ufunc_call(function, (other, self))

    def apply_to(self: Any, other: Any) -> Any:
        if getattr(type(other), "__array_ufunc__", False) is None:
            return NotImplemented
        return ufunc_call(function, (self, other))

    return apply_to


def _unary(function: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda self: ufunc_call(function, (self,))


def _augmented(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def apply_to(self: Array, other: Any) -> Any:
        result = ufunc_call(function, (self, other))
        current = self._current()
        # A scalar is another one afterwards; on a device a scalar is an array of no axes.
        scalar = isinstance(current, np.generic) or (type(current) is DeviceArray and not current.shape)
        return result if scalar else memory.assign(self, result)

    return apply_to


_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "and_", "or_", "xor", "lshift", "rshift", "matmul")
_PLAIN_OPERATORS = ("lt", "le", "gt", "ge", "eq", "ne")
_UNARY = ("neg", "pos", "abs", "invert")

_POWERS = {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}


def _power(self: Array, exponent: Any) -> Any:
    """`x ** 2` and its like are the exact functions that NumPy's operator takes for them."""
    value = self._value
    if type(exponent) in (int, float) and exponent in _POWERS and type(value) is np.ndarray and value.dtype.kind == "f":
        return ufunc_call(_POWERS[exponent], (self,))
    return ufunc_call(operator.pow, (self, exponent))


def _divmod(self: Any, other: Any) -> Any:
    return apply(np.divmod, (self, other), None, True)


for _name in _OPERATORS:
    _function = getattr(operator, _name)
    setattr(Array, f"__{_name.strip('_')}__", _binary(_function, swapped=False))
    setattr(Array, f"__r{_name.strip('_')}__", _binary(_function, swapped=True))
    setattr(Array, f"__i{_name.strip('_')}__", _augmented(_function))
for _name in _PLAIN_OPERATORS:
    setattr(Array, f"__{_name}__", _binary(getattr(operator, _name), swapped=False))
for _name in _UNARY:
    setattr(Array, f"__{_name}__", _unary(getattr(operator, _name)))
setattr(Array, "__pow__", _power)  # noqa: B010 - as the other operators
setattr(Array, "__rpow__", lambda self, other: ufunc_call(np.power, (other, self)))  # noqa: B010
setattr(Array, "__ipow__", lambda self, other: memory.assign(self, _power(self, other)))  # noqa: B010
setattr(Array, "__divmod__", _divmod)  # noqa: B010
setattr(Array, "__rdivmod__", lambda self, other: _divmod(other, self))  # noqa: B010
