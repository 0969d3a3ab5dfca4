"""The pool of threads: every unit once, errors, many callers, forks, and how many threads there are."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests import kernels
from tests.native_calls import NATIVE, run_python
from tracejit.lower.linking import PLACING
from tracejit.lower.thread_pool import emit_pool
from tracejit.runtime import threads
from tracejit.runtime.disk_cache import DiskCache
from tracejit.runtime.kernel_cache import KernelCache
from tracejit.runtime.machine import available_cpus
from tracejit.runtime.machine_code import host_object, portable_entry
from tracejit.runtime.thread_pool import start_pool
from tracejit.runtime.threads import get_num_threads, set_num_threads
from tracejit.schedule.kernel import CHUNK

pytestmark = pytest.mark.skipif(not start_pool(), reason="needs POSIX threads")

TASKS = Path("/proc/self/task")
"""Linux lists the threads of a process here."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    wanted = [kernels.axpy(), kernels.take(), kernels.reduce_all("sum", partial="float64")]
    return KernelCache(DiskCache(tmp_path_factory.mktemp("kernels"))).get_kernels(wanted)


@pytest.fixture(scope="module")
def axpy(loaded: Any) -> Any:
    """out = a * x + y, called with any number of threads."""

    def call(x: Any, y: Any, out: Any, a: float, wanted: int) -> None:
        assert loaded[0].entry(x, y, out, x.size, a, x.size, wanted) is None

    return call


# ---- how many


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


COUNT_THREADS = """
import os, numpy as np, tracejit as tj
f = tj.jit(lambda x: np.sin(x) * np.exp(x))
x = np.ones(1_000_000)
f(x)
before = len(os.listdir("/proc/self/task"))
print(before)
"""


@pytest.mark.skipif(not TASKS.is_dir(), reason="needs Linux's /proc")
def test_one_thread_means_that_none_is_started() -> None:
    few, many = (int(run_python("-c", COUNT_THREADS, TRACEJIT_NUM_THREADS=n, OPENBLAS_NUM_THREADS="1")) for n in "15")
    assert (few, many) == (1, 5)


# ---- one launch


@pytest.mark.parametrize("units", [0, 1, 2, 3, 17, 63, 64, 65, 1000, 4099, 100_003])
def test_every_unit_is_done_once(axpy: Any, units: int) -> None:
    x = np.arange(float(units))
    for wanted in (1, 2, 3, 4, 7, 16, 100):
        out = np.zeros(units + 2)
        memory = out[1:-1]
        for _ in range(20):
            # what is added to itself shows how often it was done
            memory[:] = x
            axpy(memory, np.ones(units), memory, 2.0, wanted)
            np.testing.assert_array_equal(memory, 2 * x + 1)
        assert out[0] == out[-1] == 0


def test_results_do_not_depend_on_the_number_of_threads(loaded: Any) -> None:
    x = np.random.default_rng(0).normal(size=3_000_001)
    total, results = loaded[2], set()
    chunks = -(-x.size // CHUNK)
    for wanted in (1, 2, 3, 8, 50):
        for entry in (total.entry, portable_entry(total.kernel, total.keep_alive)):
            out, partial = np.empty(()), np.empty(chunks)
            assert entry(x, out, partial, x.size, chunks, wanted) is None
            results.add(float(out))
    assert len(results) == 1


def test_errors_reach_the_caller(loaded: Any) -> None:
    take = loaded[1]
    table, places = np.ones((50, 3)), np.zeros(10_000, np.int64)
    out = np.empty((places.size, 3))
    for entry in (take.entry, portable_entry(take.kernel, take.keep_alive)):
        for bad in (0, 1, 4999, 9999):
            places[:] = 7
            assert entry(table, places, out, places.size, 3, places.size, 4) is None
            places[bad] = 50
            assert entry(table, places, out, places.size, 3, places.size, 4) == 2
    places[:] = 1000  # every participant fails
    assert take.entry(table, places, out, places.size, 3, places.size, 4) == 2


WORKER_ON_THE_SAME_CPU = """
import os, numpy as np, tracejit as tj
allowed = sorted(os.sched_getaffinity(0))
f = tj.jit(lambda x: np.sin(x) * np.exp(x))
x = np.ones(300_000)
known = {int(task) for task in os.listdir("/proc/self/task")}
os.sched_setaffinity(0, allowed[:1])
f(x)  # starts the worker, which may run where its maker may
(worker,) = {int(task) for task in os.listdir("/proc/self/task")} - known
assert os.sched_getaffinity(worker) == set(allowed[:1])
for _ in range(1000):
    os.sched_setaffinity(0, allowed[:1])
    f(x)
    os.sched_setaffinity(0, allowed)  # still on the first CPU
    f(x)
    if os.sched_getaffinity(worker) == set(allowed[1:]):
        break
print(sorted(os.sched_getaffinity(worker)) == allowed[1:], sorted(os.sched_getaffinity(0)) == allowed)
"""


@pytest.mark.skipif(not TASKS.is_dir() or available_cpus() < 2, reason="needs Linux's /proc, and two CPUs")
def test_a_worker_keeps_off_its_callers_cpu() -> None:
    found = run_python("-c", WORKER_ON_THE_SAME_CPU, TRACEJIT_NUM_THREADS="2", OPENBLAS_NUM_THREADS="1")
    assert found.split() == ["True", "True"]


def test_the_pool_does_without_placing_its_threads() -> None:
    code = host_object(emit_pool(2, placing=False))
    assert not any(name.encode() in code for name in PLACING)
    assert all(name.encode() in host_object(emit_pool(2, placing=True)) for name in PLACING)


# ---- many callers


@pytest.mark.parametrize("wanted", [2, 3, 9])
def test_calls_from_many_threads_at_once(axpy: Any, wanted: int) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        x, out = np.full(5000, float(number)), np.empty(5000)
        for turn in range(1000):
            out[:] = 0
            axpy(x, x, out, float(turn), wanted)
            if (out != (turn + 1.0) * number).any():
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert not worker.is_alive()
    assert not wrong


def test_jitted_calls_inside_executors() -> None:
    f = tj.jit(lambda x, k: np.exp(x * k).sum())
    x = np.linspace(0, 1, 100_000)
    wanted = [float(f(x, k)) for k in range(8)]
    with set_num_threads(4), ThreadPoolExecutor(8) as executor:
        assert [float(v) for v in executor.map(lambda k: f(x, k % 8), range(400))] == wanted * 50


def test_a_launch_lets_python_run(axpy: Any) -> None:
    """The GIL is free meanwhile: another Python thread makes progress during one long launch."""
    x = np.ones(20_000_000)
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks[0] += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        before = ticks[0]
        axpy(x, x, x, 2.0, 2)
        assert ticks[0] > before
    finally:
        stop.set()
        ticker.join()


# ---- native calls


NATIVE_CALLS = """
import os, numpy as np, tracejit as tj
from tracejit.driver import function
from tracejit.runtime.machine_speeds import speeds
from tracejit.runtime.thread_pool import start_pool
function.HOT_CALLS = 1
assert start_pool() and speeds()
f = tj.jit(lambda x: np.arcsinh(x) * np.arctan(x) * np.log1p(x) ** x)
x = np.linspace(0, 1, 30_000)
alone = [f(x) for _ in range(5)][-1]
tasks = lambda: len(os.listdir("/proc/self/task"))
assert tasks() <= 2, tasks()  # it took one more to measure
before = f.stats.native_calls[0]
with tj.set_num_threads(4):
    together = f(x)
print(f.stats.native_calls[0] - before, tasks(), alone.tobytes() == together.tobytes())
"""


@pytest.mark.skipif(not TASKS.is_dir(), reason="needs Linux's /proc")
def test_native_calls_use_the_pool_and_heed_the_setting() -> None:
    found = run_python("-c", NATIVE_CALLS, TRACEJIT_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1").split()
    assert found == [str(int(NATIVE)), "4", "True"]


# ---- processes


def _child_result(size: int) -> float:
    x = np.ones(size)
    with set_num_threads(3):
        return float(tj.jit(lambda x: np.exp(x).sum())(x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_starts_anew(axpy: Any) -> None:
    x, out = np.ones(50_000), np.zeros(50_000)
    axpy(x, x, out, 2.0, 4)
    child = os.fork()
    if child == 0:
        fine = True
        for _ in range(200):
            out[:] = 0
            axpy(x, x, out, 2.0, 4)
            fine = fine and bool((out == 3.0).all())
        os._exit(0 if fine and _tasks() in (0, 4) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    axpy(x, x, out, 2.0, 4)
    assert (out == 3.0).all()


def _tasks() -> int:
    """Threads of this process, where the system says."""
    return len(list(TASKS.iterdir())) if TASKS.is_dir() else 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_while_other_threads_launch(axpy: Any) -> None:
    stop = threading.Event()

    def launch() -> None:
        x, out = np.ones(20_000), np.empty(20_000)
        while not stop.is_set():
            axpy(x, x, out, 2.0, 3)

    callers = [threading.Thread(target=launch) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                x, out = np.ones(20_000), np.empty(20_000)
                for _ in range(20):
                    axpy(x, x, out, 2.0, 3)
                os._exit(0 if (out == 3.0).all() else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for caller in callers:
            caller.join(60)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_process_pools(method: str) -> None:
    wanted = _child_result(200_000)
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as executor:
        assert list(executor.map(_child_result, [200_000] * 4)) == [wanted] * 4


EXIT = """
import threading, numpy as np, tracejit as tj
f = tj.jit(lambda x: np.sin(x) * np.exp(x))
x = np.ones(400_000)
f(x)
def forever():
    while True:
        f(x)
for _ in range(3):
    threading.Thread(target=forever, daemon=True).start()
for _ in range(50):
    f(x)
print("done")
"""


def test_the_interpreter_ends_while_threads_launch() -> None:
    for portable in ("0", "1"):
        assert run_python("-c", EXIT, TRACEJIT_NUM_THREADS="4", TRACEJIT_PORTABLE=portable).strip() == "done"


INTERRUPT = """
import os, signal, threading, time, numpy as np, tracejit as tj
f = tj.jit(lambda x: np.sin(x) * np.exp(x))
x = np.ones(400_000)
f(x)
try:  # entered first: the timer may fire at any moment once it runs
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_signals_go_to_python_threads() -> None:
    """A worker takes no signals: the sleep of the main thread ends at once."""
    assert run_python("-c", INTERRUPT, TRACEJIT_NUM_THREADS="4").strip() == "interrupted"
