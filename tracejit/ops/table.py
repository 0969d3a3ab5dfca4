"""The op table: one entry an op, and nothing about an op anywhere else.

An entry is registered by the constructor of its kind (`elementwise`, `reduction`, `library`, ... in this package) and
found in `OPS` by name or in `SPELLINGS` by the NumPy or SciPy callable that means it.  Everything else - the eager
function, the tracer's handling of `np.NAME` and of the operator, the emitters, the printed kernel, the docs and the
property tests - is derived from the entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.records import dataclass
from tracejit.vecmath.language import Scalar

KINDS = ("source", "elementwise", "reduce", "accumulate", "view", "update", "gather", "contract", "call", "control")

Rule = Callable[..., Any]
"""A structural derivative or batching rule; its first argument is a rule context (see `autodiff.context.Rules`)."""


@dataclass(frozen=True)
class Op:
    """All there is to know of one op.

    name: the op's own name, and its function in `tracejit`.
    kind: one of KINDS; passes and lowerings branch on it, never on a name.
    spellings: NumPy/SciPy callables that mean this op, as dotted names ("numpy.add", "scipy.special.erf").
    reference: the NumPy callable that the op agrees with, on arrays.
    scalar: elementwise: the scalar definition, a function of `Scalar`s (and of the op's params by keyword);
            reduce, accumulate: the combining step `(accumulator, value) -> accumulator`.
    resolve: the NumPy ufunc whose dtype rule is the op's.
    dtypes: kinds of loop dtype that `scalar` handles ("biuf"); for others NumPy is called.
    symbol: how the op prints: "{0} + {1}"; None prints a call by name.
    cost: vector instructions that a register full of elements takes, as `launch_cost.INSTRUCTION` counts them by time:
          what fusion and threading reckon with.
    identity: reduce, accumulate: the neutral element for a dtype.
    of_numbers: reduce: a cheaper combining step of floats, right where none is NaN; a NaN makes the result NaN.
    skips_nan: reduce: the op that it is of those floats that are no NaN; of none it is NaN.
    position_of: reduce: the extremum of whose first place it is the position, counted in C order; of NaN, where there
                 is one.  A kernel has it for whole arrays only.
    decided: reduce: the result that no further value changes.
    compensated: reduce: a floating-point sum, whose rounding errors the lowering keeps small.
    domain: the interval that random tests draw from.
    ulp: the promised error against the exact result in units in the last place; 0 is bit-equal to NumPy.
    libdevice: elementwise: what CUDA's math library calls it, and the errors in ULP that CUDA's programming guide
               states for float32 and float64; a GPU takes it where those are within the promise.  What random numbers
               are made of has none: by the scalar definition their bits are the same on every device.
    derivative: elementwise: the partial derivative by each operand, as text of ops: x and y are the operands (x alone
                is the first), out the result ("cos(x)"; "-out / y"; "0" where it is flat).  None: no derivative.
    jvp: other kinds: `(rules, node, tangents) -> tangent`; a tangent of None is zero.
    vjp: other kinds: `(rules, node, cotangent) -> cotangents`, one for each input, None for zero.
    batch: other kinds: `(rules, node, inputs, batched) -> node`: the op along a new leading axis, which the inputs
           marked in `batched` have.
    one_core: call: NumPy does it on one core without the interpreter's lock, so two may go on at the same time.
    options: call: if it is a function of `tracejit`, as ops of other kinds are: its parameters that are no arrays.
    doc: one line for the docs.
    """

    name: str
    kind: str
    spellings: tuple[str, ...] = ()
    reference: Callable[..., Any] | None = None
    scalar: Callable[..., Scalar] | None = None
    resolve: np.ufunc | None = None
    dtypes: str = "biuf"
    symbol: str | None = None
    cost: int = 1
    identity: Callable[[np.dtype[Any]], Any] | None = None
    of_numbers: Callable[..., Scalar] | None = None
    skips_nan: str = ""
    position_of: str = ""
    decided: bool | None = None
    compensated: bool = False
    domain: tuple[float, float] = (-10.0, 10.0)
    ulp: float = 0.0
    libdevice: tuple[str, float, float] | None = None
    derivative: tuple[str, ...] | None = None
    jvp: Rule | None = None
    vjp: Rule | None = None
    batch: Rule | None = None
    one_core: bool = False
    options: tuple[str, ...] = ()
    doc: str = ""


OPS: dict[str, Op] = {}
"""The table itself: op name -> entry."""

SPELLINGS: dict[str, Op] = {}
"""Dotted name of a NumPy or SciPy callable -> the op that it means."""


def register(op: Op) -> Op:
    """Add an entry; a second of the same name or spelling is a mistake."""
    if op.name in OPS:
        raise ValueError(f"op {op.name!r} is defined twice")
    if op.kind not in KINDS:
        raise ValueError(f"op {op.name!r}: kind {op.kind!r} is not one of {KINDS}")
    OPS[op.name] = op
    for spelling in op.spellings:
        if spelling in SPELLINGS:
            raise ValueError(f"{spelling} is spelt by {op.name!r} and by {SPELLINGS[spelling].name!r}")
        SPELLINGS[spelling] = op
    return op


def elementwise(
    name: str,
    scalar: Callable[..., Scalar],
    doc: str,
    *,
    spellings: tuple[str, ...] | None = None,
    reference: Callable[..., Any] | None = None,
    resolve: np.ufunc | None = None,
    dtypes: str = "biuf",
    symbol: str | None = None,
    cost: int = 1,
    domain: tuple[float, float] = (-10.0, 10.0),
    ulp: float = 0.0,
    libdevice: tuple[str, float, float] | None = None,
    derivative: tuple[str, ...] | None = None,
) -> Op:
    """Register an elementwise op; unless told otherwise it is the NumPy ufunc of its own name."""
    ufunc = getattr(np, name, None)
    if spellings is None:
        spellings = (f"numpy.{name}",)
    if reference is None:
        reference = ufunc
    if resolve is None:
        if not isinstance(ufunc, np.ufunc):
            raise ValueError(f"op {name!r}: no ufunc of that name to take the dtype rule from; pass resolve=")
        resolve = ufunc
    return register(
        Op(
            name=name,
            kind="elementwise",
            spellings=spellings,
            reference=reference,
            scalar=scalar,
            resolve=resolve,
            dtypes=dtypes,
            symbol=symbol,
            cost=cost,
            domain=domain,
            ulp=ulp,
            libdevice=libdevice,
            derivative=derivative,
            doc=doc,
        )
    )
