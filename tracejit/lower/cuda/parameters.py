"""The parameters of a kernel's functions, and the lines at their head that make indices of the words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tracejit.lower.cuda.kernel import Parameter, Work
from tracejit.lower.cuda.text import Text
from tracejit.schedule.kernel import Gather, Kernel

_PREFIXES = {"in": "x", "out": "out", "inout": "y", "scratch": "row"}

_WORDS = {"b": "int64", "i": "int64", "u": "uint64", "f": "float64"}


def operand_names(kernel: Kernel) -> list[str]:
    """x0, x1 for what is read, out0 for what is written, y0 for both, row0 for scratch; as `python_source` has it."""
    counts: dict[str, int] = {}
    names = []
    for operand in kernel.operands:
        prefix = _PREFIXES.get(operand.role, "part")
        counts[prefix] = counts.get(prefix, -1) + 1
        names.append(f"{prefix}{counts[prefix]}")
    return names


def parameters(kernel: Kernel, work: Sequence[Work] = ()) -> tuple[Parameter, ...]:
    """The words of a call, in the order that `cuda.kernel` states."""
    gathered = {line.body.operand for line in kernel.instructions if isinstance(line.body, Gather)}
    found = []
    for number, (operand, name) in enumerate(zip(kernel.operands, operand_names(kernel), strict=True)):
        if operand.role in ("scratch", "partial"):
            continue
        found.append(Parameter(name, "pointer", operand.dtype, number))
        found += [Parameter(f"{name}_s{d}", "stride", "int64", number, d) for d in range(operand.rank)]
        if number in gathered:
            found += [Parameter(f"{name}_n{d}", "size", "int64", number, d) for d in range(operand.rank)]
    found += [Parameter(f"n{axis}", "extent", "int64", place=axis) for axis in range(kernel.axes)]
    found += [Parameter(f"m{k}", "integer", "int64", place=k) for k in range(kernel.integers)]
    for slot, dtype in enumerate(kernel.scalars):
        found.append(Parameter(f"s{slot}", "scalar", _WORDS[np.dtype(dtype).kind], place=slot))
    found += [Parameter(f"work{k}", "work", item.dtype, place=k) for k, item in enumerate(work)]
    return (*found, Parameter("error", "error", "int64"))


def function(
    function_name: str, kernel: Kernel, words: Sequence[Parameter], lines: Sequence[str], index_bits: int
) -> str:
    """The text of a function: its head, the indices that its lines use, the lines."""
    used = set(re.findall(r"\w+", "\n".join(lines)))
    head = []
    for word in words:
        name, text = word.name, word.name
        if word.kind == "stride":
            size = np.dtype(kernel.operands[word.operand].dtype).itemsize
            text = f"{name} >> {size.bit_length() - 1}" if size > 1 else name
        elif word.kind == "integer":
            name = f"i{name}"  # an index; as a value it keeps its 64 bits
        elif word.kind != "extent":
            continue
        text = f"int32({text})" if index_bits == 32 else text
        if name in used and name != text:
            head.append(f"    {name} = {text}")
    names = ", ".join(word.name for word in words)
    return "\n".join([f"def {function_name}({names}):", *head, *lines, ""])


def source(text: Text, *functions: str) -> str:
    """The whole text: helper functions, then those that are launched."""
    return "\n\n".join([*text.helper_texts, *functions])
