"""Kernels that people know from benchmark collections give NumPy's results, at their smaller sizes."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest

import tracejit as tj
from benchmarks.kernels import KERNELS
from benchmarks.kernels.__main__ import Row, line, outcome, page
from benchmarks.kernels.kernel import Kernel

SLOW = {"durbin", "vertical_advection", "channel_flow", "cavity_flow", "adi", "deriche"}
"""Long unrolled loops; only the smallest size is traced."""


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_as_numpy(kernel: Kernel) -> None:
    compiled = tj.jit(kernel.function)
    for size in kernel.sizes[:1] if kernel.name in SLOW else (*kernel.sizes[:2], kernel.sizes[0]):
        arguments = kernel.make(np.random.default_rng(size), size)
        untouched = copy.deepcopy(arguments)
        expected = outcome(kernel, kernel.function, arguments)
        for _ in range(2):
            found = outcome(kernel, compiled, arguments)
            assert len(found) == len(expected)
            for mine, theirs in zip(found, expected, strict=True):
                assert np.asarray(mine).dtype == np.asarray(theirs).dtype
                scale = float(np.max(np.abs(theirs), initial=0.0))
                np.testing.assert_allclose(mine, theirs, rtol=kernel.tolerance, atol=kernel.tolerance * scale)
        for mine, theirs in zip(arguments, untouched, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_sizes_go_up_and_names_are_apart() -> None:
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS)
    assert all(list(kernel.sizes) == sorted(set(kernel.sizes)) for kernel in KERNELS)


def test_page_tells_what_is_slower() -> None:
    rows = [Row(KERNELS[0], 3, 9, {"numpy": [1.0, 2.0], "tracejit": [2.0, 4.0]})]
    rows.append(Row(KERNELS[1], 3, 9, {"numpy": [4.0], "tracejit": [2.0]}))
    rows.append(Row(KERNELS[2], 3, 9, error="differs by 1"))
    assert rows[0].gain == pytest.approx(0.5)
    assert rows[0].slow and not rows[1].slow and rows[2].slow and math.isnan(rows[2].gain)
    assert "SLOWER" in line(rows[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = page(rows)
    assert "Slower than NumPy (gain under 0.95): 2 of 3" in text
    assert "- mvt, size 3: differs by 1" in text
