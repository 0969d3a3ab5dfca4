"""Operations on Arrays: NumPy runs on the values at once, and what derivatives need is recorded."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tracejit.eager.recording import STATE, Record, Session, Tracked
from tracejit.eager.structure import Call, put_together, take_apart, take_key
from tracejit.runtime.device_array import DeviceArray, has_ellipsis, is_array
from tracejit.trace.pytree import flatten, rebuild
from tracejit.trace.state import ACTIVE, Untraceable

_LEAVES = frozenset({np.ndarray, DeviceArray, float, int, bool, complex, str, type(None)})

_VALUES = (np.ndarray, np.generic, DeviceArray)
"""What an Array holds."""


class Eager:
    """The state of an Array.

    _value: a NumPy array (not writeable through its own handle) or NumPy scalar; _tracked: what derivatives know it
    by; _saved: whether a record holds the value, which then must not change; _memory, _steps, _version: of an array
    that has views or is one, see `tracejit.eager.memory`.
    """

    __slots__ = ("__weakref__", "_memory", "_saved", "_steps", "_tracked", "_value", "_version")

    kind: ClassVar[type[Eager]]
    """The one subclass: what operations return."""

    _value: Any
    _tracked: Tracked | None
    _saved: bool
    _memory: Memory | None
    _steps: tuple[Step, ...]
    _version: int

    def __init_subclass__(cls, abstract: bool = False) -> None:
        if not abstract:
            Eager.kind = cls


class Memory:
    """What views share: the value of all of it. `version` counts the values it has had."""

    __slots__ = ("saved", "tracked", "value", "version")

    def __init__(self, value: Any, tracked: Tracked | None, saved: bool) -> None:
        self.value, self.tracked, self.saved, self.version = value, tracked, saved, 0


class Viewing:
    """How a view comes about: a call whose leaf `hole` is the array viewed; the view is leaf `index` of its result."""

    __slots__ = ("_hash", "call", "hole", "index")

    def __init__(self, call: Call, hole: int, index: int) -> None:
        self.call, self.hole, self.index = call, hole, index
        self._hash = hash((call, hole, index))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Viewing):
            return NotImplemented
        return (self.call, self.hole, self.index) == (other.call, other.hole, other.index)

    def __call__(self, source: Any, leaves: Sequence[Any]) -> Any:
        """The view of an array, given the call's other leaves."""
        given = [*leaves[: self.hole], source, *leaves[self.hole :]]
        found: list[Any] = []
        flatten(apply_call(self.call, given) if isinstance(source, Eager) else self.call(given), found)
        return found[self.index]


class Step:
    """One view of another array."""

    __slots__ = ("leaves", "viewing")

    def __init__(self, viewing: Viewing, leaves: tuple[Any, ...]) -> None:
        self.viewing, self.leaves = viewing, leaves


_new: Any = object.__new__


def wrap(value: Any, tracked: Tracked | None = None) -> Any:
    """An Array of a value that nobody else holds."""
    array = _new(Eager.kind)
    if type(value) is np.ndarray:
        value.setflags(write=False)
    elif type(value) is DeviceArray:
        value.freeze()
    array._value = value
    array._tracked = tracked
    array._memory = None
    array._saved = False
    return array


def refresh(array: Eager) -> None:
    """Bring a view up to date with its memory."""
    memory = array._memory
    if memory is None or array._version == memory.version:
        return
    before = STATE.enabled
    STATE.enabled = True
    try:
        current = wrap(memory.value, memory.tracked)
        for step in array._steps:
            current = step.viewing(current, step.leaves)
    finally:
        STATE.enabled = before
    array._value, array._tracked, array._version = current._value, current._tracked, memory.version


def value_of(item: Any, tracked: list[Tracked]) -> Any:
    """An argument with the values of its Arrays; what they are tracked by is appended."""
    if isinstance(item, Eager):
        if item._memory is not None:
            refresh(item)
        if item._tracked is not None:
            tracked.append(item._tracked)
        return item._value
    kind = type(item)
    if kind in _LEAVES:
        return item
    if kind is slice:
        return slice(*(value_of(part, tracked) for part in (item.start, item.stop, item.step)))
    leaves: list[Any] = []
    tree = flatten(item, leaves)
    if tree.kind is None:
        return item
    return rebuild(tree, [value_of(leaf, tracked) for leaf in leaves])


def listeners(tracked: Sequence[Tracked]) -> tuple[bool, tuple[Session, ...]] | None:
    """Whether `backward` follows an operation on these, and which tapes do; None if nobody does."""
    if not STATE.enabled:
        return None
    requires = False
    for item in tracked:
        if item.requires:
            requires = True
            break
    if not STATE.sessions:
        return (True, ()) if requires else None
    sessions = tuple(s for s in STATE.sessions if any(item.followed_by(s) for item in tracked))
    return (requires, sessions) if requires or sessions else None


def refuse_trace() -> None:
    """Arrays have values now and records of their own, which a graph cannot hold."""
    raise Untraceable(
        "the function works on a tracejit.Array that is no argument of it; pass it as an argument, or let the function "
        "take its NumPy value"
    )


def ufunc_call(ufunc: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """A ufunc of one result, or an operator that is one: as `apply`, in less time."""
    if ACTIVE.trace is not None:
        refuse_trace()
    tracked: list[Tracked] = []
    values = []
    for arg in args:
        if isinstance(arg, Eager):
            if arg._memory is not None:
                refresh(arg)
            if arg._tracked is not None:
                tracked.append(arg._tracked)
            values.append(arg._value)
        elif type(arg) is list or type(arg) is tuple:
            return apply(ufunc, args, None, True)
        else:
            values.append(arg)
    result = ufunc(*values)
    if tracked and (found := listeners(tracked)) is not None:
        return _recorded(_flat_call(ufunc, args), args, result, *found)
    return wrap(result)


_FLAT: dict[tuple[Any, int], Call] = {}


def _flat_call(function: Callable[..., Any], args: tuple[Any, ...]) -> Call:
    """The call of an operator on leaves alone."""
    key = (function, len(args))
    found = _FLAT.get(key)
    if found is None:
        found = _FLAT[key] = Call(function, len(args))
    return found


def apply(
    function: Callable[..., Any],
    args: Sequence[Any],
    options: dict[str, Any] | None = None,
    dynamic_ints: bool = False,
) -> Any:
    """A NumPy function, or one of ours, on Arrays among its arguments.

    The result's arrays and NumPy scalars are Arrays; those that show an argument's memory are views of that argument.
    dynamic_ints: ints are data, not choices (see `tracejit.eager.structure`).
    """
    if ACTIVE.trace is not None:
        refuse_trace()
    options = options or {}
    tracked: list[Tracked] = []
    values = [value_of(arg, tracked) for arg in args]
    named = {key: value_of(item, tracked) for key, item in options.items()}
    result = function(*values, **named)
    found = listeners(tracked) if tracked else None
    if found is None and _is_new(result):
        return wrap(result)
    call, leaves = structured(function, args, options, dynamic_ints)
    if type(result) is not np.ndarray or result.base is None:
        result = each_array(result, lambda leaf, _: _no_argument(leaf, leaves))
    wrapped = record(call, leaves, found, result)
    if not _is_new(result):
        _find_views(call, leaves, wrapped)
    return wrapped


def _is_new(result: Any) -> bool:
    """Whether a result is surely no view: a NumPy scalar."""
    return isinstance(result, np.generic)


def _no_argument(result: Any, leaves: Sequence[Any]) -> Any:
    """A result that is none of the caller's array objects (`np.atleast_1d(x)` is `x`)."""
    same = is_array(result) and any(result is value_at(leaf) for leaf in leaves)
    return result[...] if same else result


def structured(
    function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any], dynamic_ints: bool
) -> tuple[Call, list[Any]]:
    """A call and its leaves."""
    leaves: list[Any] = []
    return Call(function, take_apart((tuple(args), options), leaves, (Eager,), dynamic_ints)), leaves


def record(call: Call, leaves: Sequence[Any], found: tuple[bool, tuple[Session, ...]] | None, result: Any) -> Any:
    """A call's result as Arrays, recorded for those listeners."""
    if found is not None:
        return _recorded(call, leaves, result, *found)
    return each_array(result, lambda leaf, _: wrap(leaf))


def _recorded(call: Call, leaves: Sequence[Any], result: Any, requires: bool, sessions: tuple[Session, ...]) -> Any:
    """Make the record of a call."""
    made = Record(
        call,
        tuple([_snapshot(leaf) for leaf in leaves]),
        tuple([leaf._tracked if isinstance(leaf, Eager) else None for leaf in leaves]),
        sessions,
    )
    if isinstance(result, _VALUES):
        return wrap(result, Tracked(requires, made) if result.dtype.kind in "fc" else None)
    return each_array(
        result, lambda leaf, place: wrap(leaf, Tracked(requires, made, place) if leaf.dtype.kind in "fc" else None)
    )


def each_array(result: Any, convert: Callable[[Any, int], Any]) -> Any:
    """A result with its arrays and NumPy scalars converted, given their places among its leaves."""
    if isinstance(result, _VALUES):
        return convert(result, 0)
    leaves: list[Any] = []
    tree = flatten(result, leaves)
    shown = [convert(leaf, place) if isinstance(leaf, _VALUES) else leaf for place, leaf in enumerate(leaves)]
    return rebuild(tree, shown)


def _snapshot(leaf: Any) -> Any:
    """A leaf as a record keeps it: nobody writes to it any more."""
    if isinstance(leaf, Eager):
        if leaf._memory is not None:
            leaf._memory.saved = True
        leaf._saved = True
        return leaf._value
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def owner(value: Any) -> Any:
    """The array whose memory a value shows; of one on a device, what keeps the memory."""
    if type(value) is DeviceArray:
        return value.block
    return value.base if value.base is not None else value


def _find_views(call: Call, leaves: Sequence[Any], wrapped: Any) -> None:
    """Note which results show an argument's memory."""
    results: list[Any] = [wrapped]
    if not isinstance(wrapped, Eager):
        flatten(wrapped, results := [])
    for index, result in enumerate(results):
        if not isinstance(result, Eager) or not is_array(result._value):
            continue
        memory = owner(result._value)
        for place, leaf in enumerate(leaves):
            value = value_at(leaf)
            if is_array(value) and owner(value) is memory:
                if isinstance(leaf, Eager):
                    _make_view(call, leaves, place, index, leaf, result)
                else:
                    result._value = result._value.copy()
                    result._value.setflags(write=False)
                break


def value_at(leaf: Any) -> Any:
    """A leaf's value, if it is an Array."""
    return leaf._value if isinstance(leaf, Eager) else leaf


def _make_view(call: Call, leaves: Sequence[Any], place: int, index: int, source: Eager, result: Eager) -> None:
    if source._memory is None:
        source._memory = Memory(source._value, source._tracked, source._saved)
        source._steps, source._version = (), 0
    kept = tuple([_snapshot(leaf) for position, leaf in enumerate(leaves) if position != place])
    if result._value is source._value:
        result._value = result._value.view()
    result._memory, result._version = source._memory, source._version
    result._steps = (*source._steps, Step(Viewing(call, place, index), kept))


def call_copy(array: Any, key: Any) -> Any:
    """One element, as memory of its own."""
    return array[key].copy()


def item(array: Eager, key: Any) -> Any:
    """array[key]; for an index that is no array, as `apply` in less time."""
    leaves: list[Any] = [array]
    structure = take_key(key, leaves)
    if structure is False or ACTIVE.trace is not None:
        return apply(operator.getitem, (array, key), None, True)
    if array._memory is not None:
        refresh(array)
    tracked = array._tracked
    found = listeners((tracked,)) if tracked is not None else None
    result = array._value[key]
    if type(result) is DeviceArray and not result.shape and not has_ellipsis(key):
        # NumPy reads a scalar here, which no later write to the array shows in.
        return apply(call_copy, (array, key), None, True)
    if found is None and isinstance(result, np.generic):
        return wrap(result)
    call = Call(operator.getitem, (tuple, (), ((tuple, (), (None, structure)), _NO_OPTIONS)))
    wrapped = _recorded(call, leaves, result, *found) if found is not None else wrap(result)
    if type(result) is DeviceArray or (type(result) is np.ndarray and result.base is not None):
        _make_view(call, leaves, 0, 0, array, wrapped)
    return wrapped


_NO_OPTIONS = (dict, (), ())


def apply_call(call: Call, leaves: Sequence[Any]) -> Any:
    """A call of known structure on leaves that may be Arrays."""
    if type(call.structure) is int:
        return apply(call.function, tuple(leaves), None, True)
    args, options = put_together(call.structure, iter(leaves))
    return apply(call.function, args, options, True)
