"""Streams: queues of work on a GPU, whose works overlap where none waits for another."""

from __future__ import annotations

from types import TracebackType

from tracejit.runtime.device import Device
from tracejit.runtime.devices import gpu


class Stream:
    """A queue of work on a GPU; inside of `with stream:` what this thread calls is queued there.

    device: "cuda", "cuda:1".

    Work that reads what another stream writes waits for it by itself.  Raises NoDevice where there is no such GPU.

        with tj.Stream("cuda") as stream:
            y = f(x)
        stream.synchronize()
    """

    def __init__(self, device: str | Device = "cuda") -> None:
        self._home = gpu(device, "Stream")
        self.device: Device = self._home.device
        self.handle: int = self._home.borrow_stream()
        self._before: list[int] = []

    def __enter__(self) -> Stream:
        self._before.append(self._home.queue_on(self.handle))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._home.queue_on(self._before.pop())

    def synchronize(self) -> None:
        """Wait until what is queued here is done."""
        self._home.driver.activate(self._home.ordinal)
        self._home.driver.wait(self.handle)

    def wait_for(self, other: Stream) -> None:
        """What is queued here from now on waits for what is queued there by now."""
        self._home.memory.order(other.handle, self.handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._home.return_stream(self.handle)
