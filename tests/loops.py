"""Graphs with loops and branches, made by hand, and running them: compiled, printed and portable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from tracejit.driver.cpu_target import CPU
from tracejit.driver.host_code import Code
from tracejit.driver.host_program import write_program
from tracejit.driver.kernel_errors import raise_kernel_error
from tracejit.ir.graph import Graph
from tracejit.ir.node import SEVERAL, ArrayType, Builder, Node, Shape, broadcast_indices
from tracejit.ir.size import Dimension, symbol
from tracejit.lower.python_source import python_source
from tracejit.runtime.kernel_cache import get_kernels
from tracejit.runtime.machine_code import portable_entry
from tracejit.schedule.kernel import Kernel
from tracejit.schedule.scheduler import schedule
from tracejit.schedule.steps import Launch, Program

T, N, M = symbol("t"), symbol("n"), symbol("m")


# ---- graphs by hand

B = Builder()


def typed(dtype: Any, *shape: Dimension) -> ArrayType:
    return ArrayType(np.dtype(dtype), shape)


def argument(position: int, dtype: Any, *shape: Dimension) -> Node:
    return B.node("input", (), {"position": position}, typed(dtype, *shape))


def op(name: str, *sources: Any) -> Node:
    """An elementwise op; numbers take the dtype of the nodes, 0-d nodes their shape."""
    first = next(s for s in sources[::-1] if isinstance(s, Node))
    shape: Shape = max((s.shape for s in sources if isinstance(s, Node)), key=len)
    nodes = [s if isinstance(s, Node) else B.constant(s, first.dtype) for s in sources]
    nodes = [B.view(s, broadcast_indices(s.shape, shape), shape) for s in nodes]
    truth = name in ("less", "less_equal", "greater", "equal", "not_equal")
    return B.node(name, tuple(nodes), {}, ArrayType(np.dtype(bool) if truth else first.dtype, shape))


def graph_of(function: Callable[..., Sequence[Node]], types: Sequence[ArrayType]) -> Graph:
    parameters = B.parameters(types)
    return Graph(parameters, tuple(function(*parameters)))


def loop(
    body: Callable[..., Sequence[Node]],
    carries: Sequence[Node],
    xs: Sequence[Node] = (),
    length: Dimension | None = None,
    constants: Sequence[Node] = (),
    condition: Callable[..., Node] | None = None,
    reverse: bool = False,
) -> list[Node]:
    """body(counter, *constants, *carries, *slices) -> (*carries, *slices of ys); the parts of the loop."""
    types = [s.type for s in (*constants, *carries)]
    slices = [ArrayType(x.dtype, x.shape[1:]) for x in xs]
    graph = graph_of(body, [typed("i8"), *types, *slices])
    tested = None if condition is None else graph_of(lambda *p: [condition(*p)], types)
    params = {"body": graph, "condition": tested, "length": length, "reverse": reverse}
    params |= {"constants": len(constants), "carries": len(carries), "xs": len(xs)}
    node = B.node("loop", (*constants, *carries, *xs), params, SEVERAL)
    kinds = [o.type for o in graph.outputs[: len(carries)]]
    kinds += [ArrayType(o.dtype, (length, *o.shape)) for o in graph.outputs[len(carries) :] if length is not None]
    return [B.part(node, number, kind) for number, kind in enumerate(kinds)]


def branch(selector: Node, bodies: Sequence[Callable[..., Sequence[Node]]], *operands: Node) -> list[Node]:
    graphs = tuple(graph_of(body, [s.type for s in operands]) for body in bodies)
    node = B.node("branch", (selector, *operands), {"branches": graphs}, SEVERAL)
    return [B.part(node, number, o.type) for number, o in enumerate(graphs[0].outputs)]


def take(source: Node, position: Node) -> Node:
    """source[position] along the only axis."""
    params = {"axes": (0,), "at": 0, "rank": len(position.shape)}
    return B.node("gather", (source, position), params, ArrayType(source.dtype, position.shape))


# ---- running them


def program_of(outputs: Sequence[Node], **options: Any) -> Program:
    found = {n["position"]: n for n in Graph((), tuple(outputs)).nodes if n.op == "input"}
    return schedule(Graph(tuple(found[p] for p in sorted(found)), tuple(outputs)), **options)


def execute(program: Program, entries: list[Any], arrays: Sequence[Any], numbers: dict[str, Any]) -> list[Any]:
    code = Code(CPU)
    write_program(code, program, [SimpleNamespace(entry=entry) for entry in entries], raise_kernel_error)
    code.lines.append(f"return [{', '.join(b.name for b in program.outputs)}]")
    parameters = ", ".join([*(f"a{k}" for k in range(len(arrays))), *numbers])
    return list(code.function("program", parameters)(*arrays, *numbers.values()))


def printed(program: Program) -> list[Any]:
    """The program's kernels as Python functions."""
    return [printed_entry(kernel) for kernel in program.kernels]


def printed_entry(kernel: Kernel) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"np": np}
    exec(python_source(kernel), namespace)

    def entry(*given: Any) -> None:
        # A kernel may see fewer dimensions than the array has, its last ones walked as one.
        ranks = [operand.rank for operand in kernel.operands]
        arrays = [a.reshape(*a.shape[: r - 1], -1) if a.ndim > r else a for a, r in zip(given, ranks, strict=False)]
        namespace["kernel"](*arrays, *given[len(ranks) : -2])

    return entry


def run(outputs: Sequence[Node], *arrays: Any, **numbers: Any) -> list[Any]:
    """The outputs, compiled; the printed kernels and the portable entries agree."""
    program = program_of(outputs)
    given = [np.asarray(array) for array in arrays]
    loaded = get_kernels(program.kernels)
    results = execute(program, [kernel.entry for kernel in loaded], given, numbers)
    with np.errstate(all="ignore"):
        others = execute(program, printed(program), given, numbers)
    portable = execute(program, [portable_entry(k.kernel, k.keep_alive) for k in loaded], given, numbers)
    for result, other, third in zip(results, others, portable, strict=True):
        np.testing.assert_allclose(other, result, rtol=1e-13, atol=1e-14)
        assert third.tobytes() == result.tobytes()
    return results


def launches(outputs: Sequence[Node]) -> list[Launch]:
    return [step for step in program_of(outputs).steps if isinstance(step, Launch)]
