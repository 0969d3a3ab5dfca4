"""Errors as users read them: their own lines only, the arguments' types, the cause and the mend."""

from __future__ import annotations

import linecache
from types import TracebackType
from typing import Any

import numpy as np

from tracejit.driver.logging import enabled
from tracejit.driver.segments import Break, Run
from tracejit.trace.pytree import flatten
from tracejit.trace.state import PACKAGE


def clarified(error: Exception, name: str, run: Run) -> Exception:
    """The same exception with tracejit's own frames taken out and a note that names the user's line."""
    if enabled("internals"):
        return error
    own = _frames(error.__traceback__)
    deepest = _deepest(error.__traceback__)
    error.__traceback__ = _linked(own)
    if own and (deepest.startswith(PACKAGE) or "numpy" in deepest):
        frame = own[-1]
        path, line = frame.tb_frame.f_code.co_filename, frame.tb_lineno
        linecache.checkcache(path)  # the file may have been edited since its lines were last looked at
        text = linecache.getline(path, line).strip()
        error.add_note(f"while tracing {name}({_types(run)})\n  at {path}:{line}: {text}")
    return error


def _deepest(link: TracebackType | None) -> str:
    """The file in which an error was raised."""
    while link is not None and link.tb_next is not None:
        link = link.tb_next
    return link.tb_frame.f_code.co_filename if link is not None else ""


def _frames(link: TracebackType | None) -> list[TracebackType]:
    found = []
    while link is not None:
        path = link.tb_frame.f_code.co_filename
        if not path.startswith(PACKAGE) and not path.startswith("<") and "/numpy/" not in path:
            found.append(link)
        link = link.tb_next
    return found


def _linked(frames: list[TracebackType]) -> TracebackType | None:
    """A traceback of these frames only."""
    result: TracebackType | None = None
    for frame in reversed(frames):
        result = TracebackType(result, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return result


def _types(run: Run) -> str:
    leaves: list[Any] = []
    flatten((run.args, run.kwargs), leaves)
    shown = [
        f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]"
        if isinstance(leaf, (np.ndarray, np.generic))
        else getattr(leaf, "__qualname__", None) or repr(leaf)[:40]
        for leaf in leaves[:8]
    ]
    return ", ".join(shown) + (", ..." if len(leaves) > 8 else "")


class GraphBreak(RuntimeError):
    """Under fullgraph=True: Python needs a value in the middle of the graph."""


def fullgraph_error(name: str, at: Break) -> GraphBreak:
    """What needed a value, where, and what to write instead."""
    mend = {
        "bool": "tracejit.cond for `if`, tracejit.while_loop for `while`, np.where(condition, a, b) for a choice",
        "int": "an argument, or a static argument (static_argnames)",
        "index": "an argument, or a static argument (static_argnames)",
        "float": "the traced value itself: arithmetic on it needs no float()",
    }.get(at.call.name, "an equivalent whose result has a shape known beforehand, outside the function otherwise")
    return GraphBreak(
        f"{name} was jitted with fullgraph=True, but needs the value of a traced array: {at.call.name}() at "
        f"{at.line}.\n"
        f"Use {mend}; or drop fullgraph=True and let the graph be split there."
    )
