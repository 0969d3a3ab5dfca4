"""PyTensor in its default mode (Numba since version 3): the workloads' own code on its symbolic variables."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.runner import Runner, with_names
from benchmarks.workloads import Workload


def _names() -> types.SimpleNamespace:
    """NumPy's spellings of what the workloads use, on PyTensor."""
    import pytensor.tensor as pt

    plain = ("sin", "cos", "exp", "log", "sqrt", "tanh", "abs", "where", "sum", "mean", "var", "max", "maximum")
    return types.SimpleNamespace(**{name: getattr(pt, name) for name in plain}, pad=pt.pad, stack=pt.stack)


def pytensor_runner(workload: Workload) -> Runner | None:
    """The workload as a compiled PyTensor function; compiled at the first call, of which compiling is a part."""
    if workload.mutates:
        return None
    import pytensor
    import pytensor.tensor as pt

    function = with_names(workload.function, np=_names(), erf=pt.erf)
    compiled: list[Callable[..., Any]] = []

    def variable(argument: Any) -> Any:
        if isinstance(argument, np.ndarray):
            return pt.tensor(dtype=str(argument.dtype), shape=(None,) * argument.ndim)
        return pt.dscalar()

    def call(*arguments: Any) -> Any:
        if not compiled:
            variables = [variable(argument) for argument in arguments]
            result = function(*variables)
            outputs = list(result) if isinstance(result, tuple) else result
            made = pytensor.function(variables, outputs)
            made.trust_input = True
            compiled.append(made)
        return compiled[0](*arguments)

    def convert(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(a if isinstance(a, np.ndarray) else np.asarray(a, np.float64) for a in arguments)

    return Runner(call, convert)
