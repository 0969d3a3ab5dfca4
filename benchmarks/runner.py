"""What a peer is, and what it makes of a workload."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.workloads import Workload


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Runner:
    """A workload made ready for one peer: `wait(function(*convert(arguments)))`, of which `plain` makes NumPy's."""

    function: Callable[..., Any]
    convert: Callable[[tuple[Any, ...]], tuple[Any, ...]] = _same
    wait: Callable[[Any], Any] = _same

    @property
    def immediate(self) -> bool:
        """Whether the result is there when the call returns, so that nothing need be waited for."""
        return self.wait is _same


@dataclass(frozen=True)
class Peer:
    """One way to run NumPy-like code.

    prepare: a workload made ready, or None for what the peer cannot express.
    left_out: workload -> why it is not run, though it could be written.
    """

    name: str
    module: str
    prepare: Callable[[Workload], Runner | None]
    left_out: dict[str, str]


def with_names(function: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """The function with some of its globals replaced, such as `np` by `jax.numpy`."""
    assert isinstance(function, types.FunctionType)
    made = types.FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__
    )
    made.__doc__ = function.__doc__
    return made
