"""`vmap`: a function of one example becomes a function of a batch of them, by the batching rules of the op table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.autodiff.batching import Batching, NotBatchable
from tracejit.trace.number import HostNumber
from tracejit.trace.pytree import LEAF, flatten, rebuild
from tracejit.trace.record import as_tracer
from tracejit.trace.state import Trace, current
from tracejit.trace.tracer import Tracer, fresh
from tracejit.transform.mapped_axes import Arguments, Axes, name_of, spread_axes
from tracejit.transform.one_for_all import OneForAll, Stand
from tracejit.transform.transformed import Transformed


def vmap(function: Callable[..., Any], in_axes: Axes = 0, out_axes: Axes = 0) -> Callable[..., Any]:
    """The function that maps `function` over an axis of its arguments, all at once.

    in_axes: the axis of each argument that runs over the examples; None where all examples share the argument.  One
    for all positional arguments, or a tuple with one for each; for a container, one for all in it or a container of
    the same structure.  Keyword arguments are mapped over axis 0.
    out_axes: where that axis stands in the results, likewise; None for a result that is the same for all.

    The result is that of a Python loop over the examples and `np.stack`.  What the function writes to a mapped argument
    is written to it; arrays that all examples share must not be written to.  Python control flow on values that differ
    between examples raises `NotBatchable` (a TypeError): use np.where, tracejit.cond or tracejit.while_loop.  Functions
    that cannot be traced, and all under `disable_jit`, run as that loop.

    >>> import numpy as np, tracejit as tj
    >>> def distance(a, b):
    ...     return np.sqrt(np.sum((a - b) ** 2))
    >>> points = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> tj.vmap(distance, in_axes=(0, None))(points, np.zeros(2))
    array([0., 5.])
    """

    def traced(*args: Any, **options: Any) -> Any:
        return _traced(function, Arguments.of(function, args, options, in_axes), out_axes)

    def eager(*args: Any, **options: Any) -> Any:
        return _looped(function, Arguments.of(function, args, options, in_axes), out_axes)

    return Transformed(function, traced, eager, "vmap")


# ---- inside a trace


def _traced(function: Callable[..., Any], arguments: Arguments, out_axes: Axes) -> Any:
    trace, name = current(), name_of(function)
    pairs = zip(arguments.leaves, arguments.axes, strict=True)
    leaves = [leaf if axis is None else as_tracer(trace, leaf) for leaf, axis in pairs]
    size = arguments.length(lambda leaf, axis: as_tracer(trace, leaf).symbolic_shape[axis], trace.equal)
    run = OneForAll(trace, name, size)
    mapped = {n: run.stand(_in_front(leaves[n], axis)) for n, axis in enumerate(arguments.axes) if axis is not None}
    args, options = arguments.rebuilt([mapped[n].one if n in mapped else leaf for n, leaf in enumerate(leaves)])
    with run:
        result = function(*args, **options)
        run.refuse_shared_writes()
    batching = run.batching()
    value = _results(trace, batching, result, out_axes, name)
    _write_back(batching, list(mapped.values()), name)
    run.set_apart()
    return value


def _in_front(tracer: Tracer, axis: int) -> Tracer:
    return tracer.transpose([axis, *(other for other in range(tracer.ndim) if other != axis)])


def _results(trace: Trace, batching: Batching, result: Any, out_axes: Axes, name: str) -> Any:
    """The results of all examples, from those of one."""
    leaves: list[Any] = []
    tree = flatten(result, leaves)
    stacked: list[Any] = []
    for leaf, axis in zip(leaves, spread_axes(out_axes, tree, "out_axes"), strict=True):
        if leaf is None:
            stacked.append(None)
            continue
        if not isinstance(leaf, (Tracer, HostNumber, np.ndarray, np.generic, int, float, complex)):
            raise TypeError(f"{name} returns a {type(leaf).__name__}, and vmap stacks arrays and numbers")
        ((node, batched),) = batching.results([as_tracer(trace, leaf).node])
        if axis is None:
            if batched:
                raise ValueError(f"{_differs(name)}: out_axes=None is for results that are the same for all")
            stacked.append(leaf)
            continue
        place = _out_axis(axis, len(node.shape) + (not batched), name)
        stacked.append(fresh(trace, batching.moved(batching.widened(node, batched), 0, place)))
    return rebuild(tree, stacked)


def _differs(name: str) -> str:
    return f"{name} returns a value that differs between examples"


def _out_axis(axis: int, rank: int, name: str) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"out_axes: {name}'s result has {rank} axes with the mapped one, which cannot be axis {axis}")
    return axis % rank


def _write_back(batching: Batching, mapped: Sequence[Stand], name: str) -> None:
    """What the function wrote to mapped arguments, written to the arrays that they are of."""
    written = [m for m in mapped if m.one.storage.mutated]
    for m in written:
        if any(other is not m and other.whole.storage is m.whole.storage for other in mapped):
            raise NotBatchable(f"{name} writes to a mapped argument whose memory another argument shares")
    values = batching.results([m.one.storage.node for m in written])
    for m, (node, batched) in zip(written, values, strict=True):
        m.whole.write(batching.widened(node, batched))


# ---- outside a trace


def _looped(function: Callable[..., Any], arguments: Arguments, out_axes: Axes) -> Any:
    """The Python loop that vmap stands for."""
    length = arguments.length(lambda leaf, axis: np.shape(leaf)[axis], lambda a, b: a == b)
    if not length:
        raise ValueError(
            f"vmap of {name_of(function)} over no examples, where it cannot be traced: the results have no shape"
        )
    rows: list[list[Any]] = []
    tree = LEAF
    for place in range(length):
        pairs = zip(arguments.leaves, arguments.axes, strict=True)
        args, options = arguments.rebuilt(
            [leaf if axis is None else np.moveaxis(leaf, axis, 0)[place] for leaf, axis in pairs]
        )
        rows.append([])
        tree = flatten(function(*args, **options), rows[-1])
    columns = zip(zip(*rows, strict=True), spread_axes(out_axes, tree, "out_axes"), strict=True)
    return rebuild(tree, [_stacked(values, axis, name_of(function)) for values, axis in columns])


def _stacked(values: Sequence[Any], axis: int | None, name: str) -> Any:
    if values[0] is None:
        return None
    if axis is not None:
        return np.stack(values, _out_axis(axis, np.ndim(values[0]) + 1, name))
    if not all(np.array_equal(values[0], value, equal_nan=np.asarray(value).dtype.kind in "fc") for value in values):
        raise ValueError(f"{_differs(name)}: out_axes=None is for results that are the same for all")
    return values[0]
