"""Recording `cond` and `switch` in the running trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ir.node import ArrayType, Node
from tracejit.trace.bodies import (
    Structure,
    body_function,
    entering,
    is_scalar,
    one_truth,
    plain_type,
    promoted,
    retyped,
    run_body,
    same_shape,
    type_text,
)
from tracejit.trace.control import COUNTER, branch_parts, close_branches
from tracejit.trace.number import as_dimension
from tracejit.trace.state import Trace, current, user_line
from tracejit.trace.tracer import Tracer, fresh


def cond(predicate: Any, true_function: Any, false_function: Any, *operands: Any) -> Any:
    """See `tracejit.control.branching`; a predicate that the host knows is decided now."""
    trace = current()
    true_function = body_function(trace, true_function, "the true function of cond")
    false_function = body_function(trace, false_function, "the false function of cond")
    what = "the predicate of tracejit.cond"
    if not isinstance(predicate, Tracer):
        chosen = true_function if bool(predicate) else false_function
        return _inline(trace, chosen, operands)
    selector = one_truth(trace, predicate, what)
    return _branch(trace, "cond", selector, (false_function, true_function), operands, ("false", "true"))


def switch(index: Any, functions: Any, *operands: Any) -> Any:
    """See `tracejit.control.branching`."""
    trace = current()
    functions = tuple(body_function(trace, f, f"function {number} of switch") for number, f in enumerate(functions))
    if not functions:
        raise ValueError("tracejit.switch needs at least one function")
    last = len(functions) - 1
    if not isinstance(index, Tracer):
        if as_dimension(index) is None:
            raise TypeError(f"the index of tracejit.switch must be an integer, not {type(index).__name__}")
        place = next((number for number in range(last) if bool(index <= number)), last)
        return _inline(trace, functions[place], operands)
    if index.dtype.kind not in "iu" or index.ndim:
        raise TypeError(f"the index of tracejit.switch must be an integer, not {type_text(trace, plain_type(index))}")
    if not last:
        return _inline(trace, functions[0], operands)
    clamped: Any = np.minimum(np.maximum(index, 0), last)
    selector = trace.builder.cast(clamped.node, COUNTER.dtype)
    return _branch(trace, "switch", selector, functions, operands, tuple(map(str, range(len(functions)))))


def _own_operands(trace: Trace, operands: tuple[Any, ...]) -> list[Any]:
    """Operands as arrays of a branch's own: what it writes to them stays in it."""
    structure, leaves = Structure.of(list(operands))
    own = []
    for leaf, path in zip(leaves, structure.paths("operands"), strict=True):
        tracer = entering(trace, leaf, path)
        own.append(fresh(trace, tracer.node, is_scalar(leaf) and not tracer.ndim))
    return structure.rebuild(own)  # type: ignore[no-any-return]


def _inline(trace: Trace, function: Any, operands: tuple[Any, ...]) -> Any:
    """The branch that the host has chosen, as part of what is around it."""
    structure, leaves = Structure.of(function(*_own_operands(trace, operands)))
    results = [entering(trace, leaf, path) for leaf, path in zip(leaves, structure.paths("result"), strict=True)]
    scalars = map(is_scalar, leaves)
    return structure.rebuild([fresh(trace, t.node, s and not t.ndim) for t, s in zip(results, scalars, strict=True)])


def _branch(
    trace: Trace,
    name: str,
    selector: Node,
    functions: Sequence[Any],
    operands: tuple[Any, ...],
    labels: Sequence[str],
) -> Any:
    line = user_line()
    since = trace.builder.made
    structures: list[Structure] = []
    results: list[list[Any]] = []
    for function, label in zip(functions, labels, strict=True):
        what = f"the {label} function of tracejit.{name}"
        result = run_body(trace, what, function, lambda: _own_operands(trace, operands))
        structure, leaves = Structure.of(result)
        paths = structure.paths("result")
        results.append([_result(trace, leaf, f"{path} of {what}") for leaf, path in zip(leaves, paths, strict=True)])
        structures.append(structure)
        if structure != structures[0]:
            raise TypeError(
                f"the functions of tracejit.{name} return different structures: {structures[0]} (the {labels[0]} one) "
                f"and {structure} (the {label} one). Return the same containers from each."
            )
    types = [
        _meeting(trace, name, path, column, labels)
        for path, column in zip(structures[0].paths("result"), zip(*results, strict=True), strict=True)
    ]
    nodes = [
        [retyped(trace, entering(trace, leaf, ""), type) for leaf, type in zip(leaves, types, strict=True)]
        for leaves in results
    ]
    graphs, inputs = close_branches(trace, nodes, since)
    parts = branch_parts(trace, selector, graphs, inputs, line)
    scalars = [all(map(is_scalar, column)) for column in zip(*results, strict=True)]
    return structures[0].rebuild([fresh(trace, n, s and not n.shape) for n, s in zip(parts, scalars, strict=True)])


def _result(trace: Trace, leaf: Any, what: str) -> Any:
    """A result of a branch; a Python number stays one, so that it takes the other branch's dtype."""
    return leaf if type(leaf) in (int, float, bool) else entering(trace, leaf, what)


def _meeting(trace: Trace, name: str, path: str, leaves: Sequence[Any], labels: Sequence[str]) -> ArrayType:
    """The one type of a result, from what each branch gives."""
    types = [plain_type(entering(trace, leaf, path)) for leaf in leaves]
    for type, label in zip(types, labels, strict=True):
        if not same_shape(trace, types[0], type):
            raise TypeError(
                f"{path} of tracejit.{name} is {type_text(trace, types[0])} from the {labels[0]} function and "
                f"{type_text(trace, type)} from the {label} one: branches give results of one shape. "
                "Broadcast the smaller with np.broadcast_to, or use np.full."
            )
    try:
        return ArrayType(promoted(leaves), types[0].shape)
    except TypeError:
        shown = ", ".join(type_text(trace, type) for type in types)
        raise TypeError(
            f"{path} of tracejit.{name} has dtypes that none holds: {shown}. Convert with .astype"
        ) from None
