"""The calls of NVIDIA's driver, checked against a library that pretends to be it (tests/pretended_driver.c)."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tracejit.runtime.cuda_driver import CudaDriver, CudaError

COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")


def built(folder: Path, name: str) -> Path:
    """A library of one C file of the tests."""
    target = folder / f"lib{name}.so"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", target, ROOT / "tests" / f"{name}.c"], check=True)
    return target


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("driver"), "pretended_driver")


@pytest.fixture
def driver(library: Path) -> CudaDriver:
    made = CudaDriver(str(library))
    made.pretended = ctypes.CDLL(str(library))
    made.pretended.pretend_word.restype = ctypes.c_uint64
    made.pretended.pretend_stream.restype = ctypes.c_void_p
    made.pretended.pretend_function.restype = ctypes.c_char_p
    made.pretended.pretend_module.restype = ctypes.c_char_p
    made.pretended.pretend_bytes.restype = ctypes.c_size_t
    return made


def test_what_a_device_is(driver):
    assert driver.count() == 2 and driver.name(1) == "second" and driver.capability(0) == (9, 0)
    assert driver.processors(0) == 132 and driver.shared_bytes(0) == 232448
    driver.activate(1)
    assert driver.free_and_total() == (1000, 2000)


def test_memory(driver):
    driver.activate(0)
    values, back = np.arange(1000.0), np.empty(1000)
    stream = driver.new_stream()
    a, b = driver.allocate(8000), driver.allocate(8000)
    driver.upload(a, values, stream)
    driver.copy(b, a, 8000, stream)
    driver.download(back, b, stream)
    np.testing.assert_array_equal(back, values)
    driver.clear(b, 80, stream)
    driver.download(back, b, stream)
    assert not back[:10].any() and back[10] == 10
    large = np.arange(100_000.0)
    c = driver.allocate(large.nbytes)
    driver.upload(c, large, stream)
    driver.download(back := np.empty_like(large), c, stream)
    np.testing.assert_array_equal(back, large)
    for address in (a, b, c):
        driver.release(address)
    with pytest.raises(MemoryError, match="cuMemAlloc_v2 failed with error 2"):
        driver.allocate(1 << 41)


def test_a_launch_carries_its_words(driver):
    launch = driver.load("// text", "kernel_name", "QqqdQ", 0)
    assert driver.pretended.pretend_module() == b"// text"
    words = [2**63 + 5, -7, 12, 2.5, 99]
    launch(17, 256, 1024, 4242, words)
    assert [driver.pretended.pretend_number(n) for n in range(7)] == [17, 1, 1, 256, 1, 1, 1024]
    assert driver.pretended.pretend_stream() == 4242 and driver.pretended.pretend_function() == b"kernel_name"
    assert driver.pretended.pretend_bytes() == 40
    bits = struct.pack("5Q", *(driver.pretended.pretend_word(n) for n in range(5)))
    assert list(struct.unpack("QqqdQ", bits)) == words
    launch(1, 32, 100_000, 0, words)  # more than every kernel may have: announced first
    with pytest.raises(CudaError, match="the parameters of large take 8000 bytes"):
        driver.load("", "large", "1000q", 0)


def test_errors_of_the_driver(driver):
    launch = driver.load("", "kernel", "q", 0)
    driver.pretended.pretend_fail(222)
    with pytest.raises(CudaError, match=r"error 222: .* The driver is older than the compiler of the extra \[cuda\]"):
        launch(1, 1, 0, 0, [1])
    driver.pretended.pretend_fail(700)
    try:
        with pytest.raises(CudaError, match="cuLaunchKernel failed with error 700: an illegal memory access"):
            launch(1, 1, 0, 0, [1])
    finally:
        driver.pretended.pretend_fail(0)


def test_events_and_graphs(driver):
    stream = driver.new_stream()
    start, end = driver.new_event(), driver.new_event()
    driver.record(start, stream)
    driver.record(end, stream)
    driver.follow(stream, start)
    assert driver.milliseconds(start, end) == 2.5
    launch = driver.load("", "kernel", "q", 0)
    before = driver.pretended.pretend_launches()
    driver.begin_capture(stream)
    launch(1, 1, 0, stream, [1])
    launch(1, 1, 0, stream, [2])
    graph = driver.end_capture(stream)
    assert driver.pretended.pretend_launches() == before
    driver.launch_graph(graph, stream)
    assert driver.pretended.pretend_launches() == before + 2
    driver.drop_graph(graph)
    driver.drop_event(start)
    driver.drop_stream(stream)


PROGRAM = """
import ctypes, sys
import numpy as np, tracejit as tj
assert tj.devices() == [tj.Device("cpu"), tj.Device("cuda:0"), tj.Device("cuda:1")]
library = ctypes.CDLL(sys.argv[1])
library.pretend_word.restype = ctypes.c_uint64
x, y = tj.device_put((np.arange(100.0), np.ones(100)), "cuda")
assert np.array_equal(np.asarray(x), np.arange(100.0))
f = tj.jit(lambda a, b, n: a * b + n)
r = f(x, y, 3.5)
assert r.device == tj.Device("cuda") and r.shape == (100,)
found = {library.pretend_word(n) for n in range(10)}
addresses = {a.__cuda_array_interface__["data"][0] for a in (x, y, r)}
assert addresses < found and 100 in found, (addresses, found)
launches = library.pretend_launches()
f(x, y, 3.5), f(x[:50], y[:50], 1.0)
assert library.pretend_launches() == launches + 2 and f.stats.traces == 1
step = tj.capture(lambda a, b: f(f(a, b, 2.0), b, 1.0), x, y)
launches = library.pretend_launches()
result = step()
assert library.pretend_graphs() == 1 and library.pretend_launches() == launches + 2
assert step() is result and library.pretend_graphs() == 2
with tj.Stream("cuda") as stream:
    f(x, y, 3.5)
library.pretend_stream.restype = ctypes.c_void_p
assert library.pretend_stream() == stream.handle
z = tj.device_put(np.ones(100), "cuda:1")
try:
    x + z
except ValueError as error:
    assert "add is given arrays of different devices: float64[100] on cuda:0, float64[100] on cuda:1" in str(error)
else:
    raise AssertionError
try:
    tj.device_put(1.0 + np.ones(3), "cuda:2")
except RuntimeError as error:
    assert "there is no device cuda:2: NVIDIA's driver finds 2, the first is cuda:0" in str(error)
else:
    raise AssertionError
"""


def test_a_call_as_the_driver_sees_it(library):
    """Numba compiles the kernel for a GPU, and the launch has the words of the arguments; nothing of it is run."""
    pytest.importorskip("numba.cuda")
    environment = {**os.environ, "TRACEJIT_CUDA_DRIVER": str(library)}
    command = [sys.executable, "-c", PROGRAM, str(library)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


PRODUCTS = """
import ctypes, sys
import numpy as np, tracejit as tj
from tracejit.runtime import cublas
from tracejit.runtime.device_matmul import matmul
cublas._files = lambda: iter(["no_such_library.so", sys.argv[1]])
library = ctypes.CDLL(sys.argv[1])
library.pretend_cublas_stream.restype = ctypes.c_void_p
rng = np.random.default_rng(0)

def put(x):
    return tj.device_put(x, "cuda")._value

def check(a, b, calls=1, turn_a=False, turn_b=False, cut=slice(None)):
    before = library.pretend_calls()
    left, right = put(a)[..., cut], put(b)
    left = left.transpose((*range(a.ndim - 2), -1, -2)) if turn_a else left
    right = right.transpose((*range(b.ndim - 2), -1, -2)) if turn_b else right
    a = np.swapaxes(a, -1, -2) if turn_a else a[..., cut]
    b = np.swapaxes(b, -1, -2) if turn_b else b
    expected = a @ b
    found = matmul(left, right)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found.read(), expected, 1e-5 if a.dtype == np.float32 else 1e-13)
    assert library.pretend_calls() == before + calls, library.pretend_calls() - before

m = rng.normal
for dtype in (np.float64, np.float32):
    check(m(size=(4, 6)).astype(dtype), m(size=(6, 3)).astype(dtype))
check(m(size=(6, 4)), m(size=(6, 3)), turn_a=True)
check(m(size=(4, 6)), m(size=(3, 6)), turn_b=True)
check(m(size=(6, 4)), m(size=(3, 6)), turn_a=True, turn_b=True)
check(m(size=(4, 9)), m(size=(6, 3)), cut=slice(2, 8))
check(m(size=(4, 1)), m(size=(1, 3)))
check(m(size=(1, 4)), m(size=(4, 1)))
check(m(size=4), m(size=(4, 3)))
check(m(size=(3, 4)), m(size=4))
check(m(size=(5, 4, 6)), m(size=(6, 3)))
check(m(size=(4, 6)), m(size=(5, 6, 3)))
check(m(size=(5, 4, 6)), m(size=(5, 3, 6)), turn_b=True)
check(m(size=(2, 5, 4, 6)), m(size=(2, 1, 6, 3)), calls=2)
check(m(size=(0, 6)), m(size=(6, 3)), calls=0)
assert library.pretend_cublas_stream() == tj.runtime.devices.cuda_home(0).stream
"""


def test_products_by_cublas(library, tmp_path):
    """Sizes, strides and transposes as cuBLAS takes them; the library that pretends multiplies on the host."""
    pytest.importorskip("numba.cuda")
    environment = {**os.environ, "TRACEJIT_CUDA_DRIVER": str(library)}
    command = [sys.executable, "-c", PRODUCTS, str(built(tmp_path, "pretended_cublas"))]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


WITHOUT_COMPILER = """
import sys
sys.modules["numba.cuda"] = None
import numpy as np, tracejit as tj
x = tj.device_put(np.arange(3.0), "cuda")
assert np.array_equal(np.asarray(x), [0, 1, 2]), "arrays need no compiler"
try:
    x + 1
except RuntimeError as error:
    print(error)
"""


def test_without_numba_cuda(library, tmp_path):
    environment = {**os.environ, "TRACEJIT_CUDA_DRIVER": str(library), "TRACEJIT_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT_COMPILER]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "kernels cannot be compiled for a GPU: importing numba.cuda failed (ModuleNotFoundError: import of numba.cuda "
        "halted; None in sys.modules). The compiler comes with tracejit's extra [cuda]:\n"
        "    pip install 'tracejit[cuda]'\n"
    )
