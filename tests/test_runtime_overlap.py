"""Many arrays at once against NumPy's answer for each pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracejit.runtime.overlap import overlap

MEMORY = np.zeros(64)


@st.composite
def views(draw):
    start, stop = sorted((draw(st.integers(0, 64)), draw(st.integers(0, 64))))
    step = draw(st.sampled_from([1, 2, 3, -1, -2]))
    view = MEMORY[start:stop][::step]
    return view.reshape(2, -1).T if view.size % 2 == 0 and draw(st.booleans()) else view


@given(st.lists(views(), max_size=4), st.lists(views(), max_size=4))
def test_as_numpy_for_each_pair(written, read):
    pairs = [(a, b) for n, a in enumerate(written) for b in [*written[n + 1 :], *read]]
    assert overlap(written, read) == any(np.may_share_memory(a, b) for a, b in pairs)
