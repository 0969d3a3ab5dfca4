"""What stands for a GPU's own functions in the simulator, by itself."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np

from tracejit.lower.cuda import simulation


def test_threads_of_a_block_share_an_array_however_they_interleave(monkeypatch) -> None:
    def slow_empty(count, dtype):
        time.sleep(1e-3)
        return np.zeros(count, dtype)

    monkeypatch.setattr(simulation, "np", SimpleNamespace(empty=slow_empty))
    block, found = SimpleNamespace(), []

    def kernel() -> None:
        first = simulation.shared_array(None, 4, np.dtype("int32"))
        second = simulation.shared_array(None, 4, np.dtype("int32"))
        found.append((first, second))

    threads = [threading.Thread(target=kernel) for _ in range(8)]
    for thread in threads:
        thread._manager = block
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(first) for first, _ in found}) == 1
    assert len({id(second) for _, second in found}) == 1
    assert found[0][0] is not found[0][1]
