"""The run of a function on one example that stands for all.

No one may ask for the example's value, or write to what all share.  A call of NumPy whose result only the call can tell
ends the segment, as it does without vmap: it is made for every example, and the trace goes on with one result for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from tracejit.autodiff.batching import Batching, NotBatchable
from tracejit.autodiff.batching_calls import call_each, with_each
from tracejit.ir.node import ArrayType, Node
from tracejit.ir.size import Dimension
from tracejit.trace.impure import draws
from tracejit.trace.opaque import Call, Slot
from tracejit.trace.pytree import flatten, rebuild
from tracejit.trace.state import Storage, Trace, Untraceable, user_line
from tracejit.trace.tracer import Tracer, fresh


@dataclass(frozen=True)
class Stand:
    """A value of all examples (their axis in front), the node that stands for one, and its tracer."""

    whole: Tracer
    node: Node
    one: Tracer


_MENDS = {
    "float": "the value itself: arithmetic on it needs no float()",
    "complex": "the value itself: arithmetic on it needs no complex()",
    "item": "the value itself: arithmetic on it needs no item()",
    "int": "np.trunc(value), or value.astype(int) as an index",
    "index": "arrays of a size that all examples share, or the value as an index",
    "str": "print of the mapped function's results, outside vmap",
    "format": "print of the mapped function's results, outside vmap",
}
"""What to write instead of asking for a value."""


class OneForAll:
    """Makes stands for mapped values, and watches over the trace while the function runs."""

    def __init__(self, trace: Trace, name: str, size: Dimension) -> None:
        self._trace, self._name, self._size = trace, name, size
        self._since = trace.builder.made
        self._stands: list[Stand] = []
        self._outer = trace.interrupt
        self._shared: list[tuple[Storage, Node]] = []

    def stand(self, whole: Tracer) -> Stand:
        """One example of a value."""
        (node,) = self._trace.builder.parameters([ArrayType(whole.dtype, whole.symbolic_shape[1:])])
        return self._standing(whole, node)

    def _standing(self, whole: Tracer, node: Node) -> Stand:
        stand = Stand(whole, node, fresh(self._trace, node, scalar=not node.shape))
        self._stands.append(stand)
        return stand

    def batching(self) -> Batching:
        """From nodes of one example to those of all."""
        known = {id(stand.node): (stand.whole.node, True) for stand in self._stands}
        return Batching(self._trace, self._size, known, since=self._since)

    def __enter__(self) -> Self:
        self._note_shared()
        self._trace.interrupt = self._interrupt
        self._trace.inside += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._trace.interrupt = self._outer
        self._trace.inside -= 1

    # ---- what all share

    @property
    def _first(self) -> int:
        """Storages with a lower number were there before the run."""
        return self._stands[0].one.storage.number

    def _note_shared(self) -> None:
        self._shared = [(s, s.node) for s in self._trace.live_storages() if s.number < self._first]

    def refuse_shared_writes(self) -> None:
        """Memory from before the run must be as it was."""
        for storage, node in self._shared:
            if storage.node is not node:
                where = f" (at {storage.node.line})" if storage.node.line else ""
                storage.node = node
                raise NotBatchable(
                    f"{self._name} writes to an array that all examples share{where}: vmap does all examples at once, "
                    "so there is no order in which to write. Return what differs, or map over the array with in_axes."
                )

    def set_apart(self) -> list[Storage]:
        """Values of one example, which a segment that ends can neither compute nor needs to; they are set apart."""
        live = self._trace.live_storages()
        found = [s for s in live if s.number >= self._first and self._differs([s.node])]
        for storage in found:
            storage.apart = True
        return found

    @contextmanager
    def _between_segments(self) -> Iterator[None]:
        """The values of one example are made anew from what there is after the break."""
        if any(s.leaf is not None and s.mutated for s in self._trace.live_storages()):
            raise Untraceable("an argument is written to, and vmap reaches back over a break after it")
        held = self.set_apart()
        yield
        for storage in held:
            storage.apart = False

    # ---- breaks

    def _interrupt(self, trace: Trace, call: Call, operands: list[Tracer], outcome: bool) -> Any:
        differs = self._differs([tracer.node for tracer in operands])
        self._refuse(call, outcome, differs)
        self.refuse_shared_writes()
        outer: Callable[..., Any] | None = self._outer
        if outer is None:
            raise RuntimeError(f"{call.name} needs values, and this trace has none")
        if not differs:
            with self._between_segments():
                result = outer(trace, call, operands, outcome)
        else:
            given = self.batching().results([tracer.node for tracer in operands])
            flags = [batched for _, batched in given]
            whole = [fresh(trace, node, tracer.scalar) for (node, _), tracer in zip(given, operands, strict=True)]
            with self._between_segments():
                result = outer(trace, with_each(call, call_each, flags), whole, False)
            result = self._results(result, call, operands)
        self._note_shared()
        return result

    def _refuse(self, call: Call, outcome: bool, differs: bool) -> None:
        where = f"at {user_line()}, inside vmap({self._name}),"
        if outcome and differs:
            mend = _MENDS.get(call.name, "np.where(condition, a, b), tracejit.cond or tracejit.while_loop")
            raise NotBatchable(
                f"{call.name}() {where} is of a value that differs between examples, and Python has one value for all. "
                f"Use {mend}."
            )
        if draws(call.function):
            raise NotBatchable(
                f"{call.name} {where} would be drawn once for all examples. Draw the random numbers of all examples "
                "outside, and pass them in as a mapped argument."
            )

    def _results(self, result: Any, call: Call, operands: list[Tracer]) -> Any:
        """One example's results of a call, for those of all.

        Each is a call itself, so that derivatives know where it comes from; it is never made.
        """
        leaves: list[Any] = []
        tree = flatten(result, leaves)
        nodes = tuple(tracer.node for tracer in operands)
        slots = tuple(Slot(position) for position in range(len(nodes)))
        ones = []
        for leaf in leaves:
            if isinstance(leaf, Tracer):
                self._trace.equal(leaf.symbolic_shape[0], self._size)
                type = ArrayType(leaf.dtype, leaf.symbolic_shape[1:])
                params = {"call": Call(call.function, slots, {}, call.name)}
                leaf = self._standing(leaf, self._trace.builder.node("call", nodes, params, type, user_line())).one
            ones.append(leaf)
        return rebuild(tree, ones)

    def _differs(self, nodes: Sequence[Node]) -> bool:
        """Whether one of the nodes depends on the example."""
        stands = {id(stand.node) for stand in self._stands}
        seen: set[int] = set()
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if id(node) in stands:
                return True
            if id(node) not in seen and node.serial >= self._since:
                seen.add(id(node))
                pending.extend(node.inputs)
        return False
