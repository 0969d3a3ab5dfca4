"""Which variant of a kernel a call gets, and how large its grid and its shared memory are: plain arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gpu_code import kernels_of, layernorm, softmax
from tests import kernels
from tracejit.lower.cuda.choice import choose, vectorized
from tracejit.lower.cuda.kernel import INDEX_LIMIT, Device, Variant
from tracejit.lower.cuda.lowering import lower
from tracejit.lower.cuda.parameters import parameters
from tracejit.lower.cuda.staging import staged

H100 = Device(multiprocessors=132, shared_bytes=227 << 10)
SMALL = Device(multiprocessors=10)


def chosen(kernel, extents, reach=0, aligned=True, device=H100):
    return choose(kernel, extents, reach, lambda operand: aligned, device)


def test_small_indices_where_everything_fits_them() -> None:
    kernel = kernels.axpy()
    assert chosen(kernel, (1000,)).index_bits == 32
    assert chosen(kernel, (INDEX_LIMIT,)).index_bits == 64
    assert chosen(kernel, (1000,), reach=INDEX_LIMIT).index_bits == 64


def test_vectors_where_memory_is_aligned() -> None:
    kernel = kernels.axpy("float32")
    assert vectorized(kernel) == {0, 1, 2}
    assert chosen(kernel, (1000,)).vector and not chosen(kernel, (1000,), aligned=False).vector
    assert lower(kernel, Variant(32, vector=True)).aligned == (0, 1, 2)
    assert vectorized(kernels.binary("add", rank=2, unit=False)) == {2}


@pytest.mark.parametrize(
    ("shape", "row"),
    [((100_000, 3), 1), ((100_000, 30), 4), ((100_000, 300), 32), ((100_000, 3000), 256), ((100, 300), 256)],
)
def test_threads_for_a_row(shape: tuple[int, int], row: int) -> None:
    kernel = kernels_of(layernorm, np.ones((4, 5), np.float32))[0]
    assert chosen(kernel, shape).row == row
    grid = lower(kernel, replace(Variant(32), row=row)).launches[0].grid(shape, H100)
    assert 0 < grid <= 16 * 132


def test_columns_that_are_few_and_long_are_shared_by_blocks() -> None:
    kernel = kernels.reduce_columns("sum", "float32")
    few = chosen(kernel, (100_000, 3))
    assert few.split and few.row == 64  # four columns side by side
    assert not chosen(kernel, (100, 1000)).split
    assert chosen(kernel, (100, 1_000_000)).row == 1
    lowered = lower(kernel, few)
    assert [launch.form for launch in lowered.launches] == ["columns", "combine"]
    blocks = lowered.launches[0].grid((100_000, 3), H100)
    assert 132 < blocks <= 4 * 132
    assert lowered.work[0].length((100_000, 3), H100) == 3 * blocks


def test_scratch_is_in_shared_memory_where_it_fits() -> None:
    kernel = kernels.softmax("float32")
    usual = chosen(kernel, (100_000, 500))
    assert usual.shared and lower(kernel, usual).launches[0].shared((100_000, 500)) == 8 * 2000
    # One row in a block where those of eight warps do not fit, a work array where not even one does.
    assert chosen(kernel, (100_000, 1000), device=Device(132, 8000)).row == 256
    huge = chosen(kernel, (100, 1_000_000))
    assert not huge.shared
    lowered = lower(kernel, huge)
    (work,) = lowered.work
    assert lowered.launches[0].shared((100, 1_000_000)) == 0
    assert work.length((100, 1_000_000), H100) == 100 * 1_000_000


def test_long_rows_that_are_read_again_are_kept() -> None:
    kernel = kernels_of(layernorm, np.ones((4, 5), np.float32))[0]
    assert chosen(kernel, (1000, 10_000)).staged and not chosen(kernel, (1000, 1000)).staged
    assert not chosen(kernel, (1000, 10_000), device=SMALL).staged or SMALL.shared_bytes >= 40_000
    kept = staged(kernel)
    assert sum(operand.role == "scratch" for operand in kept.operands) == 1
    assert staged(kernels.axpy()) is not None and staged(kernels.axpy()).operands == kernels.axpy().operands
    assert "row0" in lower(kernel, chosen(kernel, (1000, 10_000))).source


def test_an_empty_call_launches_nothing_but_a_reduction_of_everything() -> None:
    assert lower(kernels.axpy()).launches[0].grid((0,), H100) == 0
    assert lower(kernels_of(softmax, np.ones((4, 5)))[0]).launches[0].grid((0, 5), H100) == 0
    first, second = lower(kernels.reduce_all("sum")).launches
    assert first.grid((0,), H100) == second.grid((0,), H100) == 1


def test_the_words_of_a_call_are_those_of_the_cpu_and_more() -> None:
    found = parameters(kernels.take())
    names = [parameter.name for parameter in found]
    assert names == [
        *("x0", "x0_s0", "x0_s1", "x0_n0", "x0_n1", "x1", "x1_s0", "out0", "out0_s0", "out0_s1"),
        *("n0", "n1", "error"),
    ]
    assert found[0].memory_dtype == np.float64 and found[-1].is_address


def test_the_text_is_the_loop_of_a_thread() -> None:
    text = lower(kernels.axpy(), Variant(32)).source
    assert text.splitlines()[0] == ("def kernel_map(x0, x0_s0, x1, x1_s0, out0, out0_s0, n0, s0, error):")
    for line in ("while i0 < n0:", "v1 = x0[i0]", "i0 = int32(i0 + step)"):
        assert any(line in found for found in text.splitlines()), text
