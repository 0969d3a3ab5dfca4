"""NumPy functions that are called between kernels, and composites of them: values under jit, and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracejit as tj
from tracejit.ops.gathering import scatter_add

RNG = np.random.default_rng(0)
SQUARE = RNG.normal(size=(3, 3))
POSITIVE = SQUARE @ SQUARE.T + 3 * np.eye(3)
TALL = RNG.normal(size=(4, 3))
WIDE = np.ascontiguousarray(TALL.T)
STACK = RNG.normal(size=(2, 3, 3))
POSITIVES = STACK @ STACK.swapaxes(1, 2) + 2 * np.eye(3)
VECTOR = RNG.normal(size=5)
THREE, FOUR, EIGHT = RNG.normal(size=3), RNG.normal(size=4), RNG.normal(size=8)
KNOTS = np.array([0.0, 1, 2.5, 4])
PLACES = np.array([0, 2, 2, 4])
CHOSEN = np.array([1, 0, 1, 0, 1], bool)
HOLES = np.zeros((4, 3), bool)
HOLES[1, 2] = HOLES[0, 0] = True


class Case(NamedTuple):
    """A function, and arguments by which it is differentiated."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]


def case(name: str, function: Callable[..., Any], *args: Any) -> Case:
    return Case(name, function, args)


def parts(function: Callable[..., Any], *rest: Any, **options: Any) -> Callable[..., Any]:
    """The function with its named tuple or list of results as a tuple."""
    return lambda *a: tuple(function(*a, *rest, **options))


LINEAR_ALGEBRA = [
    case("inv", np.linalg.inv, POSITIVE),
    case("inv of a stack", np.linalg.inv, POSITIVES),
    case("det", np.linalg.det, SQUARE),
    case("det of a stack", np.linalg.det, STACK),
    case("slogdet", lambda a: np.linalg.slogdet(a)[1], POSITIVE),
    case("slogdet of a stack", lambda a: np.linalg.slogdet(a).logabsdet, POSITIVES),
    case("solve", np.linalg.solve, POSITIVE, WIDE),
    case("solve for a vector", np.linalg.solve, POSITIVE, THREE),
    case("solve stacks", np.linalg.solve, POSITIVES, STACK),
    case("solve one matrix", np.linalg.solve, POSITIVE, STACK),
    case("solve one right-hand side", np.linalg.solve, POSITIVES, STACK[0]),
    case("cholesky", np.linalg.cholesky, POSITIVE),
    case("cholesky of a stack", np.linalg.cholesky, POSITIVES),
    case("cholesky upper", lambda a: np.linalg.cholesky(a, upper=True), POSITIVE),
    case("eigh", parts(np.linalg.eigh), POSITIVE),
    case("eigh upper", parts(np.linalg.eigh, "U"), POSITIVE),
    case("eigh of a stack", parts(np.linalg.eigh), POSITIVES),
    case("eigvalsh", np.linalg.eigvalsh, POSITIVE),
    case("singular values", lambda a: np.linalg.svd(a, compute_uv=False), TALL),
    case("svd tall", parts(np.linalg.svd, full_matrices=False), TALL),
    case("svd wide", parts(np.linalg.svd, full_matrices=False), WIDE),
    case("svd square", parts(np.linalg.svd), SQUARE),
    case("svd of a stack", parts(np.linalg.svd), STACK),
    case("qr", parts(np.linalg.qr), TALL),
    case("qr square", parts(np.linalg.qr), SQUARE),
    case("qr r", lambda a: np.linalg.qr(a, "r"), TALL),
    case("pinv", np.linalg.pinv, TALL),
    case("pinv wide", np.linalg.pinv, WIDE),
    *(
        case(f"matrix_power {n}", lambda a, n=n: np.linalg.matrix_power(a, n), POSITIVE / 3)
        for n in (-2, 0, 1, 2, 3, 5)
    ),
]

NORMS = [
    *(case(f"norm {p}", lambda a, p=p: np.linalg.norm(a, p), VECTOR) for p in (None, 1, 2, 3, np.inf, -np.inf, -1)),
    *(
        case(f"norm of a matrix {p}", lambda a, p=p: np.linalg.norm(a, p), TALL)
        for p in (None, "fro", 1, -1, 2, -2, np.inf, -np.inf, "nuc")
    ),
    case("norm along an axis", lambda a: np.linalg.norm(a, axis=1), TALL),
    case("norms of a stack", lambda a: np.linalg.norm(a, 1, axis=(2, 0), keepdims=True), STACK),
    case("norm of all", np.linalg.norm, STACK),
]

PRODUCTS = [
    case("einsum", lambda a, b: np.einsum("ij,kj->ik", a, b), SQUARE, TALL),
    case("einsum trace", lambda a: np.einsum("ii", a), SQUARE),
    case("einsum diagonal", lambda a: np.einsum("ii->i", a), SQUARE),
    case("einsum twice", lambda a: np.einsum("iji->j", a), RNG.normal(size=(3, 2, 3))),
    case("einsum sum", lambda a: np.einsum("ijk->j", a), STACK),
    case("einsum of three", lambda a, b, c: np.einsum("ij,jk,k->", a, b, c), SQUARE, POSITIVE, THREE),
    case("einsum dots", lambda a, b: np.einsum("...ij,...j->...i", a, b), STACK, TALL[:2]),
    case("einsum of lists", lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), SQUARE, POSITIVE),
    case("einsum broadcast", lambda a, b: np.einsum("ij,ij->i", a, b), SQUARE, TALL[:1]),
    case("einsum lone letter", lambda a, b: np.einsum("ij,k->i", a, b), SQUARE, VECTOR),
    case("einsum with itself", lambda a: np.einsum("ij,ji->", a, a), SQUARE),
    case("dot of three axes", np.dot, STACK, RNG.normal(size=(2, 3, 4))),
    case("inner", np.inner, STACK, TALL),
    case("tensordot", lambda a, b: np.tensordot(a, b, 2), STACK, SQUARE),
    case("tensordot by axes", lambda a, b: np.tensordot(a, b, ([1, 2], [0, 1])), STACK, SQUARE),
    case("tensordot outer", lambda a, b: np.tensordot(a, b, 0), SQUARE, VECTOR),
    case("kron", np.kron, SQUARE, TALL),
    case("outer", np.outer, VECTOR, FOUR),
    case("cross", np.cross, SQUARE, TALL[:3]),
    case("matmul", np.matmul, STACK, SQUARE),
    case("multi_dot", lambda a, b: np.linalg.multi_dot([b, a, a]), SQUARE, TALL),
]

DIAGONALS = [
    case("trace", np.trace, TALL),
    case("trace beside", lambda a: np.trace(a, 1, 1, 2), STACK),
    case("diagonal", np.diagonal, TALL),
    case("diagonal below", lambda a: np.diagonal(a, -1), TALL),
    case("diagonal of a stack", lambda a: np.diagonal(a, 1, 2, 1), STACK),
    case("diag of a vector", lambda a: np.diag(a, -2), VECTOR),
    case("diag of a matrix", np.diag, TALL),
    case("tril", np.tril, TALL),
    case("triu", lambda a: np.triu(a, 1), STACK),
    case("linalg.trace", lambda a: np.linalg.trace(a)[:, None] * np.linalg.diagonal(a), STACK),
]

ALONG_AXIS = [
    case("sort", np.sort, TALL),
    case("sort rows", lambda a: np.sort(a, 0), TALL),
    case("partition", lambda a: np.partition(a, 2), VECTOR),
    case("median", np.median, TALL),
    case("median of axes", lambda a: np.median(a, (0, 2), keepdims=True), STACK),
    case("quantile", lambda a: np.quantile(a, 0.3), VECTOR),
    case("quantiles", lambda a: np.quantile(a, [0.1, 0.5, 0.77], axis=1), TALL),
    *(
        case(f"quantile {method}", lambda a, method=method: np.quantile(a, 0.3, axis=0, method=method), TALL)
        for method in ("lower", "higher", "nearest", "midpoint")
    ),
    case("percentile", lambda a: np.percentile(a, 40, axis=0, keepdims=True), TALL),
    case("cumsum", np.cumsum, TALL),
    case("cumsum rows", lambda a: np.cumsum(a, 0), TALL),
    case("cumprod", lambda a: np.cumprod(a, 1), TALL),
    case("prod", lambda a: np.prod(a, 1), TALL),
    case("searchsorted", lambda a: a[np.searchsorted(KNOTS[:2], a)], VECTOR),
    case("digitize", lambda a: a * np.digitize(a, KNOTS[:2]), VECTOR),
    case("argsort", lambda a: np.take_along_axis(a, np.argsort(a, 1), 1), TALL),
    case("argmax", lambda a: a[np.argmax(a)], VECTOR),
]

SEQUENCES = [
    *(
        case(f"{name} {mode} {kernel.size}", lambda a, v, f=f, mode=mode: f(a, v, mode), VECTOR, kernel)
        for name, f in (("convolve", np.convolve), ("correlate", np.correlate))
        for mode, kernel in (
            ("full", THREE),
            ("same", THREE),
            ("same", FOUR),
            ("same", EIGHT),
            ("valid", FOUR),
            ("valid", EIGHT),
        )
    ),
    case("interp", np.interp, np.array([-1, 0.3, 1.7, 3.9, 5.0]), KNOTS, FOUR),
    case("interp with ends", lambda x, y: np.interp(x, KNOTS, y, left=0.0, right=2.0), 3 * VECTOR, FOUR),
    case("gradient", np.gradient, VECTOR),
    case("gradient of a matrix", parts(np.gradient), TALL),
    case("gradient of second order", lambda a: np.gradient(a, 0.3, edge_order=2), VECTOR),
    case("gradient of uneven samples", np.gradient, VECTOR, np.sort(EIGHT[:5])),
    case("gradient uneven, second order", lambda a, x: np.gradient(a, x, edge_order=2), VECTOR, np.sort(EIGHT[:5])),
    case("gradient along an axis", lambda a: np.gradient(a, 2.0, axis=1), TALL),
    case("diff", lambda a: np.diff(a, 2), VECTOR),
    case("diff with ends", lambda a: np.diff(a, prepend=0.0, append=a[:1]), VECTOR),
    case("ediff1d", np.ediff1d, TALL),
    case("trapezoid", np.trapezoid, VECTOR),
    case("trapezoid of samples", lambda a, x: np.trapezoid(a, x, axis=0), TALL, FOUR),
    case("trapezoid rows", lambda a: np.trapezoid(a, dx=0.2, axis=0), TALL),
    case("polyval", np.polyval, THREE, VECTOR),
    case("sinc", np.sinc, VECTOR),
]


def with_holes(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a: function(np.where(HOLES, np.nan, a))


STATISTICS = [
    case("var", np.var, TALL),
    case("std", lambda a: np.std(a, 0, ddof=1), TALL),
    case("ptp", np.ptp, TALL),
    case("average", lambda a, w: np.average(a, weights=w), VECTOR, VECTOR**2 + 1),
    case("average along an axis", lambda a, w: np.average(a, 1, w**2), TALL, THREE),
    case("average with its weights", lambda a, w: np.average(a, 0, w**2, returned=True), TALL, FOUR),
    *(
        case(name, with_holes(lambda a, name=name: getattr(np, name)(a, axis=0)), TALL)
        for name in (
            *("nansum", "nanmean", "nanprod", "nanmax", "nanmin", "nanvar", "nanstd", "nancumsum", "nancumprod"),
        )
    ),
    case("nanmean of all", with_holes(np.nanmean), TALL),
    case("clip", lambda a: np.clip(a, -0.5, 0.5), TALL),
]

JOINS = [
    *(case(f"pad {mode}", lambda a, m=mode: np.pad(a, 1, m), TALL) for mode in ("constant", "edge", "reflect", "wrap")),
    case("stack", lambda a, b: np.stack([a, b], 1), SQUARE, POSITIVE),
    case("concatenate", lambda a, b: np.concatenate([a, b]), SQUARE, TALL),
    case("dstack", lambda a: np.dstack([a, a * a]), SQUARE),
    case("roll", lambda a: np.roll(a, 1, 0), TALL),
    case("flip", np.flip, TALL),
    case("rot90", parts(lambda a: [np.rot90(a), np.rot90(a, 2), np.rot90(a, 3)]), TALL),
    case("tile", lambda a: np.tile(a, (2, 3)), TALL),
    case("repeat", lambda a: np.repeat(a, 3, 1), TALL),
    case("repeat each", lambda a: np.repeat(a, [1, 0, 2, 1], 0), TALL),
    case("split", parts(np.split, 2), TALL),
    case("meshgrid", lambda a, b: tuple(np.meshgrid(a, b)), VECTOR, THREE),
]


def writes(write: Callable[..., Any], *args: Any) -> Case:
    """A function that lets `write(x, *rest)` change a copy of its first argument."""

    def function(a: Any, *rest: Any) -> Any:
        x = a * 1
        write(x, *rest)
        return x * a

    return case(write.__name__, function, *args)


def fill_diagonal(x: Any) -> None:
    np.fill_diagonal(x, 2.0)


def add_at(x: Any, b: Any) -> None:
    np.add.at(x, PLACES, b)


def subtract_at(x: Any, b: Any) -> None:
    np.subtract.at(x, PLACES, b * b)


def augmented(x: Any, b: Any) -> None:
    x[PLACES] += b


def assigned(x: Any, b: Any) -> None:
    x[PLACES] = b


def assigned_columns(x: Any, b: Any) -> None:
    x[:, [1, 1, 0]] = b


def assigned_by_mask(x: Any, b: Any) -> None:
    x[CHOSEN] = b


def number_by_mask(x: Any, b: Any) -> None:
    x[x > 0] = b[0]


def put_along_axis(x: Any, b: Any) -> None:
    np.put_along_axis(x, np.array([[0], [1], [2], [0]]), b[:, None], 1)


def put(x: Any, b: Any) -> None:
    np.put(x, [0, 4], b[:2])


def putmask(x: Any, b: Any) -> None:
    np.putmask(x, x > 0, b)


WRITES = [
    writes(fill_diagonal, TALL),
    writes(add_at, VECTOR, FOUR),
    writes(subtract_at, VECTOR, FOUR),
    writes(augmented, VECTOR, FOUR),
    writes(assigned, VECTOR, FOUR),
    writes(assigned_columns, TALL, FOUR[:, None]),
    writes(assigned_by_mask, VECTOR, THREE),
    writes(number_by_mask, VECTOR, THREE),
    writes(put_along_axis, TALL, FOUR),
    writes(put, VECTOR, FOUR),
    writes(putmask, VECTOR, EIGHT[:5]),
]

CASES = [
    *(*LINEAR_ALGEBRA, *NORMS, *PRODUCTS, *DIAGONALS, *ALONG_AXIS),
    *(*SEQUENCES, *STATISTICS, *JOINS, *WRITES),
]
cases = pytest.mark.parametrize("given", CASES, ids=lambda given: given.name)


def copies(args: tuple[Any, ...], dtype: Any = None) -> list[Any]:
    return [np.array(value, dtype) for value in args]


def listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


@cases
def test_values_are_numpys(given: Case) -> None:
    jitted = tj.jit(given.function)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-4)):
        expected = listed(given.function(*copies(given.args, dtype)))
        for _ in range(2):
            actual = listed(jitted(*copies(given.args, dtype)))
            for a, b in zip(actual, expected, strict=True):
                assert type(a) is type(b)
                assert (a.dtype, np.shape(a)) == (b.dtype, np.shape(b))
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@cases
def test_derivatives(given: Case) -> None:
    tj.check_grads(given.function, given.args, order=2)


NARROW = [*LINEAR_ALGEBRA[::3], *NORMS[::3], *PRODUCTS[::3], *ALONG_AXIS[::3], *SEQUENCES[::5], *WRITES[::3]]


@pytest.mark.parametrize("given", NARROW, ids=lambda given: given.name)
def test_derivatives_in_float32(given: Case) -> None:
    """Against those in float64, at the same numbers; the differences of float32 say little."""
    narrow = copies(given.args, np.float32)
    wide = [np.asarray(value, np.float64) for value in narrow]

    def loss(*args: Any) -> Any:
        return sum(np.sum(np.sin(part)) for part in listed(given.function(*args)))

    every = tuple(range(len(narrow)))
    found, expected = tj.grad(loss, every)(*narrow), tj.grad(loss, every)(*wide)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def test_calls_stand_in_the_graph() -> None:
    """What has a type that is known beforehand ends no segment."""

    def f(a: Any, v: Any) -> Any:
        w, q = np.linalg.eigh(a)
        u, s, vh = np.linalg.svd(a)
        sign, log = np.linalg.slogdet(np.linalg.inv(a) + np.linalg.qr(a)[1])
        return np.median(q * w) + np.sum(u * s @ vh) + sign * log + np.linalg.cholesky(a)[0] @ np.sort(v) + np.trace(a)

    strict = tj.jit(f, fullgraph=True)
    np.testing.assert_allclose(strict(POSITIVE, THREE), f(POSITIVE, THREE), rtol=1e-12)
    larger = np.diag(np.arange(1.0, 6)) + 0.1
    np.testing.assert_allclose(strict(larger, VECTOR), f(larger, VECTOR), rtol=1e-12)


# ---- hard places


def test_norm_at_the_origin_is_flat() -> None:
    origin, matrix = np.zeros(3), np.zeros((2, 2))
    for p in (None, 2, 3, 2.5):
        np.testing.assert_array_equal(tj.grad(lambda x, p=p: np.linalg.norm(x, p))(origin), origin)
    np.testing.assert_array_equal(tj.grad(np.linalg.norm)(matrix), matrix)
    np.testing.assert_array_equal(tj.jit(tj.grad(lambda x: np.linalg.norm(x, "fro")))(matrix), matrix)
    np.testing.assert_array_equal(tj.hessian(np.linalg.norm)(origin), np.zeros((3, 3)))
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(tj.grad(lambda x: np.sum(np.linalg.norm(x, axis=1)))(rows), [[0, 0], [0.6, 0.8]])


def test_spread_of_equal_elements_is_flat() -> None:
    """The least value of std is where all are equal; zero is among its slopes there."""
    for function in (np.std, np.var, np.nanstd):
        np.testing.assert_array_equal(tj.grad(function)(np.ones(3)), np.zeros(3))


def test_sort_takes_equal_elements_in_their_order() -> None:
    found = tj.jacobian(np.sort)(np.array([2.0, 1, 2, 1]))
    np.testing.assert_array_equal(found, [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]])
    # The second and third of the sorted elements are the middle.
    np.testing.assert_array_equal(tj.grad(np.median)(np.array([1.0, 1, 1, 2])), [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(tj.grad(np.median)(np.array([3.0, 1, 2])), [0, 0, 1])
    partitioned = tj.jacobian(lambda x: np.partition(x, 1))(np.array([2.0, 1, 2, 1]))
    np.testing.assert_array_equal(partitioned @ [2.0, 1, 2, 1], np.partition([2.0, 1, 2, 1], 1))


def test_clip_shares_the_slope_at_its_bounds() -> None:
    """As maximum and minimum do where their operands are equal."""
    found = tj.grad(lambda x: np.sum(np.clip(x, 0.0, 1.0)))(np.array([-1, 0, 0.5, 1, 2]))
    np.testing.assert_array_equal(found, [0, 0.5, 1, 0.5, 0])


def test_running_product_with_zeros() -> None:
    x = np.array([2.0, 0, 3, 0, 5])
    expected = [[1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 6, 0, 0, 0], np.zeros(5), np.zeros(5)]
    np.testing.assert_array_equal(tj.jacobian(np.cumprod)(x), expected)
    np.testing.assert_array_equal(tj.jvp(np.cumprod, (x,), (np.ones(5),))[1], np.sum(expected, 1))
    np.testing.assert_array_equal(tj.grad(np.prod)(x[:3]), [0, 6, 0])


def test_determinant_of_singular_matrices() -> None:
    singular = np.array([[1.0, 2], [2, 4]])
    np.testing.assert_allclose(tj.grad(np.linalg.det)(singular), [[4, -2], [-2, 1]], atol=1e-12)
    np.testing.assert_array_equal(tj.grad(np.linalg.det)(np.zeros((3, 3))), np.zeros((3, 3)))
    stack = np.stack([singular, np.eye(2)])
    found = tj.grad(lambda a: np.sum(np.linalg.det(a)))(stack)
    np.testing.assert_allclose(found, [[[4, -2], [-2, 1]], np.eye(2)], atol=1e-12)


def test_slogdet_that_is_not_chosen_does_not_matter() -> None:
    def guarded(a: Any) -> Any:
        return np.where(np.linalg.det(a) > 0, np.linalg.slogdet(a)[1], 0.0)

    np.testing.assert_array_equal(tj.grad(guarded)(np.array([[1.0, 2], [2, 4]])), np.zeros((2, 2)))


def test_equal_eigenvalues() -> None:
    """A symmetric function of them is smooth."""
    eye = np.eye(3)
    np.testing.assert_allclose(tj.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2))(eye), 2 * eye)
    np.testing.assert_allclose(tj.grad(lambda a: np.sum(np.linalg.eigh(a)[0] ** 2))(eye), 2 * eye)
    np.testing.assert_allclose(tj.grad(lambda a: np.sum(np.linalg.svd(a)[1] ** 2))(eye), 2 * eye)


def test_one_triangle_is_read() -> None:
    """NumPy reads the lower triangle only: the slope is as symmetric as what is read."""
    found = tj.grad(lambda a: np.sum(np.linalg.cholesky(a)))(POSITIVE)
    np.testing.assert_array_equal(np.triu(found, 1), np.zeros((3, 3)))
    whole = tj.grad(lambda b: np.sum(np.linalg.cholesky(b @ b.T)))(SQUARE + 3 * np.eye(3))
    tj.check_grads(lambda b: np.linalg.cholesky(b @ b.T), (SQUARE + 3 * np.eye(3),))
    assert np.all(whole != 0)


def test_last_of_several_writes_has_the_slope() -> None:
    def f(v: Any) -> Any:
        x = np.zeros(4)
        x[np.array([1, 1, 2])] = v
        return x @ np.arange(4.0)

    np.testing.assert_array_equal(tj.grad(f)(np.array([1.0, 2, 3])), [0, 1, 2])

    def one_for_all(v: Any) -> Any:
        x = np.zeros(4)
        x[np.array([1, 1, 2])] = v
        return x @ np.arange(4.0)

    assert tj.grad(one_for_all)(2.0) == 3.0


def test_interpolation_at_and_beyond_the_ends() -> None:
    found = tj.grad(lambda y: np.sum(np.interp(np.array([-1.0, 4.0, 9.0]), KNOTS, y)))(FOUR)
    np.testing.assert_array_equal(found, [1, 0, 0, 2])


# ---- errors


def test_singular_matrices_raise_numpys_error() -> None:
    singular = np.ones((3, 3))
    for function in (np.linalg.inv, lambda a: np.linalg.solve(a, a[0])):
        for run in (tj.jit(function), tj.grad(lambda a, f=function: np.sum(f(a)))):
            with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
                run(singular)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        tj.jit(np.linalg.cholesky)(-np.eye(2))


def test_a_try_sees_the_error() -> None:
    @tj.jit
    def root(a: Any) -> Any:
        try:
            return np.linalg.cholesky(a)
        except np.linalg.LinAlgError:
            return a * 0 - 1

    def tried(function: Callable[..., Any], a: Any) -> Any:
        with np.errstate(all="ignore"):
            try:
                return function(a)
            except np.linalg.LinAlgError:
                return a + 10

    inverse = tj.jit(lambda a: tried(np.linalg.inv, a))
    for _ in range(2):
        np.testing.assert_array_equal(root(4 * np.eye(2)), 2 * np.eye(2))
        np.testing.assert_array_equal(root(-np.eye(2)), np.full((2, 2), -1.0))
        np.testing.assert_array_equal(inverse(4 * np.eye(2)), np.eye(2) / 4)
        np.testing.assert_array_equal(inverse(np.ones((2, 2))), np.full((2, 2), 11.0))


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (
            lambda a: np.sum(np.linalg.svd(a)[0]),
            TALL,
            r"np\.linalg\.svd .*test_library_derivatives.*full_matrices=False",
        ),
        (lambda a: np.sum(np.linalg.qr(a)[0]), WIDE, r"np\.linalg\.qr .*test_library_derivatives.*more columns"),
        (lambda a: np.quantile(a, 0.3, method="hazen"), VECTOR, r"np\.quantile .*test_library_derivatives.*'hazen'"),
        (lambda a: np.sum(np.nanmedian(a)), VECTOR, r"np\.nanmedian .*test_library_derivatives.*custom_vjp"),
        (lambda a: np.sum(np.unwrap(a)), VECTOR, r"np\.unwrap .*test_library_derivatives.*custom_vjp"),
    ],
    ids=["svd", "qr", "quantile", "nanmedian", "unwrap"],
)
def test_what_has_no_rule_says_so(function: Callable[..., Any], args: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        tj.grad(function)(args)


# ---- together with the rest


def test_functions_that_write_change_their_argument() -> None:
    """Each as NumPy does it, whether it has a derivative or not."""

    def place(x: Any) -> None:
        np.place(x, x > 0, [5.0, 6.0])

    def put_wrapped(x: Any) -> None:
        np.put(x, [7, -9], [1.0, 2.0], mode="wrap")

    def put_flat(x: Any) -> None:
        np.put_along_axis(x, np.array([3, 1]), np.array([1.0, 2.0]), None)

    def maximum_at(x: Any) -> None:
        np.maximum.at(x, ([0, 0], [1, 1]), [9.0, 8.0])

    def wrapped_diagonal(x: Any) -> None:
        np.fill_diagonal(x, 3.0, wrap=True)

    def through_a_view(x: Any) -> None:
        np.add.at(x[1:], 0, 2.0)
        np.fill_diagonal(x[::-1], -1.0)

    for write in (place, put_wrapped, put_flat, maximum_at, wrapped_diagonal, through_a_view):
        expected = TALL.copy()
        write(expected)
        for _ in range(2):
            actual = TALL.copy()
            tj.jit(write)(actual)
            np.testing.assert_array_equal(actual, expected, err_msg=write.__name__)


def test_a_diagonal_is_a_view_that_is_not_written() -> None:
    def f(x: Any) -> Any:
        diagonal = np.diagonal(x)
        x[0, 0] = 5.0
        return diagonal

    np.testing.assert_array_equal(tj.jit(f)(TALL.copy()), f(TALL.copy()))

    def write(x: Any) -> None:
        np.diagonal(x)[...] = 1.0

    for run in (write, tj.jit(write)):
        with pytest.raises(ValueError, match="read-only"):
            run(TALL.copy())


VMAPPED = {
    "det": np.linalg.det,
    "inv": lambda a: np.sum(np.linalg.inv(a) ** 2),
    "cholesky": lambda a: np.sum(np.linalg.cholesky(a)),
    "eigh": lambda a: np.sum(np.linalg.eigh(a)[1][:, 0] ** 3),
    "solve": lambda a: np.sum(np.linalg.solve(a, a[0]) ** 2),
    "einsum": lambda a: np.sum(np.einsum("ij,jk->k", a, a) ** 2),
    "median": lambda a: np.median(a) ** 2,
    "sort": lambda a: np.sum(np.sort(a, 0)[0] ** 2),
    "cumprod": lambda a: np.sum(np.cumprod(a, 0) ** 2),
    "convolve": lambda a: np.sum(np.convolve(a[0], a[1]) ** 2),
    "diag": lambda a: np.sum(np.diag(a) ** 2),
    "norm": np.linalg.norm,
}


@pytest.mark.parametrize("name", VMAPPED)
def test_mapped_over_examples(name: str) -> None:
    function = VMAPPED[name]
    expected = np.stack([tj.grad(function)(matrix) for matrix in POSITIVES])
    np.testing.assert_allclose(tj.vmap(tj.grad(function))(POSITIVES), expected, rtol=1e-9, atol=1e-12)
    summed = tj.grad(lambda stack: np.sum(tj.vmap(function)(stack)))(POSITIVES)
    np.testing.assert_allclose(summed, expected, rtol=1e-9, atol=1e-12)


def test_inside_a_loop() -> None:
    def newton(a: Any) -> Any:
        def step(x: Any, _: Any) -> tuple[Any, Any]:
            x = 0.5 * (x + np.linalg.solve(x, a))
            return x, np.linalg.slogdet(x)[1]

        root, logs = tj.scan(step, a, np.arange(6.0))
        return np.sum(root**2) + np.sum(logs)

    tj.check_grads(newton, (POSITIVE,), order=1)


@pytest.mark.parametrize("dtype", ["d", "f", "i", "e", "D", "?"])
@pytest.mark.parametrize(
    ("shape", "axes", "places"),
    [
        ((5, 7), (0,), (40,)),
        ((5, 7), (1,), (40,)),
        ((5, 7, 3), (0, 1), (4, 5)),
        ((9,), (0,), (50,)),
        ((5, 300), (0,), (1000,)),
        ((5, 7), (0,), (0,)),
        ((5, 0), (0,), (3,)),
        ((5, 7), (0,), ()),
    ],
    ids=str,
)
def test_rows_are_added_as_numpy_adds_them(shape: Any, axes: Any, places: Any, dtype: str) -> None:
    random = np.random.default_rng(0)
    indices = [random.integers(-shape[axis], shape[axis], places) for axis in axes]
    rest = tuple(length for axis, length in enumerate(shape) if axis not in axes)
    base, values = ((random.random(size) * 10).astype(dtype) for size in (shape, places + rest))
    expected = base.copy()
    np.add.at(np.moveaxis(expected, axes, range(len(axes))), tuple(indices), values)
    values = np.asarray(values)
    result = scatter_add(axes, 0, base, values, *indices)
    assert result.dtype == base.dtype and np.array_equal(result, expected)


def test_rows_outside_raise_what_numpy_does() -> None:
    for place in (5, -6):
        with pytest.raises(IndexError, match=f"index {place} is out of bounds for axis 0 with size 5"):
            scatter_add((0,), 0, np.zeros((5, 2)), np.ones((1, 2)), np.array([place]))
