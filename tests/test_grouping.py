"""Which roots share a kernel, in long programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.schedule import grouping


def test_a_root_is_tried_with_so_many_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else scheduling would take the square of a trace's length."""
    tries = 0
    joins = grouping._joins

    def counted(*arguments: Any) -> bool:
        nonlocal tries
        tries += 1
        return joins(*arguments)

    def ragged(x: Any) -> Any:
        return np.array([np.sum(x[:k] * x[:k]) for k in range(2, 80)])

    monkeypatch.setattr(grouping, "_joins", counted)
    monkeypatch.setattr(grouping, "FURTHEST", 8)
    x = np.random.default_rng(0).random(80)
    np.testing.assert_allclose(tj.jit(ragged)(x), ragged(x), rtol=1e-14)
    assert 78 <= tries <= 8 * 160
