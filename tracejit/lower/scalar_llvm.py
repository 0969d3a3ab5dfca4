"""Scalars whose operations emit LLVM IR: the scalar language on every target that compiles through LLVM.

No instruction carries a fast-math flag, so nothing is contracted or reassociated and the results are bit-equal to
NumPy's; a definition that wants a fused multiply-add says `fma`.  In registers bool is i1 and float16 is `half`, on
which arithmetic is not offered: callers widen it to float32 and narrow the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from tracejit.lower.late_functions import emit_ldexp, emit_rare
from tracejit.lower.llvm_types import POINTER, memory_type, register_type
from tracejit.vecmath import complex_numbers
from tracejit.vecmath.language import PRIMITIVES, Scalar, cast, select

_BOOL = np.dtype(bool)
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)


class LlvmScalar(Scalar):
    """An LLVM value with its NumPy dtype, and the builder that its operations go to."""

    __slots__ = ("builder", "dtype", "value")

    def __init__(self, builder: Any, value: Any, dtype: np.dtype[Any] | type) -> None:
        self.builder = builder
        self.value = value
        self.dtype = np.dtype(dtype)

    def apply(self, primitive: str, *operands: Any, dtype: np.dtype[Any] | None = None) -> LlvmScalar:
        if (dtype is not None and dtype.kind == "c") or getattr(operands[-1], "dtype", _BOOL).kind == "c":
            return _apply_to_parts(self.builder, primitive, operands, dtype)
        value = _EMITTERS[primitive](self.builder, operands, dtype)
        return LlvmScalar(self.builder, value, _result_dtype(primitive, operands, dtype))

    def constant(self, value: float | int | bool, dtype: np.dtype[Any] | None = None) -> LlvmScalar:
        target = self.dtype if dtype is None else np.dtype(dtype)
        return LlvmScalar(self.builder, _literal(target, value), target)

    def __repr__(self) -> str:
        return f"LlvmScalar({self.dtype}, {self.value})"


class LlvmComplex(LlvmScalar):
    """A complex number as its parts; what is moved whole is one integer of all bits."""

    __slots__ = ("parts", "whole")

    def __init__(self, builder: Any, parts: tuple[Any, Any], dtype: np.dtype[Any] | type, whole: Any = None) -> None:
        self.builder = builder
        self.parts = parts
        self.whole = whole
        self.dtype = np.dtype(dtype)

    @property
    def value(self) -> Any:
        """All bits, the real part's lowest."""
        if self.whole is None:
            kind, builder = register_type(self.dtype), self.builder
            half = ir.IntType(kind.width // 2)
            low, high = (builder.zext(builder.bitcast(part.value, half), kind) for part in self.parts)
            self.whole = builder.or_(low, builder.shl(high, ir.Constant(kind, half.width)))
        return self.whole


def _parts(x: LlvmScalar) -> tuple[Any, Any]:
    """The real and the imaginary part of a number, complex or not."""
    if isinstance(x, LlvmComplex):
        return x.parts
    if x.dtype.kind != "c":
        return x, x.constant(0)
    kind, builder, part = x.value.type, x.builder, _part_dtype(x.dtype)
    half = ir.IntType(kind.width // 2)
    low, high = x.value, builder.lshr(x.value, ir.Constant(kind, half.width))
    real, imaginary = (builder.bitcast(builder.trunc(bits, half), register_type(part)) for bits in (low, high))
    return LlvmScalar(builder, real, part), LlvmScalar(builder, imaginary, part)


def _part_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"f{dtype.itemsize // 2}")


def _part_address(builder: Any, pointer: Any, part: np.dtype[Any], place: int) -> Any:
    offset = ir.Constant(ir.IntType(64), place)
    address = builder.gep(pointer, [offset], inbounds=True, source_etype=register_type(part))
    address.type = POINTER  # llvmlite would have it point to what a stack slot was made for
    return address


def _apply_to_parts(builder: Any, primitive: str, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> LlvmScalar:
    """A primitive on complex numbers, or with a complex result."""
    if primitive == "cast":
        assert dtype is not None
        real, imaginary = _parts(operands[0])
        if dtype.kind == "b":
            return (real != 0) | (imaginary != 0)  # type: ignore[no-any-return]
        if dtype.kind != "c":
            raise TypeError(f"no conversion of {operands[0].dtype} to {dtype}")
        part = _part_dtype(dtype)
        return LlvmComplex(builder, (cast(real, part), cast(imaginary, part)), dtype)
    if primitive == "select":
        condition, *values = operands
        pairs = zip(*map(_parts, values), strict=True)
        return LlvmComplex(builder, tuple(select(condition, a, b) for a, b in pairs), values[0].dtype)  # type: ignore[arg-type]
    if primitive not in complex_numbers.RULES:
        raise TypeError(f"no {primitive} of {operands[0].dtype}")
    found: Any = complex_numbers.RULES[primitive](*map(_parts, operands))
    return LlvmComplex(builder, found, operands[0].dtype) if isinstance(found, tuple) else found


def load_value(builder: Any, pointer: Any, dtype: np.dtype[Any] | type) -> LlvmScalar:
    """The element at `pointer`, in its register representation.

    It is said to be defined, as all memory of arrays is: LLVM would else guard a reduction of it against what is not,
    and then not know it for one.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        part = _part_dtype(dtype)
        real, imaginary = (load_value(builder, _part_address(builder, pointer, part, n), part) for n in range(2))
        whole = builder.load(pointer, typ=memory_type(dtype), align=dtype.alignment)
        return LlvmComplex(builder, (real, imaginary), dtype, whole)
    loaded = builder.load(pointer, typ=memory_type(dtype), align=1 if dtype.kind == "b" else dtype.alignment)
    loaded.set_metadata("noundef", builder.module.add_metadata([]))
    if dtype.kind == "b":
        loaded = builder.icmp_unsigned("!=", loaded, ir.Constant(loaded.type, 0))
    return LlvmScalar(builder, loaded, dtype)


def store_value(builder: Any, pointer: Any, scalar: LlvmScalar) -> Any:
    """Store to `pointer` in the memory representation; the instruction is returned, for metadata."""
    if isinstance(scalar, LlvmComplex) and scalar.whole is None:
        for place, part in enumerate(scalar.parts):
            stored = store_value(builder, _part_address(builder, pointer, part.dtype, place), part)
        return stored
    value = scalar.value
    if scalar.dtype.kind == "b":
        value = builder.zext(value, ir.IntType(8))
    return builder.store(value, pointer, align=scalar.dtype.alignment)


def _result_dtype(primitive: str, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> np.dtype[Any]:
    if dtype is not None:
        return dtype
    if primitive in ("lt", "le", "gt", "ge", "eq", "ne"):
        return _BOOL
    result: np.dtype[Any] = operands[0].dtype
    return result


def _literal(dtype: np.dtype[Any], value: float | int | bool) -> Any:
    """The constant that NumPy's conversion of a Python number gives; integers wrap."""
    kind = register_type(dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return ir.Constant(kind, float(dtype.type(value)))
    if dtype.kind == "b":
        return ir.Constant(kind, int(bool(value)))
    return ir.Constant(kind, int(value) & ((1 << 8 * dtype.itemsize) - 1))


def _intrinsic(builder: Any, name: str, operands: tuple[Any, ...]) -> Any:
    """Call an intrinsic of one type, declared once a module."""
    kind = operands[0].value.type
    function = builder.module.declare_intrinsic(name, (kind,), ir.FunctionType(kind, [kind] * len(operands)))
    return builder.call(function, [operand.value for operand in operands])


# ---- arithmetic and comparison

_Emitter = Callable[[Any, tuple[Any, ...], "np.dtype[Any] | None"], Any]


def _by_kind(floating: str, signed: str, unsigned: str) -> _Emitter:
    """Emit the builder method of the first operand's kind."""

    def emit(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
        kind = operands[0].dtype.kind
        name = floating if kind == "f" else signed if kind == "i" else unsigned
        if not name:
            raise TypeError(f"no such operation on {operands[0].dtype}")
        return getattr(builder, name)(*(operand.value for operand in operands))

    return emit


def _float_intrinsic(name: str) -> _Emitter:
    return lambda builder, operands, dtype: _intrinsic(builder, name, operands)


def _comparison(symbol: str) -> _Emitter:
    def emit(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
        left, right = operands
        if left.dtype.kind == "f":
            compare = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
        else:
            compare = builder.icmp_signed if left.dtype.kind == "i" else builder.icmp_unsigned
        return compare(symbol, left.value, right.value)

    return emit


def _extremum(intrinsic: str, symbol: str) -> _Emitter:
    compare = _comparison(symbol)

    def emit(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
        if operands[0].dtype.kind == "f":
            return _intrinsic(builder, intrinsic, operands)
        left, right = operands
        return builder.select(compare(builder, operands, None), left.value, right.value)

    return emit


def _absolute(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
    (x,) = operands
    if x.dtype.kind == "f":
        return _intrinsic(builder, "llvm.fabs", operands)
    if x.dtype.kind != "i":
        return x.value
    negative = builder.icmp_signed("<", x.value, ir.Constant(x.value.type, 0))
    return builder.select(negative, builder.neg(x.value), x.value)


def _select(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
    condition, a, b = operands
    return builder.select(condition.value, a.value, b.value)


def _bitcast(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
    assert dtype is not None
    return builder.bitcast(operands[0].value, register_type(dtype))


# ---- casts: the values of NumPy's C casts on x86-64, but never LLVM's poison


def _cast(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
    (x,) = operands
    assert dtype is not None
    if x.dtype == dtype:
        return x.value
    if dtype.kind == "b":
        return _comparison("!=")(builder, (x, x.constant(0)), None)
    if x.dtype.kind == "f":
        return _float_to_float(builder, x, dtype) if dtype.kind == "f" else _float_to_integer(builder, x, dtype)
    if dtype.kind == "f":
        return _integer_to_float(builder, x, dtype)
    target = register_type(dtype)
    if dtype.itemsize < x.dtype.itemsize:
        return builder.trunc(x.value, target)
    if dtype.itemsize == x.dtype.itemsize and x.dtype.kind != "b":
        return x.value
    return builder.sext(x.value, target) if x.dtype.kind == "i" else builder.zext(x.value, target)


def _integer_to_float(builder: Any, x: LlvmScalar, dtype: np.dtype[Any]) -> Any:
    if dtype.itemsize == 2:  # NumPy goes by float32
        return builder.fptrunc(_integer_to_float(builder, x, _FLOAT32), register_type(dtype))
    convert = builder.sitofp if x.dtype.kind == "i" else builder.uitofp
    return convert(x.value, register_type(dtype))


def _float_to_float(builder: Any, x: LlvmScalar, dtype: np.dtype[Any]) -> Any:
    target = register_type(dtype)
    if dtype.itemsize > x.dtype.itemsize:
        return builder.fpext(x.value, target)
    if x.dtype.itemsize == 8 and dtype.itemsize == 2:
        return builder.fptrunc(_round_to_odd(builder, x.value), target)
    return builder.fptrunc(x.value, target)


def _round_to_odd(builder: Any, x: Any) -> Any:
    """A double as a float whose last bit is set when inexact, so that the next rounding is the only one.

    S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57 (2008).
    """
    single, word = ir.FloatType(), ir.IntType(32)
    nearest = builder.fptrunc(x, single)
    back = builder.fpext(nearest, x.type)
    fabs = builder.module.declare_intrinsic("llvm.fabs", (x.type,), ir.FunctionType(x.type, [x.type]))
    beyond = builder.fcmp_ordered(">", builder.call(fabs, [back]), builder.call(fabs, [x]))
    pattern = builder.bitcast(nearest, word)
    pattern = builder.sub(pattern, builder.zext(beyond, word))
    pattern = builder.or_(pattern, builder.zext(builder.fcmp_ordered("!=", back, x), word))
    return builder.bitcast(pattern, single)


def _float_to_integer(builder: Any, x: LlvmScalar, dtype: np.dtype[Any]) -> Any:
    """Truncation towards zero in the register that a C compiler on x86-64 takes, then the low bits of it."""
    value = x.value
    if x.dtype.itemsize == 2:
        value = builder.fpext(value, ir.FloatType())
    target = register_type(dtype)
    if dtype == np.dtype(np.uint64):
        return _float_to_uint64(builder, value)
    if dtype.itemsize == 8 or dtype == np.dtype(np.uint32):
        wide = _signed_conversion(builder, value, 64)
    else:
        wide = _signed_conversion(builder, value, 32)
    return wide if wide.type == target else builder.trunc(wide, target)


def _signed_conversion(builder: Any, value: Any, width: int) -> Any:
    """What cvttsd2si gives: the smallest integer for NaN and for values out of range."""
    kind = value.type
    limit = 2.0 ** (width - 1)
    inside = builder.and_(
        builder.fcmp_ordered("<", value, ir.Constant(kind, limit)),
        builder.fcmp_ordered(">=", value, ir.Constant(kind, -limit)),
    )
    safe = builder.select(inside, value, ir.Constant(kind, -limit))
    return builder.fptosi(safe, ir.IntType(width))


def _float_to_uint64(builder: Any, value: Any) -> Any:
    limit = ir.Constant(value.type, 2.0**63)
    large = builder.fcmp_ordered(">=", value, limit)
    reduced = builder.select(large, builder.fsub(value, limit), value)
    low = _signed_conversion(builder, reduced, 64)
    top = ir.Constant(ir.IntType(64), 1 << 63)
    return builder.select(large, builder.xor(low, top), low)


# ---- escapes


def _table(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
    index, values = operands
    assert dtype is not None
    kind = register_type(dtype)
    array = ir.ArrayType(kind, len(values))
    literals = [_literal(dtype, value) for value in values]
    content = f"{dtype}:{[str(literal) for literal in literals]}"
    name = f"table_{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    constants = builder.module.globals.get(name)
    if constants is None:
        constants = ir.GlobalVariable(builder.module, array, name)
        constants.linkage = "internal"
        constants.global_constant = True
        constants.unnamed_addr = True
        constants.align = 64
        constants.initializer = ir.Constant(array, literals)
    position = index.value
    if index.dtype.itemsize < 8:
        widen = builder.sext if index.dtype.kind == "i" else builder.zext
        position = widen(position, ir.IntType(64))
    zero = ir.Constant(ir.IntType(64), 0)
    pointer = builder.gep(constants, [zero, position], inbounds=True)
    element = builder.load(pointer, typ=kind, align=dtype.itemsize)
    element.set_metadata("invariant.load", builder.module.add_metadata([]))
    return element


def _rare(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
    return emit_rare(*operands)


def _ldexp(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
    return emit_ldexp(*operands)


def _libm(builder: Any, operands: tuple[Any, ...], dtype: np.dtype[Any] | None) -> Any:
    name, *arguments = operands
    kind = arguments[0].value.type
    symbol = name + ("f" if arguments[0].dtype == _FLOAT32 else "")
    function = builder.module.globals.get(symbol)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * len(arguments)), symbol)
        function.attributes.add("nounwind")
    return builder.call(function, [argument.value for argument in arguments])


_EMITTERS: dict[str, _Emitter] = {
    "add": _by_kind("fadd", "add", "add"),
    "sub": _by_kind("fsub", "sub", "sub"),
    "mul": _by_kind("fmul", "mul", "mul"),
    "div": _by_kind("fdiv", "", ""),
    "idiv": _by_kind("", "sdiv", "udiv"),
    "irem": _by_kind("", "srem", "urem"),
    "neg": _by_kind("fneg", "neg", "neg"),
    "abs": _absolute,
    "fma": _float_intrinsic("llvm.fma"),
    "sqrt": _float_intrinsic("llvm.sqrt"),
    "floor": _float_intrinsic("llvm.floor"),
    "ceil": _float_intrinsic("llvm.ceil"),
    "trunc": _float_intrinsic("llvm.trunc"),
    "rint": _float_intrinsic("llvm.rint"),
    "copysign": _float_intrinsic("llvm.copysign"),
    "minimum": _extremum("llvm.minimum", "<"),
    "maximum": _extremum("llvm.maximum", ">"),
    "lt": _comparison("<"),
    "le": _comparison("<="),
    "gt": _comparison(">"),
    "ge": _comparison(">="),
    "eq": _comparison("=="),
    "ne": _comparison("!="),
    "and": _by_kind("", "and_", "and_"),
    "or": _by_kind("", "or_", "or_"),
    "xor": _by_kind("", "xor", "xor"),
    "not": _by_kind("", "not_", "not_"),
    "shl": _by_kind("", "shl", "shl"),
    "shr": _by_kind("", "ashr", "lshr"),
    "bits": _bitcast,
    "from_bits": _bitcast,
    "select": _select,
    "cast": _cast,
    "table": _table,
    "ldexp": _ldexp,
    "rare": _rare,
    "libm": _libm,
}
assert _EMITTERS.keys() == PRIMITIVES.keys()
