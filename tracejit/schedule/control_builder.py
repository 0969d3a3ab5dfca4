"""The kernel of a loop or branch: the bodies' values as instructions in nested blocks.

A value is computed in the block of the graph that it belongs to (before the loop, if it comes from outside), or in the
block of the deepest loop whose counter it is looked up at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from tracejit.ir.node import Index as IrIndex
from tracejit.ir.node import Indices, Node, Shape, compose
from tracejit.records import dataclass
from tracejit.schedule import kernel as k
from tracejit.schedule.grouping import Group, inlined_sources
from tracejit.schedule.kernel_draft import BuiltKernel, KernelDraft, Memory
from tracejit.schedule.native_control import (
    Place,
    Scope,
    before,
    body_scope,
    meaning,
    members,
    normal,
    outputs_of,
    pieces,
    result_shape,
    whole,
)


@dataclass(eq=False)
class _Frame:
    """A block under construction."""

    depth: int = 0
    lines: list[k.Instruction] = field(default_factory=list)


class ControlBuilder(KernelDraft):
    """Builds the kernel of the parts of one control node."""

    def __init__(self, group: Group, memory: Memory, stored: set[int], fastmath: bool) -> None:
        self.control = group.roots[0].inputs[0]
        self.shape = result_shape(group.roots[0])
        super().__init__(tuple(d for d in self.shape if d != 1) or (1,), memory, fastmath)
        self.roots = [root for root in group.roots if id(root) in stored]
        self.frame = _Frame()
        self.frame_of: dict[Scope, _Frame] = {}
        self.axis_frame: dict[int, _Frame] = {}
        self.known: dict[tuple[Scope, int, Indices], int] = {}
        self.controls: dict[tuple[Scope, int, Indices, Shape], int] = {}
        self.slots: dict[int, dict[int, int]] = {}

    def build(self) -> BuiltKernel:
        """The kernel."""
        outer = tuple(range(len(self.extents)))
        order = iter(outer)
        element = tuple(IrIndex(next(order)) if d != 1 else IrIndex(None) for d in self.shape)
        top, around = self.frame, Scope(None, {})
        self.frame_of[around] = top
        self.axis_frame = dict.fromkeys(outer, top)
        for place in before(around, self.control, element, self.shape):
            self._value_at(place)
        number = self._control(around, self.control, element, self.shape)
        self.frame = top
        for root in self.roots:
            if not self._is_collected(root):
                self._store_to(root, element, self._result(number, root))
        return self._built("map", outer, (k.Stage((), tuple(top.lines)),))

    def _is_collected(self, root: Node) -> bool:
        """Whether a result is an array that a loop collects, stored piece by piece."""
        return self.control.op == "loop" and root["index"] >= self.control["carries"]

    def _emit(self, body: k.Body, dtype: str = "") -> int:
        self.lines = self.frame.lines
        return super()._emit(body, dtype)

    # Values

    @staticmethod
    def _place_key(place: Place) -> tuple[Scope, int, Indices]:
        return place.scope, id(place.node), normal(place.indices, place.node.shape)

    def _value_at(self, place: Place) -> int:
        """The instruction that computes a value, after all that it needs; iterative, as expressions may be deep."""
        stack = [(place, False)]
        while stack:
            current, ready = stack.pop()
            key = self._place_key(current)
            if key in self.known:
                continue
            if ready:
                self.known[key] = self._settle(current)
            else:
                stack.append((current, True))
                stack.extend((needed, False) for needed in reversed(self._needed(current)))
        return self.known[self._place_key(place)]

    def _loaded(self, place: Place) -> bool:
        node = place.node
        if node.op == "constant":
            return bool(node.shape)
        return place.scope.outer is None and id(node) in self.memory.buffers

    def _needed(self, place: Place) -> list[Place]:
        scope, node, indices = place.scope, place.node, place.indices
        if self._loaded(place):
            return []
        if node.op == "parameter":
            found = meaning(place)
            assert found is not None, "carries are known when their loop begins"
            return [found]
        if node.op == "part":
            return before(scope, node.inputs[0], indices, node.shape)
        return [Place(scope, source, at) for source, at in inlined_sources(node, indices)]

    def _enter(self, place: Place) -> None:
        """Go on emitting in the block that a value belongs to."""
        frames = [self.axis_frame[index.axis] for index in place.indices if index.axis is not None]
        self.frame = max([self.frame_of[place.scope], *frames], key=lambda frame: frame.depth)

    def _settle(self, place: Place) -> int:
        """The instruction of a value whose needs are met."""
        scope, node, indices = place.scope, place.node, place.indices
        self._enter(place)
        dtype = node.dtype.name
        if self._loaded(place):
            return self._load_from(node, indices)
        if node.op == "parameter":
            found = meaning(place)
            assert found is not None
            return self._value_at(found)
        if node.op == "part":
            number = self._control(scope, node.inputs[0], indices, node.shape)
            self._enter(place)
            return self._result(number, node)
        if node.op == "view":
            return self._value_at(Place(scope, node.inputs[0], compose(node["indices"], indices)))
        if node.op == "constant":
            return self._emit(k.Literal(node["data"]), dtype)
        if node.op == "scalar":
            return self._scalar(node)
        if node.op == "iota":
            return self._iota(indices[node["axis"]])
        args = tuple(self._value_at(Place(scope, source, at)) for source, at in inlined_sources(node, indices))
        if node.kind == "gather":
            return self._gathered(scope, node, indices, args)
        assert node.kind == "elementwise", f"{node!r} has no place inside a kernel"
        return self._emit(k.Apply(node.op, args[::-1], node.params), dtype)

    def _gathered(self, scope: Scope, node: Node, indices: Indices, args: Sequence[int]) -> int:
        source, slice_of = whole(scope, node.inputs[0])
        at, rank = node["at"], node["rank"]
        places, rest = iter(args), iter(indices[:at] + indices[at + rank :])
        found: list[int | k.Index] = [
            next(places) if axis in node["axes"] else self._index(next(rest))
            for axis in range(len(node.inputs[0].shape))
        ]
        positions = (*map(self._index, slice_of), *found)
        return self._emit(k.Gather(self._operand(source, "in"), positions), node.dtype.name)

    # Control

    def _result(self, number: int, part: Node) -> int:
        return self._emit(k.Result(number, self.slots[number][part["index"]]), part.dtype.name)

    def _control(self, scope: Scope, node: Node, element: Indices, shape: Shape) -> int:
        """The Loop or Branch of a control node at one element (of the results of one shape), in its block."""
        key = (scope, id(node), element, shape)
        if key not in self.controls:
            self._enter(Place(scope, node, element))
            build = self._branch if node.op == "branch" else self._loop
            number = self.controls[key] = build(scope, node, element, shape)
            self.slots[number] = {index: slot for slot, index in enumerate(members(node, shape))}
        return self.controls[key]

    def _block(self, scope: Scope, outputs: Sequence[Node], here: _Frame) -> k.Block:
        """A block of all that gives the outputs of a body."""
        frame = self.frame_of[scope] = _Frame(here.depth + 1)
        values = [self._value_at(Place(scope, o, scope.element if o.shape else ())) for o in outputs]
        return k.Block(tuple(frame.lines), tuple(values))

    def _branch(self, scope: Scope, node: Node, element: Indices, shape: Shape) -> int:
        here = self.frame
        selector = self._value_at(Place(scope, node.inputs[0], ()))
        scopes = [body_scope(scope, node, graph, element, None) for graph in node["branches"]]
        graphs = zip(scopes, node["branches"], strict=True)
        blocks = tuple(self._block(inside, outputs_of(node, graph, shape), here) for inside, graph in graphs)
        return self._emit_in(here, k.Branch(selector, blocks))

    def _loop(self, scope: Scope, node: Node, element: Indices, shape: Shape) -> int:
        here, body, slots = self.frame, node["body"], members(node, shape)
        begin = [self._value_at(place) for place in before(scope, node, element, shape)]
        carries = [self._carry(body.outputs[slot].dtype.name) for slot in slots]
        axis = None
        if node["length"] is not None:
            axis = len(self.extents)
            self.extents.append(node["length"])
        inside = body_scope(scope, node, body, element, axis)
        frame = self.frame_of[inside] = _Frame(here.depth + 1)
        self._know(inside, [body.inputs[1 + node["constants"] + slot] for slot in slots], carries)
        ticks: list[int] = []
        if axis is not None:
            self.axis_frame[axis] = frame
            self.known[self._place_key(Place(inside, body.inputs[0], ()))] = self._emit_in(
                frame, k.Position(axis), "int64"
            )
        elif body.inputs[0] in body.nodes:
            counter = self._carry("int64")
            carries.append(counter)
            begin.append(self._emit_in(here, k.Literal(bytes(8)), "int64"))
            self._know(inside, body.inputs, [counter])
            one = self._emit_in(here, k.Literal((1).to_bytes(8, "little")), "int64")
            ticks = [self._emit_in(frame, k.Apply("add", (counter.number, one)), "int64")]
        condition = None
        if node["condition"] is not None:
            testing = body_scope(scope, node, node["condition"], element, None)
            self._know(testing, [node["condition"].inputs[node["constants"] + slot] for slot in slots], carries)
            condition = self._block(testing, node["condition"].outputs, here)
        following = [body.outputs[slot] for slot in slots]
        values = [self._value_at(Place(inside, output, element if output.shape else ())) for output in following]
        if node is self.control and axis is not None:
            self._store_slices(inside, IrIndex(axis), body.outputs)
        block = k.Block(tuple(frame.lines), (*values, *ticks))
        reverse = axis is not None and bool(node["reverse"])
        return self._emit_in(here, k.Loop(axis, tuple(carries), tuple(begin), condition, block, reverse))

    def _carry(self, dtype: str) -> k.Instruction:
        self.number += 1
        return k.Instruction(self.number - 1, k.Carry(), dtype)

    def _know(self, scope: Scope, parameters: Sequence[Node], carries: Sequence[k.Instruction]) -> None:
        """Parameters of a body are carries."""
        for parameter, carry in zip(parameters, carries, strict=False):
            element = scope.element if parameter.shape else ()
            self.known[self._place_key(Place(scope, parameter, element))] = carry.number

    def _store_slices(self, scope: Scope, counter: IrIndex, outputs: Sequence[Node]) -> None:
        """Write what an iteration gives into the arrays that the loop collects."""
        for root in self.roots:
            if not self._is_collected(root):
                continue
            for piece in pieces(outputs[root["index"]]):
                value = self._value_at(Place(scope, piece.node, piece.looked_up(scope.element)))
                self.frame = self.frame_of[scope]
                place = scope.element if piece.at is None else piece.place
                self._store_to(root, (counter, *place), value)

    def _emit_in(self, frame: _Frame, body: k.Body, dtype: str = "") -> int:
        self.frame = frame
        return self._emit(body, dtype)
