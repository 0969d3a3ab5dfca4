"""What of the GPU's run time needs no GPU: devices and what is said without one, memory, DLPack."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.cuda_adapter import cuda_driver, simulated
from tracejit.runtime.device import NoDevice
from tracejit.runtime.device_memory import DeviceAllocator
from tracejit.runtime.dlpack import CPU, capsule_of


def has_gpu() -> bool:
    try:
        cuda_driver()
    except NoDevice:
        return False
    return True


without_gpu = pytest.mark.skipif(has_gpu(), reason="says what a machine without a GPU says")


# ---- devices


def test_devices_by_name():
    assert tj.Device("cuda") == tj.Device("cuda:0") == tj.Device("GPU", 0) == tj.Device("/gpu:0")
    assert tj.Device("cuda:1") != tj.Device("cuda") and tj.Device("cuda", 1).index == 1
    assert str(tj.Device("cpu")) == "cpu" and repr(tj.Device("gpu:2")) == "Device('cuda:2')"
    assert tj.Device(tj.Device("cuda:3")) == tj.Device("cuda:3")
    assert len({tj.Device("cuda"), tj.Device("cuda:0"), tj.Device("cpu")}) == 2


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:", "cpu:1", "", "cuda:-1"])
def test_unknown_devices(name):
    with pytest.raises(ValueError, match=r'no device is called .*: there are "cpu" and, where a GPU is found, "cuda"'):
        tj.Device(name)
    with pytest.raises(ValueError, match="no device is called"):
        tj.jit(lambda x: x, device=name)


NO_DRIVER = """\
there is no CUDA device: NVIDIA's driver library (libcuda.so.1) is not installed on this machine. A GPU needs NVIDIA's \
driver, and tracejit's extra [cuda], which compiles for it:
    pip install 'tracejit[cuda]'
Arrays and functions of the device "cpu" need neither; NUMBA_ENABLE_CUDASIM=1 runs small sizes in Numba's simulator, \
slowly."""


@without_gpu
@pytest.mark.parametrize(
    "use",
    [
        lambda x: tj.device_put(x, "cuda"),
        lambda x: tj.device_put(3, "cuda"),
        lambda x: tj.Array(x).to("cuda"),
        lambda x: tj.jit(lambda a: a + 1, device="cuda")(x),
        lambda x: tj.memory_stats("cuda"),
        lambda x: tj.synchronize("cuda"),
    ],
)
def test_without_a_gpu(use, monkeypatch):
    monkeypatch.setenv("TRACEJIT_CUDA_DRIVER", "libcuda.so.1")
    cuda_driver.cache_clear()
    with pytest.raises(NoDevice) as caught:
        use(np.ones(3))
    assert str(caught.value) == NO_DRIVER


@without_gpu
def test_a_machine_without_a_gpu_has_one_device():
    assert tj.devices() == [tj.Device("cpu")]
    assert not simulated()


def test_what_the_cpu_has_not():
    with pytest.raises(ValueError, match="memory_stats is of GPUs"):
        tj.memory_stats("cpu")


# ---- Arrays on the CPU


def test_arrays_know_their_device():
    x = tj.Array([1.0, 2.0])
    assert x.device == tj.Device("cpu") and x.to("cpu") is x
    assert not hasattr(x, "__cuda_array_interface__")
    put = tj.device_put({"a": [np.ones(2), 3], "b": x}, "cpu")
    assert isinstance(put["a"][0], tj.Array) and put["a"][1] == 3 and put["b"] is x
    np.testing.assert_array_equal(tj.jit(lambda a: a * 2, device="cpu")(np.ones(3)), [2, 2, 2])


def test_dlpack_to_numpy():
    x = tj.Array(np.arange(6.0).reshape(2, 3))
    assert x.__dlpack_device__() == (1, 0)
    shared = np.from_dlpack(x)
    np.testing.assert_array_equal(shared, np.arange(6.0).reshape(2, 3))
    assert not shared.flags.writeable
    assert np.from_dlpack(x, copy=True).flags.writeable
    np.testing.assert_array_equal(np.from_dlpack(x[1]), [3, 4, 5])
    assert float(np.from_dlpack(np.sum(x))) == 15


def test_dlpack_from_numpy_and_torch():
    values = np.arange(4.0)
    x = tj.from_dlpack(values)
    assert isinstance(x, tj.Array)
    values[0] = 7
    assert x[0] == 7
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3).T
    y = tj.from_dlpack(tensor)
    assert y.shape == (3, 2) and y.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(y), tensor.numpy())
    np.testing.assert_array_equal(torch.from_dlpack(tj.Array(np.arange(3.0))).numpy(), [0, 1, 2])


class Lent:
    """An array as `capsule_of` lends it, on the CPU so that NumPy can read the structure."""

    def __init__(self, array, versioned):
        self.array, self.versioned = array, versioned
        self.held = SimpleNamespace(
            address=array.__array_interface__["data"][0],
            ndim=array.ndim,
            shape=array.shape,
            strides=array.strides,
            dtype=array.dtype,
            writeable=array.flags.writeable,
        )

    def __dlpack_device__(self):
        return CPU, 0

    def __dlpack__(self, **options):
        return capsule_of(self.held, (CPU, 0), self.versioned)


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("dtype", "?bhilBHILefdFD")
def test_capsules_of_ours_are_dlpack(dtype, versioned):
    array = (np.arange(24) % 5).astype(dtype).reshape(2, 3, 4)[:, ::-1, 1:]
    lent = Lent(array, versioned)
    read = np.from_dlpack(lent)
    assert read.dtype == array.dtype and read.strides == array.strides
    np.testing.assert_array_equal(read, array)
    assert read.flags.writeable is versioned  # older consumers are told nothing, and NumPy is careful


def test_capsules_keep_memory_until_they_are_given_back():
    from tracejit.runtime import dlpack

    before = len(dlpack._LENT)
    lent = Lent(np.arange(3.0), True)
    read = np.from_dlpack(lent)
    unused = lent.__dlpack__()
    assert len(dlpack._LENT) == before + 2
    del read, unused
    gc.collect()
    assert len(dlpack._LENT) == before


# ---- kernels on disk


def test_ptx_is_kept_on_disk(tmp_path, monkeypatch):
    pytest.importorskip("numba.cuda")
    from tests import kernels
    from tracejit.lower.cuda.kernel import Variant
    from tracejit.lower.cuda.lowering import lower
    from tracejit.runtime import ptx_cache
    from tracejit.runtime.disk_cache import DiskCache

    disk = DiskCache(tmp_path)
    kernel = lower(kernels.axpy(), Variant())
    made = ptx_cache.compiled(kernel, (8, 0), disk)
    ((ptx, entry),) = made.values()
    assert f".entry {entry}(" in ptx and ".target sm_80" in ptx
    monkeypatch.setattr(ptx_cache, "compile_kernel", lambda *_: pytest.fail("compiled again"))
    assert ptx_cache.compiled(kernel, (8, 0), DiskCache(tmp_path)) == made
    with pytest.raises(pytest.fail.Exception):
        ptx_cache.compiled(kernel, (9, 0), disk)
    with pytest.raises(pytest.fail.Exception):
        ptx_cache.compiled(lower(kernels.axpy(), Variant(index_bits=32)), (8, 0), disk)


@pytest.mark.parametrize("capability", [(7, 5), (10, 0)])
def test_products_are_ptx(capability):
    pytest.importorskip("numba.cuda")
    from tracejit.lower.cuda.kernel import Variant
    from tracejit.lower.cuda.lowering import lower
    from tracejit.runtime.cuda_adapter import compile_kernel, packing
    from tracejit.runtime.device_matmul import tiled_product

    made = [
        lower(tiled_product(2, dtype), Variant(32, shared=shared))
        for dtype in ("float32", "float64")
        for shared in (True, False)
    ]
    for kernel in made:
        compiled = compile_kernel(kernel, capability)
        assert len(compiled) == len(kernel.launches) and len(packing(kernel)) == len(kernel.parameters)
        for ptx, entry in compiled.values():
            assert f".entry {entry}(" in ptx and f".target sm_{capability[0]}{capability[1]}" in ptx


# ---- memory


class CountingDriver:
    """Addresses, and who waits for whom."""

    def __init__(self, room=1 << 20):
        self.room, self.next, self.sizes, self.order = room, 4096, {}, []

    def activate(self, ordinal):
        pass

    def allocate(self, size):
        if sum(self.sizes.values()) + size > self.room:
            raise MemoryError
        self.next += size
        self.sizes[self.next] = size
        return self.next

    def release(self, address):
        del self.sizes[address]

    def synchronize(self):
        pass

    def free_and_total(self):
        return self.room - sum(self.sizes.values()), self.room

    def new_event(self, timed=True):
        return 99

    def drop_event(self, event):
        pass

    def record(self, event, stream):
        self.order.append(("after", stream))

    def follow(self, stream, event):
        self.order.append(("then", stream))


def test_blocks_are_powers_of_two_and_recycled():
    allocator = DeviceAllocator(CountingDriver(), 0)
    block = allocator.allocate(3000, 1)
    assert block.size == 4096 and allocator.allocate(0, 1).size == 512 and allocator.allocate(513, 1).size == 1024
    address = block.address
    del block
    assert allocator.stats().in_use == 0 and allocator.stats().idle == 4096 + 512 + 1024
    assert allocator.allocate(4000, 1).address == address
    other = allocator.allocate(4000, 2)
    assert other.address != address, "another stream does not get what this one may still use"
    assert allocator.stats().driver_calls == 4 and allocator.stats().requests == 5
    assert allocator.stats().peak == 4096 + 512 + 1024


def test_the_limit_lets_idle_memory_go():
    allocator = DeviceAllocator(driver := CountingDriver(), 0, limit=8192)
    del_me = [allocator.allocate(2048, 1) for _ in range(4)]
    with pytest.raises(MemoryError, match=r"no memory on cuda:0 for an array of 100 bytes .*8192 bytes are in use"):
        allocator.allocate(100, 1)
    del del_me[:2]
    kept = allocator.allocate(4096, 1)
    assert sum(driver.sizes.values()) == 8192 and allocator.stats().idle == 0
    del kept


def test_a_full_device_lets_idle_memory_go():
    allocator = DeviceAllocator(driver := CountingDriver(room=8192), 0)
    first = allocator.allocate(4096, 1)
    allocator.allocate(2048, 1)
    second = allocator.allocate(4096, 1)
    assert sum(driver.sizes.values()) == 8192
    with pytest.raises(MemoryError, match="0 of 8192 are free"):
        allocator.allocate(1, 1)
    del first, second


def test_memory_of_graphs_stays():
    allocator = DeviceAllocator(driver := CountingDriver(), 0)
    allocator.allocate(100, 1)
    allocator.allocate(100, 2)
    allocator.graph_streams.add(2)
    allocator.trim()
    assert len(driver.sizes) == 1 and allocator.stats().idle == 512
    allocator.graph_streams.clear()
    allocator.trim()
    assert not driver.sizes


def test_streams_wait_for_each_other():
    allocator = DeviceAllocator(driver := CountingDriver(), 0)
    block = allocator.allocate(100, 1)
    block.used_by(2)
    assert driver.order == [("after", 1), ("then", 2)]
    del block
    assert driver.order[2:] == [("after", 2), ("then", 1)], "the memory is lent again on 1 after what 2 has queued"
