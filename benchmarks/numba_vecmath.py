"""`math` for Numba made of tracejit's scalar definitions: branch-free code in the caller's loop, which vectorizes.

`exp(x)` inside an `njit` function emits the definition of `tracejit.vecmath` right where it stands.  Its instructions
carry the flag `afn`, which means nothing on arithmetic: Numba's `fastmath` leaves instructions with a flag alone, and
the definitions' error-free transformations must not be reassociated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from tracejit.lower.scalar_llvm import LlvmScalar
from tracejit.vecmath import error_function, exponential, hyperbolic, logarithm, trigonometric
from tracejit.vecmath import language as scalar_language

_ARITHMETIC = frozenset({"fadd", "fsub", "fmul", "fdiv", "fcmp"})


def _emit(definition: Callable[..., Any], builder: Any, value: Any, dtype: str) -> Any:
    """The definition's instructions at the end of the open block, kept from Numba's fast-math pass."""
    before = len(builder.block.instructions)
    result = definition(LlvmScalar(builder, value, np.dtype(dtype))).value
    for instruction in builder.block.instructions[before:]:
        if instruction.opname in _ARITHMETIC and not instruction.flags:
            instruction.flags.append("afn")
    return result


def _in_numba(definition: Callable[..., Any]) -> Any:
    """A function of one float32 or float64 for use in `njit` code."""

    @intrinsic
    def function(typing_context: Any, x: Any) -> Any:
        kind = x if x in (types.float32, types.float64) else types.float64

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = context.cast(builder, arguments[0], signature.args[0], kind)
            return _emit(definition, builder, value, str(kind))

        return kind(x), generate

    return function


exp = _in_numba(exponential.exp)
log = _in_numba(logarithm.log)
sin = _in_numba(trigonometric.sin)
cos = _in_numba(trigonometric.cos)
tanh = _in_numba(hyperbolic.tanh)
erf = _in_numba(error_function.erf)
sqrt = _in_numba(scalar_language.sqrt)
