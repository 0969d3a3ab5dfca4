"""The state of one trace: leaves, storages, guards, and which trace is active in this thread."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from array import array
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.node import ArrayType, Builder, Node
from tracejit.ir.size import Dimension
from tracejit.records import dataclass

PACKAGE = str(Path(__file__).resolve().parent.parent)
_NUMPY = str(Path(np.__file__).resolve().parent)


class Untraceable(Exception):
    """The function does something that no graph can hold; it then runs as plain NumPy, and `explain` says why."""


class NotDifferentiable(TypeError):
    """A derivative is asked for where there is none; the text says of what, and where it stands."""


@dataclass(frozen=True)
class Leaf:
    """One value that a segment takes, by position; `value` is what it was while tracing.

    kind: "array", "generic" (a NumPy scalar), "number" (a Python number), "object" (a generator of random numbers) or
    "carried" (an array that segments before have computed and nobody writes to; its value is not kept here).
    captured: no argument, but an array found in globals, closures or attributes, read at each call from where it lives;
    or a number that is an element of an array leaf (`Trace.read_element`).
    """

    position: int
    kind: str
    value: Any
    captured: bool = False


@dataclass(eq=False, repr=False)
class Storage:
    """Memory that tracers view: its current value, and the leaf that owns it if it is an argument's.

    apart: it holds a value of one example that stands for a batch, which no segment computes.
    """

    number: int
    node: Node
    leaf: int | None = None
    mutated: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Past:
    """What an input stood for before the break that made it one; `call`, `line`: the NumPy call whose result it is."""

    nodes: tuple[Node, ...]
    call: str = ""
    line: str = ""


@dataclass(eq=False, repr=False)
class Trace:
    """One run of a function on tracers.

    device: where what is traced is to run.
    interrupt: called where a value is needed now; runs the graph so far (see `tracejit.driver.segments`).
    history: for derivatives that cross breaks: what each new leaf stood for, by position, kept while `variables` live.
    variables: the taps of derivatives under way, by identity.  inside: how many bodies, which have no values yet, are
    being traced around the present point.
    definitions: names of long expressions of numbers.
    carried: the positions of carried leaves in use; free: those of leaves that nothing needs any more.
    results: positions of arrays that came out of breaks and that the user's code may still hold.
    known: what the leaves are of the segments that have run in this call already; None where leaves have no values.
    elements: the numbers read from arrays by the pending segment, by array and place.
    sizes: the sizes that the expressions of `scalar` nodes are, where they are such.
    """

    interrupt: Callable[..., Any] | None = None
    device: Any = None
    builder: Builder = field(default_factory=Builder)
    leaves: list[Leaf] = field(default_factory=list)
    inputs: dict[int, Node] = field(default_factory=dict)
    guards: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, tuple[int, int]] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    equalities: dict[str, Dimension] = field(default_factory=dict)
    opaque: list[str] = field(default_factory=list)
    keep: list[Storage] = field(default_factory=list)
    history: dict[int, Past] = field(default_factory=dict)
    variables: dict[int, Node] = field(default_factory=dict)
    inside: int = 0
    carried: set[int] = field(default_factory=set)
    free: set[int] = field(default_factory=set)
    results: set[int] = field(default_factory=set)
    known: Sequence[Any] | None = None
    elements: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, Dimension] = field(default_factory=dict)
    storage_count: int = 0
    _storages: dict[int, weakref.ref[Storage]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _captured: dict[int, int] = field(default_factory=dict)
    _compared: dict[tuple[Dimension, Dimension], str] = field(default_factory=dict)

    def guard(self, text: str) -> None:
        """What must hold for the trace to be used again, as a Python expression of sizes and numbers."""
        if text not in self.guards:
            self.guards[text] = user_line()

    def define(self, text: str) -> str:
        """A name for an expression that others are made of."""
        if text not in self._names:
            self._names[text] = f"h{len(self._names)}"
            self.definitions[self._names[text]] = text
        return self._names[text]

    def storage(self, node: Node, leaf: int | None = None) -> Storage:
        storage = Storage(self.storage_count, node, leaf)
        self._storages[storage.number] = weakref.ref(storage)
        self.storage_count += 1
        return storage

    def forget(self, storage: Storage) -> None:
        """No segment computes its value any more."""
        self._storages.pop(storage.number, None)

    def end_storages(self, first: int) -> None:
        """Forget those numbered from `first` on, but for arguments': a body has ended, and its values with it."""
        for storage in self.live_storages():
            if storage.number >= first and storage.leaf is None:
                self.forget(storage)

    def live_storages(self) -> list[Storage]:
        """The storages that the user's code can still reach, oldest first."""
        found = [(number, reference()) for number, reference in self._storages.items()]
        self._storages = {number: self._storages[number] for number, storage in found if storage is not None}
        return [storage for _, storage in found if storage is not None and not storage.apart]

    def add_leaf(self, kind: str, value: Any, captured: bool = False) -> Leaf:
        leaf = Leaf(len(self.leaves), kind, value, captured)
        self.leaves.append(leaf)
        if kind == "number":
            self.numbers[f"a{leaf.position}"] = value
        if kind in ("number", "object"):
            return leaf
        shape: list[Dimension] = []
        for axis, length in enumerate(np.shape(value)):
            if length == 1:
                shape.append(1)
            else:
                name = f"n{len(self.origins)}"
                self.origins[name] = (leaf.position, axis)
                self.numbers[name] = length
                shape.append(sizes.symbol(name))
        type = ArrayType(value.dtype, tuple(shape))
        self.inputs[leaf.position] = self.builder.node("input", (), {"position": leaf.position}, type)
        return leaf

    def carry(self, position: int, type: ArrayType) -> None:
        """A carried leaf, at a free position or at the end."""
        leaf = Leaf(position, "carried", None)
        self.leaves[position : position + 1] = [leaf]
        self.history.pop(position, None)
        self.carried.add(position)
        self.free.discard(position)
        self.inputs[position] = self.builder.node("input", (), {"position": position}, type)

    def drop(self, position: int) -> None:
        """Nothing needs a carried leaf any more."""
        self.carried.discard(position)
        self.free.add(position)
        del self.inputs[position]

    def capture(self, array: np.ndarray[Any, Any]) -> int:
        """The leaf of an array that is no argument; its elements are read anew at each call."""
        if id(array) not in self._captured:
            self._captured[id(array)] = self.add_leaf("array", array, captured=True).position
        return self._captured[id(array)]

    def read_element(self, position: int, places: Sequence[Dimension]) -> str:
        """The name of the number that an element of an array leaf is at the head of the pending segment."""
        text = f"a{position}.item({', '.join(map(str, places))})"
        if text not in self.elements:
            number = len(self.leaves)
            if self.known is not None and number < len(self.known):
                value = self.known[number]
            else:
                value = self.leaves[position].value.item(*map(self.value, places))
            name = self.elements[text] = f"a{self.add_leaf('number', value, captured=True).position}"
            self.definitions[name] = text
        return self.elements[text]

    def end_segment(self) -> None:
        """Guards begin anew; elements that were read are leaves like any other from now on."""
        self.guards.clear()
        for name in self.elements.values():
            del self.definitions[name]
        self.elements.clear()

    def is_differentiated(self, node: Node) -> bool:
        """Whether a value depends on a variable of a derivative."""
        if not self.variables:
            return False
        pending, seen = [node], {id(node)}
        while pending:
            current = pending.pop()
            if id(current) in self.variables:
                return True
            past = self.history.get(current["position"]) if current.op == "input" else None
            sources = () if current.op == "stop_gradient" else current.inputs if past is None else past.nodes
            pending.extend(source for source in sources if id(source) not in seen)
            seen.update(map(id, sources))
        return False

    def value(self, dimension: Dimension) -> int:
        """The number that a size has in this run."""
        return sizes.evaluate(dimension, self.numbers)

    def equal(self, a: Dimension, b: Dimension) -> bool:
        """Whether two sizes agree; the answer becomes a guard unless it is known for every size."""
        if a == b:
            return True
        text = self._compared.get((a, b))
        if text is not None and text in self.guards:
            return "==" in text
        difference = sizes.subtract(a, b)
        if isinstance(difference, int):
            return difference == 0
        same = self.value(difference) == 0
        first, second = sorted((a, b), key=lambda d: (isinstance(d, int), str(d)))
        text = self._compared[a, b] = f"{first} == {second}" if same else f"{first} != {second}"
        self.guard(text)
        if same:
            self._unify(a, b)
        return same

    def less(self, a: Dimension, b: Dimension) -> bool:
        """Whether a < b; guarded likewise."""
        difference = sizes.subtract(a, b)
        if isinstance(difference, int):
            return difference < 0
        below = self.value(difference) < 0
        self.guard(f"{a} < {b}" if below else f"{a} >= {b}")
        return below

    def _unify(self, a: Dimension, b: Dimension) -> None:
        """Remember an equality as a substitution for a plain name, the younger for the older."""
        for name, other in sorted(((str(a), b), (str(b), a)), key=lambda pair: -len(pair[0])):
            if name in self.numbers and name not in self.equalities and name not in sizes.names(self.canonical(other)):
                self.equalities[name] = other
                return

    def canonical(self, dimension: Dimension) -> Dimension:
        """The dimension with the equalities found so far applied."""
        for _ in range(len(self.equalities) + 1):
            changed = sizes.substitute(
                dimension, lambda name: self.equalities[name] if name in self.equalities else sizes.symbol(name)
            )
            if changed == dimension:
                break
            dimension = changed
        return dimension


BYPASSING = array("q", [0])
"""How many threads trace or have jit disabled just now.  Calls that run no Python look at this word, not at `ACTIVE`:
while it is not zero they take the way that does."""

_COUNTING = threading.Lock()


class _Active(threading.local):
    """Of this thread: the running trace, whether jit is disabled, and whether either holds (one look-up a call)."""

    trace: Trace | None = None
    disabled: bool = False
    bypass: bool = False

    def enter(self, trace: Trace | None) -> None:
        self.trace = trace
        self._count(self.disabled or trace is not None)

    def disable(self, disabled: bool) -> None:
        self.disabled = disabled
        self._count(disabled or self.trace is not None)

    def _count(self, bypass: bool) -> None:
        if bypass != self.bypass:
            with _COUNTING:
                BYPASSING[0] += 1 if bypass else -1
            self.bypass = bypass


ACTIVE = _Active()
"""The trace that is running in this thread, if any."""


def _count_anew() -> None:
    """In a new process there is one thread."""
    global _COUNTING
    _COUNTING = threading.Lock()
    BYPASSING[0] = int(ACTIVE.bypass)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_anew)


def current() -> Trace:
    """The active trace; a tracer that outlived its trace gets a clear error."""
    if ACTIVE.trace is None:
        raise RuntimeError(
            "a traced value is used after its function has returned: it was stored in a global, an attribute or a "
            "closure. Return it from the jitted function instead."
        )
    return ACTIVE.trace


def user_line() -> str:
    """file:line of the innermost frame that is neither tracejit's nor NumPy's."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith(PACKAGE) and not path.startswith(_NUMPY) and not path.startswith("<__array"):
            return f"{path}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""
