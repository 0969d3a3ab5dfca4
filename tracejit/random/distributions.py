"""Random numbers of a key, in a shape.  Each function is plain NumPy over random words, so it fuses with its reader."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.eager.functions import function
from tracejit.random.keys import checked, compiled
from tracejit.random.threefry import words


def _product(shape: tuple[Any, ...]) -> Any:
    total: Any = 1
    for length in shape:
        total = total * length
    return total


def _shape(shape: Any) -> tuple[Any, ...]:
    lengths = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    for length in lengths:
        if isinstance(length, int) and length < 0:
            raise ValueError(f"a length of shape {lengths} is negative")
    return lengths


def _drawn(draw: Callable[..., Any]) -> Callable[..., Any]:
    """The drawing function for the numbers of one dtype, compiled; sizes are arguments of it."""

    def of_dtype(dtype: Any) -> Any:
        def drawn(key: Any, shape: tuple[Any, ...], *parameters: Any) -> Any:
            return draw(key, shape, dtype, *parameters)

        return compiled(drawn)

    by_dtype = {np.dtype(name): of_dtype(np.dtype(name)) for name in ("float32", "float64")}

    def call(key: Any, shape: Any, dtype: Any, *parameters: Any) -> Any:
        chosen = by_dtype.get(np.dtype(dtype))
        if chosen is None:
            raise TypeError(f"random numbers are float32 or float64, not {np.dtype(dtype)}")
        return chosen(checked(key), _shape(shape), *parameters)

    return call


def _unit(key: Any, shape: tuple[Any, ...], dtype: Any) -> Any:
    """Uniform in [0, 1): the highest bits of the words, as many as the dtype holds."""
    first, second = words(key, _product(shape))
    if dtype == np.float32:
        unit = (first >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    else:
        joined = (first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64)
        unit = (joined >> np.uint64(11)).astype(np.int64).astype(np.float64) * 2.0**-53
    return unit.reshape(shape)


def _uniform(key: Any, shape: tuple[Any, ...], dtype: Any, low: Any, high: Any) -> Any:
    return (_unit(key, shape, dtype) * (high - low) + low).astype(dtype)


def _normal(key: Any, shape: tuple[Any, ...], dtype: Any, mean: Any, deviation: Any) -> Any:
    """By the polar form of Box and Muller (1958): a radius from one word, an angle from the other."""
    first, second = words(key, _product(shape))
    open_unit = (first >> np.uint32(8)).astype(dtype) * dtype.type(2.0**-24) + dtype.type(2.0**-25)
    turn = (second >> np.uint32(8)).astype(dtype) * dtype.type(2.0**-24)
    if dtype == np.float64:
        # The bits that a float32 has no room for.
        open_unit = open_unit + (first & np.uint32(0xFF)).astype(dtype) * 2.0**-33
        turn = turn + (second & np.uint32(0xFF)).astype(dtype) * 2.0**-32
    radius = np.sqrt(dtype.type(-2) * np.log(open_unit))
    values = radius * np.cos(dtype.type(2 * math.pi) * turn)
    return (values * deviation + mean).astype(dtype).reshape(shape)


def _truncated(key: Any, shape: tuple[Any, ...], dtype: Any, mean: Any, deviation: Any) -> Any:
    """Within two deviations, by the inverse of the distribution function."""
    unit = (2 * _unit(key, shape, np.dtype(np.float64)) - 1) * math.erf(math.sqrt(2.0))
    # Winitzki's approximation of the inverse error function, then two steps of Newton's method.
    logarithm = np.log1p(-unit * unit)
    half = 2 / (math.pi * 0.147) + logarithm / 2
    root = np.copysign(np.sqrt(np.sqrt(half * half - logarithm / 0.147) - half), unit)
    for _ in range(2):
        root = root - (function("erf")(root) - unit) * (math.sqrt(math.pi) / 2) * np.exp(root * root)
    values = np.clip(math.sqrt(2.0) * root, -2.0, 2.0)
    return (values * deviation + mean).astype(dtype)


_uniform_call, _normal_call, _truncated_call = _drawn(_uniform), _drawn(_normal), _drawn(_truncated)


def uniform(key: Any, shape: Any = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = np.float64) -> Any:
    """Uniform in [low, high), float32 or float64.

    >>> import tracejit as tj
    >>> values = tj.random.uniform(tj.random.key(0), (1000,))
    >>> bool((values >= 0).all() and (values < 1).all())
    True
    """
    return _uniform_call(key, shape, dtype, low, high)


def normal(key: Any, shape: Any = (), mean: Any = 0.0, deviation: Any = 1.0, dtype: Any = np.float64) -> Any:
    """Normal of the given mean and standard deviation, float32 or float64."""
    return _normal_call(key, shape, dtype, mean, deviation)


def truncated_normal(key: Any, shape: Any = (), mean: Any = 0.0, deviation: Any = 1.0, dtype: Any = np.float64) -> Any:
    """Normal, but never more than two standard deviations from the mean."""
    return _truncated_call(key, shape, dtype, mean, deviation)


def _bits(key: Any, shape: tuple[Any, ...]) -> Any:
    return words(key, _product(shape))[0].reshape(shape)


def _integers(key: Any, shape: tuple[Any, ...], low: Any, high: Any) -> Any:
    first, second = words(key, _product(shape))
    joined = (first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64)
    # 63 bits taken modulo the span: for spans below 2**32 no value is more than 2**-31 likelier than another.
    return (low + (joined >> np.uint64(1)).astype(np.int64) % (high - low)).reshape(shape)


def _bernoulli(key: Any, shape: tuple[Any, ...], probability: Any) -> Any:
    return _unit(key, shape, np.dtype(np.float32)) < probability


def _permutation(key: Any, count: Any) -> Any:
    first, second = words(key, count)
    joined = (first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64)
    return np.argsort(joined, kind="stable")


_bits_call, _integers_call, _bernoulli_call, _permutation_call = map(
    compiled, (_bits, _integers, _bernoulli, _permutation)
)


def bits(key: Any, shape: Any = ()) -> Any:
    """Random uint32, every bit even."""
    return _bits_call(checked(key), _shape(shape))


def integers(key: Any, shape: Any, low: int, high: int) -> Any:
    """Integers (int64) from `low` up to, not including, `high`.

    Raises ValueError where `high` is not above `low`.
    """
    if isinstance(low, int) and isinstance(high, int) and high <= low:
        raise ValueError(f"high must be above low, and they are {high} and {low}")
    return _integers_call(checked(key), _shape(shape), low, high)


def bernoulli(key: Any, probability: Any, shape: Any = ()) -> Any:
    """True with the given probability, a number or an array that broadcasts to the shape."""
    return _bernoulli_call(checked(key), _shape(shape), probability)


def permutation(key: Any, what: Any) -> Any:
    """The integers below a number in random order, or an array with its rows so.

    >>> import tracejit as tj
    >>> sorted(tj.random.permutation(tj.random.key(1), 4).tolist())
    [0, 1, 2, 3]
    """
    if hasattr(what, "ndim") and what.ndim > 0:
        return what[_permutation_call(checked(key), what.shape[0])]
    return _permutation_call(checked(key), operator.index(what))


def categorical(key: Any, logits: Any, axis: int = -1) -> Any:
    """A random place along an axis, of probability proportional to exp(logits); by the Gumbel-max trick."""
    return _categorical_call(checked(key), logits, axis)


def _categorical(key: Any, logits: Any, axis: int) -> Any:
    unit = _unit(key, tuple(logits.shape), np.dtype(np.float64))
    noise = -np.log(-np.log(np.maximum(unit, 2.0**-60)))
    return np.argmax(logits + noise, axis=axis)


_categorical_call = compiled(_categorical)
