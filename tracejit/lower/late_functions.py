"""Functions that a loop calls once a vector, and that are inlined once the loop is one of vectors.

The loop vectorizer turns branches into selects and knows no instruction that only one CPU has.  A *late function* is a
call for it, of which it picks the variant for its width (LLVM's vector function ABI attribute); the variant is
written here with vector instructions, may branch, and is inlined only after the vectorizer ran.  Left as a call it
would cost more than its instructions: no vector register survives a call.

    y = late_ldexp(a, n)     ->     <8 x double> y = late_ldexp_x8(a, n)     ->     <8 x double> y = scalef(a, n)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tracejit.lower.llvm_types import I8, I32, I64, POINTER, VOID, word
from tracejit.vecmath.language import Scalar, bits, cast, from_bits

Definition = Callable[..., Any]
"""A definition in the scalar language, of values that wrap LLVM's."""

_PREFIX = "late_"
_VECTOR_BYTES = (16, 32, 64, 128)  # the last for doubles in a loop over floats


class TargetModule(ir.Module):  # type: ignore[misc]
    """A module that knows the features of the CPU it is for: LLVM's names, `+` for those that are there."""

    def __init__(self, name: str, features: str = "") -> None:
        super().__init__(name)
        self.features = frozenset(features.split(","))


def _has(module: Any, *features: str) -> bool:
    return {f"+{feature}" for feature in features} <= getattr(module, "features", frozenset())


def inline_late_functions(module: Any, passes: Any) -> None:
    """Inline what waited for the vectorizer, which has run on the module; `passes` is an LLVM pass builder."""
    late = [function for function in module.functions if function.name.startswith(_PREFIX)]
    if not late:
        return
    for function in late:
        function.linkage = "internal"
        function.add_function_attribute("alwaysinline")
    manager = llvm.create_new_module_pass_manager()
    manager.add_always_inliner_pass()
    manager.add_simplify_cfg_pass()
    manager.add_global_dead_code_eliminate_pass()
    manager.run(module, passes)


def _late_function(module: Any, name: str, kind: Any, parameters: int) -> Any:
    """A pure function of values of one type; nothing may be inlined that another module could define otherwise."""
    function = ir.Function(module, ir.FunctionType(kind, [kind] * parameters), name)
    function.linkage = "weak"
    _pure(function)
    return function


def _pure(function: Any) -> None:
    """The vectorizer has to know it."""
    for attribute in ("nounwind", "readnone"):
        function.attributes.add(attribute)
    set.add(function.attributes, "willreturn")  # llvmlite does not list it


def _add_variants(function: Any, write: Callable[[Any], None]) -> None:
    """The function by vectors of each size, their bodies by `write`."""
    scalar, parameters = function.args[0].type, len(function.args)
    itemsize = 8 if isinstance(scalar, ir.DoubleType) else 4
    entries = []
    for width in (size // itemsize for size in _VECTOR_BYTES):
        # nothing refers to it before the vectorizer does, and it has to be there then: weak
        variant = _late_function(function.module, f"{function.name}_x{width}", ir.VectorType(scalar, width), parameters)
        write(variant)
        entries.append(f"_ZGV_LLVM_N{width}{'v' * parameters}_{function.name}({variant.name})")
    # an attribute that llvmlite does not list; LLVM looks it up on the callee
    set.add(function.attributes, f'"vector-function-abi-variant"="{",".join(entries)}"')


def _intrinsic(module: Any, name: str, result: Any, *parameters: Any) -> Any:
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, parameters), name)


# ---- a * 2^n

_VANISHED = {8: -1080.0, 4: -155.0}
"""By the bytes of a float: with such an n or a lower one a * 2^n is zero, for |a| up to 32.

An Intel CPU takes some two hundred cycles for a VSCALEF that underflows, in one lane or in all; what is known to be
zero is masked out.
"""


def emit_ldexp(a: Any, n: Any) -> Any:
    """a * 2^n rounded once, n an integer in a float; one instruction on a CPU with AVX-512."""
    builder, module = a.builder, a.builder.module
    if not _has(module, "avx512f", "avx512vl"):
        return _ldexp_by_parts(a, n).value  # type: ignore[attr-defined]
    name = f"{_PREFIX}ldexp_{a.dtype}"
    function = module.globals.get(name)
    if function is None:
        function = _late_function(module, name, a.value.type, 2)
        inner = ir.IRBuilder(function.append_basic_block("entry"))
        inner.ret(_scalef_of_one(inner, *function.args))
        _add_variants(function, _scalef)
    return builder.call(function, [a.value, n.value])


def _ldexp_by_parts(a: Scalar, n: Scalar) -> Scalar:
    """a * 2^(n/2) * 2^(n - n/2): the first product does not round where the second over- or underflows."""
    mantissa, bias = (52, 1023) if a.dtype.itemsize == 8 else (23, 127)
    word = bits(n + (1.5 * 2.0**mantissa + 2 * bias))  # n + 2*bias in the low bits
    signed, unsigned = word.dtype, np.dtype(f"u{a.dtype.itemsize}")
    whole = cast(word, unsigned)
    half = whole >> 1
    first, second = (from_bits(cast(part << mantissa, signed)) for part in (half, whole - half))
    return a * first * second


def _scalef(variant: Any) -> None:
    """AVX-512's VSCALEFPD and VSCALEFPS, two of them where a vector takes two registers."""
    builder = ir.IRBuilder(variant.append_basic_block("entry"))
    kind = variant.args[0].type
    if kind.count * _itemsize(kind) <= 64:
        builder.ret(_scalef_of_register(builder, *variant.args))
        return
    half = kind.count // 2
    parts = []
    for first in (0, half):
        lanes = ir.Constant(ir.VectorType(I32, half), [ir.Constant(I32, first + k) for k in range(half)])
        parts.append(_scalef_of_register(builder, *(builder.shuffle_vector(x, x, lanes) for x in variant.args)))
    every = ir.Constant(ir.VectorType(I32, 2 * half), [ir.Constant(I32, k) for k in range(2 * half)])
    builder.ret(builder.shuffle_vector(*parts, every))


def _itemsize(kind: Any) -> int:
    return 8 if isinstance(kind.element, ir.DoubleType) else 4


def _scalef_of_register(builder: Any, a: Any, n: Any) -> Any:
    kind = a.type
    size = kind.count * _itemsize(kind) * 8
    limit, zero = (ir.Constant(kind, [value] * kind.count) for value in (_VANISHED[_itemsize(kind)], 0.0))
    there = builder.fcmp_unordered(">", n, limit)
    if kind.count < 8:  # a mask has eight bits at least
        lanes = ir.Constant(ir.VectorType(I32, 8), [min(k, kind.count) for k in range(8)])
        there = builder.shuffle_vector(there, ir.Constant(there.type, None), lanes)
    arguments = [a, n, builder.fmul(a, zero), builder.bitcast(there, ir.IntType(max(kind.count, 8)))]
    if size == 512:
        arguments.append(ir.Constant(I32, 4))  # round as the mode says
    name = f"llvm.x86.avx512.mask.scalef.{'pd' if _itemsize(kind) == 8 else 'ps'}.{size}"
    return builder.call(_intrinsic(builder.module, name, kind, *(x.type for x in arguments)), arguments)


def _scalef_of_one(builder: Any, a: Any, n: Any) -> Any:
    """VSCALEFSD and VSCALEFSS."""
    suffix, width = ("sd", 2) if isinstance(a.type, ir.DoubleType) else ("ss", 4)
    kind, first = ir.VectorType(a.type, width), ir.Constant(I32, 0)
    there = builder.fcmp_unordered(">", n, ir.Constant(n.type, _VANISHED[16 // width]))
    zero = builder.fmul(a, ir.Constant(a.type, 0.0))
    vectors = [builder.insert_element(ir.Constant(kind, None), x, first) for x in (a, n, zero)]
    arguments = [*vectors, builder.zext(there, I8), ir.Constant(I32, 4)]
    name = f"llvm.x86.avx512.mask.scalef.{suffix}"
    result = builder.call(_intrinsic(builder.module, name, kind, *(x.type for x in arguments)), arguments)
    return builder.extract_element(result, first)


# ---- definitions for the few arguments beyond a bound


def emit_rare(x: Any, bound: float, definition: Definition, usual: Any, optimized: bool) -> Any:
    """Branch to `definition(x)` where |x| > bound: once a vector, and by the element in scalar loops and on GPUs."""
    module = x.builder.module
    late = "nvptx" not in module.triple
    exact = f"rare_{definition.__module__}_{definition.__qualname__}_{x.dtype}".replace(".", "_")
    name = f"{_PREFIX if late else 'branch_'}{exact}"
    function = module.globals.get(name)
    if function is None:
        one = _exact(module, exact, x, definition, optimized or not late)
        function = _late_function(module, name, x.value.type, 2)
        _branch(function, bound, lambda builder, a, usual: builder.call(one, [a]))
        if late:
            lanes = _lanes(one, x, bound, definition if optimized else None)
            _add_variants(function, lambda variant: _branch(variant, bound, lanes))
    return x.builder.call(function, [x.value, usual.value])


def _exact(module: Any, name: str, x: Any, definition: Definition, optimized: bool) -> Any:
    """The definition as a function."""
    kind = x.value.type
    function = ir.Function(module, ir.FunctionType(kind, [kind]), name)
    function.linkage = "internal"
    _pure(function)
    function.attributes.add("noinline")
    if not optimized:
        function.attributes.add("optnone")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.ret(definition(type(x)(builder, function.args[0], x.dtype)).value)
    return function


def _branch(function: Any, bound: float, beyond: Callable[[Any, Any, Any], Any]) -> None:
    """The body of a function: beyond(x, usual) if |x| > bound, in any lane, else usual."""
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    x, usual = function.args
    outside = _outside(builder, x, bound)
    if isinstance(x.type, ir.VectorType):
        mask = builder.bitcast(outside, ir.IntType(x.type.count))
        outside = builder.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0))
    with builder.if_then(outside, likely=False):
        builder.ret(beyond(builder, x, usual))
    builder.ret(usual)


def _outside(builder: Any, x: Any, bound: float) -> Any:
    """|x| > bound, a vector perhaps."""
    kind = x.type
    vector = isinstance(kind, ir.VectorType)
    suffix = f"v{kind.count}{kind.element.intrinsic_name}" if vector else kind.intrinsic_name
    limit = ir.Constant(kind, [ir.Constant(kind.element, bound)] * kind.count if vector else bound)
    magnitude = builder.call(_intrinsic(builder.module, f"llvm.fabs.{suffix}", kind, kind), [x])
    return builder.fcmp_ordered(">", magnitude, limit)


def _lanes(exact: Any, x: Any, bound: float, vectorized: Definition | None) -> Callable[[Any, Any, Any], Any]:
    """What calls a function that goes through the lanes of a vector, in memory: one loop for vectors of all sizes."""
    kind = x.value.type
    function = ir.Function(exact.module, ir.FunctionType(VOID, [POINTER, POINTER, I64]), f"{exact.name}_lanes")
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    for argument in function.args[:2]:
        argument.add_attribute("noalias")
    set.add(function.attributes, '"prefer-vector-width"="512"')
    entry, body, done = (function.append_basic_block(name) for name in ("entry", "body", "done"))
    builder = ir.IRBuilder(entry)
    builder.branch(body)
    builder.position_at_end(body)
    lane = builder.phi(I64)
    lane.add_incoming(word(0), entry)
    source, target = (builder.gep(p, [lane], inbounds=True, source_etype=kind) for p in function.args[:2])
    element = builder.load(source, typ=kind)
    outside = _outside(builder, element, bound)
    if vectorized:
        result = vectorized(type(x)(builder, element, x.dtype)).value
        builder.store(builder.select(outside, result, builder.load(target, typ=kind)), target)
    else:
        with builder.if_then(outside):
            builder.store(builder.call(exact, [element]), target)
    following = builder.add(lane, word(1))
    lane.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_unsigned("<", following, function.args[2]), body, done)
    builder.position_at_end(done)
    builder.ret_void()

    def call(inner: Any, a: Any, usual: Any) -> Any:
        with inner.goto_entry_block():
            slots = [inner.alloca(a.type) for _ in range(2)]
        for slot, value in zip(slots, (a, usual), strict=True):
            inner.store(value, slot)
        inner.call(function, [*slots, word(a.type.count)])
        return inner.load(slots[1], typ=a.type)

    return call
