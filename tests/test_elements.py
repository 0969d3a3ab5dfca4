"""Integers that are elements of arguments, as places and sizes."""

from __future__ import annotations

import numpy as np
import pytest

import tracejit as tj
from tests.native_calls import heat, taken_natively
from tracejit.driver.segment_code import essential


def agree(function, *calls, segments=None):
    """A jitted function gives what NumPy does for each of the arguments in turn, and writes what it writes."""
    jitted = tj.jit(function)
    for arguments in calls:
        mine, theirs = ([np.array(a) if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2))
        try:
            expected = function(*theirs)
        except (IndexError, ValueError, TypeError) as error:
            with pytest.raises(type(error)):
                jitted(*mine)
            continue
        found = jitted(*mine)
        for a, b in zip((found, *mine), (expected, *theirs), strict=True):
            np.testing.assert_array_equal(a, b)
            assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
    if segments is not None:
        assert all((root.following is None) == (segments == 1) for root in jitted.roots)
    return jitted


ROWS = np.arange(12.0)


def sums(starts, values):
    result = np.empty(starts.shape[0] - 1)
    for i in range(starts.shape[0] - 1):
        result[i] = np.sum(values[starts[i] : starts[i + 1]] * 2)
    return result


def test_rows_of_a_sparse_matrix_are_one_segment():
    calls = [np.array(s) for s in ([0, 4, 8, 12], [0, 2, 9, 12], [0, 0, 3, 12], [3, 4, 6, 30], [-2, 12, 5, 0])]
    jitted = agree(sums, *((starts, ROWS) for starts in calls), segments=1)
    assert jitted.stats.traces < len(calls) + 1


def test_another_structure_is_no_new_trace():
    jitted = tj.jit(sums)
    for starts in ([0, 4, 8, 12], [0, 2, 9, 12], [0, 5, 7, 11]):
        np.testing.assert_array_equal(jitted(np.array(starts), ROWS), sums(np.array(starts), ROWS))
    assert jitted.stats.traces == 1


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint64"])
def test_any_integer_dtype(dtype):
    agree(lambda x, at: x[at[1] :] + 1, *((ROWS, np.array([9, k]).astype(dtype)) for k in (2, 5, 11, 12, 20)))


def test_sums_of_elements():
    def function(x, at):
        return x[: x.shape[0] - at[0]] + x[at[0] : at[1] + at[0] - 1 + 1]

    agree(function, *((ROWS, np.array([k, 12 - k])) for k in (0, 1, 3, 11, 12)), segments=1)


def test_a_sum_wraps_around_as_int64_does():
    large = np.array([2**62, 2**62, -(2**63)])
    with np.errstate(over="ignore"):
        agree(lambda x, at: x[at[0] + at[1] :] * 1, (ROWS, np.array([1, 2, 3])), (ROWS, large))


def test_narrow_sums_wrap_around():
    def function(x, at):
        with np.errstate(over="ignore"):
            return x[at[0] + at[1] :] + 0

    agree(function, (ROWS, np.array([1, 2], np.int8)), (ROWS, np.array([100, 100], np.int8)))


def test_elements_outside_raise_indexerror():
    agree(lambda x, at: x[at[3] :] + 1, (ROWS, np.arange(4)), (ROWS, np.arange(3)), (ROWS, np.arange(5)))


def test_elements_of_matrices_and_of_views():
    def function(x, at):
        columns = at.T[1]
        return x[at[1, 0] : columns[2]] + x[: columns[2] - at[1, 0]]

    agree(function, *((ROWS, np.array([[0, 1], [k, 2], [5, 8]])) for k in (2, 3, 7, 8, 9)), segments=1)


def test_numpy_integers_and_zero_dimensional_arrays():
    for kind in (np.int64, np.uint8, np.array):
        agree(lambda x, at: x[at:] * 2, *((ROWS, kind(k)) for k in (3, 4, 12)), segments=1)


def test_sizes_of_new_arrays():
    agree(lambda at: np.zeros((at[0], at[1] + 1)) + 1, *((np.array([k, 3]),) for k in (2, 5, 1, 0)), segments=1)


def test_an_array_that_is_written_before_and_after():
    def function(x, at):
        first = x[at[0] :] + 1
        at[0] += 2
        second = x[at[0] :] + 1
        if second[0] > 4:
            at[0] = 7
        third = x[at[0] :] + at[1]
        at[1] = 3
        return np.concatenate((first, second, third, x[: at[1]]))

    agree(function, *((ROWS, np.array([k, m])) for k in (0, 5, 1, 2, 3, 0) for m in (2, 1)))


def test_a_branch_traced_later_finds_the_elements_as_they_were():
    def function(x, at):
        before = x[: at[0]] * 2
        at[0] = 9
        if x[0] > 0:
            return before + x[: at[1]]
        return before - x[: at[1]]

    calls = [(ROWS + k, np.array([4, 4])) for k in (1, -1, 1, -1)]
    agree(function, *calls)


def test_replayed_segments_do_not_see_what_a_compiled_one_has_written():
    def function(x, at, flag):
        total = np.sum(x[at[0] : at[1]])
        at[0] += 1
        if flag[0] > 0:
            total = total + 1
        at[1] += 1
        if flag[1] > 0:
            total = total * np.sum(x[at[0] : at[1]])
        return total

    calls = [(ROWS, np.array([2, 6]), np.array(flag)) for flag in ([1, 1], [1, 0], [0, 0], [0, 1], [1, 1], [0, 1])]
    agree(function, *calls)


def test_places_in_complex_arrays():
    def function(x, at):
        x[at[0], 1:] += x[at[1], : at[2]]
        return x[at[0]] * 2

    x = np.arange(12.0).reshape(3, 4) * (1 + 1j)
    agree(function, *((x, np.array(at)) for at in ([0, 1, 3], [2, -1, 3], [1, 1, 3], [3, 0, 3])), segments=1)


def test_loops_over_the_same_structure_share_their_segments():
    def function(x, at):
        total = 0.0
        for i in range(at.shape[0] - 1):
            piece = np.sum(x[at[i] : at[i + 1]])
            if piece > 10:
                total += piece
        return total

    agree(function, *((ROWS, np.array(at)) for at in ([0, 3, 6, 12], [0, 5, 6, 12], [1, 2, 3, 4])))


def test_vmap_keeps_what_all_examples_share():
    def function(x, at):
        return np.sum(x[at[0] : at[1]])

    x, at = np.arange(24.0).reshape(2, 12), np.array([2, 7])
    found = tj.jit(lambda x, at: tj.vmap(lambda row: function(row, at))(x))(x, at)
    np.testing.assert_array_equal(found, [function(row, at) for row in x])


def test_explain_tells_the_elements_that_were_guarded():
    jitted = tj.jit(sums)
    jitted(np.array([0, 4, 8, 12]), ROWS)
    jitted(np.array([5, 4, 8, 12]), ROWS)
    text = str(jitted.explain(np.array([0, 4, 8, 12]), ROWS))
    assert "a0.item(" in jitted.sources() and "guard" in text


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint64"])
def test_emitted_code_reads_elements(dtype, monkeypatch):
    monkeypatch.setattr("tracejit.driver.function.HOT_CALLS", 2)
    jitted = tj.jit(sums)
    starts = np.array([0, 4, 8, 12]).astype(dtype)
    heat(jitted, starts, ROWS)
    for other in ([0, 4, 8, 12], [0, 2, 9, 12], [0, 0, 3, 12], [3, 4, 6, 30], [5, 4, 3, 2], [0, 120, 8, 12]):
        taken_natively(jitted, np.array(other).astype(dtype), ROWS)
    assert taken_natively(jitted, np.array([1, 4, 7, 11]).astype(dtype), ROWS)
    assert taken_natively(jitted, np.repeat(np.array([1, 4, 7, 11]).astype(dtype), 2)[::2].copy(), ROWS)


def test_emitted_code_reads_elements_of_matrices_by_their_strides(monkeypatch):
    monkeypatch.setattr("tracejit.driver.function.HOT_CALLS", 2)

    def function(x, at):
        return x[at[0, 1] : at[1, 2]] * 2

    jitted = tj.jit(function)
    at = np.array([[9, 2, 9], [9, 9, 8]])
    heat(jitted, ROWS, at.T.copy().T)
    for low, high in ((2, 8), (0, 12), (3, 7)):
        at[0, 1], at[1, 2] = low, high
        assert taken_natively(jitted, ROWS, at.T.copy().T)
    assert not taken_natively(jitted, ROWS, at.T.copy().T * 3)


def test_a_size_that_is_fixed_says_all_of_it():
    given = ["n1 >= 2", "0 < n0", "(n0 - 1) == 3", "n0 < n1", "a3 >= 0", "n0 >= 2", "n1 >= 5", "a4 == 2", "a4 < 7"]
    assert essential(given) == ["(n0 - 1) == 3", "n1 >= 5", "n0 < n1", "a3 >= 0", "a4 == 2", "a4 < 7"]


def test_a_negative_size_raises_also_where_nothing_gets_memory():
    def function(x, at):
        found = np.sum(np.ones(at[2]))
        at[0] += 4
        return found + np.sum(x[: at[0]])

    agree(function, *((ROWS, np.array(at)) for at in ([6, 1, -1, 2], [5, 5, 3, 5], [1, 5, -2, 5], [2, 2, 0, 0])))
    agree(lambda n: np.sum(np.ones(n)), (3,), (-1,), (0,), (2,))
