"""Host expressions in emitted code give what Python gives, or refuse."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir

from tracejit.lower.host_expression import Expressions, NotNative
from tracejit.lower.llvm_types import I64, POINTER, word
from tracejit.runtime.machine_code import compile_host_module


def evaluate(text: str, values: dict[str, int]) -> int | bool | None:
    """An expression by emitted code: its value, or None where that refuses."""
    module = ir.Module("expression")
    function = ir.Function(module, ir.FunctionType(I64, [POINTER, POINTER]), "run")
    builder = ir.IRBuilder(function.append_basic_block())
    refused = function.append_basic_block()
    ir.IRBuilder(refused).ret(word(0))

    def require(condition: Any) -> None:
        fine = builder.append_basic_block()
        builder.cbranch(condition, fine, refused)
        builder.position_at_end(fine)

    numbers = {
        name: builder.load(builder.gep(function.args[0], [word(n)], source_etype=I64), typ=I64)
        for n, name in enumerate(values)
    }
    expressions = Expressions(builder, numbers, {"h0": "n0 * 3 + 1"}, require)
    result = expressions.integer(text)
    require(builder.not_(expressions.overflowed))
    builder.store(result, function.args[1])
    builder.ret(word(1))
    code = compile_host_module(module)
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(code.address("run"))
    given_values, out = np.array(list(values.values()), np.int64), np.zeros(1, np.int64)
    return int(out[0]) if run(given_values.ctypes.data, out.ctypes.data) else None


TEXTS = st.recursive(
    st.sampled_from(["n0", "n1", "a2", "h0", "0", "1", "-7", "65536", "-9223372036854775808"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"-({t})"),
        st.tuples(inner, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
    ),
    max_leaves=6,
)
NUMBERS = st.one_of(st.integers(-5, 50), st.integers(-(2**63), 2**63 - 1))


@given(text=TEXTS, n0=NUMBERS, n1=NUMBERS, a2=NUMBERS)
def test_expressions_are_pythons(text: str, n0: int, n1: int, a2: int) -> None:
    values = {"n0": n0, "n1": n1, "a2": a2}
    found = evaluate(text, values)
    if found is not None:
        wanted = eval(text, {**values, "h0": n0 * 3 + 1})  # noqa: S307 - an expression made here
        assert found == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-(-n0 // 4)", 3),
        ("n0 % 4", 1),
        ("-n0 % 4", 3),
        ("h0 < 29 <= n1", 1),
        ("not n0", 0),
        ("n0 == 9 and a2 != 2", 1),
    ],
)
def test_expressions_that_must_not_be_refused(text: str, wanted: int) -> None:
    assert evaluate(text, {"n0": 9, "n1": 30, "a2": 1}) == wanted


@pytest.mark.parametrize("text", ["n0 ** 2", "n0 / 2", "math.sqrt(n0)", "n0 and n1", "q9", "18446744073709551616"])
def test_expressions_that_emitted_code_cannot_do(text: str) -> None:
    with pytest.raises(NotNative):
        evaluate(text, {"n0": 9, "n1": 30, "a2": 1})


@pytest.mark.parametrize("number", [0, 1], ids=["product", "sum"])
def test_overflow_is_noticed(number: int) -> None:
    text = ("n0 * n1", "n0 + n1")[number]
    assert evaluate(text, {"n0": 2**62, "n1": 2**62, "a2": 0}) is None
