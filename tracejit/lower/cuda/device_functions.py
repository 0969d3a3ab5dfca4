"""The names that a kernel's text may call: what Python's operators do not say exactly, and what only a GPU has.

Each is one entry of `DEVICE_FUNCTIONS`: the dtype of its result, how it is emitted into LLVM IR (by llvmlite, inside a
Numba intrinsic; NVVM compiles it) and what stands for it in the simulator.  Values are NumPy scalars there; a float16
is its bits, a uint16, in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from tracejit.lower.cuda import simulation
from tracejit.lower.scalar_llvm import LlvmScalar
from tracejit.vecmath import language

Dtype = np.dtype[Any]

_WORD = ir.IntType(32)
_BOOL = np.dtype(bool)
_HALF_BITS = np.dtype(np.uint16)

VECTOR_BYTES = 16
"""Bytes of one vector load or store: the most that a thread moves in one instruction."""


@dataclass(frozen=True)
class DeviceFunction:
    """A name of the text.

    arity: parameters.
    result: dtype of the result by the dtypes of the arguments.
    emit: `(builder, *LlvmScalar) -> LlvmScalar`.
    simulate: `(*NumPy scalars) -> NumPy scalar`.
    """

    arity: int
    result: Callable[..., Dtype]
    emit: Callable[..., Any]
    simulate: Callable[..., Any]


def lanes(dtype: Dtype) -> int:
    """Elements in a vector of 16 bytes."""
    return VECTOR_BYTES // dtype.itemsize


def _same(first: Dtype, *rest: Dtype) -> Dtype:
    return first


def _libdevice(name: str) -> Callable[..., LlvmScalar]:
    """A call of libdevice's function, its float32 variant for float32."""

    def emit(builder: Any, *operands: LlvmScalar) -> LlvmScalar:
        kind, dtype = operands[0].value.type, operands[0].dtype
        symbol = f"__nv_{name}{'f' if dtype.itemsize == 4 else ''}"
        function = external(builder.module, symbol, kind, *[kind] * len(operands))
        return LlvmScalar(builder, builder.call(function, [x.value for x in operands]), dtype)

    return emit


def external(module: Any, symbol: str, result: Any, *parameters: Any) -> Any:
    """A function of libdevice, declared once a module."""
    return module.globals.get(symbol) or ir.Function(module, ir.FunctionType(result, parameters), symbol)


def _sqrt(builder: Any, x: LlvmScalar) -> LlvmScalar:
    symbol = "__nv_fsqrt_rn" if x.dtype.itemsize == 4 else "__nv_dsqrt_rn"
    function = external(builder.module, symbol, x.value.type, x.value.type)
    return LlvmScalar(builder, builder.call(function, [x.value]), x.dtype)


def _ldexp(builder: Any, x: LlvmScalar, exponent: LlvmScalar) -> LlvmScalar:
    symbol = f"__nv_ldexp{'f' if x.dtype.itemsize == 4 else ''}"
    function = external(builder.module, symbol, x.value.type, x.value.type, _WORD)
    places = language.cast(exponent, np.int32)
    return LlvmScalar(builder, builder.call(function, [x.value, places.value]), x.dtype)  # type: ignore[attr-defined]


def _extremum(name: str, symbol: str) -> Callable[..., LlvmScalar]:
    """PTX's min and max pass over a NaN, and order the zeros; for integers a comparison."""

    def emit(builder: Any, a: LlvmScalar, b: LlvmScalar) -> Any:
        if a.dtype.kind != "f":
            return language.select(a < b if symbol == "<" else a > b, a, b)
        number = _libdevice(name)(builder, a, b)
        return language.select(a == a, language.select(b == b, number, b), a)

    return emit


def _absolute(builder: Any, x: LlvmScalar) -> Any:
    if x.dtype.kind == "f":
        return _libdevice("fabs")(builder, x)
    return abs(x)


def _primitive(name: str) -> Callable[..., Any]:
    """A primitive of the scalar language, emitted as on a CPU: plain instructions, no intrinsics."""
    return lambda builder, *operands: operands[0].apply(name, *operands)


def _to_half(builder: Any, x: LlvmScalar) -> LlvmScalar:
    half = language.cast(x, np.float16)
    return LlvmScalar(builder, builder.bitcast(half.value, ir.IntType(16)), _HALF_BITS)  # type: ignore[attr-defined]


def _from_half(builder: Any, x: LlvmScalar) -> Any:
    half = LlvmScalar(builder, builder.bitcast(x.value, ir.HalfType()), np.float16)
    return language.cast(half, np.float32)


def _select(builder: Any, condition: LlvmScalar, a: LlvmScalar, b: LlvmScalar) -> LlvmScalar:
    return LlvmScalar(builder, builder.select(condition.value, a.value, b.value), a.dtype)


def _rounding(name: str, simulate: Callable[..., Any]) -> DeviceFunction:
    return DeviceFunction(1, _same, _libdevice(name), simulate)


def _cast(target: str) -> DeviceFunction:
    dtype = np.dtype(target)
    return DeviceFunction(
        1, lambda x: dtype, lambda builder, x: language.cast(x, dtype), lambda x: simulation.cast(x, dtype)
    )


def _of_libdevice(name: str, arity: int) -> DeviceFunction:
    return DeviceFunction(arity, _same, _libdevice(name), simulation.libdevice(name))


LIBDEVICE: dict[str, int] = {
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan"), 1),
    **dict.fromkeys(("asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt"), 1),
    **dict.fromkeys(("erf", "erfc", "lgamma"), 1),
    **dict.fromkeys(("atan2", "hypot", "pow", "fmod"), 2),
}
"""Functions of libdevice that an op of the table, or a `libm` of a definition, may name; how many operands each has."""


DEVICE_FUNCTIONS: dict[str, DeviceFunction] = {
    "fma": DeviceFunction(3, _same, _libdevice("fma"), simulation.fma),
    "sqrt": DeviceFunction(1, _same, _sqrt, np.sqrt),
    "floor": _rounding("floor", np.floor),
    "ceil": _rounding("ceil", np.ceil),
    "trunc": _rounding("trunc", np.trunc),
    "rint": _rounding("rint", np.rint),
    "copysign": DeviceFunction(2, _same, _libdevice("copysign"), np.copysign),
    "minimum": DeviceFunction(2, _same, _extremum("fmin", "<"), simulation.minimum),
    "maximum": DeviceFunction(2, _same, _extremum("fmax", ">"), simulation.maximum),
    "absolute": DeviceFunction(1, _same, _absolute, np.absolute),
    "ldexp": DeviceFunction(2, _same, _ldexp, simulation.ldexp),
    "idiv": DeviceFunction(2, _same, _primitive("idiv"), simulation.idiv),
    "irem": DeviceFunction(2, _same, _primitive("irem"), simulation.irem),
    "select": DeviceFunction(3, lambda condition, a, b: a, _select, simulation.select),
    "bits": DeviceFunction(
        1, lambda x: np.dtype(f"i{x.itemsize}"), lambda builder, x: language.bits(x), simulation.bits
    ),
    "from_bits": DeviceFunction(
        1, lambda x: np.dtype(f"f{x.itemsize}"), lambda builder, x: language.from_bits(x), simulation.from_bits
    ),
    "to_half": DeviceFunction(1, lambda x: _HALF_BITS, _to_half, simulation.to_half),
    "from_half": DeviceFunction(1, lambda x: np.dtype("f4"), _from_half, simulation.from_half),
    **{f"cast_{kind}{size}": _cast(f"{kind}{size}") for kind in ("int", "uint") for size in (8, 16, 32, 64)},
    **{f"libdevice_{name}": _of_libdevice(name, arity) for name, arity in LIBDEVICE.items()},
}
"""The functions of values."""


@dataclass(frozen=True)
class MemoryFunction:
    """A name of the text whose first argument is a pointer; several values, or several results, are one tuple.

    emit: `(builder, pointer, dtype of an element, *LlvmScalar) -> LlvmScalar's, as many as `results` says`.
    results: how many values come back, by the dtype of an element.
    simulate: `(Pointer, *NumPy scalars)`.
    """

    arity: int
    results: Callable[[Dtype], int]
    emit: Callable[..., list[LlvmScalar]]
    simulate: Callable[..., Any]


def _vector_at(builder: Any, pointer: Any, place: LlvmScalar, dtype: Dtype) -> Any:
    element = pointer.type.pointee
    kind = ir.VectorType(element, lanes(dtype))
    return kind, builder.bitcast(builder.gep(pointer, [place.value]), kind.as_pointer())


def _load_vector(builder: Any, pointer: Any, dtype: Dtype, place: LlvmScalar) -> list[LlvmScalar]:
    _, address = _vector_at(builder, pointer, place, dtype)
    vector = builder.load(address, align=VECTOR_BYTES)
    parts = [builder.extract_element(vector, ir.Constant(_WORD, k)) for k in range(lanes(dtype))]
    return [LlvmScalar(builder, part, dtype) for part in parts]


def _store_vector(builder: Any, pointer: Any, dtype: Dtype, place: LlvmScalar, *values: LlvmScalar) -> list[LlvmScalar]:
    kind, address = _vector_at(builder, pointer, place, dtype)
    vector = ir.Constant(kind, ir.Undefined)
    for lane, value in enumerate(values):
        vector = builder.insert_element(vector, value.value, ir.Constant(_WORD, lane))
    builder.store(vector, address, align=VECTOR_BYTES)
    return []


def _atomic_max(builder: Any, pointer: Any, dtype: Dtype, place: LlvmScalar, value: LlvmScalar) -> list[LlvmScalar]:
    builder.atomic_rmw("max", builder.gep(pointer, [place.value]), value.value, "monotonic")
    return []


MEMORY_FUNCTIONS: dict[str, MemoryFunction] = {
    "load_vector": MemoryFunction(2, lanes, _load_vector, simulation.load_vector),
    "store_vector": MemoryFunction(3, lambda dtype: 0, _store_vector, simulation.store_vector),
    "atomic_max": MemoryFunction(3, lambda dtype: 0, _atomic_max, simulation.atomic_max),
}
"""The functions of memory: vectors of 16 bytes at an aligned address, and the largest error so far."""
