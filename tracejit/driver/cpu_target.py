"""The CPU as a target: NumPy's functions between kernels, and launches that say how many threads they get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.driver.host_code import ALIGNED, C_ALIGNED, WRITEABLE, Code, operand, product_text
from tracejit.driver.target import Target
from tracejit.ir.size import Dimension
from tracejit.lower.abi import panel_axes, panel_units
from tracejit.lower.launch_cost import WORTH_ASKING, Term, launch_cost
from tracejit.runtime.buffers import copy_around, empty
from tracejit.runtime.device import CPU as CPU_DEVICE
from tracejit.runtime.kernel_cache import get_kernels
from tracejit.runtime.machine import machine
from tracejit.runtime.overlap import overlap
from tracejit.runtime.threads import threads_for
from tracejit.runtime.together import together
from tracejit.schedule.kernel import CHUNK, NARROW_TILE, TILE
from tracejit.schedule.steps import Launch, Program
from tracejit.trace.opaque import Call
from tracejit.trace.state import Leaf


def _write_argument(code: Code, leaf: Leaf, layout: str, mutated: bool) -> None:
    code.namespace["ndarray"] = np.ndarray
    code.lines.append(f"if {_array_test(code, leaf, layout, mutated)}: return MISS")


def _array_test(code: Code, leaf: Leaf, layout: str, mutated: bool) -> str:
    """What an array must not be: another type, dtype, rank or layout, or read-only where it is written."""
    name, array = f"a{leaf.position}", leaf.value
    test = f"type({name}) is not ndarray or {name}.dtype != {code.constant(array.dtype)}"
    if layout == "C" and array.ndim == 1:
        # One look at the strides tells rank and contiguity, for half the time of rank and flags.
        test += f" or {name}.strides != {(array.itemsize,)}"
        return f"{test} or not {name}.flags.writeable" if mutated else test
    bits, expected = flag_test(array, layout, mutated)
    test += f" or {name}.ndim != {array.ndim} or {name}.flags.num & {bits} != {expected}"
    return f"{test} or {name}.strides[-1] != {array.itemsize}" if layout == "unit" else test


def flag_test(array: np.ndarray[Any, Any], layout: str, mutated: bool) -> tuple[int, int]:
    """Which bits of `flags.num` to look at, and what they must be, for a call to be one like that of `array`."""
    bits = C_ALIGNED if layout == "C" or not array.flags.c_contiguous else ALIGNED
    expected = C_ALIGNED if layout == "C" else ALIGNED
    return (bits | WRITEABLE, expected | WRITEABLE) if mutated else (bits, expected)


def _write_launch(code: Code, step: Launch, loaded: Any, raise_index: Callable[..., Any]) -> None:
    """The kernel on one thread, or shared out where it is long enough."""
    kernel = step.kernel
    name = code.constant(loaded.entry)
    units = _units_text(code, step)
    if kernel.form == "reduce_all":
        code.lines.append(f"units = {units}")
        units = "units"
    arguments: list[str] = []
    for buffer in step.buffers:
        if buffer.kind == "partial":
            code.use("np_empty")
            arguments.append(f"np_empty(({units},), {code.constant(buffer.dtype)})")
        else:
            arguments.append(operand(code, buffer))
    arguments += [str(e) for e in step.extents] + [str(i) for i in step.integers] + list(step.scalars)
    code.namespace["threads_for"] = threads_for
    cost = launch_cost(kernel, machine().vector)
    work, traffic = (_sum_text(terms, step.extents) for terms in cost)
    threads = f"1 if (work := {work}) <= {WORTH_ASKING} else threads_for(work, {traffic})"
    code.lines.append(f"error = {name}({', '.join(arguments)}, {units}, {threads})")
    code.namespace["raise_kernel_error"] = raise_index
    code.lines.append(f"if error is not None: raise_kernel_error(error, {code.constant(step)})")


def _panel_extents(step: Launch) -> list[str]:
    """The arguments of `panel_units`."""
    return [product_text(tuple(step.extents[axis] for axis in axes)) for axes in panel_axes(step.kernel)]


def _sum_text(terms: Sequence[Term], extents: tuple[Dimension, ...]) -> str:
    """A sum over products of extents."""
    products = [(amount, product_text(tuple(extents[axis] for axis in axes))) for axes, amount in terms]
    return " + ".join(f"{amount} * {product}" for amount, product in products) or "0.0"


def _units_text(code: Code, step: Launch) -> str:
    """How many units of work there are (see lower.abi.units)."""
    kernel, extents = step.kernel, step.extents
    if kernel.form == "reduce_all":
        axes = kernel.stages[0].axes
        if len(axes) == 1:
            return f"-(-({extents[axes[0]]}) // {CHUNK})"
        inner = product_text(tuple(extents[axis] for axis in axes[1:]))
        return f"-(-({extents[axes[0]]}) // max(1, {CHUNK} // max(1, {inner})))"
    if kernel.form == "panels":
        code.namespace["panel_units"] = panel_units
        return f"panel_units({', '.join(_panel_extents(step))})"
    if kernel.form == "reduce_columns" and len(kernel.outer) == 1:
        columns = f"({extents[kernel.outer[0]]})"
        return f"-(-{columns} // min(max(({columns} + 127) // 128 * 64, {NARROW_TILE}), {TILE}))"
    return str(extents[kernel.outer[0]])


def _write_captured(code: Code, name: str, array: Any) -> None:
    code.namespace[name] = array


def _result(code: Code, text: str, own: bool) -> str:
    return text


def _refuse(program: Program, call: Call | None, line: str) -> None:
    """NumPy does what no kernel does."""


CPU = Target(
    CPU_DEVICE,
    {
        "empty": empty,
        "np_empty": np.empty,
        "copyto": np.copyto,
        "copy_around": copy_around,
        "ascontiguousarray": np.ascontiguousarray,
        "asarray": np.asarray,
        "broadcast_to": np.broadcast_to,
        "matmul": np.matmul,
        "together": together,
        "may_share_memory": np.may_share_memory,
        "overlap": overlap,
    },
    np.array,
    {},
    get_kernels,
    _write_launch,
    _write_argument,
    _write_captured,
    _result,
    _refuse,
)
"""The target of traces whose arguments are NumPy's."""
