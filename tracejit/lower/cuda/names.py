"""The names that the text of a kernel is read with: `functions` makes Python functions of the text.

Numba is a stranger here: who reads a text for the GPU passes Numba's `intrinsic` and `types` in.
"""

from __future__ import annotations

import hashlib
import linecache
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from tracejit.lower.cuda.device_functions import DEVICE_FUNCTIONS, MEMORY_FUNCTIONS, DeviceFunction, MemoryFunction
from tracejit.lower.cuda.kernel import CudaKernel
from tracejit.lower.cuda.simulation import shared_array
from tracejit.lower.cuda.text import HELPER_PREFIX
from tracejit.lower.scalar_llvm import LlvmScalar

DTYPES = (
    *(f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)),
    *("float32", "float64", "complex64", "complex128"),
)
"""Names of scalar types in a text; a bool is what a comparison gives.  Those of arrays end in `_dtype`."""


QUIET = "errstate"
"""The name of what keeps NumPy's warnings away in the simulator."""

SHARED = "shared_array"
"""The name of what gives arrays in shared memory in the simulator."""


def simulated_names(cuda: Any) -> dict[str, Any]:
    """The names as the simulator has them; `cuda` is its module numba.cuda."""
    types = {name: getattr(np, name) for name in DTYPES}
    types |= {f"{name}_dtype": np.dtype(name) for name in DTYPES}
    values = {name: x.simulate for name, x in DEVICE_FUNCTIONS.items()}
    memory = {name: x.simulate for name, x in MEMORY_FUNCTIONS.items()}
    ours = {QUIET: np.errstate, SHARED: shared_array}
    return {**types, **values, **memory, **ours, "cuda": cuda, "inf": math.inf, "nan": math.nan}


def compiled_names(cuda: Any, intrinsic: Callable[..., Any], types: Any) -> dict[str, Any]:
    """The names as Numba compiles them; from numba.cuda, numba.cuda.extending and numba.cuda again."""
    names = {name: getattr(types, name) for name in DTYPES}
    names |= {f"{name}_dtype": getattr(types, name) for name in DTYPES}
    values = {name: _of_values(name, x, intrinsic, types) for name, x in DEVICE_FUNCTIONS.items()}
    memory = {name: _of_memory(name, x, intrinsic, types) for name, x in MEMORY_FUNCTIONS.items()}
    return {**names, **values, **memory, "cuda": cuda, "inf": math.inf, "nan": math.nan}


def functions(kernel: CudaKernel, names: dict[str, Any], helper: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The functions of a kernel's text by name, one a launch.

    helper: what becomes of the text's helper functions before they are called: nothing in the simulator, for Numba
        `helper_intrinsic`.
    """
    file = f"<tracejit kernel {hashlib.sha256(kernel.source.encode()).hexdigest()[:16]}>"
    linecache.cache[file] = (len(kernel.source), None, kernel.source.splitlines(keepends=True), file)
    scope = {**names, **{name: np.array(values, dtype) for name, dtype, values in kernel.tables}}
    text = kernel.source
    if SHARED in names:
        text = text.replace("cuda.shared.array(", f"{SHARED}(cuda.shared, ")
    exec(compile(text, file, "exec"), scope)  # noqa: S102 - the text is ours
    for name in list(scope):
        if name.startswith(HELPER_PREFIX):
            scope[name] = helper(scope[name])
    made = [launch.function for launch in kernel.launches]
    if QUIET in names:  # NumPy's warnings are a matter of the thread, and the simulator starts its own
        for name in made:
            scope[f"plain_{name}"] = scope[name]
            body = f"    with {QUIET}(all='ignore'):\n        plain_{name}(*words)\n"
            exec(f"def {name}(*words):\n{body}", scope)  # noqa: S102
    return {name: scope[name] for name in made}


def helper_intrinsic(intrinsic: Callable[..., Any]) -> Callable[..., Any]:
    """A helper function as an intrinsic, compiled into the kernel's module without a GPU to ask for its version."""

    def make(function: Callable[..., Any]) -> Any:
        def typed(typingctx: Any, x: Any) -> Any:
            def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                result = context.compile_internal(builder, function, signature, args)
                _keep_out_of_line(builder)
                return result

            return x(x), emit

        typed.__name__ = function.__name__
        return intrinsic(typed)

    return make


def _keep_out_of_line(builder: Any) -> None:
    """Let the call that was just emitted be a call: each use would have a copy of the long code otherwise."""
    calls = [line for block in builder.function.blocks for line in block.instructions if line.opname == "call"]
    calls[-1].attributes.add("noinline")


# ---- Numba's types and ours


def _dtype(kind: Any) -> np.dtype[Any]:
    """The NumPy dtype of a Numba scalar type; literals of Python are int64."""
    name = str(getattr(kind, "literal_type", kind))
    return np.dtype({"boolean": "bool"}.get(name, name))


def _type(dtype: np.dtype[Any], types: Any) -> Any:
    return types.boolean if dtype == np.bool_ else getattr(types, dtype.name)


def _scalars(builder: Any, args: Any, kinds: Any) -> list[LlvmScalar]:
    return [LlvmScalar(builder, value, _dtype(kind)) for value, kind in zip(args, kinds, strict=True)]


def _of_values(name: str, function: DeviceFunction, intrinsic: Callable[..., Any], types: Any) -> Any:
    """A function of values as an intrinsic, typed by its arguments."""

    def typed(*kinds: Any) -> Any:
        result = _type(function.result(*map(_dtype, kinds)), types)

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return function.emit(builder, *_scalars(builder, args, signature.args)).value

        return result(*kinds), emit

    return intrinsic(_with_parameters(name, function.arity, typed))


def _of_memory(name: str, function: MemoryFunction, intrinsic: Callable[..., Any], types: Any) -> Any:
    """A function of memory as an intrinsic: several results, or several values, are a tuple."""

    def typed(pointer: Any, *kinds: Any) -> Any:
        dtype, count = _dtype(pointer.dtype), function.results
        result = types.UniTuple(pointer.dtype, count) if count else types.void

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = function.emit(builder, args[0], dtype, *_unpacked(builder, args[1:], signature.args[1:]))
            return _packed(builder, [x.value for x in values]) if count else context.get_dummy_value()

        return result(pointer, *kinds), emit

    return intrinsic(_with_parameters(name, function.arity, typed))


def _with_parameters(name: str, count: int, typed: Callable[..., Any]) -> Callable[..., Any]:
    """The typing function of an intrinsic, with as many parameters as Numba is to see."""
    parameters = ", ".join(f"x{k}" for k in range(count))
    scope: dict[str, Any] = {"typed": typed}
    exec(f"def {name}(typingctx, {parameters}):\n    return typed({parameters})\n", scope)  # noqa: S102
    made: Callable[..., Any] = scope[name]
    return made


def _unpacked(builder: Any, args: Any, kinds: Any) -> list[LlvmScalar]:
    """The values of arguments, those in tuples among them."""
    found = []
    for value, kind in zip(args, kinds, strict=True):
        inner = tuple(getattr(kind, "types", ()))
        parts = [builder.extract_value(value, k) for k in range(len(inner))] if inner else [value]
        found += _scalars(builder, parts, inner or (kind,))
    return found


def _packed(builder: Any, values: list[Any]) -> Any:
    """Values of one type as a tuple of Numba."""
    packed = ir.Constant(ir.ArrayType(values[0].type, len(values)), ir.Undefined)
    for place, value in enumerate(values):
        packed = builder.insert_value(packed, value, place)
    return packed
