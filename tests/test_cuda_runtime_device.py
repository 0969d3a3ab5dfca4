"""`pytest --device cuda`: the op table, and whole programs, on the GPU of this machine (or in the simulator)."""

from __future__ import annotations

import copy
import zlib

import numpy as np
import pytest

import tracejit as tj
from tests import programs
from tests.comparing import outcome
from tests.device_cases import GROUPS
from tests.test_op_table import DTYPES, ELEMENTWISE, REDUCE, arity, check_values, draw_array, reference, spelt
from tracejit.ops import Op
from tracejit.runtime.cuda_adapter import simulated
from tracejit.runtime.device import NoDeviceForm
from tracejit.trace.pytree import flatten, rebuild

SIZE = 24 if simulated() else 10_000
"""Elements of an array: few where every thread is one of Python's."""

SOME_DTYPES = tuple(np.dtype(c) for c in "?ifd") if simulated() else DTYPES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif("config.getoption('--device') != 'cuda'", reason="needs a GPU: pytest --device cuda"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def read(value):
    """A result with NumPy's arrays in place of those on the device."""
    leaves = []
    tree = flatten(value, leaves)
    values = [np.asarray(leaf) if isinstance(leaf, tj.Array) else leaf for leaf in leaves]
    return rebuild(tree, [x[()] if isinstance(x, np.ndarray) and not x.ndim else x for x in values])


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_ops(op: Op) -> None:
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    function, wanted = spelt(op), reference(op)
    jitted = tj.jit(lambda *operands: function(*operands), device="cuda")
    tried = 0
    for dtype in SOME_DTYPES:
        operands = [draw_array(rng, op, dtype, (SIZE,)) for _ in range(arity(op))]
        with np.errstate(all="ignore"):
            expected, refused = outcome(wanted, *operands)
        if refused is not None or expected.dtype not in DTYPES:
            continue
        try:
            found = read(jitted(*operands))
        except NoDeviceForm:  # NumPy is called on the CPU, too
            continue
        check_values(op, found, expected, operands, f"{op.name} of {dtype} on a GPU")
        tried += 1
    assert tried


@pytest.mark.parametrize("op", REDUCE, ids=lambda op: op.name)
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_reduce_ops(op: Op, axis: int | None) -> None:
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    function, wanted = getattr(tj, op.name), reference(op)
    jitted = tj.jit(lambda x: function(x, axis=axis), device="cuda")
    for dtype in SOME_DTYPES:
        values = (rng.uniform(-2, 2, (SIZE // 6, 6)) * (1 if dtype.kind == "f" else 3)).astype(dtype)
        try:
            expected = wanted(values, axis=axis)
        except TypeError:
            continue
        found = read(jitted(values))
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, 1e-4 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("program", programs.ALL, ids=lambda program: program.name)
def test_programs(program: programs.Program) -> None:
    arguments = program.make_arguments(np.random.default_rng(0), 6 if simulated() else 40)
    mine = tj.device_put(copy.deepcopy(arguments), "cuda") if program.mutates else copy.deepcopy(arguments)
    with np.errstate(all="ignore"):
        expected = program.function(*arguments)
    try:
        found = tj.jit(program.function, device="cuda")(*mine)
    except NoDeviceForm as reason:
        pytest.skip(str(reason))
    rtol, atol = (max(x, least) for x, least in zip(program.tolerance, (1e-12, 1e-13), strict=True))
    compare(read(found), expected, rtol, atol)
    if program.mutates:
        compare(read(mine), arguments, rtol, atol)


def compare(found, expected, rtol, atol):
    mine, theirs = [], []
    assert flatten(found, mine) == flatten(expected, theirs)
    for a, b in zip(mine, theirs, strict=True):
        if b is not None:
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol, atol)


@pytest.mark.parametrize("name", [f"{group}.{name}" for group, cases in GROUPS.items() for name in cases])
def test_cases(name: str) -> None:
    group, _, case = name.partition(".")
    GROUPS[group][case]()
