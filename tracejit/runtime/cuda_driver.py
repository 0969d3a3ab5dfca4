"""NVIDIA's driver library by ctypes: devices, memory, streams, events, modules, launches, graphs.

No Numba and no toolkit are needed for any of it: kernels come as PTX.  A launch is one call into the library; its
parameters are packed into one block of bytes that belongs to the thread.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

LIBRARY = "libcuda.so.1"

STAGED = 64 << 10
"""Bytes that the driver copies aside before an upload returns, if they are in memory that may be paged out."""

PARAMETER_BYTES = 4096
"""The most that the parameters of a kernel may take."""

USUAL_SHARED = 48 << 10
"""Bytes of shared memory that every kernel may ask for; more must be announced."""

_POINTER_ATTRIBUTE, _SIZE_ATTRIBUTE = 1, 2
"""CU_LAUNCH_PARAM_BUFFER_POINTER and CU_LAUNCH_PARAM_BUFFER_SIZE."""

_CAPABILITY = (75, 76)
_PROCESSORS, _SHARED_BYTES = 16, 97
"""Numbers of device attributes: the two parts of the compute capability, multiprocessors, shared memory of a block."""

_DYNAMIC_SHARED = 8
"""CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES."""

_NON_BLOCKING, _THREAD_LOCAL_CAPTURE, _UNTIMED = 1, 1, 2

_INT, _WORD, _SIZE = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
_ADDRESS: Any = ctypes.c_uint64
_HANDLE: Any = ctypes.c_void_p
_OUT: Any = ctypes.c_void_p

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (_WORD,),
    "cuDeviceGetCount": (_OUT,),
    "cuDeviceGet": (_OUT, _INT),
    "cuDeviceGetName": (_OUT, _INT, _INT),
    "cuDeviceGetAttribute": (_OUT, _INT, _INT),
    "cuDevicePrimaryCtxRetain": (_OUT, _INT),
    "cuCtxSetCurrent": (_HANDLE,),
    "cuCtxSynchronize": (),
    "cuMemGetInfo_v2": (_OUT, _OUT),
    "cuMemAlloc_v2": (_OUT, _SIZE),
    "cuMemFree_v2": (_ADDRESS,),
    "cuMemcpyHtoDAsync_v2": (_ADDRESS, _HANDLE, _SIZE, _HANDLE),
    "cuMemcpyDtoHAsync_v2": (_HANDLE, _ADDRESS, _SIZE, _HANDLE),
    "cuMemcpyDtoDAsync_v2": (_ADDRESS, _ADDRESS, _SIZE, _HANDLE),
    "cuMemsetD8Async": (_ADDRESS, ctypes.c_ubyte, _SIZE, _HANDLE),
    "cuStreamCreate": (_OUT, _WORD),
    "cuStreamDestroy_v2": (_HANDLE,),
    "cuStreamSynchronize": (_HANDLE,),
    "cuStreamWaitEvent": (_HANDLE, _HANDLE, _WORD),
    "cuEventCreate": (_OUT, _WORD),
    "cuEventDestroy_v2": (_HANDLE,),
    "cuEventRecord": (_HANDLE, _HANDLE),
    "cuEventSynchronize": (_HANDLE,),
    "cuEventElapsedTime": (_OUT, _HANDLE, _HANDLE),
    "cuModuleLoadData": (_OUT, _HANDLE),
    "cuModuleGetFunction": (_OUT, _HANDLE, ctypes.c_char_p),
    "cuFuncSetAttribute": (_HANDLE, _INT, _INT),
    "cuLaunchKernel": (_HANDLE, *(_WORD,) * 7, _HANDLE, _HANDLE, _HANDLE),
    "cuStreamBeginCapture_v2": (_HANDLE, _INT),
    "cuStreamEndCapture": (_HANDLE, _OUT),
    "cuGraphInstantiateWithFlags": (_OUT, _HANDLE, ctypes.c_ulonglong),
    "cuGraphLaunch": (_HANDLE, _HANDLE),
    "cuGraphExecDestroy": (_HANDLE,),
    "cuGraphDestroy": (_HANDLE,),
}
"""The functions that are used, and their parameters; all return a CUresult."""

_OUT_OF_MEMORY = 2
_NEWER_PTX = 222
_OTHER_CONTEXT = (201, 400)
"""Results of a call: CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_UNSUPPORTED_PTX_VERSION; CUDA_ERROR_INVALID_CONTEXT and
CUDA_ERROR_INVALID_HANDLE."""

TOOLKIT = "13.0"
"""The version of the toolkit that the extra [cuda] installs."""

Launch: TypeAlias = "Callable[[int, int, int, int, Sequence[Any]], None]"
"""A kernel: called with blocks, threads in a block, bytes of dynamic shared memory, stream, and the parameters."""


class CudaError(RuntimeError):
    """A call of the driver failed; the text has its name, and the driver's own for what went wrong."""


class _Packet(threading.local):
    """The parameters of a launch as this thread packs them."""

    def __init__(self) -> None:
        self.bytes = ctypes.create_string_buffer(PARAMETER_BYTES)
        self.size = ctypes.c_size_t()
        addresses = (_POINTER_ATTRIBUTE, ctypes.addressof(self.bytes), _SIZE_ATTRIBUTE, ctypes.addressof(self.size), 0)
        self.extra = (ctypes.c_void_p * 5)(*addresses)


class CudaDriver:
    """The driver of this machine.

    library: the file to load.  Raises OSError where there is none, CudaError where it finds no device.
    """

    simulated = False

    def __init__(self, library: str = LIBRARY) -> None:
        self._library = ctypes.CDLL(library)
        self._calls = {name: self._declared(name, types) for name, types in _SIGNATURES.items()}
        self._call("cuInit", 0)
        self._contexts: dict[int, ctypes.c_void_p] = {}
        self._packet = _Packet()
        self._launch = self._calls["cuLaunchKernel"]
        self._set_current = self._calls["cuCtxSetCurrent"]

    def _declared(self, name: str, types: tuple[Any, ...]) -> Any:
        function = getattr(self._library, name)
        function.argtypes, function.restype = types, ctypes.c_int
        return function

    def _call(self, name: str, *arguments: Any) -> None:
        code = self._calls[name](*arguments)
        if code:
            self._raise(name, code)

    def _raise(self, name: str, code: int) -> None:
        text = ctypes.c_char_p()
        self._library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
        what = f"{name} failed with error {code}: {(text.value or b'unknown').decode()}"
        if code == _NEWER_PTX:
            what += f". The driver is older than the compiler of the extra [cuda], which needs one for CUDA {TOOLKIT}"
        raise MemoryError(what) if code == _OUT_OF_MEMORY else CudaError(what)

    def _new(self, name: str, kind: Any, *arguments: Any) -> Any:
        """What a call writes to its first parameter."""
        found = kind()
        self._call(name, ctypes.byref(found), *arguments)
        return found.value

    # ---- devices

    def count(self) -> int:
        """Devices of this machine."""
        return int(self._new("cuDeviceGetCount", ctypes.c_int))

    def name(self, ordinal: int) -> str:
        """What a device is called."""
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), self._device(ordinal))
        return text.value.decode()

    def capability(self, ordinal: int) -> tuple[int, int]:
        """A device's compute capability."""
        major, minor = (self._attribute(number, ordinal) for number in _CAPABILITY)
        return major, minor

    def processors(self, ordinal: int) -> int:
        """Multiprocessors of a device."""
        return self._attribute(_PROCESSORS, ordinal)

    def shared_bytes(self, ordinal: int) -> int:
        """The most shared memory that a block may ask for."""
        return self._attribute(_SHARED_BYTES, ordinal)

    def _attribute(self, number: int, ordinal: int) -> int:
        return int(self._new("cuDeviceGetAttribute", ctypes.c_int, number, self._device(ordinal)))

    def _device(self, ordinal: int) -> int:
        """The driver's handle of a device."""
        return int(self._new("cuDeviceGet", ctypes.c_int, ordinal))

    def activate(self, ordinal: int) -> None:
        """Let this thread's calls go to a device."""
        context = self._contexts.get(ordinal)
        if context is None:
            context = self._contexts[ordinal] = ctypes.c_void_p(
                self._new("cuDevicePrimaryCtxRetain", ctypes.c_void_p, self._device(ordinal))
            )
        code = self._set_current(context)
        if code:
            self._raise("cuCtxSetCurrent", code)

    def free_and_total(self) -> tuple[int, int]:
        """Bytes of memory that the active device has left, and in all."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def synchronize(self) -> None:
        """Wait for all work of the active device."""
        self._call("cuCtxSynchronize")

    # ---- memory

    def allocate(self, size: int) -> int:
        """The address of so many new bytes; raises MemoryError."""
        return int(self._new("cuMemAlloc_v2", ctypes.c_uint64, size))

    def release(self, address: int) -> None:
        """Give memory back; waits for the device."""
        self._call("cuMemFree_v2", address)

    def upload(self, address: int, source: np.ndarray[Any, Any], stream: int) -> None:
        """A contiguous array into device memory; the array may change afterwards."""
        size = source.nbytes
        if size <= STAGED:
            aside = source.tobytes()
            self._call("cuMemcpyHtoDAsync_v2", address, aside, size, stream)
        else:
            self._call("cuMemcpyHtoDAsync_v2", address, source.ctypes.data, size, stream)
            # Of page-locked memory the driver would read on while the caller writes.
            self._call("cuStreamSynchronize", stream)

    def download(self, target: np.ndarray[Any, Any], address: int, stream: int) -> None:
        """Device memory into a contiguous array, once the work queued before is done."""
        self._call("cuMemcpyDtoHAsync_v2", target.ctypes.data, address, target.nbytes, stream)
        self._call("cuStreamSynchronize", stream)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Bytes from device memory to device memory."""
        self._call("cuMemcpyDtoDAsync_v2", target, source, size, stream)

    def clear(self, target: int, size: int, stream: int) -> None:
        """Zero bytes."""
        self._call("cuMemsetD8Async", target, 0, size, stream)

    # ---- streams and events

    def new_stream(self) -> int:
        """A stream that does not wait for the default one."""
        return int(self._new("cuStreamCreate", ctypes.c_void_p, _NON_BLOCKING))

    def drop_stream(self, stream: int) -> None:
        """Its work is finished first."""
        self._call("cuStreamDestroy_v2", stream)

    def wait(self, stream: int) -> None:
        """Until the work queued on a stream is done."""
        self._call("cuStreamSynchronize", stream)

    def new_event(self, timed: bool = True) -> int:
        """An event; one that is not timed costs less."""
        return int(self._new("cuEventCreate", ctypes.c_void_p, 0 if timed else _UNTIMED))

    def drop_event(self, event: int) -> None:
        """Give an event back."""
        self._call("cuEventDestroy_v2", event)

    def record(self, event: int, stream: int) -> None:
        """The event happens when the work queued on the stream so far is done."""
        self._call("cuEventRecord", event, stream)

    def follow(self, stream: int, event: int) -> None:
        """What is queued on the stream from now on waits for the event."""
        self._call("cuStreamWaitEvent", stream, event, 0)

    def milliseconds(self, start: int, end: int) -> float:
        """Between two events; waits for the second."""
        self._call("cuEventSynchronize", end)
        return float(self._new("cuEventElapsedTime", ctypes.c_float, start, end))

    # ---- kernels

    def load(self, ptx: str, name: str, packing: str, ordinal: int) -> Launch:
        """A kernel of a PTX text, on a device.

        packing: its parameters in the notation of `struct`.
        """
        self.activate(ordinal)
        module = ctypes.c_void_p(self._new("cuModuleLoadData", ctypes.c_void_p, ptx.encode() + b"\0"))
        function = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        pack, packet, call = struct.Struct(packing), self._packet, self._launch
        size, most = pack.size, USUAL_SHARED
        if size > PARAMETER_BYTES:
            raise CudaError(f"the parameters of {name} take {size} bytes, and the driver takes {PARAMETER_BYTES}")

        def launch(grid: int, block: int, shared: int, stream: int, values: Sequence[Any]) -> None:
            nonlocal most
            if shared > most:
                self._call("cuFuncSetAttribute", function, _DYNAMIC_SHARED, shared)
                most = shared
            pack.pack_into(packet.bytes, 0, *values)
            packet.size.value = size
            code = call(function, grid, 1, 1, block, 1, 1, shared, stream, None, packet.extra)
            if code in _OTHER_CONTEXT:
                # This thread has not been here, or somebody else's library has taken it elsewhere meanwhile.
                self.activate(ordinal)
                code = call(function, grid, 1, 1, block, 1, 1, shared, stream, None, packet.extra)
            if code:
                self._raise("cuLaunchKernel", code)

        return launch

    # ---- graphs

    def begin_capture(self, stream: int) -> None:
        """What this thread queues on the stream from now on is noted down and not done."""
        self._call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL_CAPTURE)

    def end_capture(self, stream: int) -> int:
        """What was noted down, ready to be launched."""
        graph = ctypes.c_void_p()
        self._call("cuStreamEndCapture", stream, ctypes.byref(graph))
        try:
            return int(self._new("cuGraphInstantiateWithFlags", ctypes.c_void_p, graph, 0))
        finally:
            self._call("cuGraphDestroy", graph)

    def launch_graph(self, graph: int, stream: int) -> None:
        """All that was captured, queued as one."""
        self._call("cuGraphLaunch", graph, stream)

    def drop_graph(self, graph: int) -> None:
        """Give a captured graph back."""
        self._call("cuGraphExecDestroy", graph)
