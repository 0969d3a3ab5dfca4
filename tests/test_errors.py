"""Error messages: short, in the user's terms, naming the user's line, without tracejit's insides."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj

LIMIT = 15
"""Lines of the message with its notes."""

ONES = np.ones((3, 4))


def add(x, y):
    return x + y  # here


def total(x):
    return np.sum(x, axis=2)  # here


def reshape(x):
    return x.reshape(5, -1)  # here


def element(x):
    return x[13]  # here


def column(x):
    return x[:, 1, 2]  # here


def join(x, y):
    return np.concatenate([x, y])  # here


def product(x, y):
    return x @ y  # here


def read_only(x):
    np.broadcast_to(x[0], (2, 4))[0, 0] = 1  # here


def unknown(x):
    return x.no_such_method()  # here


def chosen(x):
    return x if x > 1 else -x  # here


def by_index(x, index):
    return x[index]  # here


ERRORS: list[tuple[Callable[..., Any], tuple[Any, ...], type[Exception], str]] = [
    (add, (ONES, np.ones(3)), ValueError, r"operands could not be broadcast together with shapes \(3,4\) \(3,\)"),
    (total, (ONES,), np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
    (reshape, (ONES,), ValueError, r"cannot reshape array of size 12 into shape \(5,"),
    (element, (np.ones(10),), IndexError, "index 13 is out of bounds for axis 0 with size 10"),
    (column, (ONES,), IndexError, "too many indices for array: array is 2-dimensional, but 3 were indexed"),
    (join, (ONES, np.ones((3, 5))), ValueError, "must match exactly, but along dimension 1"),
    (product, (ONES, np.ones((3, 4))), ValueError, "mismatch in its core dimension 0"),
    (read_only, (ONES,), ValueError, "assignment destination is read-only"),
    (unknown, (ONES,), AttributeError, "has no attribute 'no_such_method'"),
    (chosen, (ONES,), ValueError, "truth value of an array with more than one element is ambiguous"),
    (by_index, (np.ones(4), np.array([1.5])), IndexError, "arrays used as indices must be of integer"),
]
cases = pytest.mark.parametrize(
    ("function", "args", "kind", "message"), ERRORS, ids=lambda v: getattr(v, "__name__", "")
)


def caught(function: Callable[..., Any], args: tuple[Any, ...]) -> Exception:
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError(f"{function} raised nothing")


@pytest.fixture(autouse=True)
def _messages_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEJIT_DEBUG", raising=False)


@cases
def test_message(function: Callable[..., Any], args: tuple[Any, ...], kind: type[Exception], message: str) -> None:
    """NumPy's type and words, the user's line in the note, and nothing of tracejit's insides."""
    plain = caught(function, args)
    assert type(plain) is kind
    assert re.search(message, str(plain)), f"NumPy says: {plain}"
    error = caught(tj.jit(function), args)
    assert type(error) is kind
    assert re.search(message, str(error)), f"{error} in place of {plain}"
    text = "\n".join([str(error), *getattr(error, "__notes__", [])])
    assert len(text.splitlines()) <= LIMIT
    assert "test_errors.py" in text and "# here" in text
    shown = "".join(traceback.format_exception(error))
    inside = [line for line in shown.splitlines() if "/tracejit/" in line and "driver/function.py" not in line]
    assert not inside, shown


@cases
def test_again(function: Callable[..., Any], args: tuple[Any, ...], kind: type[Exception], message: str) -> None:
    """The same after a call that worked and after one that failed."""
    jitted = tj.jit(function)
    for _ in range(2):
        error = caught(jitted, args)
        assert type(error) is kind and re.search(message, str(error))


def test_fullgraph_says_where_and_what_to_write() -> None:
    @tj.jit(fullgraph=True)
    def f(x):
        if x.sum() > 0:  # here
            return x + 1
        return x

    error = caught(f, (ONES,))
    assert isinstance(error, RuntimeError)
    text = str(error)
    assert "fullgraph=True" in text and "bool" in text and "test_errors.py:" in text
    assert "np.where" in text and "tracejit.cond" in text and "tracejit.while_loop" in text
    assert len(text.splitlines()) <= LIMIT


def test_unknown_static_name() -> None:
    with pytest.raises(ValueError, match=r"static_argnames \['axes'\] .* f\(x, axis\)"):

        @tj.jit(static_argnames="axes")
        def f(x, axis):
            return np.sum(x, axis=axis)


def test_jit_of_no_function() -> None:
    with pytest.raises(TypeError, match="jit expects a function, got int"):
        tj.jit(3)


def test_a_traced_value_outlives_its_trace() -> None:
    class Box:
        value: Any = None

        def put(self, value: Any) -> None:
            setattr(self, "value", value)  # noqa: B010

    box = Box()

    @tj.jit
    def f(x):
        box.put(x * 2)
        return x + 1

    np.testing.assert_array_equal(f(ONES), ONES + 1)
    if not isinstance(box.value, np.ndarray):
        with pytest.raises(RuntimeError, match="traced value is used after its function has returned"):
            box.value + 1


def test_internals_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRACEJIT_DEBUG=internals keeps the whole traceback."""
    monkeypatch.setenv("TRACEJIT_DEBUG", "internals")
    shown = "".join(traceback.format_exception(caught(tj.jit(add), (ONES, np.ones(3)))))
    assert "/tracejit/trace/" in shown
