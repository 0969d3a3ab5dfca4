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


def _shuffle_xor(builder: Any, value: LlvmScalar, distance: LlvmScalar, members: LlvmScalar) -> LlvmScalar:
    """SHFL.BFLY moves 32 bits: narrower values are widened, wider ones go in halves."""
    size = max(32, 8 * value.dtype.itemsize)
    word, kind = ir.IntType(size), value.value.type
    plain = isinstance(kind, ir.IntType)
    pattern = value.value if plain else builder.bitcast(value.value, ir.IntType(8 * value.dtype.itemsize))
    pattern = builder.zext(pattern, word) if pattern.type.width < size else pattern
    moved = [_shuffle_word(builder, part, distance, members) for part in _words(builder, pattern)]
    result = moved[0]
    if len(moved) == 2:
        high = builder.shl(builder.zext(moved[1], word), ir.Constant(word, 32))
        result = builder.or_(builder.zext(moved[0], word), high)
    width = kind.width if plain else size
    result = builder.trunc(result, ir.IntType(width)) if width < size else result
    return LlvmScalar(builder, result if plain else builder.bitcast(result, kind), value.dtype)


def _words(builder: Any, pattern: Any) -> list[Any]:
    if pattern.type.width == 32:
        return [pattern]
    high = builder.lshr(pattern, ir.Constant(pattern.type, 32))
    return [builder.trunc(part, _WORD) for part in (pattern, high)]


def _shuffle_word(builder: Any, word: Any, distance: LlvmScalar, members: LlvmScalar) -> Any:
    result = ir.LiteralStructType((_WORD, ir.IntType(1)))
    function = external(builder.module, "llvm.nvvm.shfl.sync.i32", result, *[_WORD] * 5)
    butterfly, whole_warp = ir.Constant(_WORD, 3), ir.Constant(_WORD, 31)
    step = distance.value if distance.dtype.itemsize == 4 else builder.trunc(distance.value, _WORD)
    pair = builder.call(function, [members.value, butterfly, word, step, whole_warp])
    return builder.extract_value(pair, 0)


def _sync_warp(builder: Any, members: LlvmScalar) -> LlvmScalar:
    function = external(builder.module, "llvm.nvvm.bar.warp.sync", ir.VoidType(), _WORD)
    builder.call(function, [members.value])
    return members


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
    "shuffle_xor": DeviceFunction(3, _same, _shuffle_xor, simulation.shuffle_xor),
    "sync_warp": DeviceFunction(1, _same, _sync_warp, simulation.sync_warp),
    "to_half": DeviceFunction(1, lambda x: _HALF_BITS, _to_half, simulation.to_half),
    "from_half": DeviceFunction(1, lambda x: np.dtype("f4"), _from_half, simulation.from_half),
    **{f"cast_{kind}{size}": _cast(f"{kind}{size}") for kind in ("int", "uint") for size in (8, 16, 32, 64)},
    **{f"libdevice_{name}": _of_libdevice(name, arity) for name, arity in LIBDEVICE.items()},
}
"""The functions of values.

`shuffle_xor(value, distance, members)` is the value of the thread whose number differs from one's own by `distance`
(xor); all threads of the warp in the bit set `members` (uint32) call it.  `sync_warp(members)` lets them wait.
"""


@dataclass(frozen=True)
class MemoryFunction:
    """A name of the text whose first argument is a pointer; several values, or several results, are one tuple.

    results: how many values come back.
    emit: `(builder, pointer, dtype of an element, *LlvmScalar) -> results`.
    simulate: `(Pointer, *NumPy scalars)`.
    """

    arity: int
    results: int
    emit: Callable[..., list[LlvmScalar]]
    simulate: Callable[..., Any]


def _vector_at(builder: Any, pointer: Any, place: LlvmScalar, lanes: int) -> tuple[Any, Any]:
    kind = ir.VectorType(pointer.type.pointee, lanes)
    return kind, builder.bitcast(builder.gep(pointer, [place.value]), kind.as_pointer())


def _load_vector(lanes: int) -> MemoryFunction:
    def emit(builder: Any, pointer: Any, dtype: Dtype, place: LlvmScalar) -> list[LlvmScalar]:
        _, address = _vector_at(builder, pointer, place, lanes)
        vector = builder.load(address, align=lanes * dtype.itemsize)
        parts = [builder.extract_element(vector, ir.Constant(_WORD, k)) for k in range(lanes)]
        return [LlvmScalar(builder, part, dtype) for part in parts]

    return MemoryFunction(2, lanes, emit, simulation.load_vector(lanes))


def _store_vector(lanes: int) -> MemoryFunction:
    def emit(builder: Any, pointer: Any, dtype: Dtype, place: LlvmScalar, *values: LlvmScalar) -> list[LlvmScalar]:
        kind, address = _vector_at(builder, pointer, place, lanes)
        vector = ir.Constant(kind, ir.Undefined)
        for lane, value in enumerate(values):
            vector = builder.insert_element(vector, value.value, ir.Constant(_WORD, lane))
        builder.store(vector, address, align=lanes * dtype.itemsize)
        return []

    return MemoryFunction(3, 0, emit, simulation.store_vector(lanes))


def _atomic(name: str, simulate: Callable[..., None]) -> MemoryFunction:
    """An integer in memory and a value are combined, whoever else does so at the same time."""

    def emit(builder: Any, pointer: Any, dtype: Dtype, place: LlvmScalar, value: LlvmScalar) -> list[LlvmScalar]:
        builder.atomic_rmw(name, builder.gep(pointer, [place.value]), value.value, "monotonic")
        return []

    return MemoryFunction(3, 0, emit, simulate)


LANES = (2, 4, 8, 16)
"""How many elements a vector may have."""

MEMORY_FUNCTIONS: dict[str, MemoryFunction] = {
    **{f"load_vector{n}": _load_vector(n) for n in LANES},
    **{f"store_vector{n}": _store_vector(n) for n in LANES},
    "atomic_max": _atomic("max", simulation.atomic_max),
    "atomic_add": _atomic("add", simulation.atomic_add),
}
"""The functions of memory: vectors at an address that is a multiple of their size, and integers that threads share."""
