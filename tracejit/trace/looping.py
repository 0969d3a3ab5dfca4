"""Recording `while_loop`, `fori_loop`, `scan` and `map` in the running trace."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Node
from tracejit.ir.size import Dimension
from tracejit.trace.bodies import (
    Structure,
    body_function,
    entering,
    is_scalar,
    one_truth,
    parameter_tracers,
    plain_type,
    retyped,
    run_body,
    same_shape,
    type_text,
)
from tracejit.trace.control import COUNTER, close_bodies, loop_parts
from tracejit.trace.number import HostNumber, as_dimension
from tracejit.trace.opaque import interrupt_call
from tracejit.trace.record import broadcast_shapes
from tracejit.trace.state import Trace, current, user_line
from tracejit.trace.tracer import Tracer, fresh

SMALL_LOOP, SMALL_SIZE = 96, 4
"""Where all that goes into and comes out of one iteration has no more elements, and no axis is longer, the sizes are
guarded, not generic: points, rotations, the states of small filters."""

WIDENINGS = 6
"""How often a body is traced anew because its carry came out wider than it went in."""


def fori_loop(low: Any, high: Any, body: Any, initial: Any) -> Any:
    """See `tracejit.control.looping`; a count known to the host is a loop of that length, any other a while loop."""
    trace = current()
    body = body_function(trace, body, "the body of fori_loop")
    if isinstance(low, Tracer) or isinstance(high, Tracer):
        first, last = _counter_bound(trace, low, "low"), _counter_bound(trace, high, "high")
        found = _Loop(trace, "fori_loop", (first, initial), "carry").run(
            lambda _, carry, __: ((carry[0] + 1, body(_counting(carry[0]), carry[1])), None),
            lambda carry: carry[0] < last,
        )
        return found[0][1]
    start, stop = _host_bound(low, "low"), _host_bound(high, "high")
    length = 0 if trace.less(stop, start) else sizes.subtract(stop, start)
    loop = _Loop(trace, "fori_loop", initial, "carry", length=length)
    return loop.run(lambda i, carry, _: (body(i if start == 0 else i + low, carry), None))[0]


def while_loop(condition: Any, body: Any, initial: Any) -> Any:
    """See `tracejit.control.looping`."""
    trace = current()
    condition = body_function(trace, condition, "the condition of while_loop")
    body = body_function(trace, body, "the body of while_loop")
    loop = _Loop(trace, "while_loop", initial, "carry")
    return loop.run(lambda _, carry, __: (body(carry), None), condition)[0]


def scan(body: Any, initial: Any, xs: Any, length: Any = None, reverse: bool = False) -> tuple[Any, Any]:
    """See `tracejit.control.looping`."""
    body = body_function(current(), body, "the body of scan")
    return _scan("scan", lambda _, carry, x: pair(body(carry, x)), initial, xs, length, reverse)


def map_leading(function: Any, xs: Any) -> Any:
    """See `tracejit.control.looping.map`."""
    function = body_function(current(), function, "the function of map")
    return _scan("map", lambda _, carry, x: (None, function(x)), None, xs, None, False)[1]


def _scan(name: str, step: Callable[..., Any], initial: Any, xs: Any, length: Any, reverse: bool) -> tuple[Any, Any]:
    trace = current()
    structure, leaves = Structure.of(xs)
    arrays = [
        entering(trace, leaf, f"{path} of {name}") for leaf, path in zip(leaves, structure.paths("xs"), strict=True)
    ]
    count = _scan_length(trace, name, arrays, structure.paths("xs"), length)
    loop = _Loop(trace, name, initial, "carry", count, structure, arrays, bool(reverse))
    return loop.run(step)


def pair(result: Any) -> tuple[Any, Any]:
    """What the body of a scan returned, if it is a pair."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"the body of tracejit.scan must return a pair (carry, y), not {type(result).__name__}: "
            "return (carry, None) where nothing is collected"
        )
    return result


def _scan_length(trace: Trace, name: str, xs: list[Tracer], paths: list[str], length: Any) -> Dimension:
    """The common length of the leading axes."""
    count = None if length is None else _host_bound(length, "length")
    if count is None and not xs:
        raise ValueError(f"tracejit.{name} has no xs to take its length from: pass length=")
    source = "length"
    for array, path in zip(xs, paths, strict=True):
        if not array.symbolic_shape:
            raise ValueError(f"tracejit.{name} goes along the first axis, but {path} has no axes (its shape is ())")
        own = array.symbolic_shape[0]
        if count is None:
            count, source = own, path
        elif not trace.equal(count, own):
            raise ValueError(
                f"tracejit.{name} goes along first axes of one length: {path} has length {trace.value(own)}, "
                f"{source} {'is' if source == 'length' else 'has length'} {trace.value(count)}"
            )
    assert count is not None
    if length is not None and trace.less(count, 0):
        raise ValueError(f"tracejit.{name} needs a length of at least 0, not {trace.value(count)}")
    return count


def _host_bound(value: Any, what: str) -> Dimension:
    """A bound as a size."""
    size = as_dimension(value)
    if size is not None:
        return size
    try:
        return operator.index(value)
    except TypeError:
        kind = type(value.value if isinstance(value, HostNumber) else value).__name__
        raise TypeError(f"`{what}` of a loop must be an integer, not {kind}") from None


def _counting(tracer: Tracer) -> Tracer:
    """The same value as the Python number that a `for` counts."""
    counter = fresh(current(), tracer.node, scalar=True)
    counter.weak = True
    return counter


def _counter_bound(trace: Trace, value: Any, what: str) -> Tracer:
    """A traced bound, as int64."""
    tracer = entering(trace, value, f"`{what}` of fori_loop")
    if tracer.ndim or tracer.dtype.kind not in "iu":
        raise TypeError(f"`{what}` of a loop must be an integer, not {type_text(trace, plain_type(tracer))}")
    return fresh(trace, trace.builder.cast(tracer.node, COUNTER.dtype), scalar=True)


@dataclass
class _Traced:
    """A body run once on parameters: what it gave, and what it was given."""

    parameters: tuple[Node, ...]
    carries: list[Tracer]
    ys: list[Tracer]
    structure: Structure


class _Loop:
    """A loop being recorded."""

    def __init__(
        self,
        trace: Trace,
        name: str,
        initial: Any,
        noun: str,
        length: Dimension | None = None,
        xs_structure: Structure | None = None,
        xs: Sequence[Tracer] = (),
        reverse: bool = False,
    ) -> None:
        self.trace, self.name, self.length, self.reverse = trace, name, length, reverse
        self.structure, leaves = Structure.of(initial)
        self.paths = self.structure.paths(noun)
        self.initial = [
            entering(trace, leaf, f"{path} of {name}") for leaf, path in zip(leaves, self.paths, strict=True)
        ]
        self.scalars = [is_scalar(leaf) for leaf in leaves]
        self.types = [plain_type(tracer) for tracer in self.initial]
        self.xs_structure, self.xs = xs_structure, list(xs)
        self.line = user_line()

    def run(
        self, step: Callable[[Any, Any, Any], tuple[Any, Any]], condition: Callable[[Any], Any] | None = None
    ) -> tuple[Any, Any]:
        """Record the loop of `step(counter, carry, x) -> (carry, y)`; returns (last carry, stacked ys)."""
        for _ in range(WIDENINGS):
            found = self._step(step)
            if not self._widen(found.carries):
                break
        else:
            raise TypeError(
                f"the carry of tracejit.{self.name} has another type after every iteration (at {self.line})"
            )
        carries = [retyped(self.trace, t, type) for t, type in zip(found.carries, self.types, strict=True)]
        outputs = (*carries, *(y.node for y in found.ys))
        bodies: list[tuple[Sequence[Node], Sequence[Node], int]] = [(found.parameters, outputs, 1)]
        if condition is not None:
            bodies.append(self._condition(condition))
        if condition is not None and self.trace.variables and not self.trace.inside:
            # Reverse mode saves what each iteration begins with, so it must know how many there are.
            self.length = self._iterations(bodies)
            condition = None
            del bodies[1]
        graphs, constants = close_bodies(self.trace, bodies)
        self._fix_small(graphs[0])
        parts = loop_parts(
            self.trace,
            graphs[0],
            graphs[1] if condition is not None else None,
            self.length if condition is None else None,
            constants,
            [retyped(self.trace, t, type) for t, type in zip(self.initial, self.types, strict=True)],
            [array.node for array in self.xs],
            self.reverse,
            self.line,
        )
        scalars = [t.scalar for t in found.carries]
        last = [fresh(self.trace, n, s and not n.shape) for n, s in zip(parts, scalars, strict=False)]
        ys = [fresh(self.trace, node) for node in parts[len(last) :]]
        return self.structure.rebuild(last), found.structure.rebuild(ys)

    def _fix_small(self, body: Graph) -> None:
        """Guard on the sizes of small arrays that a body mixes: with known sizes they live in registers."""
        mixing = any(node.kind not in ("source", "elementwise") for node in body.nodes)
        shapes = [node.shape for node in (*body.inputs, *body.outputs)]
        elements = sum(self.trace.value(sizes.product(shape)) for shape in shapes)
        free = {d for shape in shapes for d in shape if not isinstance(d, int)}
        if mixing and elements <= SMALL_LOOP and all(self.trace.value(d) <= SMALL_SIZE for d in free):
            for dimension in free:
                self.trace.equal(dimension, self.trace.value(dimension))

    def _iterations(self, bodies: Sequence[tuple[Sequence[Node], Sequence[Node], int]]) -> Dimension:
        """How often a while loop goes round, by running it with a counter among its carries."""
        (parameters, carries, _), (tested, truth, _) = bodies
        builder = self.trace.builder
        count, spare = builder.parameters([COUNTER]) + builder.parameters([COUNTER])
        following = builder.node("add", (count, builder.constant(1, COUNTER.dtype)), {}, COUNTER, self.line)
        counting = [((*parameters, count), (*carries, following), 1), ((*tested, spare), truth, 0)]
        graphs, constants = close_bodies(self.trace, counting)
        initial = [retyped(self.trace, t, type) for t, type in zip(self.initial, self.types, strict=True)]
        zero = builder.constant(0, COUNTER.dtype)
        parts = loop_parts(self.trace, graphs[0], graphs[1], None, constants, [*initial, zero], [], line=self.line)
        number = interrupt_call(int, (fresh(self.trace, parts[-1], scalar=True),), {})
        length = as_dimension(number)
        assert length is not None
        return length

    def _step(self, step: Callable[[Any, Any, Any], tuple[Any, Any]]) -> _Traced:
        """The body on new parameters of the present types."""
        what = f"the body of tracejit.{self.name}"
        slices = [ArrayType(x.dtype, x.symbolic_shape[1:]) for x in self.xs]
        parameters = self.trace.builder.parameters([COUNTER, *self.types, *slices])
        last = 1 + len(self.types)

        def arguments() -> tuple[Any, Any, Any]:
            counter = _counting(fresh(self.trace, parameters[0], scalar=True))
            carry = parameter_tracers(self.trace, parameters[1:last], self.scalars)
            pieces = parameter_tracers(self.trace, parameters[last:], [True] * len(self.xs))
            x = None if self.xs_structure is None else self.xs_structure.rebuild(pieces)
            return counter, self.structure.rebuild(carry), x

        result, y = run_body(self.trace, what, step, arguments)
        structure, leaves = Structure.of(result)
        if structure != self.structure:
            raise TypeError(
                f"{what} returns a carry of another structure than it is given: {structure} in place of "
                f"{self.structure}. Return what the carry holds, in the same containers."
            )
        ys_structure, ys = Structure.of(y)
        return _Traced(
            parameters,
            [entering(self.trace, leaf, f"{path} from {what}") for leaf, path in zip(leaves, self.paths, strict=True)],
            [
                entering(self.trace, leaf, f"{path} from {what}")
                for leaf, path in zip(ys, ys_structure.paths("y"), strict=True)
            ],
            ys_structure,
        )

    def _widen(self, outputs: list[Tracer]) -> bool:
        """Widen the carries' types to what the body gave; whether any changed."""
        wider = [
            self._wider(path, type, plain_type(output))
            for path, type, output in zip(self.paths, self.types, outputs, strict=True)
        ]
        changed = any(new != old for new, old in zip(wider, self.types, strict=True))
        self.types = wider
        return changed

    def _wider(self, path: str, given: ArrayType, returned: ArrayType) -> ArrayType:
        """The type that a carry must have to hold what the body returns too."""
        trace = self.trace
        shape = given.shape
        if not same_shape(trace, given, returned):
            try:
                shape = broadcast_shapes(trace, given.shape, returned.shape)
            except ValueError:
                shape = ()
            if not same_shape(trace, ArrayType(given.dtype, shape), returned):
                raise TypeError(
                    f"{path} of tracejit.{self.name} goes into the body as {type_text(trace, given)} and comes out as "
                    f"{type_text(trace, returned)}: a carry keeps its shape. Begin with an array of the largest shape "
                    "that it needs, or collect what grows as a result of tracejit.scan."
                )
        try:
            dtype = np.result_type(given.dtype, returned.dtype)
        except TypeError:
            raise TypeError(
                f"{path} of tracejit.{self.name} goes into the body as {type_text(trace, given)} and comes out as "
                f"{type_text(trace, returned)}, and no dtype holds both: convert one of them with .astype"
            ) from None
        return ArrayType(dtype, shape)

    def _condition(self, condition: Callable[[Any], Any]) -> tuple[Sequence[Node], Sequence[Node], int]:
        """The condition on new parameters: (parameters, (a bool,), place of the constants)."""
        what = f"the condition of tracejit.{self.name}"
        parameters = self.trace.builder.parameters(self.types)

        def arguments() -> tuple[Any]:
            return (self.structure.rebuild(parameter_tracers(self.trace, parameters, self.scalars)),)

        result = run_body(self.trace, what, condition, arguments)
        return parameters, (one_truth(self.trace, entering(self.trace, result, what), what),), 0
