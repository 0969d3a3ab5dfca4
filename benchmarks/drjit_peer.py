"""Dr.Jit on its LLVM backend: the workloads' own code on its arrays and tensors, and its loops where those are better.

Each call traces anew and finds its kernel in Dr.Jit's cache, which is how the library is used; `eval` and
`sync_thread` end a call.  Python numbers among the arguments are opaque, or they would be compiled into the kernel.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import THREADS
from benchmarks.runner import Runner, with_names
from benchmarks.workloads import Workload


def _array_types() -> dict[tuple[str, bool], Any]:
    """(dtype, whether it is flat) -> the type that holds it."""
    from drjit import llvm

    return {
        ("float32", True): llvm.Float,
        ("float64", True): llvm.Float64,
        ("int64", True): llvm.Int64,
        ("float32", False): llvm.TensorXf,
        ("float64", False): llvm.TensorXf64,
        ("int64", False): llvm.TensorXi64,
    }


def _names() -> types.SimpleNamespace:
    """NumPy's spellings of what the workloads use, on Dr.Jit."""
    import drjit as dr

    def var(x: Any, axis: int) -> Any:
        centered = x - dr.mean(x, axis=axis, keepdims=True)
        return dr.mean(centered * centered, axis=axis)

    def total(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return dr.sum(x) if axis is None else dr.sum(x, axis=axis, keepdims=keepdims)

    return types.SimpleNamespace(
        **{name: getattr(dr, name) for name in ("sin", "cos", "exp", "log", "sqrt", "tanh", "abs")},
        **{name: getattr(dr, name) for name in ("mean", "max")},
        sum=total,
        var=var,
        where=dr.select,
        maximum=lambda a, b: dr.select(a > b, a, b),  # where dr.maximum meets a matrix product LLVM gives up
    )


def _pairwise(a: Any, b: Any) -> Any:
    """W11 on flat arrays: one kernel of gathers, which measures better than the broadcast tensors."""
    import drjit as dr
    from drjit.llvm import Float64, TensorXf64, UInt32

    rows, columns = a.shape[0], b.shape[0]
    place = dr.arange(UInt32, rows * columns)
    i, j = place // columns, place % columns
    total = Float64(0.0)
    for k in range(3):
        difference = dr.gather(Float64, a.array, i * 3 + k) - dr.gather(Float64, b.array, j * 3 + k)
        total += difference * difference
    return TensorXf64(dr.sqrt(total), (rows, columns))


def _mandelbrot(cr: Any, ci: Any, zr: Any, zi: Any, counts: Any) -> Any:
    """W12 as a symbolic loop, which ends for a packet when all of its points have escaped."""
    import drjit as dr
    from drjit.llvm import TensorXi64, UInt32

    r, i = cr.array, ci.array

    def alive(step: Any, count: Any, a: Any, b: Any) -> Any:
        return (step < 100) & (a * a + b * b <= 4.0)

    def advance(step: Any, count: Any, a: Any, b: Any) -> Any:
        return step + 1, count + 1, a * a - b * b + r, 2.0 * a * b + i

    state = (UInt32(0), counts.array, zr.array, zi.array)
    _, count, _, _ = dr.while_loop(state, alive, advance)
    return TensorXi64(count, cr.shape)


def _function(workload: Workload) -> Callable[..., Any]:
    import drjit as dr

    if workload.name == "W11":
        return _pairwise
    if workload.name == "W12":
        return _mandelbrot
    return with_names(workload.function, np=_names(), erf=dr.erf)


def drjit_runner(workload: Workload) -> Runner | None:
    """The workload on Dr.Jit, where it has the operations."""
    if workload.mutates or workload.name == "W14":  # no batched matrix product
        return None
    import drjit as dr

    dr.set_thread_count(THREADS)
    kinds = _array_types()

    def convert(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        def one(argument: Any) -> Any:
            if isinstance(argument, np.ndarray):
                return kinds[str(argument.dtype), argument.ndim == 1](argument)
            return dr.opaque(kinds["float64", True], argument)

        converted = tuple(one(argument) for argument in arguments)
        dr.eval(*converted)
        dr.sync_thread()
        return converted

    def wait(result: Any) -> Any:
        dr.eval(result)
        dr.sync_thread()
        return result

    return Runner(_function(workload), convert, wait)
