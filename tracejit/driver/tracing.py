"""The tracing driver: run a function on tracers, end segments at breaks, compile what was recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from typing import Any

import numpy as np

from tracejit.driver import segment_code as text
from tracejit.driver.arguments import Arguments, flatten_like
from tracejit.driver.called_totals import called_totals
from tracejit.driver.cpu_target import CPU
from tracejit.driver.donation import with_donated
from tracejit.driver.environment_guards import Environment, restore, unchanged
from tracejit.driver.fingerprints import fingerprint
from tracejit.driver.host_code import ALIGNED, MISS, Code
from tracejit.driver.host_program import write_program
from tracejit.driver.kernel_errors import raise_kernel_error
from tracejit.driver.large_products import by_kernel, guard_products
from tracejit.driver.native_call import draft_call
from tracejit.driver.profit import loss
from tracejit.driver.results import outgoing
from tracejit.driver.segments import Break, Raised, Run, Segment, describe, go_on, trace_leaf, trace_results
from tracejit.driver.target import Target
from tracejit.ir.graph import Graph
from tracejit.ir.node import Node
from tracejit.lower.linking import NotNative
from tracejit.passes.erase_markers import erase_markers
from tracejit.passes.pipeline import optimize
from tracejit.passes.roll_loops import roll_loops
from tracejit.passes.unify_sizes import unify_sizes
from tracejit.records import dataclass
from tracejit.runtime.kernel_cache import CacheCounts
from tracejit.runtime.machine_code import LoadedKernel
from tracejit.runtime.vectorcall import NATIVE
from tracejit.schedule.panel_products import never
from tracejit.schedule.scheduler import schedule
from tracejit.schedule.steps import Buffer, Program
from tracejit.trace.bodies import refuse_leaks
from tracejit.trace.handover import hand_over, pending, plan
from tracejit.trace.number import HostNumber
from tracejit.trace.opaque import Call
from tracejit.trace.pytree import Tree, flatten, rebuild
from tracejit.trace.standin import standins
from tracejit.trace.state import ACTIVE, Leaf, Past, Storage, Trace, Untraceable, user_line
from tracejit.trace.tracer import Tracer

MAX_SHARED = 4096
"""Compiled segments that a function keeps for others like them."""


MANY_BREAKS = 64
"""Breaks in the first trace of a call after which it is asked whether that gains anything."""


class SharedMemory(Exception):
    """Arguments of this call share memory, and the function has several segments: this call runs as plain NumPy."""


@dataclass(eq=False, repr=False)
class Tracing:
    """One run of the user's function on tracers, for one call."""

    jitted: Any
    run: Run
    arguments: Arguments
    environment: Environment
    target: Target
    trace: Trace = field(default_factory=Trace)
    breaks: int = 0
    first: int = 0
    checks: Code | None = None
    last_break: Break | None = None
    last_result: Any = None
    donated: tuple[str, ...] = ()
    replayed: list[tuple[Break, Any]] = field(default_factory=list)

    def execute(self) -> Any:
        """Trace from the first outcome that is not known yet; the result is the call's."""
        self.trace.interrupt, self.trace.device = self.interrupt, self.target.device
        self.trace.known = tuple(self.run.leaves)
        self.replayed = self.run.outcomes()
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
            function = self._end(result, held)
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
        if self.breaks == MANY_BREAKS:
            self._refuse_loss()
        written, new = pending(trace)
        if number < len(self.replayed):
            following, result = self.replayed[number]
        else:
            following = Break(call, outcome, plan(trace, new), user_line())
            result = self._run_segment(following, [*written, *new], operands)
            following.take(result, self.run)
        past = Past(tuple(tracer.node for tracer in operands), call.name, following.line)
        hand_over(trace, following.handover, written, new)
        self.first = len(trace.leaves)
        self.last_break, self.last_result = following, result
        trace.end_segment()
        if isinstance(result, Raised):
            raise result.error
        if outcome:
            return result
        traced = trace_results(trace, result)
        trace.history.update(dict.fromkeys(range(self.first, len(trace.leaves)), past))
        new_leaves = trace.leaves[self.first :]
        trace.results.update(leaf.position for leaf in new_leaves if leaf.kind == "array" and not leaf.captured)
        return traced

    def _refuse_loss(self) -> None:
        """A function that has met many breaks is not traced further where that gains nothing."""
        on_cpu = self.target.device.kind == "cpu"
        if on_cpu and not self.replayed and (reason := loss(self.jitted.roots[-1], self.run.outcomes())):
            raise Untraceable(reason)

    def _run_segment(self, following: Break, live: list[Storage], operands: list[Tracer]) -> Any:
        """What comes out at a break that is not known yet."""
        self.target.refuse(Program((), ()), following.call, following.line)
        if self.jitted.fullgraph:
            raise self.jitted.fullgraph_error(following)
        graph = self._graph([*(s.node for s in live), *(t.node for t in operands)])
        carried = [(item.position, item.type) for item in following.handover.carried]
        scalars = [tracer.scalar for tracer in operands]
        writes = [s.leaf for s in live if s.leaf is not None]
        left = (following.handover.dropped, following.handover.gone)
        key = self._key(graph, writes, following.call, carried, left, scalars)
        segment = self._keep(key, following, lambda: self._compile_segment(following, live, operands))
        if self._arguments_overlap():
            raise SharedMemory
        self._save(live)
        self.run.tracing = True
        if self._call(segment)() is MISS:
            raise AssertionError(f"a fresh segment does not fit its own arguments\n{segment.source}")
        self.run.tracing = False
        return self.run.outcome

    def _key(self, graph: Graph, writes: Sequence[int | None], *others: Any) -> Hashable:
        """Equal for segments after the first that compile to the same code; None where that cannot be told."""
        trace = self.trace
        found = None if self.root else fingerprint(graph, *others)
        checked = tuple(_described(leaf) for leaf in trace.leaves[self.first :])
        names = [tuple(known.items()) for known in (trace.origins, trace.definitions, trace.equalities)]
        state = (tuple(trace.guards), *names, checked, frozenset(trace.carried), self.first, len(trace.leaves))
        return None if found is None else (found, tuple(writes), state)

    def _keep(self, key: Hashable, following: Break | None, compile_it: Callable[[], Segment]) -> Segment:
        """The pending segment, compiled unless one like it was, where the next call looks for it."""
        segment: Segment | None = self.jitted.segments.get(key)
        if segment is None:
            segment = compile_it()
            if key is not None and len(self.jitted.segments) < MAX_SHARED:
                self.jitted.segments[key] = segment
        else:
            segment = replace(segment, counts=CacheCounts(), following=following)
        self.jitted.add_segment(segment, self.last_break, self.last_result, self)
        return segment

    def _compile_segment(self, following: Break, live: list[Storage], operands: list[Tracer]) -> Segment:
        code, program, parts = self._prologue(live, [tracer.node for tracer in operands])
        outputs = dict(zip([s.number for s in live], program.outputs, strict=False))
        first = len(self.trace.leaves)
        given = {leaf.position: f"a{leaf.position}" for leaf in self.trace.leaves[self.first :] if leaf.captured}
        taken: set[Buffer] = set()
        for item in following.handover.carried:
            memory = text.own_memory(buffer := outputs[item.storages[0]], program, taken, set())
            # A view is laid out as what it views; what is carried is contiguous.
            given[item.position] = f"asarray({memory}, order='C')" if buffer.kind == "view" else memory
        if program.writebacks:
            code.lines.append("if run is not None and not run.tracing: run.wrote = True")
        scalars = [tracer.scalar for tracer in operands]
        text.write_call(code, following.call, program.outputs[len(live) :], scalars)
        text.write_leaves(code, self.root, first if self.root else self._known, given, following.handover)
        if not self.root:
            code.lines += ["run.outcome = outcome", "return outcome"]
        else:
            code.namespace["go_on"] = go_on
            code.lines += ["if run.tracing: run.outcome = outcome", "else: return go_on(SEGMENT, outcome, run)"]
        segment = self._finish(code, program, parts, following)
        code.namespace["SEGMENT"] = segment
        return segment

    # Segments

    def _arguments_overlap(self) -> bool:
        """Whether the first segment is about to run on arguments that share memory."""
        arrays = [leaf for leaf in self.trace.leaves if leaf.kind == "array" and not leaf.captured]
        pairs = text.overlapping_pairs(arrays, {leaf.position for leaf in arrays}) if self.root else []
        values = {leaf.position: leaf.value for leaf in arrays}
        return any(self.target.names["may_share_memory"](values[a], values[b]) for a, b in pairs)

    @property
    def root(self) -> bool:
        return self.last_break is None

    @property
    def _known(self) -> int:
        """How many leaves the pending segment finds; those captured since are not among them."""
        return next(
            (leaf.position for leaf in self.trace.leaves[self.first :] if leaf.captured), len(self.trace.leaves)
        )

    def _graph(self, nodes: list[Node]) -> Graph:
        """What the pending segment computes; the first one takes every argument, the others what they need."""
        graph = Graph((), tuple(nodes))
        needed = sorted(node["position"] for node in graph.nodes if node.op == "input")
        positions = sorted(self.trace.inputs) if self.root else needed
        if self.target is CPU:
            guard_products(self.trace, graph)
        return Graph(tuple(self.trace.inputs[position] for position in positions), tuple(nodes))

    def _prologue(
        self, live: list[Storage], extra: list[Node]
    ) -> tuple[Code, Program, tuple[Graph, Graph, Sequence[Any], CacheCounts]]:
        """Guards and steps of the pending segment."""
        traced, graph, program = self._scheduled(live, extra)
        layouts = _layouts(self.trace)
        counts = CacheCounts()
        self.target.refuse(program, None, "")
        loaded = self.target.get_kernels(program.kernels, counts)
        code = Code(self.target)
        code.namespace.update(plain=self.jitted.run_plain, jitted=self.jitted)
        code.use("asarray")
        self._write_guards(code, layouts, {leaf for leaf, _ in program.writebacks})
        write_program(code, program, loaded, raise_kernel_error)
        program = text.write_writebacks(code, program)
        return code, program, (traced, graph, loaded, counts)

    def _scheduled(self, live: list[Storage], extra: list[Node]) -> tuple[Graph, Graph, Program]:
        """What the pending segment computes, as traced and as optimized, and the steps that do."""
        writebacks = [(s.leaf, n) for n, s in enumerate(live) if s.leaf is not None and s.mutated]
        pending_graph = self._graph([storage.node for storage in live] + extra)
        traced = unify_sizes(roll_loops(pending_graph), self.trace.canonical)
        refuse_leaks(traced)
        graph = called_totals(optimize(erase_markers(traced), self.jitted.check), self.target.calls)
        chosen = by_kernel(self.trace, traced) if self.target is CPU else never
        return traced, graph, schedule(graph, _layouts(self.trace), writebacks, self.jitted.fastmath, chosen)

    def _write_guards(self, code: Code, layouts: dict[int, str], mutated: set[int]) -> None:
        trace = self.trace
        if self.root:
            a = self.arguments
            text.write_root_arguments(code, a.tree, a.leaves, a.dynamic, a.static)
        elif trace.leaves[self.first : self._known]:
            code.lines.append(f"if len(leaves) != {self._known}: return MISS")
        checked = trace.leaves[0 if self.root else self.first :]
        text.write_leaf_guards(code, checked, layouts, mutated, self.root)
        text.write_sizes(code, trace, checked)
        text.write_guards(code, list(trace.guards), trace.elements.values())
        if self.root:
            text.write_environment(code, self.environment.items)
            self.checks = Code(self.target, list(code.lines), code.namespace)
            # What later segments write is not known yet, and once they run it is too late to start again.
            arrays = {leaf.position for leaf in trace.leaves if leaf.kind == "array" and not leaf.captured}
            text.write_overlap_check(code, trace.leaves, mutated | arrays if self.breaks else mutated)

    def _finish(self, code: Code, program: Program, parts: Any, following: Break | None) -> Segment:
        traced, graph, _, counts = parts
        definitions = text.write_definitions(code, self.trace.definitions)
        if self.root and self.checks is not None:
            text.write_definitions(self.checks, self.trace.definitions)
        else:
            text.write_loads(code, self.trace, self._known)
        function = code.function(_identifier(self.jitted.__name__), "args, kwargs, run=None" if self.root else "run")
        dynamic = [v for v, d in zip(self.arguments.leaves, self.arguments.dynamic, strict=True) if d]
        return Segment(
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
            definitions,
            self.checks if self.root else None,
            following,
        )

    def _call(self, segment: Segment) -> Callable[[], Any]:
        if self.last_break is None:
            return lambda: segment.function(self.run.args, self.run.kwargs, self.run)
        return lambda: segment.function(self.run)

    def _end(self, result: Any, held: list[Any]) -> Callable[[], Any]:
        """Compile the last segment, which returns the function's result; `held`: the arguments' leaves."""
        leaves: list[Any] = []
        tree = flatten(result, leaves)
        leaves, self.donated = with_donated(self, held, leaves, lambda *given: self._scheduled(*given)[2])
        live, extra, texts = outgoing(self.trace, leaves)
        described = [
            (how, number, t.storage.leaf, t.steps, t.scalar)
            if t is not None
            else (leaf.text if isinstance(leaf, HostNumber) else leaf,)
            for leaf, (how, number, t) in zip(leaves, texts, strict=True)
        ]
        graph = self._graph([*(s.node for s in live), *extra])
        key = self._key(graph, [s.leaf for s in live], tree, described)
        return self._call(self._keep(key, None, lambda: self._compile_end(live, extra, tree, leaves, texts)))

    def _compile_end(
        self,
        live: list[Storage],
        extra: list[Node],
        tree: Tree,
        leaves: list[Any],
        texts: list[tuple[str, int, Tracer | None]],
    ) -> Segment:
        code, program, parts = self._prologue(live, extra)
        taken: set[Buffer] = set()
        scalars = {number for how, number, tracer in texts if how == "own" and tracer is not None and tracer.scalar}
        for number, buffer in enumerate(program.outputs[len(live) :]):
            memory = (
                text.own_memory(buffer, program, taken, self.trace.carried) if number not in scalars else buffer.name
            )
            code.lines.append(f"r{number} = {memory}")
        names = [
            self._result_text(code, leaf, how, number, tracer)
            for leaf, (how, number, tracer) in zip(leaves, texts, strict=True)
        ]
        text.write_result(code, tree, names)
        segment = self._finish(code, program, parts, None)
        segment.donated = self.donated
        if self.root:
            own = [program.outputs[len(live) + number] if how == "own" else None for how, number, _ in texts]
            self._draft(segment, parts[2], tree, list(zip(leaves, own, strict=True)))
        return segment

    def _draft(
        self, segment: Segment, kernels: Sequence[LoadedKernel], tree: Tree, results: list[tuple[Any, Buffer | None]]
    ) -> None:
        """The whole call for emitted code, where that can do it."""
        if self.target is not CPU:
            segment.native = f"no, it runs on {self.target.device}"
            return
        if not NATIVE:
            segment.native = "no, it is not for this interpreter, or TRACEJIT_PORTABLE=1 is set"
            return
        layouts, environment = _layouts(self.trace), self.environment.items
        try:
            segment.draft = draft_call(
                self.trace, self.arguments, environment, layouts, segment.program, kernels, tree, results
            )
            segment.native = "not yet, it has not been called often enough"
        except NotNative as reason:
            segment.native = f"no, because of {reason}"

    def _result_text(self, code: Code, leaf: Any, how: str, number: int, tracer: Tracer | None) -> str:
        if isinstance(leaf, HostNumber):
            return leaf.text
        if tracer is None:
            return code.constant(leaf)
        if how == "own":
            return self.target.result(code, f"r{number}[()]" if tracer.scalar else f"r{number}", True)
        name, shape = (
            (f"r{number}", tracer.storage.node.shape)
            if how == "shared"
            else (
                f"a{tracer.storage.leaf}",
                self.trace.inputs[tracer.storage.leaf].shape,  # type: ignore[index]
            )
        )
        viewed = text.steps_text(name, shape, tracer.steps)
        return self.target.result(code, f"{viewed}[()]" if tracer.scalar else viewed, False)

    def _flush(self) -> None:
        """An exception leaves the function: what was written before it is written."""
        live = [s for s in self.trace.live_storages() if s.leaf is not None and s.mutated]
        if live and sys.exc_info()[0] not in (Untraceable, SharedMemory):
            code, _, _ = self._prologue(live, [])
            code.lines.append("return None")
            text.write_definitions(code, self.trace.definitions)
            if not self.root:
                text.write_loads(code, self.trace, self._known)
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


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "traced"


def _described(leaf: Leaf) -> Hashable:
    """All that the code of a segment relies on in a leaf that it checks."""
    value = leaf.value
    if leaf.kind not in ("array", "generic"):
        return leaf.kind, type(value)
    captured = id(value) if leaf.captured else 0
    ones = tuple(length == 1 for length in value.shape)
    return leaf.kind, value.dtype, ones, value.strides[-1:] == (value.itemsize,), value.flags.num, captured


def _layouts(trace: Trace) -> dict[int, str]:
    """The layout class of each array leaf."""
    found = {}
    for leaf in trace.leaves:
        if leaf.kind in ("number", "object"):
            continue
        if leaf.kind == "carried":
            found[leaf.position] = "C"
            continue
        array = leaf.value
        if not array.flags.num & ALIGNED:
            raise Untraceable(f"an unaligned array (argument leaf {leaf.position})")
        contiguous = array.flags.c_contiguous and (array.ndim != 1 or array.strides == (array.itemsize,))
        unit = array.ndim > 0 and array.strides[-1] == array.itemsize and not array.flags.c_contiguous
        found[leaf.position] = "C" if contiguous else "unit" if unit else "any"
    return found
