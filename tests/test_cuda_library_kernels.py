"""The kernels that are written out, as machine code for every generation of GPU, without one."""

from __future__ import annotations

import pytest

from benchmarks.gpu_code import CAPABILITIES, Capability, assemble
from tracejit.lower.cuda.elimination import eliminate
from tracejit.lower.cuda.library_kernels import combine, compact, count, reduce_at, running, scatter
from tracejit.lower.cuda.scanning import scan
from tracejit.lower.cuda.sorting import merge, search, tiles
from tracejit.runtime.cuda_adapter import compile_kernel, packing

KERNELS = {
    "running sum": running("add", "float32", "float64", 256),
    "running product": running("multiply", "float32", "float32", 256),
    "scan of a mask": scan("add", "bool", "int64", 256),
    "scan maximum": scan("maximum", "float64", "float64", 256),
    "scan minimum": scan("minimum", "uint8", "uint8", 256),
    "reduce at f32": reduce_at("add", "float32", 256),
    "reduce at i64": reduce_at("maximum", "int64", 256),
    "scatter": scatter("bool", 256),
    "scatter f64": scatter("float64", 256),
    "combine add": combine("add", "float32", 256),
    "combine multiply": combine("multiply", "uint8", 256),
    "combine minimum": combine("minimum", "float64", 256),
    "count": count(256),
    "compact": compact(256),
    "tiles f64": tiles("float64", True, 256),
    "tiles u8": tiles("uint8", False, 32),
    "merge f32": merge("float32", True, 256),
    "merge i64": merge("int64", False, 256),
    "search left": search("float32", "left", 256),
    "eliminate f64": eliminate("float64", True, 256),
    "eliminate f32": eliminate("float32", False, 256),
    "search right": search("uint64", "right", 256),
}


SPILT_BY_DIVISIONS = 32
"""Bytes that substitution may spill, whose divisions of doubles are calls; others spill nothing."""


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", KERNELS)
def test_it_assembles(name: str, capability: Capability) -> None:
    kernel = KERNELS[name]
    compiled = compile_kernel(kernel, capability)
    assert len(compiled) == len(kernel.launches) and len(packing(kernel)) == len(kernel.parameters)
    for ptx, entry in compiled.values():
        assert f".entry {entry}(" in ptx and f".target sm_{capability[0]}{capability[1]}" in ptx
        said = assemble(ptx, capability)
        assert said.spill_bytes <= (SPILT_BY_DIVISIONS if "eliminate" in name else 0)
        assert said.shared_bytes <= 48 << 10
