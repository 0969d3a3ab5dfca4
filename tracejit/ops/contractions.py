"""Products of arrays, and calls of NumPy."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from tracejit.ops.library import call_batch, library
from tracejit.ops.table import Op, register


def _matmul_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    (a, b), (left, right) = node.inputs, tangents
    terms = [rules.product(left, b, node)] if left is not None else []
    terms += [rules.product(a, right, node)] if right is not None else []
    return terms[0] if len(terms) == 1 else rules.add(*terms)


def _matmul_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    a, b = node.inputs
    if len(a.shape) == 1 and len(b.shape) == 1:
        spread = rules.spread(cotangent, (0,), a.shape)
        return [rules.multiply(spread, b), rules.multiply(spread, a)]
    if len(a.shape) <= 2 and len(b.shape) == 1:
        return [rules.outer(cotangent, b), rules.matrix_vector(rules.transposed(a, (1, 0)), cotangent)]
    if len(a.shape) == 1 and len(b.shape) == 2:
        return [rules.matrix_vector(b, cotangent), rules.outer(a, cotangent)]
    return rules.batched_matmul_vjp(node, cotangent)  # type: ignore[no-any-return]


def _matmul_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.batched_matmul(node, inputs, batched)


def _terms(formula: str) -> tuple[list[str], str]:
    """The letters of einsum's operands and of its result."""
    inputs, _, output = formula.partition("->")
    return inputs.split(","), output


def _einsum_jvp(position: int) -> Any:
    def rule(t: Any, out: Any, formula: str, *operands: Any, **options: Any) -> Any:
        return np.einsum(formula, *operands[:position], t, *operands[position + 1 :], **options)

    return rule


def _einsum_vjp(position: int) -> Any:
    def rule(g: Any, out: Any, formula: str, *operands: Any, **options: Any) -> Any:
        terms, output = _terms(formula)
        own, like = terms[position], operands[position]
        others = [*operands[:position], *operands[position + 1 :]]
        known = "".join([output, *terms[:position], *terms[position + 1 :]])
        kept = "".join(letter for letter in dict.fromkeys(own) if letter in known)
        product = f"{','.join([output, *terms[:position], *terms[position + 1 :]])}->{kept}"
        found = np.einsum(product, g, *others, **options)
        return _spread(found, kept, own, like)

    return rule


def _spread(found: Any, kept: str, own: str, like: Any) -> Any:
    """An array with the axes `kept` as one with the axes `own` of `like`.

    A letter that `kept` lacks was summed over, so its axis repeats; of a letter that `own` has twice only the diagonal
    was read; along an axis of length one that another operand lengthened, there is one sum.
    """
    for axis, letter in enumerate(kept):
        length = like.shape[own.index(letter)]
        if length == 1 and found.shape[axis] != 1:
            found = np.sum(found, axis=axis, keepdims=True)
    places = [kept.index(c) if c in kept and own.index(c) == axis else None for axis, c in enumerate(own)]
    found = np.transpose(found, [place for place in places if place is not None])
    found = found[tuple(None if place is None else slice(None) for place in places)]
    found = found + np.zeros_like(like)
    for axis, letter in enumerate(own):
        first = own.index(letter)
        if first != axis:
            found = _diagonal_alone(found, first, axis)
    return found


def _diagonal_alone(a: Any, first: int, second: int) -> Any:
    """Zero where the positions on two axes differ."""
    return np.moveaxis(np.tril(np.triu(np.moveaxis(a, (first, second), (-2, -1)))), (-2, -1), (first, second))


def _dot(a: Any, b: Any) -> Any:
    """np.dot of an array with one of three axes or more."""
    left, right = ascii_letters[: a.ndim - 1], ascii_letters[26 : 26 + b.ndim - 1]
    return np.einsum(f"{left}z,{right[:-1]}z{right[-1]}->{left}{right}", a, b)


def _chain(arrays: Any) -> Any:
    """np.linalg.multi_dot from left to right."""
    return functools.reduce(np.dot, arrays)


def _inner(a: Any, b: Any) -> Any:
    """np.inner of arrays of any axes."""
    left, right = ascii_letters[: a.ndim - 1], ascii_letters[26 : 26 + b.ndim - 1]
    return np.einsum(f"{left}z,{right}z->{left}{right}", a, b)


register(
    Op(
        "matmul",
        "contract",
        reference=np.matmul,
        jvp=_matmul_jvp,
        vjp=_matmul_vjp,
        batch=_matmul_batch,
        doc="Matrix product, by NumPy's own BLAS.",
    )
)
register(Op("call", "call", batch=call_batch, doc="A NumPy function without a kernel, called between kernels."))
library(np.einsum, "Sums of products by Einstein's convention.", jvp=_einsum_jvp, vjp=_einsum_vjp)
library(np.linalg.multi_dot, "Product of several matrices in the cheapest order.", stand_in=_chain)
library(np.dot, "np.dot of arrays of more than two axes.", stand_in=_dot)
library(np.inner, "np.inner of arrays of more than one axis.", stand_in=_inner)
