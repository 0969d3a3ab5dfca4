"""The tracing driver: run a function on tracers, end segments at breaks, compile what was recorded."""

from __future__ import annotations

import collections
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracejit.driver import segment_code as text
from tracejit.driver.environment_guards import Environment, read_environment, restore, unchanged
from tracejit.driver.host_code import ALIGNED, MISS, Code
from tracejit.driver.host_program import write_program
from tracejit.driver.kernel_errors import raise_kernel_error
from tracejit.driver.segments import (
    Break,
    Run,
    Segment,
    add_result_leaves,
    describe,
    leaf_kind,
    perform,
    trace_leaf,
    trace_results,
)
from tracejit.ir.graph import Graph
from tracejit.ir.node import Node
from tracejit.passes.erase_markers import erase_markers
from tracejit.passes.pipeline import optimize
from tracejit.passes.roll_loops import roll_loops
from tracejit.passes.unify_sizes import unify_sizes
from tracejit.runtime.kernel_cache import CacheCounts, get_kernels
from tracejit.runtime.threads import run_parallel
from tracejit.schedule.scheduler import schedule
from tracejit.schedule.steps import Buffer, Program
from tracejit.trace.bodies import refuse_leaks
from tracejit.trace.number import HostNumber
from tracejit.trace.opaque import Call
from tracejit.trace.pytree import Tree, flatten, rebuild
from tracejit.trace.standin import standins
from tracejit.trace.state import ACTIVE, Past, Storage, Trace, Untraceable, user_line
from tracejit.trace.tracer import Tracer

MUTABLE = (set, bytearray, dict, list, collections.deque)
"""Containers that are no pytrees (a dict or list here is a subclass)."""


@dataclass
class Arguments:
    """A call's arguments taken apart: the structure, all leaves, and which of them enter the trace."""

    tree: Tree
    leaves: list[Any]
    dynamic: list[bool]
    static: set[int]

    @property
    def objects(self) -> list[Any]:
        return [leaf for leaf, dynamic in zip(self.leaves, self.dynamic, strict=True) if not dynamic]


def take_apart(
    args: tuple[Any, ...], kwargs: dict[str, Any], static_positions: set[int], static_names: set[str]
) -> Arguments:
    """Flatten the arguments; those named static stay whole and are guarded by equality."""
    leaves: list[Any] = []
    static: set[int] = set()
    children: list[Tree] = []
    for position, value in enumerate(args):
        children.append(_argument(value, position in static_positions, leaves, static))
    keywords = [_argument(value, key in static_names, leaves, static) for key, value in kwargs.items()]
    tree = Tree(
        tuple,
        (0, 1),
        (
            Tree(tuple, tuple(range(len(args))), tuple(children)),
            Tree(dict, tuple(kwargs), tuple(keywords)),
        ),
    )
    dynamic = [leaf_kind(leaf) != "static" and number not in static for number, leaf in enumerate(leaves)]
    for leaf in leaves:
        if isinstance(leaf, MUTABLE):
            raise Untraceable(f"an argument of type {type(leaf).__name__}, which the function could change")
        if isinstance(leaf, np.ndarray) and leaf_kind(leaf) == "static":
            raise Untraceable(f"an array argument of type {type(leaf).__name__} and dtype {leaf.dtype}")
    return Arguments(tree, leaves, dynamic, static)


def flatten_like(arguments: Arguments, value: Any, leaves: list[Any]) -> Tree:
    """(args, kwargs) flattened again, static arguments whole as before."""
    args, kwargs = value
    positional, keywords = arguments.tree.children
    positions: set[int] = set()
    parts = [_argument(v, t.kind is None, leaves, positions) for v, t in zip(args, positional.children, strict=True)]
    pairs = zip(keywords.keys, keywords.children, strict=True)
    named = [_argument(kwargs[k], t.kind is None, leaves, positions) for k, t in pairs]
    return Tree(tuple, (0, 1), (Tree(tuple, positional.keys, tuple(parts)), Tree(dict, keywords.keys, tuple(named))))


def _argument(value: Any, static: bool, leaves: list[Any], positions: set[int]) -> Tree:
    if static:
        positions.add(len(leaves))
        leaves.append(value)
        return Tree(None)
    return flatten(value, leaves)


class SharedMemory(Exception):
    """Arguments of this call share memory, and the function has several segments: this call runs as plain NumPy."""


@dataclass
class Tracing:
    """One run of the user's function on tracers, for one call."""

    jitted: Any
    run: Run
    arguments: Arguments
    environment: Environment
    trace: Trace = field(default_factory=Trace)
    breaks: int = 0
    first: int = 0
    last_break: Break | None = None
    last_result: Any = None
    replayed: list[tuple[Break, Any]] = field(default_factory=list)

    def execute(self) -> Any:
        """Trace from the first outcome that is not known yet; the result is the call's."""
        self.trace.interrupt = self.interrupt
        self.replayed = list(self.run.path)
        values = [
            trace_leaf(self.trace, leaf) if dynamic or number not in self.arguments.static else leaf
            for number, (leaf, dynamic) in enumerate(zip(self.arguments.leaves, self.arguments.dynamic, strict=True))
        ]
        held = list(values)
        args, kwargs = rebuild(self.arguments.tree, values)
        outer = ACTIVE.trace
        ACTIVE.enter(self.trace)
        try:
            with standins(self.jitted.function, *self.arguments.objects), frozen(self.environment):
                try:
                    result = self.jitted.function(*args, **kwargs)
                    self._refuse_changed_containers((args, kwargs), held)
                except Exception:
                    self._flush()
                    raise
            self.run.tracing = False
            del args, kwargs
            function = self._end(result)
            del held
        finally:
            ACTIVE.enter(outer)
        found = function()
        if found is MISS:
            raise AssertionError(f"a fresh trace does not fit its own arguments\n{self.jitted.sources()}")
        return found

    def _refuse_changed_containers(self, arguments: Any, held: list[Any]) -> None:
        """A list or dict that the function changes would be changed now and never again."""
        leaves: list[Any] = []
        tree = flatten_like(self.arguments, arguments, leaves)
        if tree != self.arguments.tree or any(a is not b for a, b in zip(leaves, held, strict=True)):
            raise Untraceable("the function changes a list, dict or object that is an argument")
        for kind, owner, _, before in self.environment.items:
            if kind == "container" and not unchanged(owner, before):
                restore(owner, before)
                raise Untraceable("the function changes a list or dict that it finds outside its arguments")

    def _save(self, live: list[Storage]) -> None:
        """Keep what the next segment overwrites, in case the function turns out to be untraceable."""
        for storage in live:
            if storage.leaf is not None and storage.leaf not in self.run.saved:
                self.run.saved[storage.leaf] = self.trace.leaves[storage.leaf].value.copy()

    # Breaks

    def interrupt(self, trace: Trace, call: Call, operands: list[Tracer], outcome: bool) -> Any:
        """A value is needed: end the segment, get it, go on."""
        number = self.breaks
        self.breaks += 1
        # A copy of an argument is kept too: the argument may be written after this.
        live = [
            s
            for s in trace.live_storages()
            if s.mutated or s.node.kind != "source" or (s.leaf is None and s.node.op == "input")
        ]
        new = [s for s in live if s.leaf is None]
        if number < len(self.replayed):
            following, result = self.replayed[number]
        else:
            following = Break(call, outcome, tuple(s.number for s in new), user_line(), dict(trace.origins))
            result = self._run_segment(following, live, new, operands)
            self.run.path.append((following, result))
            if not outcome and not isinstance(result, Raised):
                add_result_leaves(result, self.run.leaves)
        past = Past(tuple(tracer.node for tracer in operands), call.name, following.line)
        self._rebind(live, new, following)
        self.last_break, self.last_result = following, result
        trace.guards.clear()
        if isinstance(result, Raised):
            raise result.error
        if outcome:
            return result
        known = len(trace.leaves)
        traced = trace_results(trace, result)
        trace.history.update(dict.fromkeys(range(known, len(trace.leaves)), past))
        return traced

    def _rebind(self, live: list[Storage], new: list[Storage], following: Break) -> None:
        """The storages go on as leaves of the next segment."""
        self.first = len(self.trace.leaves)
        for storage in live:
            if storage.leaf is not None:
                if self.trace.variables:
                    raise Untraceable("an argument is written to, and a derivative reaches back over a break after it")
                storage.node = self.trace.inputs[storage.leaf]
                storage.mutated = False
        by_number = {storage.number: storage for storage in new}
        for number in following.rebound:
            leaf = self.trace.add_leaf("array", self.run.leaves[len(self.trace.leaves)])
            if number in by_number:
                self.trace.history[leaf.position] = Past((by_number[number].node,))
                by_number[number].node = self.trace.inputs[leaf.position]

    def _run_segment(self, following: Break, live: list[Storage], new: list[Storage], operands: list[Tracer]) -> Any:
        if self.jitted.fullgraph:
            raise self.jitted.fullgraph_error(following)
        extra = [tracer.node for tracer in operands]
        code, program, parts = self._prologue(live, extra)
        outputs = dict(zip([id(s) for s in live], program.outputs, strict=False))
        returned: set[str] = set()
        fresh = [text.fresh_text(outputs[id(s)], program, returned) for s in new]
        operand_texts = [_operand_text(b, t, code) for b, t in zip(program.outputs[len(live) :], operands, strict=True)]
        captured = [leaf.position for leaf in self.trace.leaves[self.first :] if leaf.captured]
        if program.writebacks:
            code.lines.append("if run is not None and not run.tracing: run.wrote = True")
        text.write_break(code, following.resume, self.root, len(self.trace.leaves), captured, fresh, operand_texts)
        segment = self._finish(code, program, parts, following)
        if self._arguments_overlap():
            raise SharedMemory
        self._save(live)
        self.run.tracing = True
        if self._call(segment)() is MISS:
            raise AssertionError(f"a fresh segment does not fit its own arguments\n{segment.source}")
        self.run.tracing = False
        return perform(following.call, self.run.collected[1], self.run)

    # Segments

    def _arguments_overlap(self) -> bool:
        """Whether the first segment is about to run on arguments that share memory."""
        arrays = [leaf for leaf in self.trace.leaves if leaf.kind == "array" and not leaf.captured]
        pairs = text.overlapping_pairs(arrays, {leaf.position for leaf in arrays}) if self.root else []
        values = {leaf.position: leaf.value for leaf in arrays}
        return any(np.may_share_memory(values[a], values[b]) for a, b in pairs)

    @property
    def root(self) -> bool:
        return self.last_break is None

    def _prologue(
        self, live: list[Storage], extra: list[Node]
    ) -> tuple[Code, Program, tuple[Graph, Graph, list[Any], CacheCounts]]:
        """Guards and steps of the pending segment."""
        trace = self.trace
        nodes = [storage.node for storage in live] + extra
        writebacks = [(s.leaf, n) for n, s in enumerate(live) if s.leaf is not None and s.mutated]
        inputs = tuple(trace.inputs[position] for position in sorted(trace.inputs))
        traced = unify_sizes(roll_loops(Graph(inputs, tuple(nodes))), trace.canonical)
        refuse_leaks(traced)
        graph = optimize(erase_markers(traced), self.jitted.check)
        layouts = _layouts(trace)
        program = schedule(graph, layouts, writebacks, self.jitted.fastmath)
        counts = CacheCounts()
        loaded = get_kernels(program.kernels, counts)
        code = Code()
        code.namespace.update(run_parallel=run_parallel, plain=self.jitted.run_plain, jitted=self.jitted)
        mutated = {leaf for leaf, _ in writebacks if leaf is not None}
        self._write_guards(code, layouts, mutated)
        write_program(code, program, [kernel.entry for kernel in loaded], raise_kernel_error)
        program = text.write_writebacks(code, program)
        return code, program, (traced, graph, loaded, counts)

    def _write_guards(self, code: Code, layouts: dict[int, str], mutated: set[int]) -> None:
        trace = self.trace
        if self.root:
            a = self.arguments
            text.write_root_arguments(code, a.tree, a.leaves, a.dynamic, a.static)
            checked = trace.leaves
        else:
            known = [leaf for leaf in trace.leaves if not (leaf.captured and leaf.position >= self.first)]
            names = [f"a{leaf.position}" for leaf in known]
            code.lines.append("args, kwargs = run.args, run.kwargs")
            code.lines.append(f"if len(run.leaves) != {len(names)}: return MISS")
            code.lines.append(f"{', '.join(names)}{',' if len(names) == 1 else ''} = run.leaves" if names else "pass")
            checked = trace.leaves[self.first :]
        text.write_leaf_guards(code, trace, checked, layouts, mutated)
        text.write_sizes(code, trace, trace.leaves, 0 if self.root else self.first)
        text.write_guards(code, dict(trace.guards))
        if self.root:
            text.write_environment(code, self.environment.items)
        if self.root:
            # What later segments write is not known yet, and once they run it is too late to start again.
            arrays = {leaf.position for leaf in trace.leaves if leaf.kind == "array" and not leaf.captured}
            text.write_overlap_check(code, trace.leaves, mutated | arrays if self.breaks else mutated)

    def _finish(self, code: Code, program: Program, parts: Any, following: Break | None) -> Segment:
        traced, graph, _, counts = parts
        name = f"{self.jitted.__name__}"
        function = code.function(_identifier(name), "args, kwargs, run=None" if self.root else "run")
        dynamic = [v for v, d in zip(self.arguments.leaves, self.arguments.dynamic, strict=True) if d]
        segment = Segment(
            traced,
            graph,
            program,
            function,
            code.text,
            tuple(self.trace.guards.items()),
            counts,
            self.arguments.tree,
            tuple(map(describe, dynamic)),
            dict(self.trace.origins),
            following,
        )
        self.jitted.add_segment(segment, self.last_break, self.last_result, self)
        return segment

    def _call(self, segment: Segment) -> Callable[[], Any]:
        if self.last_break is None:
            return lambda: segment.function(self.run.args, self.run.kwargs, self.run)
        return lambda: segment.function(self.run)

    def _end(self, result: Any) -> Callable[[], Any]:
        """Compile the last segment, which returns the function's result."""
        leaves: list[Any] = []
        tree = flatten(result, leaves)
        live = [s for s in self.trace.live_storages() if s.leaf is not None and s.mutated]
        counts: dict[int, int] = {}
        for leaf in leaves:
            if isinstance(leaf, Tracer) and leaf.storage.leaf is None:
                counts[id(leaf.storage)] = counts.get(id(leaf.storage), 0) + 1
        extra: list[Node] = []
        texts: list[tuple[str, int, Tracer | None]] = []
        shared: dict[int, int] = {}
        for leaf in leaves:
            if not isinstance(leaf, Tracer):
                texts.append(("", -1, None))
            elif leaf.storage.leaf is not None:
                texts.append(("", -1, leaf))
            elif counts[id(leaf.storage)] > 1:
                if id(leaf.storage) not in shared:
                    shared[id(leaf.storage)] = len(extra)
                    extra.append(leaf.storage.node)
                texts.append(("shared", shared[id(leaf.storage)], leaf))
            else:
                extra.append(leaf.node)
                texts.append(("own", len(extra) - 1, leaf))
        code, program, parts = self._prologue(live, extra)
        outputs = program.outputs[len(live) :]
        returned: set[str] = set()
        names = []
        for number, buffer in enumerate(outputs):
            code.lines.append(f"r{number} = {text.fresh_text(buffer, program, returned)}")
        for leaf, (how, number, tracer) in zip(leaves, texts, strict=True):
            names.append(self._result_text(code, leaf, how, number, tracer))
        text.write_result(code, tree, names)
        return self._call(self._finish(code, program, parts, None))

    def _result_text(self, code: Code, leaf: Any, how: str, number: int, tracer: Tracer | None) -> str:
        if isinstance(leaf, HostNumber):
            return leaf.text
        if tracer is None:
            return code.constant(leaf)
        if how == "own":
            return f"r{number}[()]" if tracer.scalar else f"r{number}"
        name, shape = (
            (f"r{number}", tracer.storage.node.shape)
            if how == "shared"
            else (
                f"a{tracer.storage.leaf}",
                self.trace.inputs[tracer.storage.leaf].shape,  # type: ignore[index]
            )
        )
        viewed = text.steps_text(name, shape, tracer.steps)
        return f"{viewed}[()]" if tracer.scalar else viewed

    def _flush(self) -> None:
        """An exception leaves the function: what was written before it is written."""
        live = [s for s in self.trace.live_storages() if s.leaf is not None and s.mutated]
        if live and sys.exc_info()[0] not in (Untraceable, SharedMemory):
            code, _, _ = self._prologue(live, [])
            code.lines.append("return None")
            function = code.function("flush", "args, kwargs, run=None" if self.root else "run")
            function(self.run.args, self.run.kwargs) if self.root else function(self.run)


@contextmanager
def frozen(environment: Environment) -> Iterator[None]:
    """Arrays that the function finds in globals and attributes are read-only while it is traced.

    A write to one would happen now and never again; so it is refused, and the function runs as plain NumPy.
    """
    values = [value for _, _, _, value in environment.items]
    values += [item for value in values if type(value) is tuple for item in value]
    arrays = [value for value in values if isinstance(value, np.ndarray) and value.flags.writeable]
    for array in arrays:
        array.setflags(write=False)
    try:
        yield
    except ValueError as error:
        if arrays and "read-only" in str(error):
            raise Untraceable(
                "the function writes to an array that is a global, a closure variable or an attribute"
            ) from None
        raise
    finally:
        for array in arrays:
            array.setflags(write=True)


def _operand_text(buffer: Buffer, tracer: Tracer, code: Code) -> str:
    return f"{buffer.name}[()]" if tracer.scalar else f"{buffer.name}"


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "traced"


def _layouts(trace: Trace) -> dict[int, str]:
    """The layout class of each array leaf."""
    found = {}
    for leaf in trace.leaves:
        if leaf.kind == "number":
            continue
        array = np.asarray(leaf.value)
        if not array.flags.num & ALIGNED:
            raise Untraceable(f"an unaligned array (argument leaf {leaf.position})")
        contiguous = array.flags.c_contiguous and (array.ndim != 1 or array.strides == (array.itemsize,))
        unit = array.ndim > 0 and array.strides[-1] == array.itemsize and not array.flags.c_contiguous
        found[leaf.position] = "C" if contiguous else "unit" if unit else "any"
    return found


__all__ = ["Arguments", "Tracing", "read_environment", "take_apart"]
