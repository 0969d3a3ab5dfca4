"""Arithmetic of signed integers in emitted code."""

from __future__ import annotations

from typing import Any

from tracejit.lower.llvm_types import word


def quotient(builder: Any, a: Any, b: Any) -> Any:
    """a / b, rounded up."""
    return builder.sdiv(builder.add(a, builder.sub(b, word(1))), b)


def larger(builder: Any, a: Any, b: Any) -> Any:
    """The larger of two integers."""
    return builder.select(builder.icmp_signed(">", a, b), a, b)


def smaller(builder: Any, a: Any, b: Any) -> Any:
    """The smaller of two integers."""
    return builder.select(builder.icmp_signed("<", a, b), a, b)
