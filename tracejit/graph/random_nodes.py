"""Random numbers in graphs: each run of a session draws others, and the same seed gives the same runs.

A graph that draws has one `Source`, whose state (the seed's key and how many runs have drawn) a session keeps as it
keeps variables.  Each drawing node makes a key of the state and of its own number (or `seed`), so nodes are unrelated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit import random
from tracejit.graph.graph import Graph, get_default_graph
from tracejit.graph.nodes import Call, Read, Source
from tracejit.graph.tensor import Tensor

OWN_SEED = 1 << 32
"""Added to a `seed` that a node is given, so that it is no other node's number."""


def _key(state: Any, number: int) -> Any:
    return random.fold_in(random.fold_in(state[:2], state[2]), np.uint64(number))


def _drawing(draw: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function of the source's state that a drawing node calls."""

    def drawn(state: Any, number: int, args: tuple[Any, ...]) -> Any:
        return draw(_key(state, number), *args)

    drawn.__name__ = name
    return drawn


_normal = _drawing(random.normal, "random_normal")
_truncated = _drawing(random.truncated_normal, "truncated_normal")
_uniform = _drawing(random.uniform, "random_uniform")


def _integers_between(key: Any, shape: Any, low: int, high: int, dtype: Any) -> Any:
    return random.integers(key, shape, low, high).astype(dtype)


_integers = _drawing(_integers_between, "random_uniform")


def _dropped(key: Any, x: Any, rate: Any) -> Any:
    """Zero with probability `rate`, else scaled so that the mean stays (Srivastava et al., 2014)."""
    kept = random.uniform(key, np.shape(x), 0.0, 1.0, np.float32) >= rate
    return np.where(kept, x / (1 - rate), 0).astype(x.dtype)


_dropout = _drawing(_dropped, "dropout")


def _state(graph: Graph) -> Tensor:
    """The tensor that reads the state of the graph's source, made at the first draw."""
    if graph.source is None:
        source = graph.source = Source()
        with graph.control_dependencies(None), graph.top_scope():
            source.node = graph.add("random_state", lambda place: Read(place, source.dtype, source.shape, source))
    assert graph.source.node is not None
    return Tensor(graph.source.node)


def _drawn(draw: Callable[..., Any], args: tuple[Any, ...], seed: int | None, name: str) -> Tensor:
    graph = get_default_graph()
    state = _state(graph)
    number = len(graph.nodes) if seed is None else OWN_SEED + seed
    tensor: Tensor = graph.apply(draw, (state, number, args), {}, name)
    assert isinstance(tensor.node, Call)
    tensor.node.draws = True
    return tensor


def set_random_seed(seed: int) -> None:
    """The seed of the default graph's random numbers, for sessions that have not drawn yet; 0 if never called.

    Raises ValueError for what is no integer from 0 to 2**64 - 1.

    >>> import tracejit.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as session:
    ...     tf.set_random_seed(7)
    ...     x = tf.random_normal((2,))
    ...     bool((session.run(x) != session.run(x)).all())
    True
    """
    random.key(seed)
    get_default_graph().seed = seed


def random_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = np.float32,
    seed: int | None = None,
    name: str = "random_normal",
) -> Tensor:
    """Normal numbers, other ones in each run.

    shape: lengths.  dtype: float32 or float64.  seed: for numbers of the node's own, whatever its place in the graph.
    The numbers are those of `tracejit.random.normal`, the same on every device and for any number of threads.

    >>> import tracejit.graph as tf
    >>> tf.random_normal((2, 3))
    <Tensor 'random_normal' shape=(2, 3) dtype=float32>
    """
    return _drawn(_normal, (tuple(shape), mean, stddev, np.dtype(dtype)), seed, name)


def truncated_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = np.float32,
    seed: int | None = None,
    name: str = "truncated_normal",
) -> Tensor:
    """Normal numbers within two deviations of the mean; see `random_normal`."""
    return _drawn(_truncated, (tuple(shape), mean, stddev, np.dtype(dtype)), seed, name)


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = np.float32,
    seed: int | None = None,
    name: str = "random_uniform",
) -> Tensor:
    """Uniform numbers in [minval, maxval), of floats or integers; see `random_normal`.

    maxval: 1 where it is not given, which integers need.

    Raises ValueError for integers without `maxval`.
    """
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        if maxval is None:
            raise ValueError("random_uniform of integers needs maxval, the first number that is never drawn")
        return _drawn(_integers, (tuple(shape), int(minval), int(maxval), kind), seed, name)
    return _drawn(_uniform, (tuple(shape), minval, 1.0 if maxval is None else maxval, kind), seed, name)


def dropout(
    x: Tensor, keep_prob: Any = None, rate: Any = None, seed: int | None = None, name: str = "dropout"
) -> Tensor:
    """x with elements set to zero by chance, the others divided by `keep_prob`, so that the mean stays.

    x: floats.  keep_prob: the probability with which an element stays, a number or a tensor (a placeholder that is fed
    1 in evaluation); or `rate`, one minus that.

    Raises ValueError where neither or both are given.
    """
    if (keep_prob is None) == (rate is None):
        raise ValueError("dropout takes either keep_prob or rate")
    with x.graph.as_default():
        return _drawn(_dropout, (x, 1 - keep_prob if rate is None else rate), seed, name)
