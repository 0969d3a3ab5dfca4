"""Running totals along an axis: each element is combined with the total of those before it, one after the other.

A node has the parameter `axis`, and its input has the dtype of the result already.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.ops.table import Op, Rule, register
from tracejit.vecmath import language as sl
from tracejit.vecmath.language import Scalar


def _zero(dtype: np.dtype[Any]) -> Any:
    return -0.0 if dtype.kind == "f" else 0  # 0.0 + -0.0 is 0.0, but the first element stays as it is


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _max(total: Scalar, value: Scalar) -> Scalar:
    return total | value if value.dtype.kind == "b" else sl.maximum(total, value)


def _min(total: Scalar, value: Scalar) -> Scalar:
    return total & value if value.dtype.kind == "b" else sl.minimum(total, value)


def _batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.accumulate(node.op, inputs[0], node["axis"] + 1)


# ---- derivatives, in plain NumPy


def _from_the_end(a: Any, axis: int) -> Any:
    return np.flip(np.cumsum(np.flip(a, axis), axis=axis), axis)


def _sum_jvp(t: Any, out: Any, a: Any, axis: int) -> Any:
    return np.cumsum(t, axis=axis)


def _sum_vjp(g: Any, out: Any, a: Any, axis: int) -> Any:
    return _from_the_end(g, axis)


def _without_first_zero(a: Any, axis: int) -> tuple[Any, Any, Any, Any]:
    """Where the first zero is, where it or something after it, the running products without it, and safe divisors."""
    zero = a == 0
    count = np.cumsum(zero, axis=axis)
    first = zero & (count == 1)
    return first, count > 0, np.cumprod(np.where(first, 1, a), axis=axis), np.where(zero, 1, a)


def _product_jvp(t: Any, out: Any, a: Any, axis: int) -> Any:
    first, after, products, divisors = _without_first_zero(a, axis)
    # From the first zero on, only its own factor can be left out without the product being zero.
    total = np.cumsum(np.where(after, 0, t / divisors), axis=axis)
    return products * np.where(after, np.cumsum(np.where(first, t, 0), axis=axis), total)


def _product_vjp(g: Any, out: Any, a: Any, axis: int) -> Any:
    first, after, products, divisors = _without_first_zero(a, axis)
    before = _from_the_end(np.where(after, 0, g * products), axis) / divisors
    return np.where(first, _from_the_end(np.where(after, g * products, 0), axis), np.where(after, 0, before))


def _taken(a: Any, same: Any, out: Any, axis: int) -> Any:
    """Running extrema, each taken from where it stands: of equal elements the last."""
    places = np.cumsum(np.ones_like(same, dtype=np.int64), axis=axis) - 1
    return np.take_along_axis(a, np.maximum.accumulate(np.where(same == out, places, 0), axis=axis), axis)


def _rules(push: Callable[..., Any], pull: Callable[..., Any]) -> tuple[Rule, Rule]:
    """Rules in plain NumPy, of tangent or cotangent, result, operand and axis, as the table has them."""

    def jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
        return rules.numpy(push, tangents[0], node, node.inputs[0], like=node, axis=node["axis"])

    def vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
        return [rules.numpy(pull, cotangent, node, node.inputs[0], like=node, axis=node["axis"])]

    return jvp, vjp


def _extremum_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    result, variables = rules.stand_in(_taken, node, node.inputs[0], node, axis=node["axis"])
    return rules.push([result], variables, tangents)[0]


def _extremum_vjp(rules: Any, node: Any, cotangent: Any) -> Any:
    result, variables = rules.stand_in(_taken, node, node.inputs[0], node, axis=node["axis"])
    return rules.pull([result], [cotangent], variables)


def _accumulation(
    name: str,
    spellings: tuple[str, ...],
    scalar: Callable[..., Scalar],
    ufunc: np.ufunc,
    identity: Callable[[np.dtype[Any]], Any],
    derivatives: tuple[Rule, Rule],
    doc: str,
) -> None:
    jvp, vjp = derivatives
    register(
        Op(
            name,
            "accumulate",
            spellings,
            ufunc.accumulate,
            scalar,
            ufunc,
            identity=identity,
            jvp=jvp,
            vjp=vjp,
            batch=_batch,
            doc=doc,
        )
    )


_accumulation("cumsum", ("numpy.cumsum",), operator.add, np.add, _zero, _rules(_sum_jvp, _sum_vjp), "Running sums.")
_accumulation(
    "cumprod",
    ("numpy.cumprod",),
    operator.mul,
    np.multiply,
    lambda dtype: 1,
    _rules(_product_jvp, _product_vjp),
    "Running products.",
)
_accumulation("cummax", (), _max, np.maximum, _lowest, (_extremum_jvp, _extremum_vjp), "Running maxima.")
_accumulation("cummin", (), _min, np.minimum, _highest, (_extremum_jvp, _extremum_vjp), "Running minima.")
