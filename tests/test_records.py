"""Dataclasses that are put off behave as dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import threading
from dataclasses import field
from functools import cached_property
from typing import Any

import pytest

from tracejit import records
from tracejit.records import dataclass


def make() -> tuple[Any, Any]:
    @dataclass(frozen=True)
    class Point:
        x: int
        y: int = 2
        tags: list[str] = field(default_factory=list, compare=False)

        @cached_property
        def total(self) -> int:
            return self.x + self.y

    @dataclass(frozen=True)
    class Named(Point):
        name: str = ""

        def __post_init__(self) -> None:
            self.tags.append(self.name)

    return Point, Named


def test_nothing_is_made_before_the_first_instance():
    point, named = make()
    assert point in records._PENDING and named in records._PENDING
    point(1)
    assert point not in records._PENDING and named in records._PENDING


def test_fields_defaults_and_inheritance():
    point, named = make()
    found = named(1, name="a")
    assert (found.x, found.y, found.tags, found.name, found.total) == (1, 2, ["a"], "a", 3)
    assert named(1).tags is not named(1).tags
    assert repr(found).endswith("Named(x=1, y=2, tags=['a'], name='a')")
    assert [f.name for f in dataclasses.fields(named)] == ["x", "y", "tags", "name"]
    assert point(1, tags=["z"]) == point(1) and hash(point(1)) == hash(point(1)) and point(1) != point(2)
    assert point(1) != named(1)


def test_replace_copy_and_match():
    point, _ = make()
    found = dataclasses.replace(point(1), y=5)
    assert copy.deepcopy(found) == found and dataclasses.asdict(found) == {"x": 1, "y": 5, "tags": []}
    match found:
        case point(x, y):
            assert (x, y) == (1, 5)


def test_frozen_is_frozen():
    point, _ = make()
    found = point(1)
    for name in ("x", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(found, name, 3)


@pytest.mark.parametrize("arguments", [(), (1, 2, [], 4)])
def test_wrong_arguments_name_the_class(arguments):
    point, _ = make()
    with pytest.raises(TypeError, match=r"Point\.__init__"):
        point(*arguments)


def test_own_methods_stay():
    @dataclass(eq=False, repr=False)
    class Same:
        value: int = 0

        def __repr__(self) -> str:
            return "same"

    @dataclass(frozen=True)
    class Hashed:
        value: list[int]

        def __hash__(self) -> int:
            return 7

    assert repr(Same()) == "same" and Same() != Same()
    assert hash(Hashed([1])) == 7 and Hashed([1]) == Hashed([1])


def test_many_threads_make_the_first_instance():
    for _ in range(20):
        _, named = make()
        found: list[Any] = []
        ready = threading.Barrier(4)

        def work(named=named, found=found, ready=ready):
            ready.wait()
            found.append(named(3, name="n"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4 and all(item == found[0] for item in found)
