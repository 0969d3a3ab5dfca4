"""Derivatives inside a trace: a function is run on variables of its own, and its graph is differentiated on the spot.

Each derivative taps its arguments (a `tap` is the value itself, apart from all others), so derivatives nest without
confusing whose variable is whose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.autodiff.context import Rules
from tracejit.autodiff.derivation import Derivation
from tracejit.ir.node import ArrayType, Node
from tracejit.trace.number import HostNumber
from tracejit.trace.pytree import Tree, flatten, rebuild
from tracejit.trace.record import as_tracer, operand
from tracejit.trace.state import NotDifferentiable, Trace, current
from tracejit.trace.tracer import Tracer, fresh, number_node


@dataclass(frozen=True)
class Variable:
    """What a derivative is taken by: a node of its own, and whether NumPy would show it as a scalar."""

    node: Node
    scalar: bool

    def tracer(self, trace: Trace) -> Tracer:
        """What the function sees of it."""
        tracer = fresh(trace, self.node, self.scalar)
        tracer.weak = self.node.type.weak
        return tracer


@dataclass(frozen=True)
class Recorded:
    """One run of a function on variables: what a derivative is taken between.

    tree, variables: the arguments differentiated by; outputs: the result's leaves as nodes (None: no array);
    shape, leaves: the result itself; aux: what came beside it.
    """

    trace: Trace
    tree: Tree
    variables: tuple[Variable, ...]
    outputs: tuple[Node | None, ...]
    result_tree: Tree
    leaves: tuple[Any, ...]
    aux: Any

    @property
    def result(self) -> Any:
        return rebuild(self.result_tree, list(self.leaves))

    def release(self) -> None:
        """No derivative by these variables will be asked for any more: breaks need not keep what led to the result."""
        for variable in self.variables:
            self.trace.variables.pop(id(variable.node), None)

    @property
    def nodes(self) -> list[Node]:
        return [variable.node for variable in self.variables]


def record(
    function: Callable[..., Any],
    args: Sequence[Any],
    options: dict[str, Any],
    positions: Sequence[int],
    has_aux: bool = False,
) -> Recorded:
    """Run `function` on `args`, those at `positions` as variables."""
    trace = current()
    leaves: list[Any] = []
    tree = flatten(tuple(args[position] for position in positions), leaves)
    variables = tuple(variable(trace, leaf, function) for leaf in leaves)
    # The function has memory of its own for them: what it writes there stays there.
    chosen = rebuild(tree, [v.tracer(trace) for v in variables])
    given = list(args)
    for position, value in zip(positions, chosen, strict=True):
        given[position] = value
    result = function(*given, **options)
    aux = None
    if has_aux:
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"{name_of(function)} must return (result, aux) under has_aux=True")
        result, aux = result
    out: list[Any] = []
    result_tree = flatten(result, out)
    outputs = tuple(node_of(trace, leaf) for leaf in out)
    return Recorded(trace, tree, variables, outputs, result_tree, tuple(out), aux)


def name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def variable(trace: Trace, leaf: Any, function: Any) -> Variable:
    """A variable that begins as an argument leaf."""
    if type(leaf) is float or (isinstance(leaf, HostNumber) and type(leaf.value) is float):
        number = leaf if isinstance(leaf, HostNumber) else None
        weak = ArrayType(np.dtype(float), (), weak=True)
        node = (
            number_node(trace, number) if number else trace.builder.node("scalar", (), {"expression": repr(leaf)}, weak)
        )
        scalar = True
    elif isinstance(leaf, (Tracer, np.ndarray, np.generic)):
        tracer = operand(trace, leaf)
        node, scalar = tracer.node, tracer.scalar
    else:
        raise NotDifferentiable(_refusal(leaf, function))
    if node.dtype.kind != "f":
        raise NotDifferentiable(_refusal(node.dtype, function))
    tap = trace.builder.node("tap", (node,), {}, node.type)
    trace.variables[id(tap)] = tap
    return Variable(tap, scalar)


def _refusal(what: Any, function: Any) -> str:
    shown = f"dtype {what}" if isinstance(what, np.dtype) else f"type {type(getattr(what, 'value', what)).__name__}"
    mend = (
        "split it into real and imaginary parts"
        if isinstance(what, np.dtype) and what.kind == "c"
        else "pass floats (3.0, x.astype(float)), or choose other arguments with argnums"
    )
    return (
        f"{name_of(function)} is differentiated by an argument of {shown}, and derivatives are of real floats: {mend}"
    )


def node_of(trace: Trace, leaf: Any) -> Node | None:
    """The node of a result leaf, None where the leaf holds no array or number."""
    if isinstance(leaf, (Tracer, HostNumber, np.ndarray, np.generic, float, int)) and not isinstance(leaf, bool):
        return as_tracer(trace, leaf).node
    return None


def pull_back(
    recorded: Recorded, seeds: Sequence[Node | None], unconnected: str = "zero", mark: bool = True
) -> list[Any]:
    """The cotangent of each variable, as tracers; `seeds` are the outputs' cotangents."""
    trace = recorded.trace
    rules = Derivation(trace)
    pairs = [(node, seed) for node, seed in zip(recorded.outputs, seeds, strict=True) if node is not None]
    if mark:
        for _, seed in pairs:
            if seed is not None:
                rules.mark(seed)
    found = rules.pull([node for node, _ in pairs], [seed for _, seed in pairs], recorded.nodes)
    return [_result(rules, v, node, unconnected) for v, node in zip(recorded.variables, found, strict=True)]


def _result(rules: Rules, variable: Variable, node: Node | None, unconnected: str) -> Any:
    if node is None:
        if unconnected == "none":
            return None
        node = rules.zeros(ArrayType(variable.node.dtype, variable.node.shape))
    return fresh(rules.trace, node, variable.scalar)


def push_forward(recorded: Recorded, given: Sequence[Node]) -> list[Any]:
    """The tangent of each output, as tracers; `given` are the variables' tangents."""
    rules = Derivation(recorded.trace)
    nodes = [node for node in recorded.outputs if node is not None]
    found = iter(rules.push(nodes, recorded.nodes, given))
    results: list[Any] = []
    for node, leaf in zip(recorded.outputs, recorded.leaves, strict=True):
        if node is None:
            results.append(None)
            continue
        tangent = next(found)
        dtype = node.dtype if node.dtype.kind == "f" else np.dtype(float)
        shown = tangent if tangent is not None else rules.zeros(ArrayType(dtype, node.shape))
        results.append(fresh(recorded.trace, shown, not isinstance(leaf, Tracer) or leaf.scalar))
    return results


def fitted(trace: Trace, values: Any, tree: Tree, likes: Sequence[Node | None], what: str) -> list[Node | None]:
    """Tangents or cotangents that a user gives, as nodes of the types of what they belong to."""
    leaves: list[Any] = []
    given = flatten(values, leaves)
    if given != tree:
        raise ValueError(f"the {what} have another structure than what they belong to: {given} instead of {tree}")
    return [_fit(trace, value, like, what) for value, like in zip(leaves, likes, strict=True)]


def _fit(trace: Trace, value: Any, like: Node | None, what: str) -> Node | None:
    if like is None or value is None:
        return None
    tracer = as_tracer(trace, value)
    same = tracer.ndim == len(like.shape) and all(
        trace.equal(a, b) for a, b in zip(tracer.symbolic_shape, like.shape, strict=True)
    )
    if not same:
        shapes = [tuple(trace.value(d) for d in shape) for shape in (tracer.symbolic_shape, like.shape)]
        raise ValueError(f"one of the {what} has shape {shapes[0]}, and what it belongs to has shape {shapes[1]}")
    return trace.builder.cast(tracer.node, like.dtype) if like.dtype.kind == "f" else None
