"""Running a user's function as the body of a loop or a branch: on parameters, inside the running trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Index, Node
from tracejit.records import dataclass
from tracejit.trace.dispatch import asarray
from tracejit.trace.number import HostNumber
from tracejit.trace.outer_arrays import with_traced_arrays
from tracejit.trace.pytree import LEAF, Tree, flatten, rebuild
from tracejit.trace.record import KERNEL_DTYPES, broadcast, dtype_of, truth
from tracejit.trace.state import Storage, Trace, Untraceable, user_line
from tracejit.trace.tracer import Tracer, fresh

NOTHING = Tree(type(None))
"""The structure of None, which a body may return for what it does not have."""


class NeedsValue(TypeError):
    """A body asks for the value of a traced array, which exists only when the compiled loop or branch runs."""


@dataclass(frozen=True)
class Structure:
    """The pytree of a carry, of operands or of results; None is an empty one."""

    tree: Tree

    @staticmethod
    def of(value: Any) -> tuple[Structure, list[Any]]:
        """The structure of a value and its leaves."""
        leaves: list[Any] = []
        tree = _without_nothing(flatten(value, leaves), iter(list(leaves)))
        return Structure(tree), [leaf for leaf in leaves if leaf is not None]

    def rebuild(self, leaves: Sequence[Any]) -> Any:
        return rebuild(self.tree, list(leaves))

    def paths(self, name: str) -> list[str]:
        """How each leaf is reached from a variable of that name."""
        return list(_paths(self.tree, name))

    def __str__(self) -> str:
        return _shown(self.tree)


def _without_nothing(tree: Tree, leaves: Iterator[Any]) -> Tree:
    """The tree with an empty node where its leaf is None."""
    if tree.kind is None:
        return NOTHING if next(leaves) is None else LEAF
    return Tree(tree.kind, tree.keys, tuple(_without_nothing(child, leaves) for child in tree.children))


def _paths(tree: Tree, name: str) -> Iterator[str]:
    if tree.kind is None:
        yield name
    for key, child in zip(tree.keys, tree.children, strict=True):
        attribute = tree.kind not in (tuple, list, dict)
        yield from _paths(child, f"{name}.{key}" if attribute else f"{name}[{key!r}]")


def _shown(tree: Tree) -> str:
    if tree.kind is None:
        return "array"
    if tree == NOTHING:
        return "None"
    items = [_shown(child) for child in tree.children]
    if tree.kind is tuple:
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if tree.kind is list:
        return f"[{', '.join(items)}]"
    named = [f"{key}: {item}" for key, item in zip(tree.keys, items, strict=True)]
    return f"{{{', '.join(named)}}}" if tree.kind is dict else f"{tree.kind.__name__}({', '.join(named)})"


def require_function(function: Any, what: str) -> None:
    if not callable(function):
        raise TypeError(f"{what} must be a function, not {type(function).__name__}")


def body_function(trace: Trace, function: Any, what: str) -> Callable[..., Any]:
    """A user's function as a body runs it."""
    require_function(function, what)
    return with_traced_arrays(trace, function)  # type: ignore[no-any-return]


def entering(trace: Trace, value: Any, what: str) -> Tracer:
    """A leaf that enters a loop or branch as an array; Python numbers are float64, int64 or bool there."""
    if isinstance(value, (Tracer, HostNumber, np.ndarray, np.generic)) or type(value) in (int, float, bool, complex):
        tracer = asarray(value)
        if tracer.dtype not in KERNEL_DTYPES:
            raise Untraceable(f"an array of dtype {tracer.dtype} goes through a loop or branch")
        # A value that was carried over a break has new names for its sizes.
        node = tracer.node
        return tracer if node.shape == tracer.symbolic_shape else fresh(trace, node, tracer.scalar)
    raise TypeError(f"{what} is {value!r:.40}, of type {type(value).__name__}: it must be an array or a number")


def is_scalar(value: Any) -> bool:
    """Whether NumPy would show a leaf as a scalar, not as a 0-d array."""
    return value.scalar if isinstance(value, Tracer) else not isinstance(value, np.ndarray)


def plain_type(tracer: Tracer) -> ArrayType:
    return ArrayType(tracer.dtype, tracer.symbolic_shape)


def type_text(trace: Trace, type: ArrayType) -> str:
    """A type with the sizes of this call."""
    return f"{type.dtype}[{', '.join(str(trace.value(d)) for d in type.shape)}]" if type.shape else str(type.dtype)


def retyped(trace: Trace, tracer: Tracer, type: ArrayType) -> Node:
    """The value under an equal or wider type."""
    if tracer.dtype != type.dtype:
        tracer = tracer.astype(type.dtype)
    return broadcast(trace, tracer.node, type.shape)


def same_shape(trace: Trace, a: ArrayType, b: ArrayType) -> bool:
    return len(a.shape) == len(b.shape) and all(trace.equal(x, y) for x, y in zip(a.shape, b.shape, strict=True))


def promoted(items: Sequence[Any]) -> np.dtype[Any]:
    """The dtype in which several leaves meet; Python numbers follow the arrays."""
    kinds = [dtype_of(item) for item in items]
    return np.result_type(*(kind if isinstance(kind, np.dtype) else kind(0) for kind in kinds))


def run_body(trace: Trace, what: str, function: Callable[..., Any], arguments: Callable[[], Sequence[Any]]) -> Any:
    """The user's function on tracers of parameters; what cannot be in a body raises.

    what: how messages name the body ("the body of tracejit.scan"); arguments: makes what the function is called with.
    """
    outside = [(storage, storage.node, storage.mutated) for storage in trace.live_storages()]
    interrupt, trace.interrupt = trace.interrupt, _refusal(what)
    trace.inside += 1
    first = trace.storage_count
    try:
        result = function(*arguments())
        captured = [
            (s, trace.inputs[s.leaf]) for s in trace.live_storages() if s.number >= first and s.leaf is not None
        ]
        for storage, before in (*((s, node) for s, node, _ in outside), *captured):
            _refuse_write(storage, before, what)
        return result
    except Exception:
        for storage, before, mutated in outside:
            storage.node, storage.mutated = before, mutated
        raise
    finally:
        trace.interrupt = interrupt
        trace.inside -= 1
        trace.end_storages(first)


def _refuse_write(storage: Storage, before: Node, what: str) -> None:
    """An array from outside is as it was: a loop's iterations and a branch that may not run cannot write to it."""
    if storage.node is not before:
        raise TypeError(
            f"{what} writes to an array from outside it (at {storage.node.line or user_line()}). "
            "Pass the array in, and return its new value: as a carry of a loop, as a result of a branch."
        )


_MENDS = {
    "bool": (
        "`if`, `while`, `and`, `or`, `not` or `assert` on a traced value",
        "tracejit.cond or np.where for `if`, tracejit.while_loop for `while`",
    ),
    "float": ("float() of a traced value", "the value itself: arithmetic on it needs no float()"),
    "int": ("int() of a traced value", "the value itself, or .astype(np.int64)"),
    "index": ("a traced value as a Python int (a size, a slice bound, range())", "a size known beforehand"),
    "print": ("print()", "print outside it, or `with tracejit.disable_jit()` to look inside"),
}


def _refusal(what: str) -> Callable[..., Any]:
    """What stands for `Trace.interrupt` in a body: there is nothing to run yet, so nothing has a value."""

    def refuse(trace: Trace, call: Any, operands: Any, outcome: bool) -> Any:
        cause, mend = _MENDS.get(
            call.name,
            (
                f"{call.name}, whose result's shape only its values tell",
                "an equivalent whose shape is known beforehand",
            ),
        )
        raise NeedsValue(
            f"{what} uses {cause} (at {user_line()}); a body is traced once and has no values then.\nUse {mend}."
        )

    return refuse


def refuse_leaks(graph: Graph) -> None:
    """A value of a body must not be used after it: there is one for each iteration, or none."""
    for node in graph.nodes:
        if node.op == "parameter":
            lines = sorted({reader.line for reader in graph.uses()[id(node)] if reader.line})
            where = f" (computed at {lines[0]})" if lines else ""
            raise TypeError(
                f"a value from the body of a loop or branch is used after the body has ended{where}. "
                "Return it from the body: as a carry, a y or a result."
            )


def parameter_tracers(trace: Trace, nodes: Sequence[Node], scalars: Sequence[bool]) -> list[Tracer]:
    """The parameters as the body sees them: arrays of its own."""
    return [fresh(trace, node, scalar and not node.shape) for node, scalar in zip(nodes, scalars, strict=True)]


def one_truth(trace: Trace, tracer: Tracer, what: str) -> Node:
    """A value of one element as a 0-d bool."""
    if any(not trace.equal(d, 1) for d in tracer.symbolic_shape):
        shape = tuple(trace.value(d) for d in tracer.symbolic_shape)
        raise ValueError(
            f"{what} is an array of shape {shape}: the truth value of an array with more than one element is "
            "ambiguous. Use a.any() or a.all()"
        )
    node = trace.builder.view(tracer.node, tuple(Index(None) for _ in tracer.symbolic_shape), ())
    return truth(trace, node)
