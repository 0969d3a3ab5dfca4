"""Bugs that other compilers shipped, and some of our own: none of them comes back."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj

FACTOR = 2.0


class Settings:
    gain = 3.0


SETTINGS = Settings()


# One compilation for many arguments


def test_new_sizes_and_numbers_compile_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four sizes and three Python numbers: each kernel is compiled once."""
    monkeypatch.setenv("TRACEJIT_CACHE_DIR", str(tmp_path))

    @tj.jit
    def scaled(x, a):
        return (np.tanh(x * a) * 1.25 + 0.62501).sum(axis=0) - a

    compiled = None
    for size in (10, 33, 100, 1000):
        for a in (0.5, 2.0, -3.25):
            x = np.linspace(-1, 1, size * 3).reshape(size, 3)
            np.testing.assert_allclose(scaled(x, a), scaled.function(x, a), rtol=1e-12, atol=1e-11)
            compiled = compiled or scaled.stats.kernels_compiled + scaled.stats.cache_hits
    assert scaled.stats.kernels_compiled + scaled.stats.cache_hits == compiled
    assert scaled.stats.traces == 1 and scaled.stats.calls == 12


# What the function reads besides its arguments


def test_a_helper_edited_in_another_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edited_helper.py").write_text("import numpy as np\ndef helper(x):\n    return np.sin(x)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("edited_helper")

    @tj.jit
    def f(x):
        return module.helper(x) + 1

    x = np.linspace(0, 1, 5)
    np.testing.assert_allclose(f(x), np.sin(x) + 1, rtol=1e-14)
    monkeypatch.setattr(module, "helper", lambda x: x * 5)
    np.testing.assert_array_equal(f(x), x * 5 + 1)


def test_a_changed_global_closure_and_attribute_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    offset = 1.0

    @tj.jit
    def f(x):
        return x * FACTOR + offset + SETTINGS.gain

    x = np.ones(3)
    assert f(x)[0] == 6.0
    monkeypatch.setitem(globals(), "FACTOR", 10.0)
    assert f(x)[0] == 14.0
    offset = 2.0
    assert f(x)[0] == 15.0
    monkeypatch.setattr(SETTINGS, "gain", 0.0, raising=False)
    assert f(x)[0] == 12.0


def test_a_method_sees_its_object_change() -> None:
    class Model:
        def __init__(self) -> None:
            self.weight = np.ones(3)
            self.scale = 2.0

        @tj.jit
        def predict(self, x):
            return x @ self.weight * self.scale

    model, x = Model(), np.ones((2, 3))
    assert model.predict(x)[0] == 6.0
    model.scale = 3.0
    assert model.predict(x)[0] == 9.0
    model.weight = np.full(3, 2.0)
    assert model.predict(x)[0] == 18.0
    model.weight[0] = 0.0
    assert model.predict(x)[0] == 12.0


def test_read_only_home(tmp_path: Path) -> None:
    """No place to write a cache to: it runs all the same."""
    program = "import numpy as np, tracejit as tj; print(tj.jit(lambda x: x * 2 + 1)(np.arange(3.0)).tolist())"
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    environment = {k: v for k, v in os.environ.items() if k not in ("TRACEJIT_CACHE_DIR", "XDG_CACHE_HOME")}
    environment["HOME"] = str(blocked / "home")
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1.0, 3.0, 5.0]"


# Indices, accuracy, memory


def test_index_out_of_bounds() -> None:
    @tj.jit
    def f(x):
        return x[13] + 1

    assert f(np.arange(20.0)) == 14.0
    with pytest.raises(IndexError, match="13 is out of bounds"):
        f(np.arange(10.0))
    with pytest.raises(IndexError, match="-11 is out of bounds"):
        tj.jit(lambda x: x[-11])(np.arange(10.0))


def test_computed_index_out_of_bounds_names_the_line() -> None:
    @tj.jit
    def pick(x, index):
        return x[index] * 2

    np.testing.assert_array_equal(pick(np.arange(5.0), np.array([0, -1, 4])), [0.0, 8.0, 8.0])
    for bad in ([0, 5], [-6, 0]):
        with pytest.raises(IndexError) as caught:
            pick(np.arange(5.0), np.array(bad))
        text = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
        assert "test_known_bugs.py" in text


def test_float32_sum_is_accurate() -> None:
    x = np.full(1_000_000, 1 / 255, np.float32)
    exact = np.sum(x, dtype=np.float64)
    ours = tj.jit(lambda x: np.sum(x))(x)
    assert ours.dtype == np.float32
    assert abs(ours - exact) <= max(abs(np.sum(x) - exact), np.spacing(np.float32(exact)))


def test_read_only_array() -> None:
    @tj.jit
    def write(x):
        x[0] = 1.0
        return x

    frozen = np.zeros(3)
    write(frozen)
    frozen.setflags(write=False)
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            write(frozen)


@pytest.mark.parametrize(
    "views",
    [
        lambda x: (x, x),
        lambda x: (x[1:], x[:-1]),
        lambda x: (x[:-1], x[1:]),
        lambda x: (x, x[::-1]),
        lambda x: (x[:10], x[10:]),
    ],
)
def test_overlapping_arguments(views: Any) -> None:
    def f(a, b):
        a += b
        b[1:] *= 2
        a[:3] -= b[:3]
        return a + b

    jitted = tj.jit(f)
    jitted(np.arange(20.0), np.arange(20.0))
    for _ in range(2):
        mine, theirs = np.arange(20.0), np.arange(20.0)
        np.testing.assert_array_equal(jitted(*views(mine)), f(*views(theirs)))
        np.testing.assert_array_equal(mine, theirs)


def test_overlapping_arguments_in_several_segments() -> None:
    """The first segment has written when the second finds out that its arguments overlap: nothing runs twice."""

    def f(a, b, c):
        c *= 0.5
        if a.sum() > 0:
            a[1:] += b[:-1]
        b[a > 3] -= 1
        return a + b

    jitted = tj.jit(f)
    for start in (0, 0, -100):
        for shared in (False, True, False):
            results = []
            for function in (jitted, f):
                x, c = np.arange(start, start + 8.0), np.ones(2)
                b = x[::-1] if shared else x.copy()
                results.append((function(x, b, c), x, b, c))
            for got, wanted in zip(*results, strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_views_of_the_callers_array_are_written() -> None:
    @tj.jit
    def f(x):
        inner = x[1:-1]
        inner *= 10
        flat = x.reshape(-1)
        flat[0] = -1
        x.T[-1, -1] = 7

    x = np.ones((4, 3))
    y = x[:, ::-1]
    f(x)
    expected = np.array([[-1.0, 1, 1], [10, 10, 10], [10, 10, 10], [1, 1, 7]])
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, expected[:, ::-1])


def test_a_copy_keeps_the_old_values() -> None:
    def copied(x, z):
        y, tail = x.copy(), x[1:].copy()
        x += 1
        return y, tail, x.astype(x.dtype), z.copy().reshape(1, -1)

    def shifted(x, z):
        y = x.copy()
        x[1:] += x[:-1]
        z[:] = z[::-1]
        return y, z

    def swapped(x, z):
        kept = x.copy()
        x[:] = z
        z[:] = kept
        if kept.sum() > 0:
            kept += x
        return kept

    for f in (copied, shifted, swapped):
        jitted = tj.jit(f)
        for _ in range(3):
            mine, theirs = ((np.arange(5.0), np.ones(5)) for _ in range(2))
            for got, wanted in zip((*jitted(*mine), *mine), (*f(*theirs), *theirs), strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_a_value_is_read_before_it_is_overwritten() -> None:
    def f(y, m):
        whole = m.astype(np.int64)
        chosen = np.where(m > y, m, whole)
        np.multiply(whole, 2, out=y)
        return chosen

    mine, theirs = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3)
    m = np.array([[1.5], [4.5]], np.float32)
    np.testing.assert_array_equal(tj.jit(f)(mine, m), f(theirs, m))
    np.testing.assert_array_equal(mine, theirs)


def test_reshape_shares_memory_where_numpy_does() -> None:
    def f(x):
        flat = x.reshape(-1)
        flat += 1
        return flat

    for make in (lambda x: x, np.asfortranarray, lambda x: x[::2], lambda x: x[1:], lambda x: x[:, 1:], lambda x: x.T):
        mine, theirs = (make(np.arange(24.0).reshape(4, 6)) for _ in range(2))
        np.testing.assert_array_equal(tj.jit(f)(mine), f(theirs))
        np.testing.assert_array_equal(mine, theirs)

    def raveled(x):
        flat = x.ravel()
        flat += 1

    for make in (lambda x: x, lambda x: x[1:], lambda x: x[::-1, ::-1], lambda x: x[0, ::-1], lambda x: x[:, 0]):
        mine, theirs = (make(np.arange(24.0).reshape(4, 6)) for _ in range(2))
        tj.jit(raveled)(mine)
        raveled(theirs)
        np.testing.assert_array_equal(mine, theirs)

    def later(x):
        part = x[1:].reshape(-1)
        spread = np.broadcast_to(x[0], (2, 6))
        x += 1
        return part, spread

    for got, wanted in zip(tj.jit(later)(np.ones((4, 6))), later(np.ones((4, 6))), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_strided_slices_have_the_right_length() -> None:
    """A size that is a quotient of a sum, in guards and in shapes."""

    def f(x):
        half = x[::2]
        return half, half[-2::-2], np.stack([x, x + 1], axis=1)

    jitted = tj.jit(f)
    for size in (5, 6, 9):
        x = np.arange(size * 2.0).reshape(size, 2)
        for got, wanted in zip(jitted(x), f(x), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_written_strided_argument_is_read_again() -> None:
    def f(x):
        np.maximum(x, 0, out=x)
        return np.stack([x, x + 1])

    mine, theirs = (np.arange(-10.0, 20.0).reshape(10, 3)[::2] for _ in range(2))
    np.testing.assert_array_equal(tj.jit(f)(mine), f(theirs))
    np.testing.assert_array_equal(mine, theirs)


# Exceptions, recursion, calling conventions


class OwnError(Exception):
    pass


def test_exceptions_of_the_function() -> None:
    @tj.jit
    def f(x, fail):
        x[0] = 5.0
        if fail:
            raise OwnError("as told")
        x[1] = 6.0
        return x

    x = np.zeros(3)
    for _ in range(2):
        x[:] = 0
        with pytest.raises(OwnError, match="as told"):
            f(x, True)
        np.testing.assert_array_equal(x, [5, 0, 0])
    f(x, False)
    np.testing.assert_array_equal(x, [5, 6, 0])


def test_jitted_functions_call_each_other() -> None:
    @tj.jit
    def even(x, n):
        return x * 2 if n == 0 else odd(x, n - 1)

    @tj.jit
    def odd(x, n):
        return x * 3 if n == 0 else even(x, n - 1)

    for n in (0, 1, 2, 5, 2):
        np.testing.assert_array_equal(even(np.ones(2), n), np.ones(2) * (3 if n % 2 else 2))


def test_keywords_defaults_and_static_arguments() -> None:
    @tj.jit(static_argnames=("mode", "axis"))
    def f(x, y=1.0, *rest, mode="sum", axis=None, **more):
        total = getattr(np, mode)(x * y, axis=axis)
        for item in rest:
            total = total + item
        return total + more.get("extra", 0)

    x = np.arange(6.0).reshape(2, 3)
    for args, kwargs in [
        ((x,), {}),
        ((x, 2.0), {}),
        ((x,), {"y": 2.0}),
        ((x, 2.0, 1.0, 5), {"mode": "max"}),
        ((x,), {"axis": 0, "mode": "min", "extra": 4}),
        ((x,), {"mode": "mean", "axis": (0, 1)}),
    ]:
        np.testing.assert_allclose(f(*args, **kwargs), f.function(*args, **kwargs), rtol=1e-14)
    with pytest.raises(TypeError, match="positional argument"):
        tj.jit(lambda x: x)(x, x)


# Threads


def in_threads(count: int, work: Any) -> None:
    """Run `work(number)` in threads that start together; re-raise what one raised."""
    barrier, errors = threading.Barrier(count), []

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("size", [50, 200_000])
def test_eight_threads_call_one_function(size: int) -> None:
    f = tj.jit(lambda x, a: np.sum(x * a + 1.0, axis=1))
    f(np.ones((2, 5)), 1.0)

    def work(number: int) -> None:
        x = np.full((10, size // 10), float(number))
        for a in range(20):
            np.testing.assert_array_equal(f(x, float(a)), np.full(10, (number * a + 1.0) * (size // 10)))

    in_threads(8, work)
    assert f.stats.traces == 1


def test_eight_threads_make_the_first_call() -> None:
    @tj.jit
    def f(x):
        return np.where(x > 2, x * 1.5, np.sqrt(x)) + np.asarray(x).mean()

    def work(number: int) -> None:
        x = np.full(100, float(number))
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(f(x), f.function(x))

    in_threads(8, work)


def test_plain_numpy_in_another_thread_while_tracing() -> None:
    """While one thread traces, the module's `np` in another is NumPy."""
    inside, done = threading.Event(), threading.Event()
    seen: list[Any] = []

    @tj.jit
    def f(x):
        inside.set()
        done.wait(10)
        return np.zeros(3) + x

    thread = threading.Thread(target=lambda: f(np.ones(3)))
    thread.start()
    inside.wait(10)
    seen.append(np.zeros(3))
    done.set()
    thread.join()
    assert type(seen[0]) is np.ndarray


# Results


def test_results_have_memory_of_their_own() -> None:
    f = tj.jit(lambda x: (x + 1, np.zeros(3)))
    x = np.zeros(3)
    first, zeros = f(x)
    first[:] = 99
    zeros[:] = 99
    second, more = f(x)
    np.testing.assert_array_equal(second, [1, 1, 1])
    np.testing.assert_array_equal(more, [0, 0, 0])
    np.testing.assert_array_equal(first, [99, 99, 99])


def test_results_that_are_views_share_memory() -> None:
    @tj.jit
    def f(x):
        y = x * 2
        return y, y[1:], y.reshape(2, 2)

    for _ in range(2):
        whole, tail, square = f(np.ones(4))
        whole[3] = 7
        assert tail[2] == 7 and square[1, 1] == 7


def test_the_argument_itself_is_returned() -> None:
    f = tj.jit(lambda x: x)
    x = np.zeros(3)
    assert f(x) is x and f(x) is x
    view = tj.jit(lambda x: x[1:])(x)
    view[0] = 5
    assert x[1] == 5

    @tj.jit
    def bumped(x):
        x += 1
        return x

    assert bumped(x) is x and bumped(x) is x
    assert x[0] == 2


def test_one_place_of_a_row_that_a_kernel_keeps_for_itself() -> None:
    """The row's first element was read, wherever the place was."""

    @tj.jit
    def f(x):
        paths = np.exp(x)
        alive = ~(paths > 4.0).any(axis=1)
        return np.maximum(paths[:, -1] - 1.0, 0.0) * alive, paths[:, 2] * paths.sum(axis=1)

    x = np.random.default_rng(0).normal(size=(45, 12))
    for actual, expected in zip(f(x), f.function(x), strict=True):
        np.testing.assert_allclose(actual, expected, 1e-13, 1e-15)


def test_lists_of_numbers_in_the_place_of_arrays() -> None:
    """np.multiply of a list argument gave an array of objects."""

    def listed(values, other):
        return np.multiply(values, 2) + 1, np.sum(values), np.maximum(values, [other, 0.0]), np.mean([other, other * 3])

    for arguments in (([1.0, 2.0], 3.0), ([5.0, -2.0], 0.5)):
        found, expected = tj.jit(listed)(*arguments), listed(*arguments)
        for a, b in zip(found, expected, strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(a, b)


def test_an_argument_of_minus_one_in_a_shape() -> None:
    def f(a: Any, shape: Any) -> Any:
        return np.reshape(a, shape)

    jitted = tj.jit(f)
    x = np.arange(24.0).reshape(2, 3, 4)
    for shape in ((-1, 4), (2, -1), (-1,), (3, -1, 2), (6, 4), (4, 6)):
        np.testing.assert_array_equal(jitted(x, shape), x.reshape(shape))
    with pytest.raises(ValueError, match=r"cannot reshape array of size 24 into shape \(-1,5\)"):
        jitted(x, (-1, 5))


class Doubling:
    def __call__(self, x: Any) -> Any:
        return x * 2 if x.ndim else np.linalg.inv(x)


def test_an_object_that_can_be_called_has_a_name_in_messages() -> None:
    jitted = tj.jit(Doubling())
    assert jitted.__name__ == "Doubling"
    assert jitted(np.ones(2)).tolist() == [2, 2]
    with pytest.raises(np.linalg.LinAlgError):
        jitted(np.ones(()))


def test_a_row_that_is_a_diagonal_is_not_fetched_ahead() -> None:
    def scaled(a: Any) -> Any:
        return np.linalg.trace(a)[:, None] * np.linalg.diagonal(a)

    a = np.random.default_rng(0).random((5, 4, 4))
    np.testing.assert_allclose(tj.jit(scaled)(a), scaled(a), rtol=1e-14)
