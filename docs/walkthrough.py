"""A walk through tracejit: one NumPy function, from its source to machine code, every intermediate printed.

Run it with `python -m docs.walkthrough`, and read it beside what it prints.  Each chapter is one package of tracejit,
in the order in which data flows: `trace` -> `ir` -> `passes` -> `schedule` -> `lower` -> `runtime`, and `driver`, which
calls them all.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np

import tracejit as tj
from tracejit.ir.verify import verify
from tracejit.lower import cpu
from tracejit.lower.python_source import python_source
from tracejit.ops.table import OPS, SPELLINGS
from tracejit.passes import PIPELINE
from tracejit.schedule.materialize import materialized
from tracejit.schedule.panel_products import panel_products
from tracejit.schedule.scheduler import schedule
from tracejit.schedule.steps import Allocate, CallNumpy, Copy, Launch, Multiply, View


def chapter(title):
    print(f"\n{'=' * 100}\n{title}\n{'=' * 100}")


def short(text):
    """What is printed without the folder of this file in it."""
    return str(text).replace(str(Path(__file__).parent) + "/", "")


# A function as people write it.  Nothing in it knows of tracejit.  It standardizes the rows of a table, with its border
# cut off, by weights per column; and it is written a little carelessly, so that the passes have something to do.


def standardize(table, slope):
    weights = np.exp(np.broadcast_to(slope, table.shape))  # the exponential of a broadcast: repeated work
    inner = table[1:][:-1]  # a view of a view
    weighted = 1.0 * inner * weights[1:-1]  # a multiplication that does nothing
    center = weighted.mean(axis=1, keepdims=True)
    spread = np.sqrt(((weighted - center) ** 2).mean(axis=1, keepdims=True))
    return (weighted - center) / spread  # `weighted - center` again: equal expressions are one node, so no work


def walk():
    rng = np.random.default_rng(0)
    table, slope = rng.random((8, 5)), rng.random(5)
    the_op_table()
    jitted, graph = tracing(table, slope)
    graph = optimizing(graph)
    program = scheduling(graph)
    lowering(program)
    running(jitted, rng)
    branching()
    looping()
    differentiating()
    eager(rng)


def the_op_table():
    chapter("1. The op table: all that there is to know of an op, in one entry (tracejit.ops)")
    # The eager function, the tracer's handling of np.exp, the kernel's instructions, the docs: all derive from this.
    op = OPS["exp"]
    print(f"{op.name}: {op.doc}  kind={op.kind}  spellings={op.spellings}  within {op.ulp} ULP  cost={op.cost}")
    print("np.multiply is spelt by the op:", SPELLINGS["numpy.multiply"].name)
    print(f"{len(OPS)} ops of the kinds", ", ".join(sorted({op.kind for op in OPS.values()})))


def tracing(table, slope):
    chapter("2. Tracing: the function runs once on stand-ins for arrays, which record what is done (tracejit.trace)")
    jitted = tj.jit(standardize)
    # `trace` performs a call and shows what was recorded.  Each line is a typed value: f64[n0, n1] is a float64 array
    # whose sizes are symbols, so one graph serves every size.  What follows # is the user's line.
    graph = jitted.trace(table, slope)
    print(short(graph))
    # Where the trace relied on a fact, the fact became a guard: a call for which it does not hold is traced anew.
    segment = jitted.roots[0]
    print("\nsizes:", {name: f"argument {leaf}, axis {axis}" for name, (leaf, axis) in segment.origins.items()})
    for guard, line in segment.guards:
        print(f"guard: {guard:<14} needed at line {line.rpartition(':')[2]}")
    return jitted, graph


def optimizing(graph):
    chapter("3. Passes: each a pure function from graph to graph; one list is their order (tracejit.passes)")
    print(" -> ".join(function.__name__ for function in PIPELINE))
    for function in PIPELINE:
        before = str(graph)
        graph = verify(function(graph), after=function.__name__)
        if str(graph) == before:
            continue
        # What a pass is for stands in its module's first line.
        purpose = import_module(function.__module__).__doc__.splitlines()[0]
        print(f"\n--- {function.__name__}: {purpose}")
        for sign, line in changed_lines(before, str(graph)):
            print(f"  {sign} {line}")
    print("\nThe optimized graph:\n")
    print(short(graph))
    return graph


def changed_lines(before, after):
    """Graph lines that only one side has, apart from the numbers of the values."""

    def shape(line):
        text = line.partition("#")[0]
        return "".join(c for c in text if not c.isdigit()).strip()

    old, new = [[(shape(line), line.partition("#")[0].strip()) for line in s.splitlines()[1:]] for s in (before, after)]
    for sign, lines, others in (("-", old, new), ("+", new, old)):
        left = [key for key, _ in others]
        for key, line in lines:
            if key in left:
                left.remove(key)
            else:
                yield sign, line


def scheduling(graph):
    chapter("4. Scheduling: what gets memory, what shares a kernel, and in which order (tracejit.schedule)")
    # Most values never exist in memory: they are computed inside the kernel that uses them.  Memory goes to results, to
    # reductions, and to what would be computed again and again (here the exponentials, once a column, not once a cell).
    # What only its own kernel reads, that kernel keeps: a row of scratch memory, or one number a row.
    memory = materialized(graph, panel_products(graph), fastmath=False)
    for node in graph.nodes:
        if node.shape and node.op != "input":
            place = "memory" if id(node) in memory else ""
            print(f"{graph.names[id(node)]:>4}: {node.type!s:<16} {node.op:<10} {place}".rstrip())
    # The groups of values that are computed together are called kernels; a Program is the list of steps of the host.
    program = schedule(graph, {0: "C", 1: "C"})
    print("\nThe program:")
    for step in program.steps:
        print("   ", step_text(step, graph))
    print("    return", ", ".join(buffer.name for buffer in program.outputs))
    return program


def step_text(step, graph):
    if isinstance(step, Launch):
        roots = ", ".join(graph.names[id(root)] for root in step.roots)
        buffers = ", ".join(buffer.name for buffer in step.buffers)
        stages = len(step.kernel.stages)
        return f"launch a '{step.kernel.form}' kernel of {stages} stage(s) on ({buffers}) that computes {roots}"
    if isinstance(step, Allocate):
        return f"allocate {step.target.name}: {step.target.dtype}{list(step.target.shape)}"
    if isinstance(step, (Copy, View)):
        return f"{type(step).__name__.lower()} {step.target.name} <- {step.source.name}"
    assert isinstance(step, (CallNumpy, Multiply))
    return f"call NumPy for {step.target.name}"


def lowering(program):
    chapter("5. Lowering: a kernel as a loop nest, as LLVM IR, as machine code (tracejit.lower)")
    # Each kernel is generic in its sizes (n0, n1, ... are arguments).  The same kernel can be printed as plain Python.
    for number, kernel in enumerate(program.kernels):
        print(f"kernel {number}, structure {kernel.structure[:8]}\n{python_source(kernel)}")
    # For speed it is emitted as typed LLVM IR, without type inference, and optimized by LLVM.
    llvm_ir = str(cpu.emit_module(program.kernels))
    assembly = cpu.assembly(program.kernels)
    print(f"LLVM IR: {len(llvm_ir.splitlines())} lines before optimization")
    print(f"assembly: {len(assembly.splitlines())} lines")


def running(jitted, rng):
    chapter("6. Running: generated host code checks the guards and runs the steps (tracejit.driver, tracejit.runtime)")
    # A guard that fails returns MISS: the next trace is tried, and the function traced again if none fits.
    print(jitted.sources())
    # Another size fits the same guards, so nothing is traced and nothing compiled.
    before = jitted.stats.traces, jitted.stats.kernels_compiled
    table, slope = rng.random((300, 40)), rng.random(40)
    assert np.allclose(jitted(table, slope), standardize(table, slope))
    new_traces, new_kernels = jitted.stats.traces - before[0], jitted.stats.kernels_compiled - before[1]
    print(f"\na second size: {new_traces} new traces, {new_kernels} new kernels")
    # Another dtype is another trace.
    assert jitted(table.astype(np.float32), slope.astype(np.float32)).dtype == np.float32
    print("traced again because", jitted.reasons[-1])


# Python's `if` needs a plain number.  The graph so far is compiled and run there, its outcome picks the branch, and
# tracing goes on: the function becomes a tree of segments, and each branch is traced when it is first taken.


def shrink(x):
    length = np.sqrt(np.sum(x * x))
    if length > 1.0:
        return x / length
    return x + 0.0


def branching():
    chapter("7. Control flow on data: segments")
    jitted = tj.jit(shrink)
    for values in (np.array([3.0, 4.0]), np.array([0.3, 0.4]), np.array([6.0, 8.0])):
        result = jitted(values)
        print(f"shrink({values}) = {result}   traces so far: {jitted.stats.traces}")
    after_first = jitted.roots[0].following
    print(f"segment 0 ends with {after_first.call.name}(), line {after_first.line.rpartition(':')[2]}")
    for outcome, segments in after_first.branches.items():
        print(f"\nif it is {outcome}:\n{short(segments[0].graph)}")


def logistic(x, rate):
    return tj.fori_loop(0, 50, lambda i, population: rate * population * (1.0 - population), x)


def looping():
    chapter("8. Structured control flow: a loop is one node with a body, and one native loop (tracejit.control)")
    jitted = tj.jit(logistic)
    print(f"logistic(0.2, 3.1) = {jitted(0.2, 3.1)}\n")
    print(short(jitted.trace(0.2, 3.1)))
    for step in jitted.roots[0].program.steps:
        if isinstance(step, Launch):
            print(f"\n{python_source(step.kernel)}")


def distance(x, y):
    return np.sum((np.sin(x) - y) ** 2)


def differentiating():
    chapter("9. Derivatives: from graph to graph by rules of the op table, so all of it fuses (tracejit.autodiff)")
    for name in ("sin", "multiply", "power"):
        print(f"{name:9} has the partial derivatives {OPS[name].derivative}")
    gradient = tj.grad(distance)
    x, y = np.linspace(0.0, 1.0, 4), np.ones(4)
    print(f"\ngrad(distance)({x}, {y}) = {gradient(x, y)}\n")
    print(short(gradient.compiled.roots[0].graph))
    for step in gradient.compiled.roots[0].program.steps:
        if isinstance(step, Launch):
            print(f"\n{python_source(step.kernel)}")


def eager(rng):
    chapter("10. Eager: every op is a function too, with the bits that it has inside a jitted function")
    x = rng.random(5)
    print("tj.exp(x) =", tj.exp(x))
    print("the same bits under jit:", np.array_equal(tj.exp(x), tj.jit(lambda v: np.exp(v))(x)))
    with tj.disable_jit():
        print("without jit the function is itself again:", tj.jit(shrink)(x))


if __name__ == "__main__":
    walk()
