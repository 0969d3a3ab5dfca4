"""Containers that calls and indexing hold: tensors found and replaced in tuples, lists, dicts and slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def transformed(value: Any, rule: Callable[[Any], Any]) -> Any:
    """The same structure with `rule` applied to what is no container."""
    if type(value) in (tuple, list):
        return type(value)(transformed(item, rule) for item in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(transformed(item, rule) for item in value))
    if type(value) is dict:
        return {key: transformed(item, rule) for key, item in value.items()}
    if type(value) is slice:
        return slice(*(transformed(item, rule) for item in (value.start, value.stop, value.step)))
    return rule(value)


def leaves(value: Any) -> Iterator[Any]:
    """What is no container, in order."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    elif type(value) is dict:
        for item in value.values():
            yield from leaves(item)
    elif type(value) is slice:
        yield from leaves((value.start, value.stop, value.step))
    else:
        yield value
