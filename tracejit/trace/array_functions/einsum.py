"""np.einsum as products of two operands at a time, each a product of matrices or an elementwise product and a sum.

np.einsum("bij,bjk,k->bi", x, y, z)
    ->
v = y @ z                                  # (b, j): the cheaper product first
np.sum(x * v[:, None, :], axis=2)          # one kernel; where both have axes of their own, np.matmul
"""

from __future__ import annotations

import math
from itertools import combinations
from string import ascii_letters
from typing import Any, NamedTuple

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.size import Dimension
from tracejit.ops.table import OPS
from tracejit.trace.array_functions.products import matmul
from tracejit.trace.array_functions.shapes import reshape
from tracejit.trace.dispatch import asarray, dispatch_function, implements
from tracejit.trace.number import wrap
from tracejit.trace.opaque import call_node, interrupt_call
from tracejit.trace.record import elementwise
from tracejit.trace.state import Trace, current
from tracejit.trace.tracer import Tracer

DTYPES = ("float32", "float64", "int64", "uint64")
"""Those in which NumPy's einsum, matmul and sum add up alike; others are NumPy's own."""


class Operand(NamedTuple):
    """An array whose axes have letters, no letter twice."""

    letters: str
    array: Tracer


@implements(np.einsum)
def einsum(*operands: Any, **options: Any) -> Any:
    trace = current()
    tracers, formula = _formula(operands)
    if formula is None or set(options) - {"optimize"}:
        return interrupt_call(np.einsum, operands, options)
    inputs, _, output = formula.partition("->")
    terms = inputs.split(",")
    lengths = _lengths(trace, terms, tracers)
    shape = tuple(lengths[letter] for letter in output)
    dtype = np.result_type(*(tracer.dtype for tracer in tracers))
    looks = len(terms) == 1 and set(terms[0]) == set(output)
    if dtype.name not in DTYPES or looks or len(set(output)) < len(output):
        # A mere look at one operand is a view in NumPy.
        return call_node(np.einsum, (formula, *tracers), {"optimize": True}, shape, dtype, scalar=not shape)
    found = [_single(trace, term, tracer.astype(dtype), lengths) for term, tracer in zip(terms, tracers, strict=True)]
    return _arranged(_contracted(trace, found, output, lengths), output)


def _lengths(trace: Trace, terms: list[str], tracers: list[Tracer]) -> dict[str, Dimension]:
    """The length of each letter's axes; raises ValueError as NumPy does where they disagree."""
    lengths: dict[str, Any] = {}
    for term, tracer in zip(terms, tracers, strict=True):
        if len(term) != tracer.ndim:
            raise ValueError(
                f"einstein sum subscripts string {term!r} does not match an operand of {tracer.ndim} dimensions"
            )
        for letter, dimension in zip(term, tracer.symbolic_shape, strict=True):
            known = lengths.setdefault(letter, dimension)
            if known == 1:
                lengths[letter] = dimension
            elif dimension != 1 and not trace.equal(known, dimension):
                raise ValueError(
                    f"operands could not be broadcast together: {letter!r} has sizes {trace.value(known)} and "
                    f"{trace.value(dimension)}"
                )
    return lengths


def _single(trace: Trace, term: str, array: Tracer, lengths: dict[str, Dimension]) -> Operand:
    """An operand's diagonals where a letter stands twice, without the axes that others lengthen."""
    while repeated := next((c for c in term if term.count(c) > 1), None):
        first = term.index(repeated)
        second = term.index(repeated, first + 1)
        array = array.diagonal(0, first, second)
        term = "".join(c for place, c in enumerate(term) if place not in (first, second)) + repeated
    short = [p for p, c in enumerate(term) if array.symbolic_shape[p] == 1 and lengths[c] != 1]
    kept = [p for p in range(len(term)) if p not in short]
    if short:
        array = array[tuple(0 if place in short else slice(None) for place in range(len(term)))]
    return Operand("".join(term[place] for place in kept), array)


def _contracted(trace: Trace, operands: list[Operand], output: str, lengths: dict[str, Dimension]) -> Operand:
    """All operands as one, two at a time."""
    numbers = {letter: trace.value(dimension) for letter, dimension in lengths.items()}
    while len(operands) > 1:
        first, second = _cheapest(operands, output, numbers)
        rest = [operand for operand in operands if operand is not first and operand is not second]
        kept = set("".join([output, *(operand.letters for operand in rest)]))
        pair = (_summed(first, kept | set(second.letters)), _summed(second, kept | set(first.letters)))
        operands = [*rest, _product(trace, *pair, kept)]
    return _summed(operands[0], set(output))


def _cheapest(operands: list[Operand], output: str, numbers: dict[str, int]) -> tuple[Operand, Operand]:
    """The pair whose product makes the least of what it takes, and of equal ones that of the fewest multiplications."""

    def cost(pair: tuple[Operand, Operand]) -> tuple[float, float]:
        both = set(pair[0].letters) | set(pair[1].letters)
        needed = set("".join([output, *(o.letters for o in operands if o is not pair[0] and o is not pair[1])]))
        taken = sum(math.prod(numbers[c] for c in operand.letters) for operand in pair)
        return math.prod(numbers[c] for c in both & needed) - taken, math.prod(numbers[c] for c in both)

    return min(combinations(operands, 2), key=cost)


def _summed(operand: Operand, kept: set[str]) -> Operand:
    """Without the letters that nothing needs any more."""
    axes = tuple(place for place, letter in enumerate(operand.letters) if letter not in kept)
    if not axes:
        return operand
    total = dispatch_function(np.sum, (operand.array,), {"axis": axes, "dtype": operand.array.dtype})
    return Operand("".join(c for c in operand.letters if c in kept), total)


def _product(trace: Trace, first: Operand, second: Operand, kept: set[str]) -> Operand:
    """The product of two operands, summed over the letters of both that are not kept."""
    both = [c for c in first.letters if c in second.letters]
    batch, inner = "".join(c for c in both if c in kept), "".join(c for c in both if c not in kept)
    left = "".join(c for c in first.letters if c not in both)
    right = "".join(c for c in second.letters if c not in both)
    if inner and (not batch or (left and right)):
        return _matrix_product(trace, first, second, batch, left, right, inner)
    letters = batch + left + right + inner
    product = elementwise(OPS["multiply"], _spread(first, letters), _spread(second, letters))
    return _summed(Operand(letters, product), kept)


def _spread(operand: Operand, letters: str) -> Tracer:
    """The array along all of some letters, of length one where it lacks one."""
    array = _arranged(operand, "".join(c for c in letters if c in operand.letters))
    return array[tuple(slice(None) if c in operand.letters else None for c in letters)]  # type: ignore[no-any-return]


def _arranged(operand: Operand, letters: str) -> Tracer:
    """The array with its axes in another order."""
    order = [operand.letters.index(c) for c in letters]
    if order == list(range(len(order))):
        return operand.array
    return operand.array.transpose(order)


def _matrix_product(
    trace: Trace, first: Operand, second: Operand, batch: str, left: str, right: str, inner: str
) -> Operand:
    """By np.matmul: letters that stand together become one axis."""
    lengths = dict(zip(first.letters, first.array.symbolic_shape, strict=True))
    lengths |= dict(zip(second.letters, second.array.symbolic_shape, strict=True))

    def count(letters: str) -> Any:
        return wrap(trace, sizes.product(tuple(lengths[c] for c in letters)))

    def shape(letters: str) -> list[Any]:
        return [wrap(trace, lengths[c]) for c in letters]

    a, b = _arranged(first, batch + left + inner), _arranged(second, batch + inner + right)
    if max(len(left), len(right), len(inner)) > 1:
        rows, columns = [count(left)] * bool(left), [count(right)] * bool(right)
        a = reshape(a, (*shape(batch), *rows, count(inner)))
        b = reshape(b, (*shape(batch), count(inner), *columns))
    product = matmul(a, b)
    if max(len(left), len(right)) > 1:
        product = reshape(product, tuple(shape(batch + left + right)))
    return Operand(batch + left + right, product)


def _formula(operands: tuple[Any, ...]) -> tuple[list[Tracer], str | None]:
    """einsum's operands, and its formula with the result spelt out and no dots; None where it is unusual."""
    if isinstance(operands[0], str):
        tracers = [asarray(value) for value in operands[1:]]
        inputs, arrow, output = operands[0].replace(" ", "").partition("->")
        terms = inputs.split(",")
    else:
        # Arrays and lists of axis numbers in turns; a list more is that of the result.
        tracers = [asarray(value) for value in operands[: len(operands) // 2 * 2 : 2]]
        lists = operands[1::2]
        terms = [_letters(axes) for axes in lists]
        arrow, output = ("->", _letters(operands[-1])) if len(operands) % 2 else ("", "")
    used = "".join([*terms, output])
    free = [letter for letter in ascii_letters if letter not in used]
    if len(terms) != len(tracers) or used.count(".") != 3 * used.count("..."):
        return tracers, None
    pairs = zip(terms, tracers, strict=True)
    hidden = [tracer.ndim - len(term) + 3 if "..." in term else 0 for term, tracer in pairs]
    if not 0 <= min(hidden) <= max(hidden) <= len(free):
        return tracers, None
    letters = "".join(free[: max(hidden)])
    terms = [term.replace("...", letters[len(letters) - count :]) for term, count in zip(terms, hidden, strict=True)]
    if not arrow:
        joined = "".join(terms)
        output = "..." + "".join(sorted(c for c in set(joined) - set(letters) if joined.count(c) == 1))
    return tracers, f"{','.join(terms)}->{output.replace('...', letters)}"


def _letters(axes: Any) -> str:
    return "".join("..." if axis is Ellipsis else ascii_letters[axis] for axis in axes)
