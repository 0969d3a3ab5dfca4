"""The peers: how each runs a workload. What is not installed is left out.

NumPy and tracejit run the workload as it is written; jax and torch run the same code with their own functions under
the name `np`; Numba runs hand-written loops (`numba_loops`), numexpr its expression strings.
"""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import THREADS
from benchmarks.workloads import Workload


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Runner:
    """A workload made ready for one peer: `wait(function(*convert(arguments)))`."""

    function: Callable[..., Any]
    convert: Callable[[tuple[Any, ...]], tuple[Any, ...]] = _same
    wait: Callable[[Any], Any] = _same

    @property
    def immediate(self) -> bool:
        """Whether the result is there when the call returns, so that nothing need be waited for."""
        return self.wait is _same


@dataclass(frozen=True)
class Peer:
    """One way to run NumPy-like code; `prepare` gives None for what it cannot express."""

    name: str
    module: str
    prepare: Callable[[Workload], Runner | None]


def with_names(function: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """The function with some of its globals replaced, such as `np` by `jax.numpy`."""
    assert isinstance(function, types.FunctionType)
    made = types.FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__
    )
    made.__doc__ = function.__doc__
    return made


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
        return Runner(numba.njit(error_model="numpy")(workload.function)) if _short(workload) else None
    loops = numba_loops.LOOPS.get(workload.name)
    return None if loops is None else Runner(loops)


def _short(workload: Workload) -> bool:
    """Whether compiling the chain takes seconds and not minutes where every op is inferred."""
    return int(workload.name.split("-")[1]) <= 100


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
    if workload.name.startswith("W13") and not _short(workload):
        return None
    if workload.name == "W12":  # a hundred unrolled steps take it minutes
        return None
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


PEERS: tuple[Peer, ...] = (
    Peer("numpy", "numpy", numpy_runner),
    Peer("tracejit", "tracejit", tracejit_runner),
    Peer("numba", "numba", numba_runner),
    Peer("numexpr", "numexpr", numexpr_runner),
    Peer("jax", "jax", jax_runner),
    Peer("torch", "torch", torch_runner),
)


def available(names: list[str] | None = None) -> list[Peer]:
    """The peers that are installed, among those named."""
    known = {peer.name for peer in PEERS}
    if names is not None and (missing := sorted(set(names) - known)):
        raise SystemExit(f"no peer {', '.join(missing)}; there are {', '.join(sorted(known))}")
    wanted = [peer for peer in PEERS if names is None or peer.name in names]
    return [peer for peer in wanted if importlib.util.find_spec(peer.module) is not None]
