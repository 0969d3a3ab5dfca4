"""What holds while one example stands for all: no one may ask for its value, or write to what all share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from tracejit.autodiff.batching import NotBatchable
from tracejit.ir.node import Node
from tracejit.trace.opaque import Call
from tracejit.trace.state import Storage, Trace, user_line
from tracejit.trace.tracer import Tracer


class OneForAll:
    """The run of a function on one example.

    own: the storages of the mapped arguments; since: nodes made before (a count of the builder's) are of no example.
    """

    def __init__(self, trace: Trace, name: str, own: Sequence[Storage], since: int) -> None:
        self._trace, self._name, self._since = trace, name, since
        self._parameters = {id(storage.node) for storage in own}
        self._own = {storage.number for storage in own}
        self._outer = trace.interrupt
        self._shared: list[tuple[Storage, Node]] = []
        self._note_shared()

    def __enter__(self) -> Self:
        self._trace.interrupt = self._interrupt
        return self

    def __exit__(self, *error: object) -> None:
        self._trace.interrupt = self._outer

    def _note_shared(self) -> None:
        first = min(self._own)
        live = self._trace.live_storages()
        self._shared = [(s, s.node) for s in live if s.number < first and s.number not in self._own]

    def refuse_shared_writes(self) -> None:
        """Memory from before the run must be as it was."""
        for storage, node in self._shared:
            if storage.node is not node:
                where = f" (at {storage.node.line})" if storage.node.line else ""
                raise NotBatchable(
                    f"{self._name} writes to an array that all examples share{where}: vmap does all examples at once, so "
                    "there is no order in which to write. Return what differs, or map over the array with in_axes."
                )

    def retire(self) -> None:
        """What is left of one example may be needed by no one: a segment that ends later must not compute it."""
        first = min(self._own)
        for storage in self._trace.live_storages():
            if storage.number >= first and self._differs([storage.node]):
                (storage.node,) = self._trace.builder.parameters([storage.node.type])
                storage.mutated = False

    def _interrupt(self, trace: Trace, call: Call, operands: list[Tracer], outcome: bool) -> Any:
        if self._differs([tracer.node for tracer in operands]):
            raise NotBatchable(self._question(call, outcome))
        if self._outer is None:
            raise RuntimeError(f"{call.name} needs values, and this trace has none")
        pending = [s.node for s in trace.live_storages() if s.mutated or s.node.kind != "source"]
        if self._differs(pending):
            raise NotBatchable(
                f"{call.name} at {user_line()} needs a value in the middle of {self._name}, which vmap runs for all examples "
                "at once: ask for the value before vmap is called, and pass it in"
            )
        self.refuse_shared_writes()
        result = self._outer(trace, call, operands, outcome)
        self._note_shared()
        return result

    def _question(self, call: Call, outcome: bool) -> str:
        place = f"{call.name}{'()' if outcome else ''} at {user_line()}, inside vmap({self._name}),"
        if outcome:
            return (
                f"{place} is of a value that differs between examples, and Python can go one way only. Use "
                "np.where(condition, a, b), tracejit.cond or tracejit.while_loop."
            )
        return (
            f"{place} gives a result whose shape or type only its values tell, and they differ between examples. Call it "
            "outside vmap, or loop over the examples in Python."
        )

    def _differs(self, nodes: Sequence[Node]) -> bool:
        """Whether one of the nodes depends on the example."""
        seen: set[int] = set()
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if id(node) in self._parameters:
                return True
            if id(node) not in seen and node.serial >= self._since:
                seen.add(id(node))
                pending.extend(node.inputs)
        return False
