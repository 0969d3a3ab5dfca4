"""`vmap` against the Python loop and `np.stack` that it stands for."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.graph_interpreter import interpreted
from tests.programs import ALL, Program
from tests.test_programs import assert_same
from tracejit.autodiff.batching import NotBatchable
from tracejit.control import cond, fori_loop, scan, switch, while_loop
from tracejit.ops.table import OPS
from tracejit.trace.pytree import LEAF, flatten, rebuild

SIZE = 3
CLOSE = (1e-12, 1e-13)


def looped(function: Callable[..., Any], arguments: tuple[Any, ...], axes: tuple[Any, ...]) -> Any:
    """The loop: axes hold one axis or None for each argument, which is an array."""
    rows: list[list[Any]] = []
    for place in range(SIZE):
        pairs = zip(arguments, axes, strict=True)
        one = [a if axis is None else np.moveaxis(a, axis, 0)[place] for a, axis in pairs]
        rows.append([])
        with np.errstate(all="ignore"):
            tree = flatten(function(*one), rows[-1])
    return rebuild(tree, [np.stack(column) for column in zip(*rows, strict=True)])


def assert_maps(function: Callable[..., Any], arguments: tuple[Any, ...], axes: tuple[Any, ...], **how: Any) -> None:
    """vmap gives what the loop gives, compiled or (interpret=True) by the meaning of its graph."""
    expected = looped(function, arguments, axes)
    mapped = tj.vmap(function, in_axes=axes)
    if how.get("interpret"):
        actual = interpreted(mapped, *arguments)
    else:
        with np.errstate(all="ignore"):
            actual = mapped(*arguments)
        assert mapped.compiled.plain_reason is None
    assert_same(actual, expected, how.get("tolerance", CLOSE), "result")


def batches(*flags: bool) -> list[tuple[Any, ...]]:
    """Every way to map over some of the arguments that may be mapped."""
    ways = itertools.product(*([0, None] if flag else [None] for flag in flags))
    return [way for way in ways if any(axis is not None for axis in way)]


def drawn(shape: tuple[int, ...], axis: int | None, seed: int = 0, dtype: Any = float) -> Any:
    """An argument of one example's shape, with the batch axis where it is mapped."""
    rng = np.random.default_rng(seed)
    shape = shape if axis is None else (*shape[:axis], SIZE, *shape[axis:])
    return rng.normal(size=shape) if dtype is float else rng.integers(0, 4, shape).astype(dtype)


# ---- elementwise ops: all of the table, by the meaning of the graph

_UFUNCS = [
    (name, dtype)
    for name, op in OPS.items()
    if op.kind == "elementwise" and isinstance(getattr(np, name, None), np.ufunc)
    for dtype in ("f8", "i8", "?")
    if np.dtype(dtype).kind in op.dtypes
]


@pytest.mark.parametrize(("name", "dtype"), _UFUNCS)
def test_every_ufunc_of_the_table(name: str, dtype: str) -> None:
    op, ufunc = OPS[name], getattr(np, name)
    low, high = op.domain
    rng = np.random.default_rng(0)
    try:
        ufunc.resolve_dtypes((*[np.dtype(dtype)] * ufunc.nin, *[None] * ufunc.nout))
    except TypeError:
        pytest.skip("NumPy has no such loop")
    shapes = [(4,), (2, 1)][: ufunc.nin]
    for axes in batches(*[True] * ufunc.nin):
        arguments = tuple(
            rng.uniform(low, high, s if axis is None else (SIZE, *s)).astype(dtype)
            for s, axis in zip(shapes, axes, strict=True)
        )
        assert_maps(ufunc, arguments, axes, interpret=True)


# ---- structural ops, compiled


def joined(a, b):
    return np.concatenate([a, b[:2], a[::-1]])


def patched(a, b):
    out = np.zeros((4, 3))
    out[1:3] = a
    out[:, 1] += b
    out[0, 0] = a[1, 2]
    return out


def summarized(x):
    return np.sum(x, axis=0), np.max(x), np.min(x, axis=1, keepdims=True), np.any(x > 1, axis=-1), np.all(x > -3)


UNARY: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "reductions": (summarized, (3, 4)),
    "products and means": (lambda x: (np.prod(x, axis=1), x.mean(), x.std(axis=0)), (3, 4)),
    "slices": (lambda x: (x[1:, ::2], x[-1], x[:, 2], x[::-1, 1]), (3, 4)),
    "transposes": (lambda x: (x.T, np.moveaxis(x, 0, 2), x.swapaxes(1, 2)), (2, 3, 4)),
    "inserted axes": (lambda x: (x[:, None], x[None], np.expand_dims(x, -1) + x), (4,)),
    "broadcasts": (lambda x: np.broadcast_to(x, (3, 4)) + np.broadcast_to(x[:1], (4,)), (4,)),
    "reshapes": (lambda x: (x.reshape(6, 2), x.T.reshape(-1), x.ravel()), (3, 4)),
    "one element": (lambda x: x * 2 + 1, ()),
    "scalar results": (lambda x: x[1] * x[2], (4,)),
    "conversions": (lambda x: (x.astype(np.float32), (x > 0).astype(int), x.astype(int)), (4,)),
    "unbatched results": (lambda x: (np.ones(2), 3.0, 2, x[0]), (4,)),
    "arange and linspace": (lambda x: x + np.arange(4) * np.linspace(0, 1, 4), (4,)),
    "sorting": (lambda x: (np.sort(x, axis=0), np.argsort(x, axis=-1), np.argmax(x), np.argmin(x, axis=1)), (3, 4)),
    "running sums": (lambda x: (np.cumsum(x), np.cumsum(x, axis=0), np.cumprod(x, axis=1)), (3, 4)),
    "constant positions": (lambda x: (x[[2, 0, 0]], x[:, [1, 3]], x[[0, 1], [2, 3]]), (3, 4)),
    "masks": (lambda x: np.where(x > 0, x, -1.0), (3, 4)),
    "own positions": (lambda x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1), (3, 4)),
    "tiles and repeats": (lambda x: (np.tile(x, 2), np.repeat(x, 2), np.roll(x, 1), np.pad(x, 1)), (4,)),
    "linear algebra": (
        lambda x: (np.linalg.inv(x @ x.T + np.eye(3)), np.linalg.det(x @ x.T), np.linalg.norm(x)),
        (3, 4),
    ),
}


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", UNARY)
def test_one_argument(name: str, axis: int) -> None:
    function, shape = UNARY[name]
    axis = axis % (len(shape) + 1)
    assert_maps(function, (drawn(shape, axis),), (axis,))


BINARY: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = {
    "arithmetic": (lambda a, b: a * b + a, (3, 4), (4,)),
    "matrix times matrix": (lambda a, b: a @ b, (3, 4), (4, 2)),
    "matrix times vector": (lambda a, b: a @ b, (3, 4), (4,)),
    "vector times matrix": (lambda a, b: a @ b, (4,), (4, 2)),
    "vector times vector": (lambda a, b: a @ b, (4,), (4,)),
    "stack times matrix": (lambda a, b: a @ b, (5, 3, 4), (4, 2)),
    "stack times stack": (lambda a, b: a @ b, (5, 3, 4), (5, 4, 2)),
    "stacks that broadcast": (lambda a, b: a @ b, (2, 1, 3, 4), (5, 4, 2)),
    "vector times stack": (lambda a, b: a @ b, (4,), (5, 4, 2)),
    "stack times vector": (lambda a, b: a @ b, (5, 3, 4), (4,)),
    "dot and inner": (lambda a, b: (np.dot(a, b), np.inner(a, b.T)), (2, 3, 4), (4, 4)),
    "outer": (lambda a, b: np.outer(a, b), (3,), (4,)),
    "einsum": (lambda a, b: (np.einsum("ij,jk->ki", a, b), np.einsum("ij,jk", a, b)), (3, 4), (4, 2)),
    "joins": (joined, (3,), (4,)),
    "writes": (patched, (2, 3), (4,)),
    "fmod": (np.fmod, (3, 4), (4,)),
    "searches": (lambda a, b: np.searchsorted(np.sort(a), b), (5,), (4,)),
    "solve": (lambda a, b: np.linalg.solve(a + 5 * np.eye(3), b), (3, 3), (3,)),
    "ufunc without a kernel": (lambda a, b: np.nextafter(a, b), (3, 4), (4,)),
}


@pytest.mark.parametrize("axes", batches(True, True))
@pytest.mark.parametrize("name", BINARY)
def test_two_arguments(name: str, axes: tuple[Any, ...]) -> None:
    function, *shapes = BINARY[name]
    arguments = tuple(drawn(s, axis, seed) for seed, (s, axis) in enumerate(zip(shapes, axes, strict=True)))
    assert_maps(function, arguments, axes)


GATHERS: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "rows": (lambda x, i, j: x[i], (4, 5), (3,), ()),
    "columns": (lambda x, i, j: x[:, i], (4, 5), (2, 3), ()),
    "pairs": (lambda x, i, j: x[i, j], (4, 5), (3,), (3,)),
    "pairs that broadcast": (lambda x, i, j: x[i, j], (4, 5), (3, 1), (2,)),
    "pairs apart": (lambda x, i, j: x[i, :, j], (4, 2, 5), (3,), (3,)),
    "in the middle": (lambda x, i, j: x[:, i, j], (2, 4, 5), (3,), (3,)),
    "one place": (lambda x, i, j: x[i], (4, 5), (), ()),
    "slices and places": (lambda x, i, j: x[1:, ::-1][:, i], (4, 5), (3,), ()),
    "negative": (lambda x, i, j: x[i - 4, j], (4, 5), (3,), (3,)),
}


@pytest.mark.parametrize("axes", batches(True, True, True))
@pytest.mark.parametrize("name", GATHERS)
def test_computed_positions(name: str, axes: tuple[Any, ...]) -> None:
    function, source, first, second = GATHERS[name]
    arguments = (drawn(source, axes[0]), drawn(first, axes[1], 1, np.int64), drawn(second, axes[2], 2, np.int32))
    assert_maps(function, arguments, axes, tolerance=(0.0, 0.0), interpret=axes != (0, 0, 0))


def test_a_position_out_of_bounds_is_an_error() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        tj.vmap(lambda x, i: x[i])(np.ones((3, 4)), np.array([0, 4, 1]))


def test_scattered_additions() -> None:
    """The rule of scatter_add, which derivatives of gathers are made of."""
    rng = np.random.default_rng(0)

    def picked(x, i, w):
        return np.sum(x[:, i] * w)

    x, i, w = rng.normal(size=(SIZE, 2, 5)), rng.integers(0, 5, (SIZE, 4)), rng.normal(size=(SIZE, 4))
    for axes in batches(True, True, True):
        arguments = tuple(a if axis == 0 else a[0] for a, axis in zip((x, i, w), axes, strict=True))
        expected = np.stack(
            [
                tj.grad(picked)(*(a if axis is None else a[place] for a, axis in zip(arguments, axes, strict=True)))
                for place in range(SIZE)
            ]
        )
        np.testing.assert_allclose(tj.vmap(tj.grad(picked), in_axes=axes)(*arguments), expected, 1e-14)


# ---- programs


REFUSED = {
    "adam_step": "all examples share",
    "kmeans_masked": "bool()",
    "jacobi_solve": "bool()",
    "newton_cube_roots": "bool()",
    "histogram_equalization": "different shapes",
    "mask_clean": "different shapes",
    "mask_counts": "different shapes",
    "pagerank": "different shapes",
    "pagerank_step": "different shapes",
}
"""Programs that one example cannot stand for, and what the error says."""


@pytest.mark.parametrize("program", ALL, ids=lambda p: p.name)
def test_programs(program: Program) -> None:
    examples: list[list[Any]] = []
    for seed in range(SIZE):
        examples.append([])
        tree = flatten(program.make_arguments(np.random.default_rng(seed), 9), examples[-1])
    axes = [0 if isinstance(leaf, np.ndarray) and leaf.ndim else None for leaf in examples[0]]
    if not any(axis == 0 for axis in axes) or program.name == "mandelbrot":
        pytest.skip("no arrays among the arguments, or of other shapes in each example")
    pairs = list(zip(zip(*examples, strict=True), axes, strict=True))
    arguments = rebuild(tree, [np.stack(column) if axis == 0 else column[0] for column, axis in pairs])
    rows: list[list[Any]] = []
    changed: list[list[Any]] = []
    one = LEAF
    with np.errstate(all="ignore"):
        for place in range(SIZE):
            own = rebuild(tree, [copy.deepcopy(column[place] if axis == 0 else column[0]) for column, axis in pairs])
            rows.append([])
            one = flatten(program.function(*own), rows[-1])
            changed.append([])
            flatten(own, changed[-1])
        mapped = tj.vmap(program.function, in_axes=rebuild(tree, list(axes)))
        if program.name in REFUSED:
            with pytest.raises(NotBatchable, match=REFUSED[program.name].replace("(", r"\(").replace(")", r"\)")):
                mapped(*arguments)
            return
        actual = mapped(*arguments)
    expected = rebuild(one, [None if column[0] is None else np.stack(column) for column in zip(*rows, strict=True)])
    tolerance = program.tolerance if program.tolerance[0] > 1e-9 else (1e-9, 1e-11)
    assert_same(actual, expected, tolerance, program.name)
    if program.mutates:
        left: list[Any] = []
        flatten(arguments, left)
        for leaf, column, axis in zip(left, zip(*changed, strict=True), axes, strict=True):
            if axis == 0:
                assert_same(leaf, np.stack(column), tolerance, f"{program.name}'s argument")


# ---- axes, pytrees, nesting


def test_in_axes_and_out_axes() -> None:
    x, y = drawn((4,), 1), drawn((2, 4), 2, 1)
    f = lambda a, b: (a + b, a.sum())  # noqa: E731
    rows = [f(x[:, k], y[:, :, k]) for k in range(SIZE)]
    expected = (np.stack([r[0] for r in rows], 1), np.stack([r[1] for r in rows]))
    for in_axes, out_axes in [((1, 2), (1, 0)), ((-1, -1), (-2, -1)), ([1, 2], [1, 0])]:
        assert_same(tj.vmap(f, in_axes, out_axes)(x, y), expected, CLOSE, str(in_axes))
    one_axis = tj.vmap(lambda a: (a, 2 * a), out_axes=-1)(y.T)
    last = np.moveaxis(y.T, 0, -1)
    assert_same(one_axis, (last, 2 * last), CLOSE, "-1 for both results")
    shared = tj.vmap(lambda a, b: (a * 2, b + 1, a * b), (None, 0), (None, 0, 0))(2.0, x.T)
    assert shared[0] == 4.0
    assert_same(shared[1:], (x.T + 1, 2.0 * x.T), CLOSE, "out_axes None")


def test_pytrees() -> None:
    parameters = {"w": drawn((4, 2), 0), "layers": [(drawn((2,), 0, 1), 0.5)]}
    axes = ({"w": 0, "layers": [(0, None)]}, None)

    def f(p, x):
        b, scale = p["layers"][0]
        return {"out": [x @ p["w"] * scale + b], "norm": (np.sum(b**2), None)}

    x = drawn((4,), None, 2)
    actual = tj.vmap(f, axes, {"out": 1, "norm": (0, None)})(parameters, x)
    outs = [x @ w * 0.5 + b for w, b in zip(parameters["w"], parameters["layers"][0][0], strict=True)]
    norms = np.sum(parameters["layers"][0][0] ** 2, 1)
    assert_same(actual, {"out": [np.stack(outs, 1)], "norm": (norms, None)}, CLOSE, "pytree")
    with pytest.raises(ValueError, match=r"in_axes=.* does not match.*a dict of 1 \('w'\) is given"):
        tj.vmap(f, ({"w": 0}, None))(parameters, x)


def test_keyword_arguments_are_mapped_over_axis_0() -> None:
    x, y = drawn((4,), None), drawn((), 0, 1)
    np.testing.assert_array_equal(tj.vmap(lambda x, y: x * y, in_axes=None)(x, y=y), np.stack([x * v for v in y]))


def test_nested() -> None:
    x, y = drawn((4,), 0), drawn((4,), 0, 1)
    pairs = tj.vmap(tj.vmap(lambda a, b: np.sqrt(np.sum((a - b) ** 2)), (None, 0)), (0, None))
    expected = np.sqrt(np.sum((x[:, None] - y[None]) ** 2, axis=2))
    np.testing.assert_allclose(pairs(x, y), expected, 1e-14)
    cube = tj.vmap(tj.vmap(tj.vmap(lambda a, b, c: a * b - c, (0, None, None)), (None, 0, None)), (None, None, 0))
    a, b, c = np.arange(2.0), np.arange(3.0), np.arange(4.0)
    np.testing.assert_array_equal(cube(a, b, c), a * b[:, None] - c[:, None, None])
    inner_axes = tj.vmap(lambda m: tj.vmap(np.sort, in_axes=1, out_axes=1)(m))(drawn((4, 2), 0))
    np.testing.assert_array_equal(inner_axes, np.sort(drawn((4, 2), 0), axis=1))


def test_jit_on_either_side_and_closures() -> None:
    scale, x = np.arange(4.0), drawn((4,), 0)
    expected = np.sum(x * scale, axis=1)
    for mapped in (
        tj.jit(tj.vmap(lambda r: np.sum(r * scale))),
        tj.vmap(tj.jit(lambda r: np.sum(r * scale))),
        tj.jit(lambda v: tj.vmap(lambda r: np.sum(r * scale))(v)),
        tj.jit(lambda v: 2 * tj.vmap(lambda r: np.sum(r * v[0] * 0 + r * scale))(v) / 2),
    ):
        np.testing.assert_allclose(mapped(x), expected, 1e-14)
    scale = scale + 1  # a closure that changes is seen
    mapped = tj.vmap(lambda r: np.sum(r * scale))
    np.testing.assert_allclose(mapped(x), np.sum(x * scale, axis=1), 1e-14)
    scale = scale * 2
    np.testing.assert_allclose(mapped(x), np.sum(x * scale, axis=1), 1e-14)


offset = 1.0


def shifted(a):
    new = np.zeros(2)
    new[1] = a + offset
    return new


def test_globals_are_seen_through_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(6.0).reshape(2, 3)
    wrapped = [tj.vmap(tj.vmap(shifted)), tj.jit(tj.vmap(tj.vmap(shifted))), tj.vmap(tj.vmap(tj.jit(shifted)))]
    for value in (1.0, 5.0):
        monkeypatch.setitem(globals(), "offset", value)
        for function in wrapped:
            np.testing.assert_array_equal(function(x), np.stack([np.zeros((2, 3)), x + value], axis=-1))


def test_a_new_size_neither_traces_nor_compiles() -> None:
    mapped = tj.vmap(lambda r: np.exp(r - np.max(r)) / np.sum(np.exp(r - np.max(r))))
    for count in (2, 3, 7, 100):
        x = np.random.default_rng(count).normal(size=(count, 5))
        np.testing.assert_allclose(mapped(x).sum(axis=1), np.ones(count), 1e-14)
    assert mapped.compiled.stats.traces == 1


@pytest.mark.parametrize("count", [0, 1])
def test_batches_of_none_and_one(count: int) -> None:
    x = np.ones((count, 4))
    mapped = tj.vmap(lambda r: (r * 2, r.sum(), r[[1, 2]], r @ np.ones((4, 2)), np.sort(r)))
    expected = (x * 2, x.sum(axis=1), x[:, [1, 2]], x @ np.ones((4, 2)), x)
    assert_same(mapped(x), expected, CLOSE, f"{count} examples")


def test_calls_that_end_a_segment() -> None:
    x = drawn((5,), 0)

    def f(r):
        low, middle = np.percentile(r, [10, 50])
        centred = (r - middle) * 2
        values, vectors = np.linalg.eigh(np.outer(centred, centred))
        return centred + low, values, np.abs(vectors), np.tril(np.ones((2, 2))) * r[0]

    assert_maps(f, (x,), (0,), tolerance=(1e-9, 1e-9))
    assert_maps(lambda m: tj.vmap(np.linalg.inv)(m), (drawn((2, 3, 3), 0),), (0,), tolerance=(1e-9, 1e-9))
    after = tj.jit(lambda v: float(tj.vmap(lambda r: np.percentile(r, 50) * r)(v).sum()) + 1)
    assert math.isclose(after(x), np.sum(np.median(x, axis=1)[:, None] * x) + 1)


# ---- memory


def test_writes_to_mapped_arguments_are_seen() -> None:
    def f(r, s):
        r[1:] *= s
        return r.sum()

    for axis in (0, 1):
        x = drawn((4,), axis)
        before = np.moveaxis(x.copy(), axis, 0)
        total = tj.vmap(f, (axis, 0))(x, np.arange(3.0))
        before[:, 1:] *= np.arange(3.0)[:, None]
        np.testing.assert_array_equal(np.moveaxis(x, axis, 0), before)
        np.testing.assert_allclose(total, before.sum(axis=1), 1e-14)


def test_writes_to_shared_arrays_are_refused() -> None:
    def f(r, c):
        c[0] = 1.0
        return r

    c = np.zeros(2)
    with pytest.raises(NotBatchable, match=r"f writes to an array that all examples share \(at .*test_vmap.py:\d+\)"):
        tj.vmap(f, (0, None))(np.ones(3), c)
    np.testing.assert_array_equal(c, np.zeros(2))

    def twice(a, b):
        a[0] = 1.0
        return a + b

    x = np.zeros((2, 2))
    with pytest.raises(NotBatchable, match="memory another argument shares"):
        tj.jit(lambda v: tj.vmap(twice)(v, v))(x)


# ---- errors


def branches(r):
    if r[0] > 1:
        return r
    return -r


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (branches, r"bool\(\) at .*test_vmap.py:\d+, inside vmap\(branches\).*np.where.*tracejit.cond"),
        (lambda r: r * float(r[0]), r"float\(\) at .*arithmetic on it needs no float"),
        (lambda r: np.zeros(int(r[0])), r"int\(\) at"),
        (lambda r: r[r > 1], r"different shapes for different examples \(\(0,\), \(2,\)\)"),
        (lambda r: np.random.normal() * r, r"np.random.*drawn once for all examples"),
    ],
)
def test_what_differs_between_examples_cannot_be_asked_for(function: Any, text: str) -> None:
    x = np.arange(6.0).reshape(3, 2)
    with pytest.raises(NotBatchable, match=text):
        tj.vmap(function)(x)
    with pytest.raises(NotBatchable, match=text):
        tj.jit(lambda v: tj.vmap(function)(v) + 1)(x)


def test_what_all_share_can_be_asked_for() -> None:
    limit = np.array(2.0)

    def f(r, n):
        shifted = r + 1
        if limit > 1:
            shifted = shifted * 2
        return shifted[: int(n)]

    x = np.arange(6.0).reshape(2, 3)
    mapped = tj.vmap(f, (0, None))
    np.testing.assert_array_equal(mapped(x, np.array(2)), (2 * (x + 1))[:, :2])
    limit[...] = 0
    np.testing.assert_array_equal(mapped(x, np.array(1)), (x + 1)[:, :1])


@pytest.mark.parametrize("disabled", [False, True])
@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((np.ones((3, 2)), np.ones(4)), {}, ValueError, r"0 \(p\) has shape \(3, 2\).*1 \(q\) has shape \(4,\)"),
        (([np.ones(3), np.ones(4)],), {}, ValueError, r"argument 0 \(p\)\[0\].*argument 0 \(p\)\[1\]"),
        ((np.ones(3), 2.0), {}, ValueError, r"argument 1 \(q\) is a float and has no axis 0.*in_axes=None"),
        ((np.ones(3),), {"in_axes": 1}, ValueError, r"argument 0 \(p\) is an array of shape \(3,\) and has no axis 1"),
        ((np.ones(3), np.ones(3)), {"in_axes": (0,)}, ValueError, r"in_axes=\(0,\) does not match"),
        ((np.ones(3),), {"in_axes": None}, ValueError, "no argument is mapped"),
        ((np.ones(3),), {"in_axes": "rows"}, TypeError, "in_axes must hold ints and None, not 'rows'"),
        ((np.ones(3),), {"out_axes": 1}, ValueError, "result has 1 axes with the mapped one, which cannot be axis 1"),
        ((np.arange(3.0),), {"out_axes": None}, ValueError, "out_axes=None is for results that are the same"),
        ((np.ones(3),), {"out_axes": (0, 0)}, ValueError, r"out_axes=\(0, 0\) does not match"),
    ],
)  # fmt: skip
def test_errors(arguments: Any, options: Any, error: type[Exception], text: str, disabled: bool) -> None:
    def first(p, q=None):
        return p

    mapped = tj.vmap(first, **options)
    with tj.disable_jit() if disabled else nullcontext(), pytest.raises(error, match=text):
        mapped(*arguments)


# ---- without a trace


def test_the_loop_where_jit_is_disabled_or_tracing_impossible() -> None:
    x, y = drawn((4,), 1), drawn((2,), None, 1)
    f = lambda a, b: {"sum": a.sum() + b, "a": a * 2}  # noqa: E731
    how = ((1, None), {"sum": 1, "a": 0})
    expected = tj.vmap(f, *how)(x, y)
    with tj.disable_jit():
        assert_same(tj.vmap(f, *how)(x, y), expected, CLOSE, "disabled")
    calls = 0

    def counting(a):
        nonlocal calls
        calls += 1
        return a * 2 if a > 1 else a

    np.testing.assert_array_equal(tj.vmap(counting)(np.arange(4.0)), [0.0, 1.0, 4.0, 6.0])
    assert calls == 4
    with tj.disable_jit(), pytest.raises(ValueError, match="no examples"):
        tj.vmap(np.sin)(np.ones(0))


# ---- derivatives


def loss(w, x, y):
    hidden = np.tanh(x @ w["in"])
    return np.sum((hidden @ w["out"] - y) ** 2)


def test_gradients_of_each_example_and_of_the_mapped_function() -> None:
    w = {"in": drawn((4, 3), None), "out": drawn((3,), None, 1)}
    x, y = drawn((4,), 0, 2), drawn((), 0, 3)
    each = tj.vmap(tj.grad(loss), (None, 0, 0))(w, x, y)
    rows = [tj.grad(loss)(w, a, b) for a, b in zip(x, y, strict=True)]
    expected = {key: np.stack([row[key] for row in rows]) for key in w}
    assert_same(each, expected, CLOSE, "per example")
    whole = tj.grad(lambda w, x, y: np.sum(tj.vmap(loss, (None, 0, 0))(w, x, y)))(w, x, y)
    assert_same(whole, {key: value.sum(axis=0) for key, value in expected.items()}, CLOSE, "of the sum")
    compiled = tj.jit(tj.vmap(tj.grad(loss), (None, 0, 0)))(w, x, y)
    assert_same(compiled, expected, CLOSE, "jitted")


def test_second_derivatives_of_each_example() -> None:
    second = tj.vmap(tj.grad(tj.grad(lambda v: v**3 * np.sin(v))))
    v = np.linspace(0.1, 2, 5)
    expected = 6 * v * np.sin(v) + 6 * v**2 * np.cos(v) - v**3 * np.sin(v)
    np.testing.assert_allclose(second(v), expected, 1e-13)
    mixed = tj.grad(lambda s: np.sum(tj.vmap(tj.grad(lambda v: np.sin(s * v)))(v)))(0.5)
    np.testing.assert_allclose(mixed, np.sum(np.cos(0.5 * v) - 0.5 * v * np.sin(0.5 * v)), 1e-13)


def test_a_call_without_derivative_is_refused_inside_vmap_too() -> None:
    with pytest.raises(TypeError, match=r"np\.unique has no derivative"):
        tj.vmap(tj.grad(lambda r: np.sum(r * np.unique(r))))(drawn((5,), 0))


CALLS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "for each example": (lambda a, b: np.sum(np.dot(a, b) ** 2), (2, 3, 4)),
    "for all at once": (lambda a, b: np.sum(np.sort(a, axis=1) * np.cumsum(a, axis=0)) * b[0, 0], (3, 4)),
    "of sums of products": (lambda a, b: np.sum(np.einsum("ij,jk->ik", a, b) ** 2), (3, 4)),
    "of stacks": (lambda a, b: np.sum(np.linalg.inv(a + 9 * b) ** 2), (4, 4)),
}


@pytest.mark.parametrize("axes", batches(True, True))
@pytest.mark.parametrize("name", CALLS)
def test_derivatives_of_calls(name: str, axes: tuple[Any, ...]) -> None:
    function, shape = CALLS[name]
    a, b = drawn(shape, axes[0]), np.eye(4) + 0.1 * drawn((4, 4), axes[1], 1)
    rows = []
    for place in range(SIZE):
        one = tuple(v if axis is None else v[place] for v, axis in zip((a, b), axes, strict=True))
        rows.append(tj.grad(function, (0, 1))(*one))
    expected = tuple(map(np.stack, zip(*rows, strict=True)))
    assert_same(tj.vmap(tj.grad(function, (0, 1)), axes)(a, b), expected, (1e-9, 1e-9), "vmap of grad")
    whole = tj.grad(lambda a, b: np.sum(tj.vmap(function, axes)(a, b)), (0, 1))(a, b)
    summed = tuple(v if axis == 0 else v.sum(axis=0) for v, axis in zip(expected, axes, strict=True))
    assert_same(whole, summed, (1e-9, 1e-9), "grad of vmap")


def test_custom_rules() -> None:
    @tj.custom_vjp
    def clipped(v, low):
        return np.maximum(v, low)

    clipped.defvjp(lambda v, low: (np.maximum(v, low), (v,)), lambda held, g: (g * held[0] * 10, None))
    x = drawn((4,), 0)
    total = lambda r: np.sum(clipped(r, 0.0) * np.arange(4.0))  # noqa: E731
    expected = 10 * x * np.arange(4.0)
    np.testing.assert_allclose(tj.vmap(tj.grad(total))(x), expected, 1e-14)
    np.testing.assert_allclose(tj.grad(lambda v: np.sum(tj.vmap(total)(v)))(x), expected, 1e-14)
    both = tj.grad(lambda v: np.sum(tj.vmap(tj.vmap(total))(v)))(x[None])
    np.testing.assert_allclose(both, expected[None], 1e-14)


# ---- structured control flow


def newton(a):
    return while_loop(
        lambda c: np.abs(c[0] ** 2 - a) > 1e-10, lambda c: ((c[0] + a / c[0]) / 2, c[1] + 1), (1.0 + a * 0, 0)
    )


def table_walk(x, n):
    """Leaves the loop just before it would read out of bounds."""
    return while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] + x[c[0]]), (0, 0.0))


LOOPS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "scan": (lambda x, s: scan(lambda c, v: (c * s + v, c - v), 0.0, x), ((5,), ())),
    "reversed scan": (lambda x, s: scan(lambda c, v: (c + v * s, c), s, x, reverse=True), ((5,), ())),
    "scan of vectors": (lambda x, s: scan(lambda c, v: (c + v, np.sum(c * v)), s, x), ((5, 2), (2,))),
    "scan of a constant": (lambda x, s: scan(lambda c, v: (c + x[0], c), s, np.arange(3.0)), ((5,), ())),
    "carry that becomes batched late": (
        lambda x, s: scan(lambda c, v: ((c[1], c[2], c[2] + v), c[0]), (0.0, 0.0, 0.0), x + s),
        ((5,), ()),
    ),
    "counted": (lambda x, s: fori_loop(0, 4, lambda i, c: c * s + x[i], 0.0), ((5,), ())),
    "while on what all share": (
        lambda x, s: while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] + x[0]), (0, s)),
        ((5,), ()),
    ),
    "nested": (
        lambda x, s: scan(lambda c, v: (fori_loop(0, 2, lambda i, d: d * s + v, c), c), 1.0, x),
        ((5,), ()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("axes", batches(True, True))
@pytest.mark.parametrize("name", LOOPS)
def test_loops(name: str, axes: tuple[Any, ...]) -> None:
    function, shapes = LOOPS[name]
    arguments = tuple(drawn(s, axis, seed) for seed, (s, axis) in enumerate(zip(shapes, axes, strict=True)))
    rows: list[list[Any]] = []
    for place in range(SIZE):
        one = tuple(a if axis is None else np.asarray(a[place]) for a, axis in zip(arguments, axes, strict=True))
        rows.append([])
        tree = flatten(interpreted(function, *one), rows[-1])
    expected = rebuild(tree, [np.stack(column) for column in zip(*rows, strict=True)])
    assert_same(interpreted(tj.vmap(function, axes), *arguments), expected, CLOSE, name)
    if axes == (0, 0):
        assert_same(tj.vmap(function, axes)(*arguments), expected, CLOSE, f"{name}, compiled")


def test_each_example_leaves_a_while_loop_by_itself() -> None:
    a = np.array([2.0, 9.0, 1e-4, 1.0])
    root, rounds = interpreted(tj.vmap(newton), a)
    alone = [interpreted(newton, v) for v in a]
    np.testing.assert_array_equal(root, [r for r, _ in alone])
    np.testing.assert_array_equal(rounds, [n for _, n in alone])
    assert len(set(rounds.tolist())) > 2
    x, n = np.arange(1.0, 4.0), np.array([3, 1, 0])
    count, total = interpreted(tj.vmap(table_walk, (None, 0)), x, n)
    np.testing.assert_array_equal(total, [6.0, 1.0, 0.0])
    np.testing.assert_array_equal(count, n)


BRANCHES: dict[str, tuple[Callable[..., Any], Any]] = {
    "cond": (lambda p, x: cond(p, lambda v: v.sum(), lambda v: v[0] * 2, x), np.array([True, False, True])),
    "switch": (
        lambda p, x: switch(p, [lambda v: v, lambda v: -v, lambda v: v * v[0]], x),
        np.array([2, 0, 1]),
    ),
    "of pairs": (lambda p, x: cond(p, lambda v: (v, 1.0), lambda v: (v * 0, v[1]), x), np.array([False, False, True])),
    "within a branch": (
        lambda p, x: cond(p > 0, lambda v: cond(p > 1, lambda u: u, lambda u: -u, v), lambda v: v * 0, x),
        np.array([2, 0, 1]),
    ),
    "reads out of bounds where it is not taken": (
        lambda p, x: cond(p < 4, lambda v: v[p], lambda v: v[p - 10], x),
        np.array([1, 12, 3]),
    ),
    "an endless loop where it is not taken": (
        lambda p, x: cond(p > 0, lambda v: while_loop(lambda c: c < 5, lambda c: c + p, v[0]), lambda v: v[1], x),
        np.array([1, 0, -1]),
    ),
    "a scan in a branch": (
        lambda p, x: cond(p > 0, lambda v: scan(lambda c, e: (c + v[p], e), 0.0, v)[0], lambda v: v[0], x),
        np.array([1, -7, 2]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("axes", batches(True, True))
@pytest.mark.parametrize("name", BRANCHES)
def test_branches(name: str, axes: tuple[Any, ...]) -> None:
    function, choices = BRANCHES[name]
    choice = choices if axes[0] == 0 else np.asarray(choices[0])
    arguments = (choice, drawn((4,), axes[1], 1))
    rows: list[list[Any]] = []
    for place in range(SIZE):
        one = tuple(a if axis is None else np.asarray(a[place]) for a, axis in zip(arguments, axes, strict=True))
        rows.append([])
        tree = flatten(interpreted(function, *one), rows[-1])
    expected = rebuild(tree, [np.stack(column) for column in zip(*rows, strict=True)])
    assert_same(interpreted(tj.vmap(function, axes), *arguments), expected, CLOSE, name)
    if axes == (0, 0):
        assert_same(tj.vmap(function, axes)(*arguments), expected, CLOSE, f"{name}, compiled")


def test_derivatives_of_loops_and_branches() -> None:
    x = 1.5 + drawn((5,), 0)

    def rolled(r):
        return scan(lambda c, v: (c * np.sin(v) + v, None), 0.0, r)[0]

    def chosen(r):
        return cond(r[0] > 1.5, lambda v: np.sqrt(v[0] - 1.5), lambda v: v[1] ** 2, r)

    for function in (rolled, chosen):
        expected = np.stack([tj.grad(function)(r) for r in x])
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(tj.vmap(tj.grad(function))(x), expected, 1e-12)
        whole = tj.grad(lambda v, function=function: np.sum(tj.vmap(function)(v)))(x)
        np.testing.assert_allclose(whole, expected, 1e-12)


def test_a_loop_over_a_mapped_function() -> None:
    x = drawn((4,), 0)
    total, _ = tj.jit(lambda v: scan(lambda c, r: (c + tj.vmap(lambda a, b: a * b)(c, r), None), np.ones(4), v))(x)
    np.testing.assert_allclose(total, np.prod(1 + x, axis=0), 1e-13)
