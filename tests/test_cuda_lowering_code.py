"""Kernels for a GPU as machine code, without one: PTX by numba.cuda, assembled by ptxas."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from benchmarks.gpu_code import CAPABILITIES, FORMS, VARIANTS, compiled, kernels_of
from tests.kernels import Lines, axpy, operand
from tests.test_op_table import ELEMENTWISE, arity
from tracejit.lower.cuda.kernel import NoCudaKernel, Variant
from tracejit.lower.cuda.lowering import lower
from tracejit.lower.cuda.text import Text, TextScalar
from tracejit.ops import Op
from tracejit.schedule.kernel import Apply, Instruction, Kernel, Stage, Store

WIDE = re.compile(r"ld\.global\.(?:v4\.[bfsu]32|v2\.[bfsu]64)")
WIDE_STORE = re.compile(r"st\.global\.(?:v4\.[bfsu]32|v2\.[bfsu]64)")


SPILT_BY_TILES = 64
"""Bytes that a kernel with a tile of a product in registers may spill on some generation; others spill nothing."""


@pytest.mark.parametrize("name", FORMS)
def test_every_form_assembles(name: str) -> None:
    """Every form for every generation of GPU, and its other variant for one."""
    function, arguments = FORMS[name]
    kernels = kernels_of(function, *arguments)
    form = name.split()[0]
    if form in ("panels", "product"):
        assert f"kernel_{form}" in lower(kernels[0], VARIANTS[0]).source
    wanted = [(VARIANTS[0], capability) for capability in CAPABILITIES] + [(VARIANTS[1], (9, 0))]
    for variant, capability in wanted:
        for launched, _, _, said in compiled(kernels, variant, capability):
            most = SPILT_BY_TILES if form in ("panels", "product") else 0
            assert said.spill_bytes <= most, f"{launched} spills {said.spill_bytes} bytes for {capability}"


@pytest.mark.parametrize(
    ("name", "loads", "stores"),
    [
        ("elementwise f32", 2, 1),
        ("elementwise f64", 2, 1),
        ("elementwise functions f32", 2, 1),
        ("elementwise several results", 2, 3),
        ("rows softmax", 2, 0),
        ("rows layernorm", 3, 1),
        ("all sum f32", 2, 0),
        ("all sum f64", 2, 0),
    ],
)
def test_memory_is_read_by_vectors_of_16_bytes(name: str, loads: int, stores: int) -> None:
    function, arguments = FORMS[name]
    for capability in ((9, 0), (10, 0)):
        found = list(compiled(kernels_of(function, *arguments), Variant(32, vector=True), capability))
        ptx = found[0][2]
        assert len(WIDE.findall(ptx)) >= loads and len(WIDE_STORE.findall(ptx)) >= stores, ptx
        assert found[0][1].aligned


def test_a_product_and_a_sum_are_contracted_under_fastmath_only() -> None:
    exact, relaxed = axpy(), replace(axpy(), fastmath=True)
    ptx = [text for _, _, text, _ in compiled((exact, relaxed), Variant(), (9, 0))]
    assert "fma.rn.f64" not in ptx[0] and "add.rn.f64" in ptx[0]
    assert "fma.rn.f64" in ptx[1]


def kernel_of(op: Op) -> Kernel:
    """out = op(x, ..) for each dtype that the op's definition takes, all in one kernel."""
    assert op.scalar is not None
    lines, operands = Lines(), []
    for dtype in map(np.dtype, ("f4", "f8", "i4", "u8", "?")):
        if dtype.kind not in op.dtypes or not _has_loop(op, dtype):
            continue
        values = []
        for _ in range(arity(op)):
            values.append(lines.load(len(operands), (0,), dtype.name))
            operands.append(operand(dtype.name, 1))
        result = op.scalar(*(TextScalar(Text(), "x", dtype) for _ in values)).dtype.name
        lines.store(len(operands), (0,), lines.apply(op.name, *values, dtype=result))
        operands.append(operand(result, 1, "out"))
    lines.stage()
    return Kernel("map", 1, (0,), tuple(lines.stages), tuple(operands))


def _has_loop(op: Op, dtype: np.dtype) -> bool:
    """Does NumPy's ufunc compute in the dtype itself?"""
    try:
        return op.resolve.resolve_dtypes((dtype,) * arity(op) + (None,) * op.resolve.nout)[0] == dtype
    except TypeError:
        return False


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_every_op_assembles(op: Op) -> None:
    """For one generation of GPU or another; nothing spills."""
    capability = CAPABILITIES[ELEMENTWISE.index(op) % len(CAPABILITIES)]
    for launched, lowered, _, said in compiled([kernel_of(op)], Variant(32, vector=False), capability):
        assert said.spill_bytes == 0, f"{launched} spills for {capability}:\n{lowered.source}"


def test_an_op_without_a_form_is_named() -> None:
    lines = (Instruction(0, Apply("sort", ()), "float64"), Instruction(1, Store(0, (), 0), ""))
    kernel = Kernel("map", 0, (), (Stage((), lines),), ())
    with pytest.raises(NoCudaKernel, match="'sort' has no scalar definition"):
        lower(kernel)


def test_a_thread_leaves_a_loop_that_changes_nothing_any_more() -> None:
    def escape_time(x: Any, c: Any) -> Any:
        def step(i: Any, state: Any) -> Any:
            z, count = state
            near = z * z < 4
            return np.where(near, z * z + c, z), count + near

        return tj.fori_loop(0, 50, step, (x, np.zeros(x.shape, int)))[1]

    (kernel,) = kernels_of(escape_time, np.zeros(100), np.zeros(100))
    assert re.search(r"if not \(\w+\):\n\s+break", lower(kernel, VARIANTS[0]).source)
    assert all(said.spill_bytes == 0 for *_, said in compiled([kernel], VARIANTS[0], (9, 0)))
