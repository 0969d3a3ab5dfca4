"""The generated function of a segment: guards, sizes, steps, and what it returns."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tracejit.driver.environment_guards import unchanged
from tracejit.driver.host_code import Code, call_text, on_target, view_text
from tracejit.driver.segments import Gone, Raised, Run
from tracejit.schedule.steps import Buffer, Program, View, reads, writes
from tracejit.trace.handover import Handover
from tracejit.trace.opaque import Call
from tracejit.trace.pytree import Tree, pack_text, unpack_lines
from tracejit.trace.standin import stand_for
from tracejit.trace.state import Leaf, Trace
from tracejit.trace.tracer import Step, ViewStep


def write_root_arguments(
    code: Code, tree: Tree, leaves: Sequence[Any], is_leaf: Sequence[bool], compare: set[int]
) -> None:
    """Take (args, kwargs) apart; array and number leaves become a0, a1, ...; the others are guarded as they are.

    compare: positions (among all leaves) of static arguments, guarded by equality instead of identity.
    """
    names: list[str] = []
    counter = iter(range(10**6))
    positional, keywords = tree.children
    code.lines.append(f"if len(args) != {len(positional.children)}: return MISS")
    if not keywords.children:
        code.lines.append("if kwargs: return MISS")
    parts = [(child, f"args[{n}]") for n, child in enumerate(positional.children)]
    if keywords.children:
        code.lines.append(f"if tuple(kwargs) != {code.constant(keywords.keys)}: return MISS")
        parts += [(c, f"kwargs[{k!r}]") for c, k in zip(keywords.children, keywords.keys, strict=True)]
    for child, text in parts:
        name = f"v{next(counter)}"
        code.lines.append(f"{name} = {text}")
        code.lines.extend(unpack_lines(child, name, lambda: f"v{next(counter)}", names, code.constant))
    position = 0
    for number, (name, value, dynamic) in enumerate(zip(names, leaves, is_leaf, strict=True)):
        if dynamic:
            code.lines.append(f"a{position} = {name}")
            position += 1
        elif number in compare or isinstance(value, (str, bytes)):
            held = code.constant(value)
            code.lines.append(f"if type({name}) is not {code.constant(type(value))} or {name} != {held}: return MISS")
        else:
            code.lines.append(f"if {name} is not {code.constant(value)}: return MISS")


def write_leaf_guards(
    code: Code, leaves: Sequence[Leaf], layouts: dict[int, str], mutated: set[int], root: bool
) -> None:
    """Type, dtype, rank and layout of leaves."""
    for leaf in leaves:
        name = f"a{leaf.position}"
        if leaf.captured and leaf.kind == "number":
            continue
        if leaf.captured:
            code.target.write_captured(code, name, leaf.value)
            continue
        if leaf.kind in ("number", "object"):
            code.lines.append(f"if type({name}) is not {code.constant(type(leaf.value))}: return MISS")
            continue
        if leaf.kind == "generic":
            code.use("asarray")
            scalar_type = code.constant(leaf.value.dtype.type)
            if root:
                code.lines.append(f"if type({name}) is not {scalar_type}: return MISS")
                code.lines.append(f"{name} = asarray({name})")
            code.lines.append(f"if {name}.dtype != {code.constant(leaf.value.dtype)}: return MISS")
            continue
        code.target.write_argument(code, leaf, layouts[leaf.position], leaf.position in mutated)


def write_sizes(code: Code, trace: Trace, leaves: Sequence[Leaf]) -> None:
    """Name the dimensions of leaves; those of length one are guarded to be so, the others not to be."""
    names = {(position, axis): name for name, (position, axis) in trace.origins.items()}
    for leaf in leaves:
        if leaf.kind not in ("array", "generic") or np.ndim(leaf.value) == 0:
            continue
        axes = range(np.ndim(leaf.value))
        found = [names.get((leaf.position, axis), f"one{axis}") for axis in axes]
        # `len` takes a third of the time of `shape`, which makes a tuple.
        shape = f"a{leaf.position}.shape" if len(found) > 1 else f"len(a{leaf.position})"
        code.lines.append(f"{', '.join(found)} = {shape}")
        tests = [f"{name} != 1" if name.startswith("one") else f"{name} == 1" for name in found]
        code.lines.append(f"if {' or '.join(tests)}: return MISS")


def write_loads(code: Code, trace: Trace, first: int) -> None:
    """At the head of a later segment: what its lines name of the leaves before `first`, and of their sizes."""
    named = set(_NAMES.findall(code.text))
    sizes = {name: trace.origins[name] for name in named if name in trace.origins and trace.origins[name][0] < first}
    known = {f"a{leaf.position}" for leaf in trace.leaves if not (leaf.captured and leaf.position >= first)}
    positions = {int(name[1:]) for name in named & known} | {position for position, _ in sizes.values()}
    head = [f"a{position} = leaves[{position}]" for position in sorted(positions)]
    head += [
        f"{name} = a{position}.shape[{axis}]" if axis else f"{name} = len(a{position})"
        for name, (position, axis) in sorted(sizes.items())
    ]
    code.lines[:0] = ["leaves = run.leaves", *head]


_NAMES = re.compile(r"\b[anh]\d+\b")
"""Leaves, sizes and definitions in generated code."""


def write_definitions(code: Code, definitions: Mapping[str, str]) -> dict[str, str]:
    """Each definition before the first statement that needs it; those that were needed, in order."""
    written: dict[str, str] = {}
    lines: list[str] = []
    start = 0
    for line in code.lines:
        if not line.startswith((" ", "else", "elif", "except", "finally")):
            start = len(lines)
        for name in _needed(line, definitions, written):
            written[name] = definitions[name]
            lines.insert(start, f"{name} = {definitions[name]}")
            start += 1
        lines.append(line)
    code.lines = lines
    return written


def _needed(line: str, definitions: Mapping[str, str], written: Mapping[str, str]) -> list[str]:
    """The definitions that a line needs and that are not written yet, those of which others are made first."""
    order: dict[str, None] = {}
    pending = [(name, False) for name in reversed(_NAMES.findall(line))]
    while pending:
        name, expanded = pending.pop()
        if expanded:
            order[name] = None
        elif name in definitions and name not in written and name not in order:
            pending.append((name, True))
            pending.extend((inner, False) for inner in _NAMES.findall(definitions[name]))
    return list(order)


_FIXED = re.compile(r"\(?\(?(n\d+)(?: [+-] \d+)?\)? == -?\d+\)?")
"""A guard that leaves one length to a dimension."""


def write_guards(code: Code, guards: Sequence[str], elements: Collection[str]) -> None:
    """What the trace found out about sizes and numbers; an expression may rely on the guards before it.

    elements: numbers that are read from arrays, once the guards say that there are such elements, and before any step.
    """
    tests = essential(guards)
    named = {name for test in tests for name in _NAMES.findall(test)}
    if any(name[0] == "h" or name in elements for name in named):
        code.lines += [f"if not ({test}): return MISS" for test in tests]
    elif tests:
        code.lines.append(f"if not ({' and '.join(f'({test})' for test in tests)}): return MISS")
    code.lines += [name for name in elements if name not in named]


def essential(guards: Sequence[str]) -> list[str]:
    """The guards in order, without what others say: a weaker bound on a size; what follows from how large it is.

    Sizes that are fixed come first, and all else that was found of these alone holds then.
    """
    fixed = {match[1]: text for text in guards if (match := _FIXED.fullmatch(text))}
    bounds: dict[str, int] = {}
    kept: dict[str, str] = {text: text for text in fixed.values()}
    for text in guards:
        named = set(_NAMES.findall(text))
        if named and named <= fixed.keys():
            continue
        name, _, rest = text.partition(" >= ")
        if name.isidentifier() and rest.lstrip("-").isdigit():
            bounds[name] = max(bounds.get(name, int(rest)), int(rest))
            kept[name] = f"{name} >= {bounds[name]}"
        else:
            kept[text] = text
    return list(kept.values())


def write_environment(code: Code, items: Sequence[tuple[str, Any, str, Any]]) -> None:
    """Globals, closure cells, attributes and containers are what they were."""
    for kind, owner, key, value in items:
        held = code.constant(value)
        where = code.constant(owner)
        # While the function is traced, something else stands there.
        called = "run is None and " if kind in ("global", "cell") and stand_for(value) is not None else ""
        if kind == "global":
            code.lines.append(f"if {called}{where}.get({key!r}, MISS) is not {held}: return MISS")
        elif kind == "cell":
            code.lines.append(f"if {called}{where}.cell_contents is not {held}: return MISS")
        elif kind == "attribute":
            code.lines.append(f"if getattr({where}, {key!r}, MISS) is not {held}: return MISS")
        else:
            code.namespace["unchanged"] = unchanged
            code.lines.append(f"if not unchanged({where}, {held}): return MISS")


def overlapping_pairs(leaves: Sequence[Leaf], mutated: set[int]) -> list[tuple[int, int]]:
    """Which array leaves must not share memory: each that is written, with every other."""
    arrays = [leaf.position for leaf in leaves if leaf.kind == "array"]
    return [
        (w, other) for w in sorted(mutated) for other in arrays if other != w and not (other in mutated and other < w)
    ]


FEW_PAIRS = 128
"""Pairs of arrays that are looked at one by one; more of them are sorted by address."""


def write_overlap_check(code: Code, leaves: Sequence[Leaf], mutated: set[int]) -> None:
    """Arguments that are written must not share memory with others: then NumPy's order of events decides."""
    pairs = overlapping_pairs(leaves, mutated)
    if len(pairs) > FEW_PAIRS:
        written = [f"a{leaf.position}" for leaf in leaves if leaf.position in mutated]
        others = [f"a{leaf.position}" for leaf in leaves if leaf.kind == "array" and leaf.position not in mutated]
        code.use("overlap")
        code.lines.append(f"if overlap([{', '.join(written)}], [{', '.join(others)}]): return plain(args, kwargs)")
    elif pairs:
        code.use("may_share_memory")
        tests = " or ".join(f"may_share_memory(a{a}, a{b})" for a, b in pairs)
        code.lines.append(f"if {tests}: return plain(args, kwargs)")


def steps_text(name: str, source_shape: Any, steps: Sequence[Step]) -> str:
    """The NumPy views that lead from an array to a view of it."""
    text, shape = name, source_shape
    for step in steps:
        if isinstance(step, ViewStep):
            text = view_text(text, step.indices, shape, step.shape)
        else:
            text = f"{text}.reshape(({', '.join(map(str, step.shape))}{',' if len(step.shape) == 1 else ''}))"
        shape = step.shape
    return text


def write_writebacks(code: Code, program: Program) -> Program:
    """Values that belong in an argument's memory; what the program still gives of its old value is copied first."""
    pending = [(leaf, buffer) for leaf, buffer in program.writebacks if buffer.name != f"a{leaf}"]
    written = {leaf for leaf, _ in pending}
    saved: dict[Buffer, Buffer] = {}
    number = 1 + max((b.number for step in program.steps for b in (*reads(step), *writes(step))), default=0)
    for buffer in program.outputs:
        origin = origin_of(buffer, program)
        if origin.kind == "argument" and origin.leaf in written and buffer not in saved:
            saved[buffer] = Buffer(number + len(saved), "result", buffer.dtype, buffer.shape)
            code.lines.append(f"{saved[buffer].name} = {buffer.name}.copy()")
    code.lines += [f"a{leaf}[...] = {saved.get(buffer, buffer).name}" for leaf, buffer in pending]
    code.namespace.update({b.name: code.target.constant(b.data) for b in program.outputs if b.kind == "constant"})
    return replace(program, outputs=tuple(saved.get(buffer, buffer) for buffer in program.outputs))


def origin_of(buffer: Buffer, program: Program) -> Buffer:
    """The buffer that a view looks at, itself for one that is none."""
    while buffer.kind == "view":
        buffer = next(step.source for step in program.steps if isinstance(step, View) and step.target == buffer)
    return buffer


def own_memory(buffer: Buffer, program: Program, taken: set[Buffer], carried: set[int]) -> str:
    """An output as memory of its own: copied where the buffer belongs to someone else or is taken already."""
    origin = origin_of(buffer, program)
    ours = origin.kind in ("allocated", "result") or (origin.kind == "argument" and origin.leaf in carried)
    copied = not ours or origin in taken or (buffer.kind == "view" and origin in program.outputs)
    taken.add(origin)
    return f"{buffer.name}.copy()" if copied else buffer.name


def write_call(code: Code, call: Call, operands: Sequence[Buffer], scalar: Sequence[bool]) -> None:
    """What Python or NumPy does at the break; what it raises is its result."""
    code.namespace["Raised"] = Raised
    if call.function is bool and operands[0].dtype == bool and not operands[0].shape:
        code.lines.append(f"outcome = {operands[0].name}.item()")
        return
    texts = [f"{b.name}[()]" if s else b.name for b, s in zip(operands, scalar, strict=True)]
    code.lines += [
        "try:",
        f"    outcome = {call_text(code, on_target(code, call, call.function), texts)}",
        "except Exception as error:",
        "    outcome = Raised(error.with_traceback(None))",
    ]


def write_leaves(code: Code, root: bool, first: int, given: Mapping[int, str], handover: Handover) -> None:
    """The leaves of the next segment: `given` by position, of which those from `first` on are new."""
    new = [given[position] for position in sorted(given) if position >= first]
    if root:
        code.namespace["Run"] = Run
        code.lines.append("if run is None: run = Run(jitted, args, kwargs)")
        code.lines.append(f"run.leaves = [{', '.join([*(f'a{n}' for n in range(first)), *new])}]")
        return
    code.lines += [f"leaves[{position}] = {given[position]}" for position in sorted(given) if position < first]
    code.lines += [f"leaves[{position}] = None" for position in handover.dropped]
    code.namespace["Gone"] = Gone
    code.lines += [f"leaves[{position}] = Gone(leaves[{position}])" for position in handover.gone]
    if new:
        code.lines.append(f"leaves += ({', '.join(new)},)")


def write_result(code: Code, tree: Tree, leaves: list[str]) -> None:
    code.lines.append(f"return {pack_text(tree, leaves, code.constant)}")
