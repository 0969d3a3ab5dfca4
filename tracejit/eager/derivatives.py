"""Compiled derivatives of single operations, by the rules of the op table, kept for operations of the same kind.

pullback of x * y:      (x, y, cotangent) -> (cotangent * y, cotangent * x)         one kernel
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

from tracejit.autodiff.traced import Recorded, fitted, pull_back, push_forward, record
from tracejit.driver.function import Jitted
from tracejit.driver.host_code import MISS
from tracejit.eager.structure import Call
from tracejit.runtime.device_array import DeviceArray, is_array
from tracejit.trace.pytree import flatten
from tracejit.trace.state import ACTIVE, NotDifferentiable, current

KEPT = 1024
"""Compiled derivatives kept; past it the older half is forgotten."""


class _RanPlain(Exception):
    """A derivative was run without a trace, where it has no meaning."""


class Derivative:
    """A function of (*leaves of a call, *cotangents or tangents); in a trace it is recorded, outside one compiled.

    wanted: which leaves the derivative is by.
    """

    def __init__(self, call: Call, count: int, wanted: tuple[int, ...]) -> None:
        self.call, self.count, self.wanted = call, count, wanted
        self.__name__ = f"{type(self).__name__.lower()}({call.name})"
        # Guards and stand-ins look at what is inside: the user's function, if there is one.
        inner = inspect.unwrap(call.function)
        self.__wrapped__ = inner if isinstance(inner, types.FunctionType) else self.traced
        self._compiled = self._new()

    def _new(self) -> Jitted:
        def body(*values: Any) -> Any:
            if ACTIVE.trace is None:
                raise _RanPlain
            return self.traced(*values)

        functools.update_wrapper(body, self.__wrapped__)
        body.__name__ = self.__name__
        compiled = Jitted(body, (), fullgraph=False, fastmath=False)
        compiled.disabled = False
        return compiled

    def __call__(self, *values: Any) -> Any:
        if ACTIVE.bypass:
            return self._call_rarely(values)
        try:
            return self._run(values)
        except _RanPlain:
            reason = self._compiled.plain_reason
        if reason is not None:
            raise NotDifferentiable(f"{self.call.name} has no derivative, since it cannot be traced: {reason}")
        # So many kinds of arguments came by that no more are kept: forget them and begin again.
        self._compiled = self._new()
        return self._run(values)

    def _run(self, values: tuple[Any, ...]) -> Any:
        """The compiled derivative; of values on a device it gives such values, and no Arrays as to users."""
        if not any(type(value) is DeviceArray for value in values):
            return self._compiled(*values)
        result = self._compiled.attempt(values, {})
        return self._compiled.run_plain(values, {}) if result is MISS else result

    def _call_rarely(self, values: tuple[Any, ...]) -> Any:
        """A call inside a trace, or while jit is disabled: the rules know no other way than compiling."""
        if ACTIVE.trace is not None:
            return self.traced(*values)
        ACTIVE.disable(False)
        try:
            return self(*values)
        finally:
            ACTIVE.disable(True)

    def traced(self, *values: Any) -> Any:
        raise NotImplementedError

    def _recorded(self, leaves: Sequence[Any]) -> Recorded:
        """The call on variables of its own."""

        def run(*chosen: Any) -> Any:
            given = list(leaves)
            for position, value in zip(self.wanted, chosen, strict=True):
                given[position] = value
            return self.call(given)

        run.__name__ = self.call.name
        return record(run, [leaves[position] for position in self.wanted], {}, range(len(self.wanted)))


class Pullback(Derivative):
    """From cotangents of the outputs `given` to those of the leaves `wanted`, as a tuple."""

    def __init__(
        self, call: Call, count: int, wanted: tuple[int, ...], given: tuple[int, ...], unconnected: str
    ) -> None:
        self.given, self.unconnected = given, unconnected
        super().__init__(call, count, wanted)

    def traced(self, *values: Any) -> Any:
        recorded = self._recorded(values[: self.count])
        seeds: list[Any] = [None] * len(recorded.outputs)
        for position, cotangent in zip(self.given, values[self.count :], strict=True):
            node = recorded.outputs[position]
            if node is not None and node.dtype.kind == "c":
                raise NotDifferentiable(f"{self.call.name} gives {node.dtype}, and derivatives are of real floats")
            seeds[position] = cotangent
        nodes = fitted(current(), seeds, flatten(seeds, []), recorded.outputs, "cotangents")
        return tuple(pull_back(recorded, nodes, self.unconnected))


class Pushforward(Derivative):
    """From tangents of the leaves `wanted` to those of all outputs, as a tuple."""

    def traced(self, *values: Any) -> Any:
        recorded = self._recorded(values[: self.count])
        tangents = list(values[self.count :])
        nodes = fitted(current(), tangents, flatten(tangents, []), recorded.nodes, "tangents")
        return tuple(push_forward(recorded, [node for node in nodes if node is not None]))


def kinds(leaves: Sequence[Any]) -> tuple[Any, ...]:
    """What leaves are to a compiled derivative: dtype and rank of arrays, the type of numbers."""
    return tuple([(leaf.dtype.num, leaf.ndim) if is_array(leaf) else type(leaf) for leaf in leaves])


_KEPT: dict[Any, Derivative] = {}


def kept(key: Any, make: Callable[[], Derivative]) -> Derivative:
    """The derivative of a key, made on its first use."""
    found = _KEPT.get(key)
    if found is None:
        if len(_KEPT) >= KEPT:
            for old in list(_KEPT)[: KEPT // 2]:
                _KEPT.pop(old, None)
        found = _KEPT[key] = make()
    return found


def pullback(
    call: Call, leaves: Sequence[Any], wanted: tuple[int, ...], given: tuple[int, ...], unconnected: str
) -> Derivative:
    """The compiled pullback of a call with leaves of these kinds."""
    key = (call, kinds(leaves), wanted, given, unconnected)
    return _KEPT.get(key) or kept(key, lambda: Pullback(call, len(leaves), wanted, given, unconnected))


def pushforward(call: Call, leaves: Sequence[Any], wanted: tuple[int, ...]) -> Derivative:
    """The compiled pushforward of a call with leaves of these kinds."""
    key = (call, kinds(leaves), wanted)
    return kept(key, lambda: Pushforward(call, len(leaves), wanted))
