"""When two traced graphs are the same: a key by structure, so that what a loop does again is not compiled again."""

from __future__ import annotations

import types
from collections.abc import Hashable
from typing import Any

import numpy as np

from tracejit.ir.graph import Graph
from tracejit.ir.node import Node
from tracejit.trace.opaque import Call


class Unknown(Exception):
    """Something whose equality is not known: the graph has no key."""


def fingerprint(graph: Graph, *others: Any) -> Hashable:
    """Equal for graphs that compile to the same program, among equal others; None where that cannot be told."""
    try:
        key = (_graph(graph, {}), *map(_of_value, others))
        hash(key)
    except (Unknown, TypeError):
        return None
    return key


def _graph(graph: Graph, scopes: dict[int, int]) -> Hashable:
    number: dict[int, int] = {}
    lines: list[Hashable] = []
    for node in (*graph.inputs, *graph.nodes):
        if id(node) not in number:
            number[id(node)] = len(lines)
            lines.append((node.op, *(number[id(i)] for i in node.inputs), node.type, *_params(node, scopes)))
    return len(graph.inputs), tuple(lines), tuple(number[id(node)] for node in graph.outputs)


def _params(node: Node, scopes: dict[int, int]) -> list[Hashable]:
    return [_scoped(value, scopes) if key == "scope" else _of_value(value, scopes) for key, value in node.params]


def _scoped(scope: int, scopes: dict[int, int]) -> Hashable:
    """The number of a body, counted within the graph."""
    return scopes.setdefault(scope, len(scopes))


def _of_value(value: Any, scopes: dict[int, int] | None = None) -> Hashable:
    """A key of a parameter, a call or what it is given; numbers of different types differ, and so do the zeros."""
    if isinstance(value, Graph):
        return _graph(value, {} if scopes is None else scopes)
    if isinstance(value, Call):
        return value.name, _code(value.function), _of_value(value.args), _of_value(value.options)
    if type(value) in (tuple, list):
        return type(value), *(_of_value(item, scopes) for item in value)
    if type(value) is dict:
        return dict, *((key, _of_value(item, scopes)) for key, item in value.items())
    if isinstance(value, (float, complex, np.generic)):
        return type(value), repr(value)
    if isinstance(value, np.ndarray):
        raise Unknown
    return type(value), _code(value) if isinstance(value, types.FunctionType) else value


def _code(function: Any) -> Hashable:
    """A function made anew each time it is wanted is the same if its code is, and nothing else belongs to it."""
    plain = isinstance(function, types.FunctionType) and not function.__closure__ and not function.__defaults__
    key: Hashable = function.__code__ if plain else function
    return key
