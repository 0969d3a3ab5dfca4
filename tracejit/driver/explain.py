"""`explain`: what became of a function, in words, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.driver.drawing import dot_text, html_page, svg_bytes
from tracejit.driver.segment_code import essential
from tracejit.driver.segments import Segment, describe, leaf_kind
from tracejit.ir import size as sizes
from tracejit.lower.python_source import python_source
from tracejit.records import dataclass
from tracejit.schedule.kernel import Kernel
from tracejit.schedule.steps import (
    Branch,
    CallInPlace,
    CallNumpy,
    Launch,
    Loop,
    Multiply,
    Program,
    Together,
    inner_programs,
    reads,
    writes,
)
from tracejit.trace.pytree import flatten

if TYPE_CHECKING:
    from tracejit.driver.arguments import Arguments


@dataclass
class Explanation:
    """What `explain` found; print it, or `save` the graph as .svg, .dot or .html.

    kernels: the fused kernels of all segments, in order of execution; sources: each as a Python loop nest.
    """

    name: str
    segments: list[Segment]
    opaque: list[str]
    reasons: list[str]
    plain_reason: str | None
    stats: Any
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def kernels(self) -> list[Kernel]:
        return [kernel for segment in self.segments for kernel in segment.program.kernels]

    @property
    def native(self) -> str:
        """Whether emitted code serves calls like this one, from the guards to the result, and why if it does not."""
        return self.segments[0].native if self.segments else "no, it has no graph"

    @property
    def sources(self) -> list[str]:
        return [python_source(kernel) for kernel in self.kernels]

    def __str__(self) -> str:
        if self.plain_reason is not None:
            return f"{self.name} runs as plain NumPy: {self.plain_reason}"
        parts = [self._summary()]
        if self.segments and self.segments[0].loss:
            parts.append(f"calls like this one run as plain NumPy, which is no slower: {self.segments[0].loss}")
        for number, segment in enumerate(self.segments):
            parts.append(_segment_text(segment, number, len(self.segments), self.sizes))
        if self.opaque:
            parts.append("NumPy is called for:\n" + "\n".join(f"    {item}" for item in self.opaque))
        if self.reasons:
            parts.append("traced again because:\n" + "\n".join(f"    {reason}" for reason in self.reasons[-8:]))
        return "\n\n".join(parts)

    __repr__ = __str__

    def _summary(self) -> str:
        s = self.stats
        return (
            f"{self.name}: {len(self.kernels)} kernel{'s' * (len(self.kernels) != 1)} in {len(self.segments)} "
            f"segment{'s' * (len(self.segments) != 1)}; {s.calls} calls, {s.traces} traces, "
            f"{s.kernels_compiled} kernels compiled in {s.compile_seconds:.3f} s, {s.cache_hits} from caches\n"
            f"served by machine code: {self.native}"
        )

    def save(self, path: str | Path) -> Path:
        """Write the optimized graphs as a picture; the ending decides: .dot, .svg (needs graphviz) or .html."""
        target = Path(path)
        dot = dot_text(self.name, [segment.graph for segment in self.segments], [s.program for s in self.segments])
        if target.suffix == ".dot":
            target.write_text(dot)
        elif target.suffix == ".svg":
            target.write_bytes(svg_bytes(dot))
        elif target.suffix == ".html":
            target.write_text(html_page(self.name, str(self), dot))
        else:
            raise ValueError(f"cannot save a graph as {target.suffix!r}: use .dot, .svg or .html")
        return target


def _segment_text(segment: Segment, number: int, count: int, values: dict[str, int]) -> str:
    lines = [f"segment {number}"] if count > 1 else []
    lines += ["as traced:", str(segment.traced), "", "optimized:", str(segment.graph)]
    guards = essential([text for text, _ in segment.guards])
    if guards:
        lines += ["", "guards: " + "; ".join(guards)]
    if segment.donated:
        lines += ["", "donated: " + "; ".join(segment.donated)]
    lines += _steps_text(segment.program, values, "")
    if segment.following is not None:
        lines += ["", f"then {segment.following.call.name}() at {segment.following.line}"]
    return "\n".join(lines)


def _steps_text(program: Program, values: dict[str, int], before: str) -> list[str]:
    """The steps that compute; those of an inner program are numbered under the loop or branch that they stand in."""
    lines: list[str] = []
    for position, step in enumerate(program.steps):
        number = f"{before}{position}"
        if isinstance(step, Launch):
            moved = _bytes_moved(step, values)
            lines += ["", f"kernel {number} ({step.kernel.form}{moved}):", python_source(step.kernel)]
        elif isinstance(step, (CallNumpy, CallInPlace)):
            lines += ["", f"step {number}: NumPy's {step.call.name}"]
        elif isinstance(step, Together):
            names = ", ".join(call.call.name for call in step.calls)
            lines += ["", f"step {number}: NumPy's {names}, at the same time"]
        elif isinstance(step, Multiply):
            lines += ["", f"step {number}: np.matmul"]
        elif isinstance(step, Loop):
            times = "while its condition holds" if step.length is None else f"{step.length} times"
            lines += ["", f"step {number}: a loop run by the host, {times}; in it:"]
        elif isinstance(step, Branch):
            lines += ["", f"step {number}: one of {len(step.branches)} branches, taken by the host; in them:"]
        for place, inner in enumerate(inner_programs(step)):
            lines += _steps_text(inner, values, f"{number}.{place}.")
    return lines


def _bytes_moved(step: Launch, values: dict[str, int]) -> str:
    """Bytes read and written, for the sizes of this call."""
    try:
        total = [
            sum(int(np.prod([sizes.evaluate(d, values) for d in b.shape])) * b.dtype.itemsize for b in set(buffers))
            for buffers in (reads(step), writes(step))
        ]
    except KeyError:
        return ""
    return f", reads {total[0]:,} bytes, writes {total[1]:,}"


def explain_segments(jitted: Any, first: Segment | None, args: Any, kwargs: Any) -> Explanation:
    """Follow the segments from the first along the latest branches."""
    found: list[Segment] = []
    while first is not None:
        found.append(first)
        first = first.following.latest if first.following is not None else None
    leaves: list[Any] = []
    flatten((args, kwargs), leaves)
    values = found[0].named_values([leaf for leaf in leaves if leaf_kind(leaf) != "static"]) if found else {}
    return Explanation(jitted.__name__, found, jitted.opaque, jitted.reasons, jitted.plain_reason, jitted.stats, values)


def retrace_reason(roots: Sequence[Segment], arguments: Arguments) -> str:
    """Why the newest trace does not fit a call: the first guard that fails."""
    segment = roots[-1]
    new = [leaf for leaf, dynamic in zip(arguments.leaves, arguments.dynamic, strict=True) if dynamic]
    if segment.tree != arguments.tree:
        return "arguments of another structure"
    for position, (old, now) in enumerate(zip(segment.leaf_types, new, strict=False)):
        if old != describe(now):
            return f"argument leaf {position} was {old}, is {describe(now)}"
    names = segment.named_values(new)
    for text, line in segment.guards:
        try:
            if not eval(text, {"math": math}, names):  # noqa: S307 - a guard of our own making
                return f"the guard {text} ({line}) fails"
        except (NameError, KeyError):
            continue
    return "a static argument, global, closure variable or attribute changed"
