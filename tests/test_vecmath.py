"""The scalar functions: errors in ULP against mpmath, special values, casts, and that the loops are vector code."""

import re

import numpy as np
import pytest
from scipy import special

import tracejit as tj
from benchmarks import every_float32
from benchmarks.ulp import CASES, errors, sample
from tests.vecmath_rig import compile_scalar
from tracejit.vecmath import language as sl

FLOATS = [np.float64, np.float32]
DTYPES = [np.dtype(name) for name in ["bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CASES)
def test_error_is_within_the_bound(name, dtype):
    case = CASES[name]
    compiled = compile_scalar(case.function, *[dtype] * case.arguments)
    for arguments in sample(case, dtype, 150):
        found = errors(case, arguments, compiled(*arguments))
        worst = int(np.argmax(found))
        assert found[worst] <= case.bounds[dtype is np.float32], [a[worst] for a in arguments]


SPECIAL = [0, 1, 0.5, 2, 3, 2.5, np.inf, 5e-324, 1e308, 2**53 + 2, 2**52 + 1, 2**31, 1e-300, 0.9999999, 1.000001]
REFERENCES = {"erf": special.erf, "erfc": special.erfc, "pow": np.power}


def assert_alike(actual, expected):
    """Equal to a few ULP, with the signs of zeros; NaN like NaN."""
    with np.errstate(all="ignore"):
        near = (actual == expected) | (abs(actual - expected) <= 4 * np.spacing(abs(expected)))
    good = (near & (np.signbit(actual) == np.signbit(expected))) | (np.isnan(actual) & np.isnan(expected))
    assert good.all(), (np.flatnonzero(~good), actual[~good], expected[~good])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n in CASES if n in REFERENCES or hasattr(np, n)])
def test_special_values_are_those_of_the_c_library(name, dtype):
    case = CASES[name]
    with np.errstate(all="ignore"):
        values = np.array([*SPECIAL, *(-v for v in SPECIAL), np.nan]).astype(dtype)
        arguments = [a.ravel() for a in np.meshgrid(*[values] * case.arguments)]
        reference = REFERENCES.get(name) or getattr(np, name)
        expected = reference(*(a.astype(np.float64) for a in arguments)).astype(dtype)
    if name == "logaddexp":  # where its two terms cancel only the absolute error is bounded
        arguments = [a[abs(expected) > 0.1] for a in arguments]
        expected = expected[abs(expected) > 0.1]
    assert_alike(compile_scalar(case.function, *[dtype] * case.arguments)(*arguments), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_exact_cases(dtype):
    def compiled(name):
        return compile_scalar(CASES[name].function, *[dtype] * CASES[name].arguments)

    integers = np.arange(-100, 100).astype(dtype)
    assert (compiled("exp2")(integers) == np.exp2(integers)).all()
    assert (compiled("log2")(np.exp2(integers)) == integers).all()
    assert (compiled("cbrt")(integers**3) == integers).all()
    assert (compiled("pow")(integers, np.full_like(integers, 3)) == integers**3).all()
    assert compiled("exp")(np.zeros(1))[0] == compiled("cos")(np.zeros(1))[0] == 1
    assert (compiled("hypot")(3 * integers, 4 * integers) == 5 * abs(integers)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["sigmoid", "softplus", "gelu"])
def test_limits(name, dtype):
    values = np.array([-np.inf, np.inf, np.nan, 1e30, -1e30])
    expected = {"sigmoid": [0, 1, np.nan, 1, 0]}.get(name, [0, np.inf, np.nan, 1e30, 0])
    np.testing.assert_array_equal(compile_scalar(CASES[name].function, dtype)(values), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name", ["exp", "log", "sin", "cos", "tanh", "erf", "erfc", "gelu", "gammaln", "softplus", "pow"]
)
def test_the_loop_is_vector_code(name, dtype):
    compiled = compile_scalar(CASES[name].function, *[dtype] * CASES[name].arguments)
    kernel = re.search(r"define void @kernel\(.*?^}", compiled.llvm_ir, re.DOTALL | re.MULTILINE).group()
    vector_body = re.search(r"^vector\.body:.*?^(?=\S)", kernel, re.DOTALL | re.MULTILINE)
    assert vector_body is not None
    calls = set(re.findall(r"call .*?@([\w.]+)\(", vector_body.group()))
    # the one thing that may be called is the vector variant of a `rare` function
    assert all(re.match(r"llvm\.|rare_\w+_x\d+$", callee) for callee in calls), calls


@pytest.mark.parametrize("dtype", FLOATS)
def test_gammaln_at_poles_roots_and_negative_numbers(dtype):
    compiled = compile_scalar(CASES["gammaln"].function, dtype)
    poles = np.array([0.0, -0.0, -1, -2, -170, -(2.0**60), np.inf], dtype)
    assert (compiled(poles) == np.inf).all()
    assert (compiled(np.array([1, 2], dtype)) == 0).all()
    assert compiled(np.array([-np.inf], dtype))[0] == -np.inf
    assert np.isnan(compiled(np.array([np.nan], dtype))[0])
    smallest = np.finfo(dtype).smallest_subnormal
    assert compiled(np.array([smallest], dtype))[0] == dtype(-np.log(np.float64(smallest)))
    x = np.random.default_rng(0).uniform(-30, 3, 1001).astype(dtype)
    expected = special.gammaln(x.astype(np.float64))
    np.testing.assert_allclose(compiled(x), expected, rtol=4 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)
    largest = {np.float64: 2.55e305, np.float32: 4e36}[dtype]
    around = np.array([largest, largest * 1.1, np.finfo(dtype).max], dtype)
    assert np.isfinite(compiled(around)).tolist() == [True, False, False]


def test_rare_arguments_anywhere_in_a_vector():
    x = np.linspace(-5, 5, 1037)
    x[[0, 5, 6, 500, 1036]] = [1e22, -1e300, np.inf, np.nan, 2.0**28]
    with np.errstate(invalid="ignore"):
        expected = np.sin(x)
    np.testing.assert_allclose(compile_scalar(CASES["sin"].function, np.float64)(x), expected, rtol=1e-15, atol=1e-16)


def cast_values(dtype):
    random = np.random.default_rng(0)
    if dtype.kind == "b":
        return np.array([True, False] * 20)
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        return np.append(random.integers(ends.min, ends.max, 200, dtype, endpoint=True), [ends.min, ends.max]).astype(
            dtype
        )
    powers = [2.0**k * f for k in (7, 8, 15, 16, 31, 32, 63, 64) for f in (1, -1, 1 - 2**-40, 1 + 2**-40, 1.5)]
    halves = [65519, 65520, 65519.9999999, 2**-24, 2**-25, (1 + 2**-30) * 2**-25, 1 + 2**-11, 1 + 2**-11 + 2**-40]
    spread = random.standard_normal(300) * 10.0 ** random.integers(-8, 20, 300)
    return np.concatenate([[0, -0.0, np.nan, np.inf, -np.inf, 1e300], powers, halves, spread]).astype(dtype)


@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_casts_are_those_of_numpy(source):
    with np.errstate(all="ignore"):
        x = cast_values(source)
        for target in DTYPES:
            if target == source:
                continue
            actual = compile_scalar(lambda a, target=target: sl.cast(a, target), source, output=target)(x)
            # one at a time: NumPy's vector loops give other values than its scalar ones out of the range of uint32
            expected = np.array([x[k : k + 1].astype(target)[0] for k in range(x.size)])
            np.testing.assert_array_equal(actual, expected, err_msg=f"{source} to {target}")


def test_arithmetic_is_not_contracted():
    x, y, z = np.random.default_rng(0).standard_normal((3, 1000))
    assert (compile_scalar(lambda a, b, c: a * b + c, *["f8"] * 3)(x, y, z) == x * y + z).all()


@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_extrema_order_zeros_and_keep_nan(name):
    x, y = np.array([[0.0, -0.0, np.nan, 1], [-0.0, 0.0, 1, np.nan]])
    actual = compile_scalar(getattr(sl, name), "f8", "f8")(x, y)
    assert np.isnan(actual[2:]).all()
    assert (np.signbit(actual[:2]) == (name == "minimum")).all()


def test_table_and_libm():
    looked_up = compile_scalar(lambda i: sl.table((0.5, 1.5, 2.5, 3.5), i & 3, "f4"), "i4", output="f4")
    assert (looked_up(np.arange(100)) == np.arange(100) % 4 + 0.5).all()
    x = np.linspace(-3, 3, 50)
    np.testing.assert_allclose(compile_scalar(lambda a: sl.libm("sin", a), "f8")(x), np.sin(x), rtol=1e-15)


@pytest.mark.parametrize("name", every_float32.NAMES)
def test_float32_all_over_the_bit_patterns(name):
    assert every_float32.worst(name, stride=4099)[0] <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [1, 3, 5, 64, 71])
def test_results_around_the_smallest_float(dtype, length):
    """Zeros that are known by the exponent alone, beside subnormal numbers and NaN in one vector."""
    smallest = float(np.finfo(dtype).smallest_subnormal)
    edge = np.log2(smallest)
    y = np.array([edge + 3, edge, edge - 0.75, edge - 1.25, edge - 5, edge - 40, -1e9, -np.inf, np.nan, 1], dtype)
    y = np.resize(y, length)
    with np.errstate(all="ignore"):
        expected = np.exp2(y.astype(np.longdouble)).astype(dtype)
    for found in (tj.jit(np.exp2)(y), tj.jit(np.exp)((y * np.log(2.0)).astype(dtype))):
        assert found.dtype == dtype and not np.signbit(found).any()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2 * smallest)
    assert not tj.jit(np.exp)(np.full(length, -800, dtype)).any()
