"""Sweeps over grids: the values of NumPy, one kernel a sweep, and no memory moved besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.buffers import SMALL, copy_around
from tracejit.schedule.steps import Copy, Launch, Program, walk

RNG = np.random.default_rng(5)


def in_place(steps: int, u: Any) -> Any:
    for _ in range(steps):
        u[1:-1, 1:-1] = 0.2 * (u[1:-1, 1:-1] + u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
    return u


def to_and_fro(steps: int, a: Any, b: Any) -> None:
    for _ in range(steps):
        b[1:-1, 1:-1] = 0.2 * (a[1:-1, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + a[2:, 1:-1] + a[:-2, 1:-1])
        a[1:-1, 1:-1] = 0.2 * (b[1:-1, 1:-1] + b[1:-1, :-2] + b[1:-1, 2:] + b[2:, 1:-1] + b[:-2, 1:-1])


def copied(steps: int, u: Any) -> Any:
    for _ in range(steps):
        new = u.copy()
        new[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
        u = new
    return u


def nine_points(steps: int, u: Any) -> Any:
    for _ in range(steps):
        u[1:-1, 1:-1] = (
            u[:-2, :-2] + u[:-2, 1:-1] + u[:-2, 2:] + u[1:-1, :-2] + u[1:-1, 1:-1]
            + u[1:-1, 2:] + u[2:, :-2] + u[2:, 1:-1] + u[2:, 2:]
        ) / 9  # fmt: skip
    return u


def heat(steps: int, u: Any) -> Any:
    for _ in range(steps):
        u[1:-1, 1:-1, 1:-1] = (
            0.125 * (u[2:, 1:-1, 1:-1] - 2 * u[1:-1, 1:-1, 1:-1] + u[:-2, 1:-1, 1:-1])
            + 0.125 * (u[1:-1, 2:, 1:-1] - 2 * u[1:-1, 1:-1, 1:-1] + u[1:-1, :-2, 1:-1])
            + 0.125 * (u[1:-1, 1:-1, 2:] - 2 * u[1:-1, 1:-1, 1:-1] + u[1:-1, 1:-1, :-2])
            + u[1:-1, 1:-1, 1:-1]
        )
    return u


def waves(steps: int, ex: Any, ey: Any, hz: Any) -> None:
    for t in range(steps):
        ey[0, :] = 0.1 * t
        ey[1:, :] = ey[1:, :] - 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] = ex[:, 1:] - 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] = hz[:-1, :-1] - 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])


def walls(steps: int, p: Any, b: Any) -> Any:
    """Pressure of a cavity: a sweep, then conditions on the border."""
    for _ in range(steps):
        before = p.copy()
        p[1:-1, 1:-1] = (
            0.25 * (before[1:-1, 2:] + before[1:-1, :-2] + before[2:, 1:-1] + before[:-2, 1:-1]) - b[1:-1, 1:-1]
        )
        p[:, -1] = p[:, -2]
        p[0, :] = p[1, :]
        p[:, 0] = p[:, 1]
        p[-1, :] = 0
    return p


SWEEPS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "in_place": (in_place, 1, 2),
    "to_and_fro": (to_and_fro, 2, 2),
    "copied": (copied, 1, 2),
    "nine_points": (nine_points, 1, 2),
    "heat": (heat, 1, 3),
    "waves": (waves, 3, 2),
    "walls": (walls, 2, 2),
}
"""Name: the function, how many grids it takes, and their axes."""


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 70])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sweeps(name: str, steps: int, dtype: str) -> None:
    function, grids, rank = SWEEPS[name]
    jitted = tj.jit(function)
    for edge in (3, 8, 21):
        mine = [RNG.random((edge, edge + 1, edge + 2)[:rank]).astype(dtype) for _ in range(grids)]
        theirs = [grid.copy() for grid in mine]
        found, expected = jitted(steps, *mine), function(steps, *theirs)
        for a, b in zip((*mine, found), (*theirs, expected), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_grids(dtype: str) -> None:
    """Large enough for several threads, and for the border to be copied by itself."""
    u = RNG.random((300, 411)).astype(dtype)
    assert u.nbytes > SMALL
    expected = in_place(4, u.copy())
    np.testing.assert_array_equal(tj.jit(in_place)(4, u), expected)


def _program(jitted: Any) -> Program:
    program: Program = jitted.roots[0].program
    return program


@pytest.mark.parametrize("name", ["in_place", "to_and_fro", "copied", "nine_points", "heat"])
def test_a_sweep_is_one_kernel(name: str) -> None:
    """Each reads one grid and writes the other; of what is copied, only the border."""
    function, grids, rank = SWEEPS[name]
    jitted = tj.jit(function)
    jitted(9, *(RNG.random((8, 9, 10)[:rank]) for _ in range(grids)))
    program = _program(jitted)
    launches = [step for step in walk(program) if isinstance(step, Launch)]
    assert len(launches) == 9 * grids
    assert len({launch.kernel.structure for launch in launches}) == 1
    assert all(step.box is not None for step in walk(program) if isinstance(step, Copy))


def test_a_loop_swaps_its_buffers() -> None:
    @tj.jit
    def swept(u: Any, steps: Any) -> Any:
        def sweep(_: Any, u: Any) -> Any:
            new = u.copy()
            new[1:-1] = 0.5 * (u[2:] + u[:-2])
            return new

        return tj.fori_loop(0, steps, sweep, u)

    u = RNG.random(50)
    expected = u.copy()
    for _ in range(7):
        expected[1:-1] = 0.5 * (expected[2:] + expected[:-2])
    np.testing.assert_array_equal(swept(u, 7), expected)
    inside = [step for step in walk(_program(swept)) if isinstance(step, Copy) and step.box is not None]
    launches = [step for step in walk(_program(swept)) if isinstance(step, Launch)]
    assert len(inside) == 1 and len(launches) == 1


def test_a_small_part_is_written_in_place() -> None:
    """A row of a grid is not worth copying the grid for."""

    @tj.jit
    def shifted(u: Any) -> Any:
        v = u * 2
        v[0] = v[1] + v[2]
        return v

    u = RNG.random((5, 6))
    expected = u * 2
    expected[0] = expected[1] + expected[2]
    np.testing.assert_array_equal(shifted(u), expected)
    assert not any(isinstance(step, Copy) for step in walk(_program(shifted)))


@pytest.mark.parametrize("shape", [(400, 300), (50, 60, 70)])
@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 1, 40])
def test_copy_around(shape: tuple[int, ...], start: int, length: int) -> None:
    source, target = RNG.random(shape), np.full(shape, -1.0)
    assert target.nbytes > SMALL
    copy_around(target, source, ((start, start + length),) * len(shape))
    box = (slice(start, start + length),) * len(shape)
    assert (target[box] == -1).all()
    target[box] = source[box]
    np.testing.assert_array_equal(target, source)
