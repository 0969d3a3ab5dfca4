"""Random loops: bodies of random statements on several carries, jitted, against the plain Python loop.

What is looked for is memory: carries that swap, stay, are written to in place, leave as ys, or begin as one array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tracejit as tj

CARRIES = 3
SIZE = 6

places = st.integers(0, CARRIES - 1)
statements = st.tuples(
    st.sampled_from(
        [
            "add",
            "scale",
            "swap",
            "same",
            "slice",
            "put",
            "increment",
            "sort",
            "mean",
            "branch",
            "loop",
            "outer",
            "y",
            "x",
        ]
    ),
    places,
    places,
)
programs = st.lists(statements, min_size=1, max_size=6)


def run(program: list[tuple[str, int, int]], i: Any, held: list[Any], outer: Any, x: Any, depth: int = 0) -> list[Any]:
    """One iteration; returns what is collected."""
    ys = []
    borrowed: set[int] = set()
    for name, a, b in program:
        if name == "increment" and a in borrowed:
            held[a] = held[a].copy()
        borrowed = spread(borrowed, name, a, b)
        match name:
            case "add":
                held[a] = held[a] * 0.5 + held[b]
            case "scale":
                held[a] = held[b] * 0.75 - i
            case "swap":
                held[a], held[b] = held[b], held[a]
            case "same":
                held[a] = held[b]
            case "slice":
                held[a] = held[a].copy()
                held[a][1:-1] = 0.5 * (held[b][2:] + held[a][:-2])
            case "put":
                held[a] = held[a].copy()
                held[a][i % SIZE] = held[b][-1] + i
            case "increment":
                held[a] += held[b][0] * 0.5
            case "sort":
                held[a] = np.sort(held[b])
            case "mean":
                held[a] = held[a] - held[b].mean()
            case "branch":
                held[a] = tj.cond(
                    held[a].sum() > held[b].sum(), lambda p, q: p - q * 0.5, lambda p, q: q, held[a], held[b]
                )
            case "loop" if depth < 1:
                inner = [step for step in program if step[0] != "loop"]
                held[:] = tj.fori_loop(0, 2, body_of(inner, outer, depth + 1), held)
            case "outer":
                held[a] = outer[b]
            case "y":
                ys.append(held[a])
            case "x":
                held[a] = held[a] + x
    return ys


def spread(borrowed: set[int], name: str, a: int, b: int) -> set[int]:
    """The carries that are arrays from outside, which a body must not write to, after a statement."""
    if name == "outer" or (name == "same" and b in borrowed):
        return borrowed | {a}
    if name == "swap":
        return {{a: b, b: a}.get(place, place) for place in borrowed}
    return borrowed if name in ("y", "loop") else borrowed - {a}


def body_of(program: list[tuple[str, int, int]], outer: Any, depth: int) -> Callable[..., Any]:
    def body(i, held):
        held = [*held]
        run(program, i, held, outer, outer[0], depth)
        return held

    return body


@settings(max_examples=60)
@given(program=programs, count=st.integers(0, 3), reverse=st.booleans(), first=st.lists(places, min_size=3, max_size=3))
def test_scan(program: list[tuple[str, int, int]], count: int, reverse: bool, first: list[int]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=SIZE) for _ in range(CARRIES)]
    xs = rng.normal(size=(count, SIZE))

    def f(arrays, xs):
        def body(carry, x):
            held = [*carry[1]]
            ys = run(program, carry[0], held, arrays, x)
            return (carry[0] + 1, held), (ys, held[0])

        return tj.scan(body, (0, [arrays[place] for place in first]), xs, reverse=reverse)

    with tj.disable_jit():
        (wanted_count, wanted), (wanted_ys, wanted_first) = f([a.copy() for a in arrays], xs)
    given_arrays = [a.copy() for a in arrays]
    (found_count, found), (ys, found_first) = tj.jit(f)(given_arrays, xs)
    assert found_count == wanted_count == count
    everything = [*found, *ys, found_first]
    for mine, theirs in zip(everything, [*wanted, *wanted_ys, wanted_first], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
    for before, after in zip(arrays, given_arrays, strict=True):
        np.testing.assert_array_equal(before, after)
    for number, array in enumerate(everything):
        assert not any(np.shares_memory(array, other) for other in [*everything[:number], *given_arrays])
