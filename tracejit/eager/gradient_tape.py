"""`GradientTape`: derivatives of what was computed inside a `with` block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from tracejit.eager.array import Array
from tracejit.eager.core import refresh
from tracejit.eager.recording import STATE, Session, Tracked
from tracejit.eager.walk import gradients, ones_like, plain
from tracejit.trace.pytree import Tree, flatten, rebuild


class GradientTape:
    """Records operations on Arrays that it watches, for derivatives between any of them.

    persistent: `gradient` and `jacobian` may be asked for more than once.
    watch_accessed_variables: Arrays with requires_grad=True are watched without being named.

    >>> import numpy as np, tracejit as tj
    >>> x = tj.Array(3.0)
    >>> with tj.GradientTape() as outer:
    ...     outer.watch(x)
    ...     with tj.GradientTape() as inner:
    ...         inner.watch(x)
    ...         y = x**3
    ...     slope = inner.gradient(y, x)
    >>> slope, outer.gradient(slope, x)
    (Array(27.), Array(18.))
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent, self._variables = persistent, watch_accessed_variables
        self._session: Session | None = None
        self._used = False

    def __enter__(self) -> GradientTape:
        if self._session is not None and self._session in STATE.sessions:
            raise ValueError("the tape is recording already")
        if self._session is None:
            self._session = Session(self._variables)
        STATE.sessions = (*STATE.sessions, self._session)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pause()

    def _pause(self) -> None:
        STATE.sessions = tuple(session for session in STATE.sessions if session is not self._session)

    def _recording(self) -> Session:
        if self._session is None:
            raise RuntimeError("the tape has not recorded yet: compute inside `with tape:`")
        return self._session

    def watch(self, arrays: Any) -> None:
        """Record what is computed from these; a pytree of Arrays of real floats."""
        session = self._recording()
        leaves: list[Any] = []
        flatten(arrays, leaves)
        for leaf in leaves:
            if not isinstance(leaf, Array):
                raise TypeError(
                    f"watch() takes tracejit.Array, not {type(leaf).__name__}: wrap it, x = tracejit.Array(x)"
                )
            if leaf.dtype.kind != "f":
                raise TypeError(f"watch() takes arrays of real floats, not of {leaf.dtype}: make it x.astype(float)")
            refresh(leaf)
            if leaf._tracked is None:
                leaf._track(Tracked(False))
            if leaf._tracked is not None and session not in leaf._tracked.sessions:
                leaf._tracked.sessions = (*leaf._tracked.sessions, session)

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: str = "none"
    ) -> Any:
        """The derivatives of the target by the sources, in the structure of `sources`.

        target: an Array, or a pytree of them; elements of arrays, and several targets, are summed.
        output_gradients: the targets' cotangents instead of ones; in the structure of `target`.
        unconnected_gradients: what stands for sources that the target does not depend on: "none" (None) or "zero".

        Raises RuntimeError at the second use of a tape that is not persistent.
        """
        if unconnected_gradients not in ("none", "zero"):
            raise ValueError(f'unconnected_gradients must be "none" or "zero", not {unconnected_gradients!r}')
        session = self._use()
        targets: list[Any] = []
        tree = flatten(target, targets)
        seeds = [None] * len(targets) if output_gradients is None else _matched(output_gradients, tree, targets)
        leaves, source_tree = _sources(sources)
        pairs = [(t, _seed(x, s)) for x, s in zip(targets, seeds, strict=True) if (t := _tracked(x)) is not None]
        found = self._gradients(pairs, leaves, session)
        if unconnected_gradients == "zero":
            found = [Array(np.zeros_like(plain(x))) if f is None else f for x, f in zip(leaves, found, strict=True)]
        return rebuild(source_tree, found)

    def _gradients(self, pairs: Sequence[tuple[Tracked, Any]], leaves: Sequence[Any], session: Session) -> list[Any]:
        recorded = STATE.enabled and bool(STATE.sessions)
        if not recorded:
            pairs = [(target, plain(seed)) for target, seed in pairs]
        found = gradients(pairs, [_tracked(leaf) for leaf in leaves], session, recorded)
        return [item if item is None or isinstance(item, Array) else Array(item) for item in found]

    def jacobian(self, target: Any, sources: Any, unconnected_gradients: str = "none") -> Any:
        """The derivatives of each element of the target by the sources; shapes target.shape + source.shape.

        One walk for each element.  Raises as `gradient` does.

        >>> import tracejit as tj
        >>> x = tj.Array([1.0, 2.0])
        >>> with tj.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x * x
        >>> tape.jacobian(y, x)
        Array([[2., 0.],
               [0., 4.]])
        """
        session = self._use()
        tracked = _tracked(target)
        leaves, tree = _sources(sources)
        if tracked is None or not target.size:
            rows: list[list[Any]] = []
        else:
            rows = [self._gradients([(tracked, seed)], leaves, session) for seed in _unit_seeds(target)]
        return rebuild(
            tree,
            [
                _stacked([row[k] for row in rows], target.shape, leaf, unconnected_gradients)
                for k, leaf in enumerate(leaves)
            ],
        )

    def batch_jacobian(self, target: Array, source: Array, unconnected_gradients: str = "none") -> Any:
        """The Jacobian of each example: target (n, ...), source (n, ...), of which row k depends on row k alone."""
        if not target.ndim or not source.ndim or len(target) != len(source):
            raise ValueError(f"target {target.shape} and source {source.shape} must agree in their first axis")
        session = self._use()
        tracked, rest = _tracked(target), target.shape[1:]
        rows = []
        for place in np.ndindex(*rest) if tracked is not None else ():
            seed = np.zeros(target.shape, target.dtype)
            seed[(slice(None), *place)] = 1
            rows.append(self._gradients([(tracked, seed)], [source], session)[0])  # type: ignore[list-item]
        if not rows or any(row is None for row in rows):
            return None if unconnected_gradients == "none" else Array(np.zeros((*target.shape, *source.shape[1:])))
        return np.reshape(np.stack(rows, axis=1), (len(target), *rest, *source.shape[1:]))

    def reset(self) -> None:
        """Forget all that was recorded and watched."""
        recording = self._session is not None and self._session in STATE.sessions
        self._pause()
        self._session, self._used = Session(self._variables), False
        if recording:
            STATE.sessions = (*STATE.sessions, self._session)

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Operations inside the block are not recorded by this tape."""
        session = self._recording()
        before = STATE.sessions
        self._pause()
        try:
            yield
        finally:
            STATE.sessions = before if session in before else STATE.sessions

    def _use(self) -> Session:
        session = self._recording()
        if self._used and not self._persistent:
            raise RuntimeError(
                "a GradientTape that is not persistent gives one set of gradients (or Jacobians); make it with "
                "GradientTape(persistent=True)"
            )
        self._used = True
        if not self._persistent:
            self._pause()
        return session


def _tracked(leaf: Any) -> Tracked | None:
    if not isinstance(leaf, Array):
        return None
    refresh(leaf)
    return leaf._tracked


def _sources(sources: Any) -> tuple[list[Any], Tree]:
    leaves: list[Any] = []
    tree = flatten(sources, leaves)
    for leaf in leaves:
        if not isinstance(leaf, Array):
            raise TypeError(f"sources are tracejit.Array that the tape watched, not {type(leaf).__name__}")
    return leaves, tree


def _matched(given: Any, tree: Tree, targets: Sequence[Any]) -> list[Any]:
    seeds: list[Any] = []
    if flatten(given, seeds) != tree:
        raise ValueError("output_gradients must have the structure of target")
    for seed, target in zip(seeds, targets, strict=True):
        if seed is not None and np.shape(plain(seed)) != np.shape(plain(target)):
            raise ValueError(
                f"an output gradient has shape {np.shape(plain(seed))}, its target {np.shape(plain(target))}"
            )
    return seeds


def _seed(target: Array, given: Any) -> Any:
    if given is None:
        return ones_like(target._value)
    return given if isinstance(given, Array) else np.array(given, target.dtype)[()]


def _unit_seeds(target: Array) -> Iterator[Any]:
    """The cotangents that pick one element each."""
    for place in np.ndindex(*target.shape):
        seed = np.zeros(target.shape, target.dtype)
        seed[place] = 1
        yield seed if target.shape else seed[()]


def _stacked(rows: Sequence[Any], shape: tuple[int, ...], source: Array, unconnected: str) -> Any:
    if not rows or any(row is None for row in rows):
        return None if unconnected == "none" else Array(np.zeros((*shape, *source.shape), source.dtype))
    return np.reshape(np.stack(rows), (*shape, *source.shape))
