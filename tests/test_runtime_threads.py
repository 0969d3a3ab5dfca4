"""The pool of threads."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

from tests import kernels
from tracejit.runtime import threads
from tracejit.runtime.disk_cache import DiskCache
from tracejit.runtime.kernel_cache import KernelCache
from tracejit.runtime.machine import available_cpus
from tracejit.runtime.threads import get_num_threads, run_parallel, set_num_threads


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Any:
    (loaded,) = KernelCache(DiskCache(tmp_path_factory.mktemp("kernels"))).get_kernels([kernels.axpy()])
    return loaded.entry


def test_setting_works_as_a_call_and_for_a_block() -> None:
    before = get_num_threads()
    with set_num_threads(3):
        assert get_num_threads() == 3
    assert get_num_threads() == before
    set_num_threads(2)
    assert get_num_threads() == 2
    set_num_threads(before)
    with pytest.raises(ValueError, match="at least 1"):
        set_num_threads(0)


def test_default_honours_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEJIT_NUM_THREADS", "7")
    assert threads._default_threads() == 7
    monkeypatch.setenv("TRACEJIT_NUM_THREADS", "many")
    assert threads._default_threads() == available_cpus() >= 1


def test_every_unit_runs_once() -> None:
    seen: list[int] = []
    finals: list[int] = []

    def entry(base: int, begin: int, end: int, mode: int) -> None:
        (finals if mode == 1 else seen).extend(range(base + begin, base + end) if mode == 0 else [mode])

    for units in (1, 2, 3, 17, 1000):
        seen.clear()
        finals.clear()
        assert run_parallel(entry, [5], units, units > 1, 4) is None
        assert sorted(seen) == list(range(5, 5 + units))
        assert len(finals) == (units > 1)


def test_errors_and_codes_reach_the_caller() -> None:
    def fails(kind: type[Exception], begin: int, end: int, mode: int) -> int | None:
        if begin == 0:
            raise kind
        return None

    for kind in (ZeroDivisionError, IndexError):
        with pytest.raises(kind):
            run_parallel(fails, [kind], 100, False, 3)
    assert run_parallel(lambda begin, end, mode: 9 if begin == 0 else None, [], 100, True, 3) == 9


def test_calls_from_many_threads_at_once(entry: Any) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        x, out = np.full(50_000, float(number)), np.empty(50_000)
        for _ in range(30):
            out[:] = 0
            run_parallel(entry, [x, x, out, x.size, 2.0], x.size, False, 3)
            if (out != 3.0 * number).any():
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_starts_anew(entry: Any) -> None:
    x, out = np.ones(50_000), np.zeros(50_000)
    arguments = [x, x, out, x.size, 2.0]
    run_parallel(entry, arguments, x.size, False, 2)
    child = os.fork()
    if child == 0:
        out[:] = 0
        run_parallel(entry, arguments, x.size, False, 2)
        os._exit(0 if (out == 3.0).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
