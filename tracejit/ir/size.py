"""Symbolic sizes: polynomials over the dimensions of the arguments, in a normal form.

Two sizes are the same expression if and only if they compare equal, so `n - 1 + 1 == n` needs no prover.  What is no
polynomial (a quotient rounded down) is an atom with its operands inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeAlias, Union

from tracejit.records import dataclass

Monomial: TypeAlias = tuple["Atom", ...]
Dimension: TypeAlias = Union[int, "Size"]


@dataclass(frozen=True)
class Atom:
    """A named size (`operands` empty) or an integer function of sizes (`//` or `%`)."""

    name: str
    operands: tuple[Dimension, ...] = ()

    @cached_property
    def key(self) -> str:
        return self.name if not self.operands else f"(({self.operands[0]}) {self.name} ({self.operands[1]}))"


@dataclass(frozen=True)
class Size:
    """A sum of monomials with integer coefficients; at least one monomial has an atom (else it is an `int`)."""

    terms: tuple[tuple[Monomial, int], ...]

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        parts: list[str] = []
        for monomial, coefficient in self.terms:
            text = "*".join(atom.key for atom in monomial)
            if not monomial:
                text = str(abs(coefficient))
            elif abs(coefficient) != 1:
                text = f"{abs(coefficient)}*{text}"
            parts.append((" - " if coefficient < 0 else " + ") + text)
        joined = "".join(parts)
        return joined[3:] if joined.startswith(" + ") else "-" + joined[3:]

    __repr__ = __str__

    @cached_property
    def names(self) -> frozenset[str]:
        """The named sizes that the expression depends on."""
        found: set[str] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                if not atom.operands:
                    found.add(atom.name)
                for operand in atom.operands:
                    found |= names(operand)
        return frozenset(found)


def symbol(name: str) -> Size:
    return Size((((Atom(name),), 1),))


def names(dimension: Dimension) -> frozenset[str]:
    return dimension.names if isinstance(dimension, Size) else frozenset()


def _terms(dimension: Dimension) -> dict[Monomial, int]:
    if isinstance(dimension, Size):
        return dict(dimension.terms)
    return {(): dimension} if dimension else {}


def _normal(terms: Mapping[Monomial, int]) -> Dimension:
    kept = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    return Size(tuple(sorted(kept.items(), key=lambda item: (-len(item[0]), [atom.key for atom in item[0]]))))


def add(a: Dimension, b: Dimension) -> Dimension:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    terms = _terms(a)
    for monomial, coefficient in _terms(b).items():
        terms[monomial] = terms.get(monomial, 0) + coefficient
    return _normal(terms)


def multiply(a: Dimension, b: Dimension) -> Dimension:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    terms: dict[Monomial, int] = {}
    for left, p in _terms(a).items():
        for right, q in _terms(b).items():
            monomial = tuple(sorted(left + right, key=lambda atom: atom.key))
            terms[monomial] = terms.get(monomial, 0) + p * q
    return _normal(terms)


def subtract(a: Dimension, b: Dimension) -> Dimension:
    return add(a, multiply(b, -1))


def floor_divide(a: Dimension, b: Dimension) -> Dimension:
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 1:
        return a
    if a == b:
        return 1
    exact = _exact_quotient(a, b)
    return exact if exact is not None else Size((((Atom("//", (a, b)),), 1),))


def modulo(a: Dimension, b: Dimension) -> Dimension:
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 1 or a == b:
        return 0
    return Size((((Atom("%", (a, b)),), 1),))


def _exact_quotient(a: Dimension, b: Dimension) -> Dimension | None:
    """a / b where b is a single monomial that divides every term of a."""
    divisor = _terms(b)
    if len(divisor) != 1:
        return None
    (monomial, coefficient), quotient = next(iter(divisor.items())), {}
    for left, p in _terms(a).items():
        rest = list(left)
        for atom in monomial:
            if atom not in rest:
                return None
            rest.remove(atom)
        if p % coefficient:
            return None
        quotient[tuple(rest)] = p // coefficient
    return _normal(quotient)


def product(dimensions: tuple[Dimension, ...]) -> Dimension:
    result: Dimension = 1
    for dimension in dimensions:
        result = multiply(result, dimension)
    return result


def evaluate(dimension: Dimension, values: Mapping[str, int]) -> int:
    """The number that the expression has for given values of its names."""
    if isinstance(dimension, int):
        return dimension
    total = 0
    for monomial, coefficient in dimension.terms:
        for atom in monomial:
            if atom.operands:
                left, right = (evaluate(operand, values) for operand in atom.operands)
                coefficient *= left // right if atom.name == "//" else left % right
            else:
                coefficient *= values[atom.name]
        total += coefficient
    return total


def substitute(dimension: Dimension, replacement: Callable[[str], Dimension]) -> Dimension:
    """The expression with each name replaced."""
    if isinstance(dimension, int):
        return dimension
    total: Dimension = 0
    for monomial, coefficient in dimension.terms:
        term: Dimension = coefficient
        for atom in monomial:
            if atom.operands:
                left, right = (substitute(operand, replacement) for operand in atom.operands)
                value = floor_divide(left, right) if atom.name == "//" else modulo(left, right)
            else:
                value = replacement(atom.name)
            term = multiply(term, value)
        total = add(total, term)
    return total
