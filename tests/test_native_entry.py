"""Calls by emitted code: they give what the function gives, and fall back where they must.

Everything here holds on the portable path too; the last test runs this file on it.
"""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import math
import pickle
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.native_calls import NATIVE, ROOT, heat, native_calls, run_python, same, taken_natively
from tracejit.driver import function as function_module

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is a hot one."""
    monkeypatch.setattr(function_module, "HOT_CALLS", 1)


# ---- what `explain` says of it


@pytest.mark.skipif(not NATIVE, reason="the portable path serves all calls")
def test_explain_says_what_serves_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_module, "HOT_CALLS", 1000)
    f = tj.jit(lambda x: x * 2 + 1)
    assert f.explain(X).native == "not yet, it has not been called often enough"
    for _ in range(1000):
        f(X)
    assert "served by machine code: yes" in str(f.explain(X))


def test_explain_says_why_python_serves_a_call() -> None:
    reason = "a result that is a view" if NATIVE else "TRACEJIT_PORTABLE"
    assert reason in tj.jit(lambda x: x[1:]).explain(X).native


@pytest.mark.skipif(not NATIVE, reason="the portable path serves all calls")
def test_explain_says_that_segments_are_served_by_python() -> None:
    f = tj.jit(lambda x: x + 1 if x.sum() > 0 else x - 1)
    assert f.explain(X).native == "no, the function has several segments"


# ---- what it computes

X = RNG.normal(size=8)
M = RNG.normal(size=(3, 4))
TABLE = RNG.normal(size=8)

FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "affine": (lambda x: x * 2 + 1, (X,)),
    "float32": (lambda x: x * 2 + 1, (X.astype(np.float32),)),
    "eight": (lambda a, b, c, d, e, f, g, h: a + b + c + d + e + f + g + h, tuple(X + k for k in range(8))),
    "number": (lambda x, k: x * k, (X, 3)),
    "float number": (lambda x, k: x * k, (X, 2.5)),
    "bool number": (lambda x, k: x * k, (X, True)),
    "integers": (lambda x, k: x * k - 1, (np.arange(8), -3)),
    "numpy scalar": (lambda x, k: x + k, (X, np.float64(1.5))),
    "no dimensions": (lambda x, k: x + k, (X, np.array(1.5))),
    "sum": (np.sum, (X,)),
    "mean of a matrix": (lambda x: x.mean(), (M,)),
    "rows": (lambda x: x.sum(axis=1), (M,)),
    "columns": (lambda x: x.sum(axis=0), (M,)),
    "softmax": (lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(), (X,)),
    "two results": (lambda x: (x + 1, x.sum()), (X,)),
    "nested results": (lambda x: [x + 1, (x - 1, None), 3], (X,)),
    "the argument": (lambda x: (x, x + 1), (X,)),
    "broadcast": (lambda x, y: x + y, (M, M[0])),
    "length one": (lambda x, y: x + y, (M, M[:, :1].copy())),
    "strided": (lambda x: x * 2, (M[:, ::2],)),
    "transposed": (lambda x: x * 2, (M.T,)),
    "gathered": (lambda x, i: x[i] * 2, (X, np.array([3, 1, -1]))),
    "sliced": (lambda x: x[1:] - x[:-1], (X,)),
    "size as a number": (lambda x: x / x.shape[0], (X,)),
    "branch on a size": (lambda x: x + 1 if x.shape[0] > 3 else x - 1, (X,)),
    "slice by a number": (lambda x, k: x[:k] * 2, (X, 3)),
    "tuple": (lambda pair: pair[0] + pair[1], ((X, TABLE),)),
    "list": (lambda items: items[0] * items[1], ([X, TABLE],)),
    "string": (lambda x, how: x + 1 if how == "up" else x - 1, (X, "up")),
    "nothing": (lambda x, y: x + 1 if y is None else x + y, (X, None)),
    "global array": (lambda x: x * TABLE, (X,)),
    "loop": (lambda x, n: tj.fori_loop(0, n, lambda _, c: c * 0.5 + 1, x), (X, 5)),
    "empty": (lambda x: x * 2, (np.empty(0),)),
    "bools": (lambda x: x > 0, (X,)),
    "constant": (lambda x: x + np.array([1.0, 2.0, 3.0, 4.0]), (M,)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results(name: str) -> None:
    function, args = FUNCTIONS[name]
    jitted = tj.jit(function)
    same(heat(jitted, *args), function(*args))
    same(jitted(*args), function(*args))


@pytest.mark.parametrize("name", ["affine", "eight", "sum", "rows", "columns", "sliced", "size as a number"])
def test_new_sizes_take_the_same_code(name: str) -> None:
    function, args = FUNCTIONS[name]
    jitted = tj.jit(function)
    heat(jitted, *args)
    for repeat in (2, 3, 50):
        larger = [np.concatenate([a] * repeat) for a in args]
        assert taken_natively(jitted, *larger) == NATIVE
    assert jitted.stats.traces == 1


def test_a_result_is_new_each_time_and_owns_its_memory() -> None:
    jitted = tj.jit(lambda x: x + 1)
    first = heat(jitted, X)
    second = jitted(X)
    assert first is not second and not np.shares_memory(first, second)
    assert first.flags.owndata and first.flags.writeable and first.base is None


def test_writes_in_place() -> None:
    @tj.jit
    def step(x: Any, v: Any) -> None:
        x += v * 0.5

    x, v = X.copy(), TABLE.copy()
    assert heat(step, x, v) is None
    expected = X.copy()
    for _ in range(4):
        expected += v * 0.5
    np.testing.assert_array_equal(x, expected)
    locked = X.copy()
    locked.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        step(locked, v)
    np.testing.assert_array_equal(locked, X)


def test_shared_memory_is_numpys() -> None:
    @tj.jit
    def shift(x: Any, y: Any) -> None:
        x += y * 2

    heat(shift, X.copy(), TABLE.copy())
    memory, expected = np.arange(9.0), np.arange(9.0)
    shift(memory[1:], memory[:-1])
    shift.function(expected[1:], expected[:-1])
    np.testing.assert_array_equal(memory, expected)


# ---- what it does not take


class Subclass(np.ndarray[Any, Any]):
    """An array of another type."""


def misaligned() -> np.ndarray[Any, Any]:
    raw = np.zeros(8 * 8 + 1, np.uint8)
    found = raw[1:].view(np.float64)
    found[...] = X
    return found


def locked() -> np.ndarray[Any, Any]:
    found = X.copy()
    found.setflags(write=False)
    return found


@pytest.mark.parametrize(
    "value",
    [
        X[::2],
        X[::-1],
        np.broadcast_to(1.0, (8,)),
        X.astype(">f8"),
        X.astype(np.float32),
        X.astype(complex),
        np.arange(8),
        M,
        M.T,
        X[:1],
        X[:0],
        np.array(2.5),
        np.float64(2.5),
        2.5,
        3,
        True,
        X.view(Subclass),
        misaligned(),
        locked(),
        np.ma.masked_array(X, X > 0),
        np.arange(1e6),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}-{np.shape(value)}",
)
def test_other_arguments(value: Any) -> None:
    def scaled(x: Any) -> Any:
        return np.multiply(x, 2) + 1

    jitted = tj.jit(scaled)
    heat(jitted, X)
    found, wanted = jitted(value), scaled(value)
    assert type(found) is type(wanted)
    np.testing.assert_array_equal(found, wanted)
    same(jitted(X), scaled(X))


def test_numbers_at_the_edges() -> None:
    jitted = tj.jit(lambda x, k: x * k)
    heat(jitted, X, 2)
    for number in (0, -1, 2**53 + 1, 2**63 - 1, -(2**63)):
        assert taken_natively(jitted, X, number) == NATIVE
    for other in (True, 2.0, math.inf):
        taken_natively(jitted, X, other)
    floats = tj.jit(lambda x, k: x * k)
    heat(floats, X, 1.5)
    for number in (-0.0, math.inf, -math.inf, 1e308, 5e-324):
        assert taken_natively(floats, X, number) == NATIVE
    assert np.isnan(floats(X, math.nan)).all()
    with pytest.raises(OverflowError):
        jitted(X, 10**400)


def test_sizes_that_do_not_fit() -> None:
    jitted = tj.jit(lambda x, y: x + y)
    heat(jitted, X, TABLE)
    with pytest.raises(ValueError, match="broadcast"):
        jitted(X, TABLE[:5])
    assert not taken_natively(jitted, X, TABLE[:1])
    assert taken_natively(jitted, X, TABLE) == NATIVE


def test_huge_views_overflow_nothing() -> None:
    """The product of these sizes is no int64; nothing is allocated for it."""
    jitted = tj.jit(lambda x, y: x[:, None] * y[None, :] + 0.0)
    heat(jitted, X, TABLE)
    wide = np.broadcast_to(X[:1], (2**33,))
    with pytest.raises((MemoryError, ValueError)):
        jitted(wide, wide)


def test_large_work_goes_to_all_threads() -> None:
    jitted = tj.jit(lambda x: x * 2 + 1)
    heat(jitted, X)
    large = RNG.normal(size=300_000)
    assert not taken_natively(jitted, large)
    middle = RNG.normal(size=20_000)  # long enough to let go of the GIL
    assert taken_natively(jitted, middle) == NATIVE


def test_several_signatures() -> None:
    jitted = tj.jit(lambda x: x * 2)
    values = [X, X.astype(np.float32), np.arange(8), M, M.astype(np.float32)]
    for value in values:
        heat(jitted, value)
    for value in values * 3:
        assert taken_natively(jitted, value) == NATIVE


# ---- how it is called


def test_keywords() -> None:
    def combined(x: Any, y: Any, scale: float = 2.0) -> Any:
        return x * scale + y

    jitted = tj.jit(combined)
    same(heat(jitted, X, y=TABLE, scale=0.5), combined(X, TABLE, 0.5))
    assert taken_natively(jitted, X, y=X, scale=3.0) == NATIVE
    assert not taken_natively(jitted, X, scale=3.0, y=X)
    options = {"".join(("sc", "ale")): 3.0, "".join(("y",)): TABLE}
    same(jitted(X, **options), combined(X, **options))
    heat(jitted, X, TABLE)
    assert taken_natively(jitted, X, TABLE) == NATIVE


@pytest.mark.parametrize("args", [(), (X, X), (X, X, X)], ids=len)
def test_wrong_arguments_raise_pythons_error(args: tuple[Any, ...]) -> None:
    def single(x: Any) -> Any:
        return x + 1

    jitted = tj.jit(single)
    heat(jitted, X)
    with pytest.raises(TypeError) as wanted:
        single(*args)
    with pytest.raises(TypeError) as found:
        jitted(*args)
    assert str(wanted.value) in str(found.value)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        jitted(X, other=1)
    assert taken_natively(jitted, X) == NATIVE


def test_many_ways_to_call() -> None:
    jitted = tj.jit(lambda x, y: x - y)
    heat(jitted, X, TABLE)
    wanted = X - TABLE
    pair = [X, TABLE]
    for found in (
        jitted(X, TABLE),
        jitted(*pair),
        jitted(X, *pair[1:]),
        jitted.__call__(X, TABLE),
        next(map(jitted, [X], [TABLE])),
        functools.partial(jitted, X)(TABLE),
    ):
        same(found, wanted)
    # those that do not fit, in the same ways
    short = X[:1]
    for found in (jitted(short, X), jitted(*[short, X]), next(map(jitted, [short], [X]))):
        same(found, short - X)


def test_very_many_arguments() -> None:
    jitted = tj.jit(lambda *items: items[0] + len(items))
    heat(jitted, X)
    same(jitted(*[X] * 3000), X + 3000)
    same(jitted(X), X + 1)


def test_methods() -> None:
    class Model:
        """Something with a jitted method."""

        def __init__(self, scale: float) -> None:
            self.scale = scale

        @tj.jit
        def apply(self, x: Any) -> Any:
            return x * self.scale

    one, two = Model(2.0), Model(3.0)
    same(heat(Model.apply, one, X), X * 2.0)
    same(one.apply(X), X * 2.0)
    same(two.apply(X), X * 3.0)
    one.scale = 5.0
    same(one.apply(X), X * 5.0)
    same(Model.apply(two, X), X * 3.0)


SETTING = 2.0


def test_changed_surroundings_are_seen() -> None:
    cell = 1.0

    def shifted(x: Any) -> Any:
        return x * SETTING + cell

    jitted = tj.jit(shifted)
    before = SETTING
    try:
        for value in (2.0, 3.0, 2.5):
            globals()["SETTING"] = value
            same(heat(jitted, X), X * value + cell)
        for cell in (4.0, 5.0):
            same(heat(jitted, X), X * 2.5 + cell)
        del globals()["SETTING"]
        with pytest.raises(NameError):
            jitted(X)
    finally:
        globals()["SETTING"] = before


def test_static_arguments() -> None:
    jitted = tj.jit(lambda x, times: sum([x] * times), static_argnames="times")
    same(heat(jitted, X, 3), X + X + X)
    same(jitted(X, 2), X + X)
    same(jitted(X, 10**3 // 10**3), X)


# ---- with the rest of the library


def test_disabled_in_this_thread_and_in_another() -> None:
    ran: list[int] = []

    @tj.jit
    def noted(x: Any) -> Any:
        ran.append(threading.get_ident())
        return x + 1

    quiet = tj.jit(lambda x: x + 1)
    heat(quiet, X)
    with tj.disable_jit():
        before = quiet.stats.calls
        assert not taken_natively(quiet, X) and quiet.stats.calls == before
        noted(X)
        noted(X)
        assert len(ran) == 2
    assert taken_natively(quiet, X) == NATIVE

    inside, leave = threading.Event(), threading.Event()

    def disabling() -> None:
        with tj.disable_jit():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=disabling)
    other.start()
    inside.wait(10)
    assert not taken_natively(quiet, X)  # the right result, by the portable path
    leave.set()
    other.join()
    assert taken_natively(quiet, X) == NATIVE


def test_inside_a_trace() -> None:
    inner = tj.jit(lambda x: x * 2)
    heat(inner, X)
    outer = tj.jit(lambda x: inner(x) + inner(TABLE))
    same(outer(X), X * 2 + TABLE * 2)
    same(heat(outer, X), X * 2 + TABLE * 2)
    gradient = tj.grad(lambda x: inner(x).sum())
    same(gradient(X), np.full(8, 2.0))
    np.testing.assert_array_equal(inner(tj.Array(X)).numpy(), X * 2)


def test_jitted_twice() -> None:
    once = tj.jit(lambda x: x * 2)
    twice = tj.jit(once)
    heat(once, X)
    heat(twice, X)
    del once
    gc.collect()
    same(twice(X), X * 2)


def test_recursion() -> None:
    @tj.jit
    def power(x: Any, n: int) -> Any:
        return x if n == 0 else power(x, n - 1) * x

    for n in (0, 1, 5, 1):
        same(heat(power, X, n), power.function(X, n))


def test_exceptions_and_after() -> None:
    jitted = tj.jit(lambda x, i: x[i] * 2)
    good, bad = np.array([1, 2, 3]), np.array([1, 20, 3])
    heat(jitted, X, good)
    for _ in range(3):
        with pytest.raises(IndexError):
            jitted(X, bad)
        assert taken_natively(jitted, X, good) == NATIVE


def test_counts_are_live() -> None:
    jitted = tj.jit(lambda x: x + 1)
    stats = jitted.stats
    for n in range(10):
        assert stats.calls == n
        jitted(X)
    assert stats.traces == 1 and "calls" in repr(stats)
    assert native_calls(jitted) == (8 if NATIVE else 0)


def test_clear_traces_again() -> None:
    jitted = tj.jit(lambda x: x + 1)
    heat(jitted, X)
    jitted.clear()
    same(heat(jitted, X), X + 1)
    assert jitted.stats.traces == 2


def test_a_function_that_becomes_plain_is_plain_for_all() -> None:
    jitted = tj.jit(lambda x: x + 1)
    heat(jitted, X)
    odd = misaligned().reshape(2, 4)
    same(jitted(odd), odd + 1)
    assert jitted.plain_reason is not None
    before = jitted.stats.plain_calls
    assert not taken_natively(jitted, X) and jitted.stats.plain_calls == before + 1


def test_threads() -> None:
    jitted = tj.jit(lambda x, k: x * k + 1)
    heat(jitted, X, 2.0)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        value = np.random.default_rng(seed).normal(size=5000)
        for n in range(2000):
            size = 1 + (n * seed) % 5000
            found = jitted(value[:size].copy(), float(n))
            if not np.array_equal(found, value[:size] * float(n) + 1):
                wrong.append((seed, n))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for _ in range(20):
        jitted.clear()
        with tj.disable_jit():
            jitted(X, 2.0)
    for worker in workers:
        worker.join()
    assert not wrong


# ---- the object


def test_it_is_still_the_object_that_it_was() -> None:
    def documented(x: Any) -> Any:
        """Adds one."""
        return x + 1

    jitted: Any = tj.jit(documented)
    heat(jitted, X)
    assert jitted.__name__ == "documented" and jitted.__doc__ == "Adds one." and jitted.__wrapped__ is documented
    assert inspect.signature(jitted) == inspect.signature(documented)
    assert callable(jitted) and isinstance(jitted, tj.Jitted) and hash(jitted) == hash(jitted)
    assert "Jitted" in repr(jitted)
    jitted.note = 3
    assert jitted.note == 3


def test_copies() -> None:
    jitted = tj.jit(lambda x: x + 1)
    heat(jitted, X)
    twin = copy.copy(jitted)
    del jitted
    gc.collect()
    same(twin(X), X + 1)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(twin)


def test_foreign_dicts_free_nothing() -> None:
    """Emitted code is not held by `__dict__`, which others may write to (functools.update_wrapper does)."""
    jitted, other = tj.jit(lambda x: x + 1), tj.jit(lambda x: x + 2)
    heat(jitted, X)
    heat(other, X)
    jitted.__dict__.update(other.__dict__)
    gc.collect()
    same(jitted(X), X + 1) if NATIVE else same(jitted(X), X + 2)


def test_subclasses() -> None:
    class Loud(tj.Jitted):
        """Overrides the call."""

        heard = 0

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.heard += 1
            return super().__call__(*args, **kwargs)

    class Quiet(tj.Jitted):
        """Overrides nothing."""

    def plain(x: Any) -> Any:
        return x + 1

    loud, quiet = Loud(plain, (), False, False), Quiet(plain, (), False, False)
    for n in range(1, 6):
        same(loud(X), X + 1)
        assert loud.heard == n
        same(quiet(X), X + 1)
    assert quiet.stats.calls == loud.stats.calls == 5


def test_garbage_is_collected() -> None:
    class Held:
        """Something that only the function refers to."""

    def make() -> tuple[Any, Any]:
        held = Held()
        held.array = X.copy()  # type: ignore[attr-defined]

        @tj.jit
        def using(x: Any) -> Any:
            return x + held.array + (using is None)  # type: ignore[attr-defined]

        heat(using, X)
        return weakref.ref(using), weakref.ref(held)

    references = make()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


@pytest.mark.skipif(not NATIVE, reason="this is the portable path")
def test_the_portable_path_passes_this_file() -> None:
    this = str(Path(__file__).relative_to(ROOT))
    run_python("-m", "pytest", "-q", "-x", "-n", "0", this, TRACEJIT_PORTABLE="1")
