"""A call noted down as one CUDA graph, which the driver queues in a few microseconds however many kernels it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracejit.eager.core import Eager
from tracejit.runtime.device import Device, DeviceMismatch
from tracejit.runtime.device_array import DeviceArray
from tracejit.runtime.devices import cuda_home
from tracejit.runtime.streams import Stream
from tracejit.trace.pytree import flatten


class Captured:
    """A call of a function, done again on the same memory by each call of this.

    result: what the function returned; each call writes it anew.  `capture` makes one.
    """

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], device: Device) -> None:
        self._home = home = cuda_home(device.index)
        # The memory that is used here is the stream's, which nobody else has.
        self._stream, self._graph = Stream(device), 0
        self._arrays = _arrays(args)
        handle = self._stream.handle
        home.memory.graph_streams.add(handle)
        home.memory.order(home.stream, handle)
        with self._stream:
            function(*args)
            function(*args)
            self._stream.synchronize()
            home.begin_capture(handle)
            try:
                self.result = function(*args)
            finally:
                self._graph = home.end_capture(handle)

    def __call__(self) -> Any:
        """Do it again, and give the result, whose memory it is written to.

        Raises RuntimeError where an argument has got other memory since.
        """
        if any(array._value is not value for array, value in self._arrays):
            raise RuntimeError(
                "an argument of the captured call has other memory now, since an operation on it was recorded for "
                "derivatives or somebody holds its old value: write to it under no_grad(), or capture the call anew"
            )
        home, handle = self._home, self._stream.handle
        home.memory.order(home.stream, handle)
        home.driver.launch_graph(self._graph, handle)
        home.errors.pending = True
        home.memory.order(handle, home.stream)
        return self.result

    def __del__(self) -> None:
        if getattr(self, "_graph", 0):
            self._home.driver.activate(self._home.ordinal)
            self._home.driver.wait(self._stream.handle)
            self._home.driver.drop_graph(self._graph)
            self._home.memory.graph_streams.discard(self._stream.handle)


def capture(function: Callable[..., Any], *args: Any) -> Captured:
    """A call as one CUDA graph.

    function: of Arrays on a GPU, and numbers, which stay what they are; a jitted one, or several in a row.

    The function is run three times.  `captured()` runs it again on the same memory: write new values into the
    arguments first (`x[...] = y`), and read the result before the next call.

    Raises CudaError where the function looks at a value on the way or copies one to the device: no graph holds that.

        step = tj.capture(f, x, w)
        x[...] = tj.device_put(batch, "cuda")
        y = step()
    """
    devices = {value.device for _, value in _arrays(args)}
    if len(devices) != 1:
        raise DeviceMismatch("capture takes a function of Arrays on one GPU, and numbers")
    return Captured(function, args, devices.pop())


def _arrays(args: Any) -> list[tuple[Eager, DeviceArray]]:
    """The Arrays on a GPU among arguments, and the memory that they have now."""
    leaves: list[Any] = []
    flatten(args, leaves)
    arrays = [leaf for leaf in leaves if isinstance(leaf, Eager)]
    return [(array, array._value) for array in arrays if type(array._value) is DeviceArray]
