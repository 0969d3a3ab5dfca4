"""Derivatives of functions that run define-by-run: what `grad` and its kin do where a function cannot be traced.

The function runs on Arrays, once, with all its effects; the records of that run are walked.  Derivatives of derivatives
work the same way: the walk is recorded where an outer derivative listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracejit.autodiff.traced import name_of
from tracejit.eager.array import Array
from tracejit.eager.core import apply, listeners, refresh
from tracejit.eager.recording import STATE, Session, Tracked
from tracejit.eager.walk import gradients, ones_like, plain, tangents
from tracejit.trace.pytree import Tree, flatten, rebuild
from tracejit.trace.state import NotDifferentiable


@contextmanager
def listening(session: Session) -> Iterator[None]:
    """Operations of this thread on what the session watches are recorded for it."""
    before = STATE.sessions
    STATE.sessions = (*before, session)
    try:
        yield
    finally:
        STATE.sessions = tuple(item for item in STATE.sessions if item is not session)


def identity(array: Any) -> Any:
    """The same value, as an array of its own."""
    return array.copy()


class Run:
    """One run of a function on variables of its own.

    variables: what the arguments at `positions` became, leaf by leaf; outputs: the result's leaves.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        options: dict[str, Any],
        positions: Sequence[int],
        has_aux: bool = False,
    ) -> None:
        self.session = Session(variables=False)
        leaves: list[Any] = []
        self.tree: Tree = flatten(tuple(args[position] for position in positions), leaves)
        everything: list[Any] = []
        flatten((args, options), everything)
        self.arrays = any(isinstance(leaf, Array) for leaf in everything)
        self.name = name_of(function)
        self.variables = [self._variable(leaf) for leaf in leaves]
        given = list(args)
        for position, value in zip(positions, rebuild(self.tree, list(self.variables)), strict=True):
            given[position] = value
        before, STATE.enabled = STATE.enabled, True
        try:
            with listening(self.session):
                result = function(*given, **options)
        finally:
            STATE.enabled = before
        self.aux = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(f"{self.name} must return (result, aux) under has_aux=True")
            result, self.aux = result
        self.result = result
        self.outputs: list[Any] = []
        self.result_tree: Tree = flatten(result, self.outputs)

    def _variable(self, leaf: Any) -> Array:
        dtype = np.asarray(plain(leaf)).dtype
        if dtype.kind != "f" or isinstance(leaf, (list, tuple)):
            shown = (
                f"dtype {dtype}" if isinstance(leaf, (Array, np.ndarray, np.generic)) else f"type {type(leaf).__name__}"
            )
            raise NotDifferentiable(
                f"{self.name} is differentiated by an argument of {shown}, and derivatives are of real floats: pass "
                "floats (3.0, x.astype(float)), or choose other arguments with argnums"
            )
        # A variable of its own, linked to the outer one if that is an Array: derivatives nest without confusion.
        variable: Array = apply(identity, (leaf,)) if isinstance(leaf, Array) else Array(leaf)
        if variable._tracked is None:
            variable._tracked = Tracked(False)
        variable._tracked.sessions = (*variable._tracked.sessions, self.session)
        if not isinstance(leaf, (Array, np.ndarray)):
            variable._value = variable._value[()]
        return variable

    @property
    def recorded(self) -> bool:
        """Whether somebody else listens to what this run's derivatives are made of."""
        known = [variable._tracked for variable in self.variables if variable._tracked is not None]
        return bool(STATE.sessions) or listeners(known) is not None

    def tracked(self, leaf: Any) -> Tracked | None:
        """What an output is tracked by."""
        if not isinstance(leaf, Array):
            return None
        refresh(leaf)
        return leaf._tracked

    def kept(self, leaf: Any) -> bool:
        """Whether the caller has the leaf as an Array: it has given some, or an outer derivative follows this one.

        The outer one reaches what the function found in its closure.
        """
        known = self.tracked(leaf)
        return self.arrays or (known is not None and any(known.followed_by(session) for session in STATE.sessions))

    def shown(self, value: Any) -> Any:
        """A value as the caller has it."""
        leaves: list[Any] = []
        tree = flatten(value, leaves)
        return rebuild(tree, [leaf if self.kept(leaf) else _released(leaf) for leaf in leaves])

    def given(self, leaf: Any) -> Any:
        """A derivative as the caller has it."""
        if not self.kept(leaf):
            return _released(leaf)
        return leaf if leaf is None or isinstance(leaf, Array) else Array(leaf)

    def fitted(self, given: Any, tree: Tree, likes: Sequence[Any], what: str) -> list[Any]:
        """Cotangents or tangents that a user gives, checked against what they belong to."""
        leaves: list[Any] = []
        if flatten(given, leaves) != tree:
            raise ValueError(f"the {what} have another structure than what they belong to")
        for leaf, like in zip(leaves, likes, strict=True):
            if leaf is not None and np.shape(plain(leaf)) != np.shape(plain(like)):
                raise ValueError(
                    f"one of the {what} has shape {np.shape(plain(leaf))}, and what it belongs to has shape "
                    f"{np.shape(plain(like))}"
                )
        return [_converted(leaf, like) for leaf, like in zip(leaves, likes, strict=True)]

    def pull(self, seeds: Sequence[Any], unconnected: str) -> Any:
        """The cotangents of the variables, as the arguments' structure."""
        pairs = [
            (t, s) for leaf, s in zip(self.outputs, seeds, strict=True) if s is not None and (t := self.tracked(leaf))
        ]
        recorded = self.recorded
        sources = [variable._tracked for variable in self.variables]
        found = gradients(pairs, sources, self.session, recorded or _any_arrays(seeds))
        leaves = [
            self.given(_zeros(variable) if result is None and unconnected == "zero" else result)
            for variable, result in zip(self.variables, found, strict=True)
        ]
        return rebuild(self.tree, leaves)


def value_and_gradients(
    function: Callable[..., Any],
    args: Sequence[Any],
    options: dict[str, Any],
    positions: Sequence[int],
    has_aux: bool,
    unconnected: str,
) -> Any:
    """(value or (value, aux), gradients of the arguments at `positions`) of a scalar function."""
    run = Run(function, args, options, positions, has_aux)
    output = _scalar(run)
    found = run.pull([ones_like(plain(output))], unconnected)
    value = (run.result, run.aux) if has_aux else run.result
    return run.shown(value), found


def pulled(function: Callable[..., Any], primals: Sequence[Any], cotangent: Any, has_aux: bool) -> Any:
    """The cotangents of a function's arguments, a tuple, for one of its result."""
    run = Run(function, primals, {}, range(len(primals)), has_aux)
    return run.pull(run.fitted(cotangent, run.result_tree, run.outputs, "cotangents"), "zero")


def pushed(function: Callable[..., Any], primals: Sequence[Any], given: Any) -> Any:
    """(result, its tangent) for tangents of the arguments."""
    run = Run(function, primals, {}, range(len(primals)))
    fits = run.fitted(given, run.tree, run.variables, "tangents")
    sources = [(v._tracked, t) for v, t in zip(run.variables, fits, strict=True) if t is not None and v._tracked]
    targets = [run.tracked(leaf) for leaf in run.outputs]
    found = tangents(targets, sources, run.session, run.recorded or _any_arrays(fits))
    shown = [
        _zeros(leaf) if result is None and np.asarray(plain(leaf)).dtype.kind in "fiub" else result
        for leaf, result in zip(run.outputs, found, strict=True)
    ]
    return run.shown(run.result), rebuild(run.result_tree, [run.given(leaf) for leaf in shown])


def _scalar(run: Run) -> Any:
    """The one float scalar that a gradient is of."""
    if len(run.outputs) != 1:
        raise TypeError(
            f"{run.name} returns {len(run.outputs)} values, and a gradient is of one scalar: return the loss alone, or "
            "(loss, aux) with has_aux=True"
        )
    value = plain(run.outputs[0])
    if np.shape(value):
        raise ValueError(
            f"{run.name} returns an array of shape {np.shape(value)}, and a gradient is of a scalar: reduce it "
            "(np.sum, np.mean), or use tracejit.vjp or tracejit.jacobian"
        )
    dtype = np.asarray(value).dtype
    if dtype.kind != "f":
        raise NotDifferentiable(f"{run.name} returns {dtype}, and derivatives are of real floats")
    return np.asarray(value)[()] if not isinstance(run.outputs[0], Array) else run.outputs[0]


def _any_arrays(values: Sequence[Any]) -> bool:
    return any(isinstance(value, Array) for value in values)


def _converted(value: Any, like: Any) -> Any:
    """A tangent or cotangent in the dtype of what it belongs to; None where that has none."""
    dtype = np.asarray(plain(like)).dtype
    if value is None or dtype.kind != "f":
        return None
    if isinstance(value, Array):
        return value if value.dtype == dtype else value.astype(dtype)
    return np.array(value, dtype)[()]


def _zeros(like: Any) -> Any:
    value = np.asarray(plain(like))
    return np.zeros(value.shape, value.dtype if value.dtype.kind == "f" else float)[()]


def _released(leaf: Any) -> Any:
    """An Array's value for a caller who knows no Arrays: memory of its own, which may be written to."""
    if not isinstance(leaf, Array):
        return leaf
    refresh(leaf)
    return leaf._value.copy() if type(leaf._value) is np.ndarray else leaf._value
