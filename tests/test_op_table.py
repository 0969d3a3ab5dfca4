"""Every op of the table against NumPy: an op added to the table is tested here without a line being written."""

from __future__ import annotations

import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracejit as tj
from tests.comparing import assert_bit_equal, assert_same_kind, assert_within_ulp, outcome
from tracejit.ops import OPS, Op
from tracejit.trace.record import KERNEL_DTYPES

DTYPES = tuple(np.dtype(c) for c in "?bhilBHILefd")
ELEMENTWISE = [op for op in OPS.values() if op.kind == "elementwise" and op.resolve is not None]
REDUCE = [op for op in OPS.values() if op.kind == "reduce" and not op.position_of]
SLACK = 512.0
"""ULPs that a reference without a more precise form (some of SciPy's) is granted for its own errors."""

elementwise_ops = pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
reduce_ops = pytest.mark.parametrize("op", REDUCE, ids=lambda op: op.name)
few = settings(max_examples=6, derandomize=True, suppress_health_check=list(HealthCheck))


def spelt(op: Op) -> Callable[..., Any]:
    """The op as a user writes it."""
    if not op.spellings:
        return getattr(tj, op.name)
    module, _, name = op.spellings[0].rpartition(".")
    return getattr(importlib.import_module(module), name)


def reference(op: Op) -> Callable[..., Any]:
    return op.reference if op.reference is not None else spelt(op)


def arity(op: Op) -> int:
    return op.resolve.nin


def special_values(dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([info.min, info.min + 1, 0, 1, 2, 3, 7, info.max - 1, info.max], dtype)
    info = np.finfo(dtype)
    positive = [
        0.0,
        info.smallest_subnormal,
        info.tiny,
        info.eps,
        0.5,
        1.0,
        1.5,
        2.0,
        2.5,
        3.0,
        100.0,
        info.max,
        np.inf,
    ]
    return np.array([np.nan, *positive, *(-x for x in positive)], dtype)


def draw_array(rng: np.random.Generator, op: Op, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Half of the elements from the op's domain, half special values and random bits."""
    size = int(np.prod(shape))
    low, high = op.domain
    if dtype.kind == "b":
        usual = rng.integers(0, 2, size).astype(bool)
    elif dtype.kind in "iu":
        usual = rng.integers(max(int(low), np.iinfo(dtype).min if dtype.kind == "i" else 0), int(high) + 1, size)
    else:
        usual = rng.uniform(low, high, size)
    special = rng.choice(special_values(dtype), size)
    if dtype.kind == "f" and op.reference is None:
        # SciPy takes subnormal numbers for zero in places.
        special[np.abs(special) < np.finfo(dtype).tiny] = 0
    with np.errstate(all="ignore"):
        return np.where(rng.random(size) < 0.5, usual, special).astype(dtype).reshape(shape)


def check_values(op: Op, actual: Any, expected: Any, operands: Sequence[Any], label: str) -> None:
    """Bit-equal where the op says so, else within its promise of a more precise reference."""
    if op.ulp == 0 or np.asarray(expected).dtype.kind != "f":
        assert_bit_equal(actual, expected, label, zero_signs=not ignores_zero_sign(op))
        return
    wide, slack = precise(op, operands, np.asarray(expected))
    assert_within_ulp(actual, expected, wide, op.ulp + slack, label)


@functools.cache
def ignores_zero_sign(op: Op) -> bool:
    """Ops that pick one of two equal values: which of 0.0 and -0.0 NumPy picks depends on its SIMD code."""
    if arity(op) != 2 or op.reference is None:
        return False
    with np.errstate(all="ignore"):
        result, _ = outcome(op.reference, np.array([-0.0, 0.0, 3.0, 1.0]), np.array([0.0, -0.0, 3.0, 1.0]))
    return result is not None and result.dtype.kind == "f" and bool(np.all(result == [0, 0, 3, 1]))


def precise(op: Op, operands: Sequence[Any], expected: np.ndarray) -> tuple[Any, float]:
    """The reference at a higher precision, and the error that it still has."""
    wide = np.longdouble if expected.dtype == np.float64 else np.float64
    function = reference(op)
    kind = expected.dtype.type
    with np.errstate(all="ignore"):
        values = [np.asarray(value, kind).astype(wide) for value in operands]
        exact, error = outcome(function, *values)
    if error is None and exact.dtype == wide:
        return exact, 0.6
    return expected, SLACK


def check_call(op: Op, groups: list[tuple[Any, ...]], jitted: Any, label: str) -> None:
    """The jitted function of all groups of operands against the reference on each."""
    with np.errstate(all="ignore"):
        expected = [reference(op)(*group) for group in groups]
        actual = jitted(groups)
    for group, got, wanted in zip(groups, actual, expected, strict=True):
        types = ", ".join(str(getattr(v, "dtype", v)) for v in group)
        if not op.spellings:
            assert_same_kind(got, wanted, f"{label} {op.name}({types})")
            continue
        check_values(op, got, wanted, group, f"{label} {op.name}({types})")


def accepted(op: Op, groups: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Which operands NumPy takes, in real dtypes that kernels know, and which it refuses."""
    good, refused = [], []
    for group in groups:
        result, error = outcome(reference(op), *group)
        if error is not None:
            refused.append(group)
        elif result.dtype in KERNEL_DTYPES:
            good.append(group)
    return good, refused


def apply_all(op: Op) -> Callable[[list[tuple[Any, ...]]], list[Any]]:
    function = spelt(op)

    def apply(groups: list[tuple[Any, ...]]) -> list[Any]:
        return [function(*group) for group in groups]

    return apply


def apply_in_one_kernel(op: Op) -> Callable[[list[tuple[Any, ...]]], list[Any]]:
    """The same, told that all operands have one shape: then one kernel computes everything."""
    function = spelt(op)

    def apply(groups: list[tuple[Any, ...]]) -> list[Any]:
        np.broadcast_arrays(*(value for group in groups for value in group))
        return [function(*group) for group in groups]

    return apply


def dtype_groups(op: Op, rng: np.random.Generator, size: int) -> list[tuple[Any, ...]]:
    """Operands of each dtype alone, in pairs of two dtypes, and with Python numbers."""

    def draw(dtype: np.dtype[Any]) -> np.ndarray:
        return draw_array(rng, op, dtype, (size,))

    if arity(op) == 1:
        return [(draw(dtype),) for dtype in DTYPES]
    groups = [(draw(dtype), draw(dtype)) for dtype in DTYPES]
    groups += [(draw(a), draw(DTYPES[(i + 5) % len(DTYPES)])) for i, a in enumerate(DTYPES)]
    groups += [(draw(dtype), 3) for dtype in DTYPES]
    groups += [(2.5, draw(np.dtype(c))) for c in "?biefd"] + [(draw(np.dtype(c)), True) for c in "?id"]
    return groups


@elementwise_ops
def test_values_and_dtypes(op: Op) -> None:
    """All dtypes, NEP 50 promotion, special values; the function compiles once for all draws."""
    probe = dtype_groups(op, np.random.default_rng(0), 100)
    good = [n for n, group in enumerate(probe) if accepted(op, [group])[0]]
    jitted = tj.jit(apply_in_one_kernel(op))

    @few
    @given(st.integers(0, 2**32), st.sampled_from([1, 7, 64, 200]))
    def check(seed: int, size: int) -> None:
        groups = dtype_groups(op, np.random.default_rng(seed), max(size, 2))
        check_call(op, [groups[n] for n in good], jitted, "")

    check()


@elementwise_ops
def test_refuses_what_numpy_refuses(op: Op) -> None:
    """The same type of exception for operands without a loop, and for shapes that do not match."""
    _, refused = accepted(op, dtype_groups(op, np.random.default_rng(0), 100))
    function = spelt(op)
    for group in refused:
        _, wanted = outcome(function, *group)
        result, error = outcome(tj.jit(lambda *operands: function(*operands)), *group)
        assert error is wanted, f"{op.name}{group}: {error} in place of {wanted}; {result}"
    if arity(op) == 2:
        fitting = accepted(op, [(np.ones(3, d), np.ones(3, d)) for d in DTYPES])[0][0]
        group = (fitting[0], np.ones((2,), fitting[0].dtype))
        with pytest.raises(ValueError, match="could not be broadcast together"):
            tj.jit(lambda x, y: function(x, y))(*group)


def layouts(op: Op, rng: np.random.Generator, dtype: np.dtype[Any], draw_values: Any = draw_array) -> list[np.ndarray]:
    """Arrays of (6, 4) in every layout, then other ranks, sizes and an empty one."""

    def draw(*shape: int) -> np.ndarray:
        return draw_values(rng, op, dtype, shape)

    return [
        draw(6, 4),
        np.asfortranarray(draw(6, 4)),
        draw(4, 6).T,
        draw(6, 4)[::-1],
        draw(6, 4)[:, ::-1],
        draw(12, 8)[::2, ::2],
        draw(6, 8)[:, 1:5],
        draw(12, 4)[::-2],
        np.broadcast_to(draw(4), (6, 4)),
        np.broadcast_to(draw(6, 1), (6, 4)),
        draw(2, 6, 4).transpose(1, 2, 0)[..., 1],
        draw(0, 4),
        draw(),
        draw(1),
        draw(2, 1, 3, 2).swapaxes(0, 2),
    ]


def layout_dtype(op: Op) -> np.dtype[Any]:
    """The dtype that the shape tests use: float64 where the op takes it, else int64."""
    for dtype in (np.dtype(np.float64), np.dtype(np.int64)):
        if accepted(op, [(np.ones(2, dtype),) * arity(op)])[0]:
            return dtype
    raise AssertionError(f"{op.name} takes neither float64 nor int64")


@elementwise_ops
def test_layouts_and_broadcasting(op: Op) -> None:
    rng = np.random.default_rng(1)
    arrays = layouts(op, rng, layout_dtype(op))
    groups: list[tuple[Any, ...]] = [(x,) for x in arrays]
    if arity(op) == 2:
        dtype = layout_dtype(op)
        others = layouts(op, rng, dtype)
        groups = [(arrays[n], others[(n * 7 + 3) % 11 if n < 11 else n]) for n in range(len(arrays))]
        groups += [
            (arrays[0], draw_array(rng, op, dtype, (4,))),
            (draw_array(rng, op, dtype, (6, 1)), arrays[3]),
            (draw_array(rng, op, dtype, (6, 1)), draw_array(rng, op, dtype, (1, 4))),
            (draw_array(rng, op, dtype, (3, 1, 4)), arrays[1]),
            (draw_array(rng, op, dtype, ()), arrays[2]),
            (arrays[11], draw_array(rng, op, dtype, (1, 4))),
            (draw_array(rng, op, dtype, (0, 1)), draw_array(rng, op, dtype, (4,))),
            (draw_array(rng, op, dtype, ())[()], draw_array(rng, op, dtype, ())[()]),
        ]
    jitted = tj.jit(apply_all(op))
    check_call(op, groups, jitted, "first call:")
    check_call(op, groups, jitted, "second call:")


@elementwise_ops
def test_eager_is_the_same(op: Op) -> None:
    """`tj.NAME` gives the bits that a jitted function gives."""
    dtype = layout_dtype(op)
    operands = [draw_array(np.random.default_rng(n), op, dtype, (50,)) for n in range(arity(op))]
    with np.errstate(all="ignore"):
        (inside,) = tj.jit(apply_all(op))([tuple(operands)])
        assert_bit_equal(getattr(tj, op.name)(*operands), inside, op.name)


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE if op.ulp], ids=lambda op: op.name)
def test_float32_agrees_with_float64(op: Op) -> None:
    """Within the domain float32 is float64 rounded; this also covers ops that neither NumPy nor SciPy has."""
    rng = np.random.default_rng(2)
    narrow = [rng.uniform(*op.domain, 300).astype(np.float32) for _ in range(arity(op))]
    jitted = tj.jit(apply_all(op))
    single, double = jitted([tuple(narrow), tuple(x.astype(np.float64) for x in narrow)])
    assert_within_ulp(single, double.astype(np.float32), double, op.ulp + 0.6, op.name)


# The two elementwise ops that are not ufuncs


def test_cast() -> None:
    """astype between all dtypes, where C defines the result."""

    def casts(arrays: list[np.ndarray]) -> list[np.ndarray]:
        return [x.astype(dtype) for x in arrays for dtype in DTYPES]

    arrays = [np.array([0, 1, 2, 100], dtype) for dtype in DTYPES]
    wide = [np.array([-1, 300, 70000, 2**40, -(2**62)], np.int64), np.array([2**64 - 1, 2**63], np.uint64)]
    floats = [np.array([-1.5, -0.0, 1e-8, 65504, 65520, 1e30, 100.9], d) for d in (np.float64, np.float32)]
    with np.errstate(all="ignore"):
        for given_arrays in (arrays, wide):
            for got, wanted in zip(tj.jit(casts)(given_arrays), casts(given_arrays), strict=True):
                assert_bit_equal(got, wanted)

        def float_casts(arrays: list[np.ndarray]) -> list[np.ndarray]:
            return [x.astype(dtype) for x in arrays for dtype in (np.float16, np.float32, np.float64, np.bool_)]

        for got, wanted in zip(tj.jit(float_casts)(floats), float_casts(floats), strict=True):
            assert_bit_equal(got, wanted)


def test_where() -> None:
    """np.where with mixed dtypes, Python numbers and broadcasting."""

    def chosen(condition: np.ndarray, arrays: list[np.ndarray]) -> list[np.ndarray]:
        found = [np.where(condition, x, y) for x, y in zip(arrays, arrays[5:] + arrays[:5], strict=True)]
        found += [np.where(condition, x, 1) for x in arrays] + [np.where(x, x, -1.5) for x in arrays[-3:]]
        found += [np.where(condition[:, None], x, 0) for x in arrays]
        return found

    arrays = [np.array([0, 1, 2], dtype) for dtype in DTYPES]
    condition = np.array([True, False, True])
    for got, wanted in zip(tj.jit(chosen)(condition, arrays), chosen(condition, arrays), strict=True):
        assert_bit_equal(got, wanted)


# Reductions


def exact_reduction(op: Op) -> bool:
    """Whether the order of combining does not matter: combining a value with itself gives it back."""
    values = np.array([1.5, -2.5])
    return bool(np.all(op.resolve(values, values).astype(values.dtype) == values))


def draw_summands(rng: np.random.Generator, op: Op, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Where rounding depends on the order: numbers that neither overflow nor underflow in any, few NaN and inf."""
    if exact_reduction(op) or dtype.kind != "f":
        return draw_array(rng, op, dtype, shape)
    values = rng.uniform(0.8, 1.25, shape) * rng.choice([-1, 1], shape)
    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
    return np.where(rng.random(shape) < 0.02, special, values).astype(dtype)


def check_reduction(op: Op, actual: Any, expected: Any, operand: np.ndarray, axis: Any, label: str) -> None:
    if exact_reduction(op) or np.asarray(expected).dtype.kind != "f":
        assert_bit_equal(actual, expected, label, zero_signs=np.asarray(operand).size == 0)
        return
    assert_same_kind(actual, expected, label)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), err_msg=label)
    eps = float(np.finfo(expected.dtype).eps)
    with np.errstate(all="ignore"):
        magnitude = np.nan_to_num(op.reference(np.abs(operand).astype(np.float64), axis=axis))
    bound = eps * (4 + np.log2(operand.size + 1)) * magnitude.reshape(np.shape(expected))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.where(finite, 0, actual), np.where(finite, 0, expected), err_msg=label)
    with np.errstate(all="ignore"):
        excess = np.abs(actual.astype(np.float64) - expected) - bound
    assert np.all((excess <= 0) | ~finite), f"{label}: {actual} in place of {expected}"


AXES: tuple[Any, ...] = (None, 0, 1, -1, (0, 2), (0, 1, 2), ())


@reduce_ops
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reduction_axes(op: Op, dtype: np.dtype[Any]) -> None:
    """Every axis and keepdims, special values, several sizes with the same kernels."""
    function = spelt(op)
    calls = [(axis, keepdims) for axis in AXES for keepdims in (False, True)]

    def reduced(x: np.ndarray) -> list[Any]:
        return [function(x, axis=axis, keepdims=keepdims) for axis, keepdims in calls]

    jitted = tj.jit(reduced)
    rng = np.random.default_rng(3)
    cases = [draw_summands(rng, op, dtype, shape) for shape in ((3, 5, 4), (17, 2, 9))]
    if dtype.kind == "f":
        cases.append(np.full((2, 3, 2), -0.0, dtype))
    for x in cases:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN")  # where NumPy is called
            expected, actual = reduced(x), jitted(x)
        for (axis, keepdims), got, wanted in zip(calls, actual, expected, strict=True):
            check_reduction(op, got, wanted, x, axis, f"{op.name}({dtype}{x.shape}, {axis}, {keepdims})")
    if op.identity is not None and not (op.skips_nan and dtype == np.float16):  # NumPy is called for those
        assert jitted.stats.plain_calls == 0


@reduce_ops
def test_reduction_layouts(op: Op) -> None:
    function = spelt(op)

    def reduced(arrays: list[np.ndarray]) -> list[Any]:
        return [function(x, axis=axis) for x in arrays for axis in (None, *range(x.ndim))]

    arrays = [x for x in layouts(op, np.random.default_rng(4), np.dtype(float), draw_summands) if x.size]
    jitted = tj.jit(reduced)
    for _ in range(2):
        with np.errstate(all="ignore"):
            actual, expected = iter(jitted(arrays)), iter(reduced(arrays))
        for x in arrays:
            for axis in (None, *range(x.ndim)):
                label = f"{op.name} of {x.shape} strides {x.strides} over {axis}"
                check_reduction(op, next(actual), next(expected), x, axis, label)


@reduce_ops
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)], ids=str)
def test_reduction_of_nothing(op: Op, shape: tuple[int, ...]) -> None:
    """The neutral element with NumPy's sign of zero, or NumPy's exception."""
    function = spelt(op)
    for axis in (None, 0, -1):
        x = np.zeros(shape)
        wanted, raised = outcome(function, x, axis=axis)
        got, error = outcome(tj.jit(lambda x, axis=axis: function(x, axis=axis)), x)
        assert error is raised, f"{op.name} of {shape} over {axis}: {error} in place of {raised}"
        if raised is None:
            assert_bit_equal(got, wanted, f"{op.name} of {shape} over {axis}")


@reduce_ops
def test_reduction_dtype(op: Op) -> None:
    """dtype= where NumPy's function has it."""
    function = spelt(op)
    if "dtype" not in inspect.signature(op.reference).parameters:
        pytest.skip(f"np.{op.name} has no dtype=")

    def reduced(arrays: list[np.ndarray]) -> list[Any]:
        return [function(x, axis=0, dtype=d) for x in arrays for d in (np.int32, np.int64, np.uint8, "f4", "f8")]

    arrays = [np.arange(1, 7).reshape(3, 2).astype(dtype) for dtype in DTYPES]
    for got, wanted in zip(tj.jit(reduced)(arrays), reduced(arrays), strict=True):
        assert_bit_equal(got, wanted, op.name)


@reduce_ops
@pytest.mark.parametrize("axis", [3, -4, (0, 0), (0, 5)], ids=str)
def test_reduction_bad_axis(op: Op, axis: Any) -> None:
    function = spelt(op)
    _, wanted = outcome(function, np.ones((2, 3, 4)), axis=axis)
    _, error = outcome(tj.jit(lambda x: function(x, axis=axis)), np.ones((2, 3, 4)))
    assert error is wanted and wanted is not None


@reduce_ops
def test_reduction_method_and_out(op: Op) -> None:
    """`x.sum(axis)` and `out=` are the function."""
    if not hasattr(np.ndarray, op.name):
        pytest.skip("no method of arrays, and no out=")

    def both(x: np.ndarray, out: np.ndarray) -> tuple[Any, Any]:
        returned = spelt(op)(x, axis=1, out=out)
        return getattr(x, op.name)(0), returned

    x = np.arange(12.0).reshape(3, 4) - 3
    wanted_out, out = (np.zeros(3, spelt(op)(x, axis=1).dtype) for _ in range(2))
    wanted, got = both(x, wanted_out), tj.jit(both)(x, out)
    assert got[1] is out
    assert_bit_equal(out, wanted_out, op.name)
    assert_bit_equal(got[0], wanted[0], op.name, zero_signs=False)
