"""What is remembered of operations on Arrays: values that derivatives know, the records of them, and who listens."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from functools import cache
from types import CodeType, TracebackType
from typing import Any

from tracejit.eager.structure import Call
from tracejit.trace.state import PACKAGE

_SERIAL = itertools.count()


class Session:
    """One stretch of a GradientTape's recording.

    variables: whether Arrays with requires_grad=True count as watched.
    """

    __slots__ = ("__weakref__", "variables")

    def __init__(self, variables: bool) -> None:
        self.variables = variables


class Tracked:
    """A value that derivatives know: a variable (`record` is None), or output `index` of a record.

    requires: whether `backward` accumulates here or below; sessions: which tapes watch it (of an output: see the
    record); retained: whether `backward` leaves a gradient though it is no variable.
    """

    __slots__ = ("__weakref__", "grad", "index", "record", "requires", "retained", "sessions")

    def __init__(self, requires: bool, record: Record | None = None, index: int = 0) -> None:
        self.requires, self.record, self.index = requires, record, index
        self.sessions: tuple[Session, ...] = () if record is None else record.sessions
        self.grad: Any = None
        self.retained = False

    def followed_by(self, session: Session) -> bool:
        """Whether what is computed from the value belongs on a tape."""
        return session in self.sessions or (session.variables and self.requires and self.record is None)


class Record:
    """One operation: the call, its leaves as they were, and which of them are tracked.

    Records are numbered as they are made, so that a record's number is higher than those of what it depends on.
    """

    __slots__ = ("__weakref__", "_place", "call", "leaves", "serial", "sessions", "tracked")

    def __init__(
        self, call: Call, leaves: tuple[Any, ...], tracked: tuple[Tracked | None, ...], sessions: tuple[Session, ...]
    ) -> None:
        self.call = call
        self.leaves: tuple[Any, ...] | None = leaves
        self.tracked, self.sessions = tracked, sessions
        self.serial = next(_SERIAL)
        self._place = _user_place()

    @property
    def line(self) -> str:
        """file:line of the user's code that made the record."""
        code, offset = self._place
        if code is None:
            return ""
        line = next((line for start, end, line in code.co_lines() if start <= offset < end and line), 0)
        return f"{code.co_filename}:{line}"

    def free(self) -> None:
        """Let go of all that the operation held."""
        self.leaves, self.tracked = None, ()


@cache
def _is_ours(path: str) -> bool:
    return path.startswith(PACKAGE)


def _user_place() -> tuple[CodeType | None, int]:
    """Where the innermost frame outside tracejit stands."""
    frame = sys._getframe(3)
    while _is_ours(frame.f_code.co_filename):
        if frame.f_back is None:
            return None, 0
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


class _State(threading.local):
    """Of this thread: whether operations are recorded, and the tapes that listen."""

    enabled: bool = True
    sessions: tuple[Session, ...] = ()


STATE = _State()


class _Setting(contextlib.ContextDecorator):
    """Sets whether operations are recorded, for a `with` block or a decorated function."""

    enabled: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def _recreate_cm(self) -> _Setting:
        return type(self)()

    def __enter__(self) -> None:
        self._before.append(STATE.enabled)
        STATE.enabled = self.enabled

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        STATE.enabled = self._before.pop()


class no_grad(_Setting):  # noqa: N801 - used as a statement
    """Operations on Arrays inside the block, or the decorated function, are not recorded; of this thread.

    >>> import tracejit as tj
    >>> w = tj.Array([1.0, 2.0], requires_grad=True)
    >>> with tj.no_grad():
    ...     w -= 0.5
    >>> w
    Array([0.5, 1.5], requires_grad=True)
    """

    enabled = False


class enable_grad(_Setting):  # noqa: N801 - used as a statement
    """Operations on Arrays are recorded again, inside `no_grad`.

    >>> import tracejit as tj
    >>> w = tj.Array(3.0, requires_grad=True)
    >>> with tj.no_grad(), tj.enable_grad():
    ...     (w * w).requires_grad
    True
    """

    enabled = True
