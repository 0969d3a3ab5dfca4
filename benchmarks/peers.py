"""The peers: how each runs a workload. What is not installed is left out.

NumPy and tracejit run the workload as it is written; jax, torch, PyTensor and Dr.Jit run the same code with their own
functions under the name `np`; Numba runs hand-written loops (`numba_loops`), once with the C library's functions and
once with ours (`numba_vecmath`); numexpr its expression strings.
"""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Callable
from typing import Any

from benchmarks import THREADS
from benchmarks.drjit_peer import drjit_runner
from benchmarks.pytensor_peer import pytensor_runner
from benchmarks.runner import Peer, Runner, with_names
from benchmarks.workloads import Workload


def numpy_runner(workload: Workload) -> Runner:
    """The function itself."""
    return Runner(workload.function)


def tracejit_runner(workload: Workload) -> Runner:
    """`tj.jit`, and nothing else."""
    import tracejit as tj

    tj.set_num_threads(THREADS)
    return Runner(tj.jit(workload.function))


def numba_runner(workload: Workload) -> Runner | None:
    """Hand-written loops; a chain (W13) goes to the compiler as it is."""
    import numba

    from benchmarks import numba_loops

    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    if workload.name.startswith("W13"):
        return Runner(numba.njit(error_model="numpy")(workload.function))
    loops = numba_loops.LOOPS.get(workload.name)
    return None if loops is None else Runner(loops)


def numba_vecmath_runner(workload: Workload) -> Runner | None:
    """The same loops, calling tracejit's functions in place of the C library's where they call any."""
    import numba

    from benchmarks import numba_loops, numba_vecmath

    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    loops: Any = numba_loops.LOOPS.get(workload.name)
    if loops is None:
        return None
    function = with_names(loops.py_func, math=numba_vecmath)
    options = {name: value for name, value in loops.targetoptions.items() if name != "nopython"}
    return Runner(numba.njit(**options)(function))


def jax_runner(workload: Workload) -> Runner | None:
    """`jax.jit` of the same code; arrays already on the device."""
    if workload.mutates:
        return None
    import jax

    function = with_names(workload.function, np=jax.numpy, erf=jax.scipy.special.erf)

    def convert(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(jax.numpy.asarray(a) if hasattr(a, "shape") else a for a in arguments)

    return Runner(jax.jit(function), convert, jax.block_until_ready)


def _torch_names() -> types.SimpleNamespace:
    """NumPy's spellings of what the workloads use, on torch."""
    import torch

    def pad(x: Any, widths: Any) -> Any:
        return torch.nn.functional.pad(x, [n for pair in reversed(widths) for n in pair])

    def maximum(a: Any, b: Any) -> Any:
        return torch.maximum(a, b) if isinstance(b, torch.Tensor) else torch.clamp_min(a, b)

    plain = ("sin", "cos", "exp", "log", "sqrt", "tanh", "abs", "where", "sum", "mean", "stack")
    return types.SimpleNamespace(
        **{name: getattr(torch, name) for name in plain},
        pad=pad,
        maximum=maximum,
        max=lambda x, axis, keepdims=False: torch.amax(x, axis, keepdims),
        var=lambda x, axis: torch.var(x, axis, correction=0),
    )


def torch_runner(workload: Workload) -> Runner | None:
    """`torch.compile` of the same code, on tensors that share the arrays' memory."""
    import torch

    torch.set_num_threads(THREADS)
    function = with_names(workload.function, np=_torch_names(), erf=torch.erf)

    def convert(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(torch.from_numpy(a) if hasattr(a, "shape") else a for a in arguments)

    return Runner(torch.no_grad()(torch.compile(function, dynamic=False)), convert)


NUMEXPR = {
    "W1": "sin(x)**2 + cos(y)*exp(-x*y)",
    "W2": "sin(x)**2 + cos(y)*exp(-x*y)",
    "W3": "a*x + b*y + c",
    "W8a": "sum((x-y)**2)",
    "W10a": "x*2 + 1",
    "W10c": "a + b + c + d + e + f + g + h",
}


def numexpr_runner(workload: Workload) -> Runner | None:
    """The workload's expression as a string, where it is one expression."""
    import numexpr

    numexpr.set_num_threads(THREADS)
    evaluate = numexpr.evaluate
    if workload.name in ("W9", "W9b"):
        return Runner(_numexpr_jacobi(evaluate, workload.mutates))
    if workload.name == "W11":
        return Runner(_numexpr_pairwise(evaluate))
    if workload.name not in NUMEXPR:
        return None
    text = NUMEXPR[workload.name]
    code = workload.function.__code__
    names = code.co_varnames[: code.co_argcount]
    return Runner(lambda *arguments: evaluate(text, dict(zip(names, arguments, strict=True)), {}))


def _numexpr_jacobi(evaluate: Callable[..., Any], into: bool) -> Callable[..., Any]:
    def sweep(*arguments: Any) -> Any:
        u = arguments[-1]
        parts = {"n": u[:-2, 1:-1], "s": u[2:, 1:-1], "w": u[1:-1, :-2], "e": u[1:-1, 2:]}
        out = {"out": arguments[0][1:-1, 1:-1]} if into else {}
        return evaluate("0.25*(n + s + w + e)", parts, {}, **out)

    return sweep


def _numexpr_pairwise(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    text = "sqrt((a0 - b0)**2 + (a1 - b1)**2 + (a2 - b2)**2)"

    def pairwise(a: Any, b: Any) -> Any:
        first = {f"a{k}": a[:, k, None] for k in range(3)}
        second = {f"b{k}": b[None, :, k] for k in range(3)}
        return evaluate(text, {**first, **second}, {})

    return pairwise


_SLOW_CHAIN = "a chain of 1000 ops takes it half a minute or more to compile"

PEERS: tuple[Peer, ...] = (
    Peer("numpy", "numpy", numpy_runner, {}),
    Peer("tracejit", "tracejit", tracejit_runner, {}),
    Peer("numba", "numba", numba_runner, {"W13-1000": _SLOW_CHAIN}),
    Peer("numba+", "numba", numba_vecmath_runner, {}),
    Peer("numexpr", "numexpr", numexpr_runner, {}),
    Peer("jax", "jax", jax_runner, {"W13-1000": "compiling the chain of 1000 ops ran out of 16 GiB of memory"}),
    Peer(
        "torch",
        "torch",
        torch_runner,
        {"W12": "compiling the 100 unrolled steps takes minutes", "W13-1000": _SLOW_CHAIN},
    ),
    Peer("pytensor", "pytensor", pytensor_runner, {"W13-1000": _SLOW_CHAIN}),
    Peer("drjit", "drjit", drjit_runner, {}),
)


def by_name(name: str) -> Peer:
    """The peer of that name."""
    return next(peer for peer in PEERS if peer.name == name)


def available(names: list[str] | None = None) -> list[Peer]:
    """The peers that are installed, among those named."""
    known = {peer.name for peer in PEERS}
    if names is not None and (missing := sorted(set(names) - known)):
        raise SystemExit(f"no peer {', '.join(missing)}; there are {', '.join(sorted(known))}")
    wanted = [peer for peer in PEERS if names is None or peer.name in names]
    return [peer for peer in wanted if importlib.util.find_spec(peer.module) is not None]
