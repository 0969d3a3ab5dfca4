"""The op table: one entry an op, and nothing about an op anywhere else.

An entry is registered by the constructor of its kind (`elementwise`, `reduction`, ... in this package's modules) and
found in `OPS` by name.  Everything else - the eager function, the tracer's handling of `np.NAME`, the emitters, the
printed kernel, the docs and the property tests - is derived from the entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tracejit.vecmath.language import Scalar

KINDS = ("elementwise", "reduce", "view", "contract", "call", "control")


@dataclass(frozen=True)
class Op:
    """All there is to know of one op.

    name: the op's own name, and its function in `tracejit`.
    kind: one of KINDS; passes and lowerings branch on it, never on a name.
    spellings: NumPy/SciPy callables that mean this op, as dotted names ("numpy.add", "scipy.special.erf").
    reference: the NumPy callable that the op agrees with, on arrays.
    scalar: elementwise: the scalar definition, a function of `Scalar`s (and of the op's params by keyword).
            reduce: the combining step `(accumulator, value) -> accumulator`.
    result: elementwise: dtype rule, see `ops.dtypes`.
    symbol: how the op prints in a kernel or graph: "{0} + {1}", or None for a call by name.
    cost: scalar instructions an element, roughly; what fusion and threading reckon with.
    """

    name: str
    kind: str
    spellings: tuple[str, ...] = ()
    reference: Callable[..., Any] | None = None
    scalar: Callable[..., Scalar] | None = None
    result: Callable[..., Any] | None = None
    symbol: str | None = None
    cost: int = 1
    identity: Callable[[Any], Any] | None = None
    compensated: bool = False
    domain: tuple[float, float] = (-10.0, 10.0)
    ulp: float = 0.0
    doc: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


OPS: dict[str, Op] = {}
"""The table itself: op name -> entry."""


def register(op: Op) -> Op:
    """Add an entry; a second of the same name is a mistake."""
    if op.name in OPS:
        raise ValueError(f"op {op.name!r} is defined twice")
    if op.kind not in KINDS:
        raise ValueError(f"op {op.name!r}: kind {op.kind!r} is not one of {KINDS}")
    OPS[op.name] = op
    return op
