"""Calls by emitted code with matrix products, views, dicts and copies to arguments: NumPy's very bits, and no leaks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.native_calls import NATIVE, heat, native_calls, run_python, same, taken_natively
from tests.test_native_entry_leaks import assert_no_leak
from tracejit.driver import function as function_module
from tracejit.runtime import interpreter_abi

RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is a hot one."""
    monkeypatch.setattr(function_module, "HOT_CALLS", 1)


def matrix(*shape: int, dtype: Any = float) -> Any:
    return (RNG.normal(size=shape) * 9).astype(dtype)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "every second column": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backwards": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "rows backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
}


def bits(found: Any, wanted: Any) -> None:
    """The same bits."""
    assert found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_layouts(left: str, right: str) -> None:
    jitted = tj.jit(np.matmul)
    for m, n, p in [(3, 4, 5), (17, 33, 9), (70, 80, 90)]:
        a, b = LAYOUTS[left](matrix(m, n)), LAYOUTS[right](matrix(n, p))
        bits(heat(jitted, a, b), np.matmul(a, b))


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "i4", "i8", "u1", "?", "f2"])
def test_dtypes(dtype: str) -> None:
    jitted, a, b = tj.jit(lambda a, b: a @ b), matrix(6, 7, dtype=dtype), matrix(7, 4, dtype=dtype)
    for _ in range(4):
        found = jitted(a, b)
    bits(found, a @ b)


@pytest.mark.parametrize(
    "shape", [(0, 4, 5), (4, 0, 5), (4, 5, 0), (1, 4, 5), (4, 1, 5), (4, 5, 1), (1, 4, 1), (1, 1, 1)]
)
def test_empty_and_unit_sizes(shape: tuple[int, int, int]) -> None:
    m, n, p = shape
    a, b = matrix(m, n), matrix(n, p)
    jitted = tj.jit(np.matmul)
    bits(heat(jitted, a, b), a @ b)
    bits(jitted(a, b), a @ b)
    turned = tj.jit(lambda a, b: a.T @ b.T)
    bits(heat(turned, b, a), b.T @ a.T)


def test_vectors() -> None:
    a, v, w = matrix(5, 7), matrix(7), matrix(5)
    many = tj.jit(lambda a, v, w: (a @ v, w @ a, a.T @ w, v @ v, np.dot(w, w) * v, w[::-1] @ a[:, ::2]))
    found, wanted = heat(many, a, v, w), many.function(a, v, w)
    for one, other in zip(found, wanted, strict=True):
        assert type(one) is type(other)
        np.testing.assert_array_equal(one, other)


def test_a_matrix_with_its_own_transpose() -> None:
    """NumPy takes another routine of BLAS for it, and gives a symmetric result."""
    jitted, a = tj.jit(lambda a: (a @ a.T, a.T @ a)), matrix(40, 30)
    for found, wanted in zip(heat(jitted, a), (a @ a.T, a.T @ a), strict=True):
        bits(found, wanted)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 3, 5), (4, 5, 2)),
        ((3, 5), (4, 5, 2)),
        ((4, 3, 5), (5, 2)),
        ((2, 1, 3, 5), (4, 5, 2)),
        ((2, 4, 3, 5), (2, 4, 5, 2)),
        ((2, 3, 4, 3, 5), (1, 5, 2)),
        ((2, 4, 3, 5), (5,)),
        ((5,), (2, 4, 5, 3)),
        ((0, 3, 5), (0, 5, 2)),
        ((2, 0, 3, 5), (2, 0, 5, 2)),
    ],
    ids=str,
)
def test_batches(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = (matrix(*shape) for shape in shapes)
    jitted = tj.jit(np.matmul)
    bits(heat(jitted, a, b), a @ b)
    if a.ndim > 2:
        turned = a[:, ..., ::-1]
        for _ in range(3):  # a stack that meets one matrix is copied first, which NumPy does
            np.testing.assert_allclose(jitted(turned, b), turned @ b, rtol=1e-12)


def test_new_sizes_take_the_same_code() -> None:
    jitted = tj.jit(lambda a, b, c: np.maximum(a @ b + c, 0) @ b.T)
    heat(jitted, matrix(3, 4), matrix(4, 5), matrix(5))
    for m, n, p in [(2, 2, 2), (9, 30, 4), (50, 60, 70)]:
        assert taken_natively(jitted, matrix(m, n), matrix(n, p), matrix(p)) == NATIVE
    assert jitted.stats.traces == 1
    assert not taken_natively(jitted, matrix(400, 5), matrix(5, 200), matrix(200))  # memory from the pool


def test_sizes_that_do_not_fit() -> None:
    jitted = tj.jit(lambda a, b: a @ b + 1)
    heat(jitted, matrix(3, 4), matrix(4, 5))
    with pytest.raises(ValueError, match="mismatch in its core dimension"):
        jitted(matrix(3, 4), matrix(3, 5))
    assert taken_natively(jitted, matrix(3, 4), matrix(4, 5)) == NATIVE


def test_explain_says_what_keeps_a_product_from_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter_abi.product_loop.cache_clear()
    monkeypatch.setattr(interpreter_abi, "native_entry_works", lambda: False)
    jitted, a = tj.jit(lambda a: a @ a), matrix(3, 3)
    reason = jitted.explain(a).native
    interpreter_abi.product_loop.cache_clear()
    assert reason == "no, because of a product of float64 and float64" if NATIVE else "TRACEJIT_PORTABLE" in reason
    bits(jitted(a), a @ a)


# ---- views, dicts, copies to arguments


VIEWS: dict[str, Callable[..., Any]] = {
    "a reshaped product": lambda a: (a @ a.T).reshape(-1),
    "a part of a product": lambda a: (a @ a.T)[1:, ::2],
    "the transpose of a product": lambda a: (a @ a.T + 1).T,
    "two views in one memory": lambda a: (p := a @ a.T, p[1:], p.T)[1:],
    "a product and a view of it": lambda a: (p := a @ a.T, p[0]),
    "a view of an argument": lambda a: (a[1:].copy(), a[:2] @ a.T[:, 1:]),
    "a product of a reshaped product": lambda a: (a @ a.T).reshape(2, -1) @ np.ones((a.shape[0] ** 2 // 2, 3)),
    "a kernel on a reshaped product": lambda a: (a @ a.T).reshape(2, -1).sum(axis=1),
    "tensordot": lambda a: np.tensordot(a.reshape(2, -1, a.shape[1]), a.T, 1),
    "a diagonal": lambda a: np.diagonal(a @ a.T) @ a,
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    jitted, a = tj.jit(VIEWS[name]), matrix(4, 6)
    for _ in range(5):
        found = jitted(a)
    wanted = VIEWS[name](a)
    results = [r if isinstance(r, tuple) else (r,) for r in (found, wanted)]
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-12)
    for array in results[0]:
        array[...] = 7.0  # its own memory, which nobody else reads later
    for one, other in zip(jitted(a) if isinstance(found, tuple) else (jitted(a),), results[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_view_holds_what_it_looks_at() -> None:
    jitted, a = tj.jit(lambda a: (a @ a.T).reshape(-1)), matrix(8, 6)
    found = heat(jitted, a)
    held = [jitted(a) for _ in range(50)]
    assert found.flags.writeable and found.base is not None
    assert all(np.array_equal(one, found) for one in held)


def test_dicts() -> None:
    jitted = tj.jit(lambda d, x: {"out": x @ d["w"] + d["b"], "parts": [d["w"] * 2, {"b": d["b"]}]})
    x, d = matrix(3, 4), {"w": matrix(4, 2), "b": matrix(2)}
    same(heat(jitted, d, x), jitted.function(d, x))
    assert taken_natively(jitted, {"".join(("w",)): d["w"], "b": d["b"]}, x) == NATIVE
    assert not taken_natively(jitted, dict(reversed(d.items())), x)
    with pytest.raises(KeyError):
        jitted({"w": d["w"]}, x)
    with pytest.raises(KeyError):
        jitted({"w": d["w"], "c": d["b"]}, x)


def test_writes_to_arguments() -> None:
    """In place by a kernel, and by copies of what is computed first."""

    def step(a: Any, b: Any, x: Any) -> Any:
        total = np.sum(x)
        b[:] = a @ x
        a += np.outer(b, x)
        x *= total
        return total

    jitted = tj.jit(step)
    a, b, x = matrix(3, 4), matrix(3), matrix(4)
    expected = [value.copy() for value in (a, b, x)]
    heat(jitted, a, b, x)
    for _ in range(4):
        step(*expected)
    for found, wanted in zip((a, b, x), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_writes_to_what_lies_otherwise() -> None:
    def step(out: Any, a: Any) -> None:
        out[:] = a @ a.T

    jitted, a, wide = tj.jit(step), matrix(4, 5), np.zeros((4, 8))
    for _ in range(4):
        jitted(wide[:, ::2], a)
    np.testing.assert_array_equal(wide[:, ::2], a @ a.T)
    assert not wide[:, 1::2].any()


def test_arguments_that_share_memory() -> None:
    """Few pairs are compared one by one, many by a loop."""
    for count in (2, 20):

        def step(arrays: Any) -> None:
            for n, array in enumerate(arrays[1:]):
                array += arrays[n] * 2

        jitted = tj.jit(step)
        heat(jitted, [matrix(3) for _ in range(count)])
        for shared in [(0, count - 1), (0, 1), (count - 2, count - 1), None]:
            arrays = [matrix(3) for _ in range(count)]
            if shared:
                memory = matrix(5)
                arrays[shared[0]], arrays[shared[1]] = memory[:3], memory[2:]
            wanted = [value.copy() for value in arrays]
            if shared:
                memory = memory.copy()
                wanted[shared[0]], wanted[shared[1]] = memory[:3], memory[2:]
            before = native_calls(jitted)
            jitted(arrays)
            assert (native_calls(jitted) > before) == (NATIVE and shared is None)
            step(wanted)
            same(arrays, wanted)


# ---- leaks, threads


def test_nothing_leaks() -> None:
    def step(d: Any, x: Any) -> Any:
        h = np.maximum(x @ d["w"], 0)
        d["b"][:] = h.sum(axis=0)
        return {"h": h, "view": (h @ d["w"].T)[1:], "n": x.sum()}

    jitted, d, x = tj.jit(step), {"w": matrix(4, 5), "b": np.zeros(5)}, matrix(3, 4)
    heat(jitted, d, x)
    assert_no_leak(lambda: jitted(d, x), [d, d["w"], d["b"], x, x.dtype, None, "view", jitted], 20_000)
    narrow = {name: value.astype(np.float32) for name, value in d.items()}
    heat(jitted, narrow, x.astype(np.float32))

    def misses_first() -> None:
        jitted(d, x)

    assert_no_leak(misses_first, [narrow, narrow["w"], d, d["w"], x, None, jitted], 3000)


def test_threads() -> None:
    """The GIL is let go in large products; what stands in lists is held meanwhile."""
    jitted = tj.jit(lambda items: (items[0] @ items[1]) @ items[0].T + 1)
    first = matrix(60, 70), matrix(70, 70)
    heat(jitted, list(first))
    wrong: list[Any] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(300):
            n = int(rng.integers(2, 90))
            a, b = rng.normal(size=(n, n + 1)), rng.normal(size=(n + 1, n + 1))
            wanted, items = a @ b @ a.T + 1, [a, b]
            del a, b
            emptied.append(items)
            if not np.allclose(jitted(items), wanted, rtol=1e-12):
                wrong.append(n)

    def empty() -> None:
        while not done.is_set():
            if len(emptied) > 8:
                emptied.pop(0).clear()

    emptied: list[Any] = []
    done = threading.Event()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    cleaner = threading.Thread(target=empty)
    for thread in (*threads, cleaner):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    cleaner.join()
    assert not wrong


CHILD = """
import numpy as np, tracejit as tj
from tracejit.driver import function
function.HOT_CALLS = 1
def step(d, x):
    h = np.maximum(x @ d["w"], 0)
    d["b"][:] = h.sum(axis=0)
    return {"h": h, "view": (h @ d["w"].T)[1:], "n": x.sum()}
f = tj.jit(step)
for n in range(10_000):
    k = 2 + n % 50
    f({"w": np.ones((k, 7)), "b": np.zeros(7)}, np.ones((5, k)))
print(f.stats.native_calls[0])
"""


def test_a_debug_allocator_finds_nothing() -> None:
    count = int(run_python("-X", "dev", "-W", "ignore", "-c", CHILD, PYTHONMALLOC="debug"))
    assert count > 9000 if NATIVE else count == 0


def test_all_of_it_on_the_portable_path() -> None:
    if NATIVE:
        run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", __file__, TRACEJIT_PORTABLE="1")
