"""Kernels in memory, on disk, and compiled; a process whose kernels are on disk loads no emitter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import kernels
from tests.native_calls import run_python
from tracejit.__main__ import main
from tracejit.lower.cpu import compile_kernels
from tracejit.ops.table import OPS, elementwise
from tracejit.runtime import disk_cache, kernel_cache
from tracejit.runtime.disk_cache import CacheWarning, DiskCache
from tracejit.runtime.kernel_cache import CacheCounts, KernelCache
from tracejit.runtime.machine_code import LoadedKernel, MachineCode


def _works(loaded: LoadedKernel) -> None:
    x, out = np.arange(5.0), np.empty(5)
    loaded.entry(x, x, out, 5, 2.0, 5, 1)
    np.testing.assert_array_equal(out, 3 * x)


def test_memory_disk_compiled(tmp_path: Path) -> None:
    cache, counts = KernelCache(DiskCache(tmp_path)), CacheCounts()
    (loaded,) = cache.get_kernels([kernels.axpy()], counts)
    assert loaded.source == "compiled" and loaded.seconds > 0 and counts.compiled == 1
    assert cache.get_kernels([kernels.axpy()], counts)[0].source == "memory"
    fresh = KernelCache(DiskCache(tmp_path))
    again = fresh.get_kernels([kernels.axpy(), kernels.axpy()], counts)
    assert [k.source for k in again] == ["disk", "disk"]
    assert (counts.compiled, counts.memory_hits, counts.disk_hits) == (1, 1, 1)
    for kernel in (loaded, *again):
        _works(kernel)


def test_what_is_missing_is_compiled_together(tmp_path: Path) -> None:
    cache = KernelCache(DiskCache(tmp_path))
    cache.get_kernels([kernels.axpy()])
    cache.get_kernels([kernels.axpy(), kernels.softmax(), kernels.take()])
    info = cache.disk.info()
    assert (info.kernels, info.objects) == (3, 2)
    other = KernelCache(DiskCache(tmp_path))
    assert {k.source for k in other.get_kernels([kernels.take(), kernels.axpy()])} == {"disk"}


@pytest.mark.parametrize("pattern", ["*.o", "*.kernel"])
@pytest.mark.parametrize("damage", [b"", b"\xff nonsense"])
def test_damaged_files_are_reported_and_replaced(tmp_path: Path, pattern: str, damage: bytes) -> None:
    KernelCache(DiskCache(tmp_path)).get_kernels([kernels.axpy()])
    (path,) = tmp_path.glob(pattern)
    path.write_bytes(damage)
    cache = KernelCache(DiskCache(tmp_path))
    with pytest.warns(CacheWarning, match="damaged"):
        (loaded,) = cache.get_kernels([kernels.axpy()])
    assert loaded.source == "compiled"
    _works(loaded)
    assert KernelCache(DiskCache(tmp_path)).get_kernels([kernels.axpy()])[0].source == "disk"


def test_a_missing_object_is_compiled_again(tmp_path: Path) -> None:
    KernelCache(DiskCache(tmp_path)).get_kernels([kernels.axpy()])
    next(tmp_path.glob("*.o")).unlink()
    assert KernelCache(DiskCache(tmp_path)).get_kernels([kernels.axpy()])[0].source == "compiled"


def test_an_op_defined_elsewhere_stays_off_the_disk(tmp_path: Path) -> None:
    if "_test_triple" not in OPS:
        elementwise("_test_triple", lambda x: x * 3, "x * 3", spellings=(), resolve=np.positive)
    lines = kernels.Lines()
    lines.store(1, (0,), lines.apply("_test_triple", lines.load(0, (0,))))
    lines.stage()
    operands = (kernels.operand("float64", 1), kernels.operand("float64", 1, "out"))
    kernel = kernels.Kernel("map", 1, (0,), tuple(lines.stages), operands)
    try:
        cache = KernelCache(DiskCache(tmp_path))
        (loaded,) = cache.get_kernels([kernel])
        x, out = np.arange(4.0), np.empty(4)
        loaded.entry(x, out, 4, 4, 1)
        np.testing.assert_array_equal(out, 3 * x)
        assert cache.disk.info().kernels == 0
    finally:
        del OPS["_test_triple"]


def test_the_directory_is_bounded(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, limit=64_000)
    for number in range(40):
        disk.write([f"{number:040x}"], bytes([number]) * 4000)
    assert disk.info().bytes <= 64_000
    assert disk.object_name(f"{39:040x}") is not None


def test_an_unwritable_directory_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TRACEJIT_CACHE_DIR", str(blocked / "below"))
    monkeypatch.setattr(disk_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    directory = DiskCache().directory
    assert directory is not None and directory.parent == tmp_path
    assert directory.stat().st_mode & 0o777 == 0o700


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TRACEJIT_CACHE_DIR", str(tmp_path))
    KernelCache(DiskCache(tmp_path)).get_kernels([kernels.axpy()])
    assert main(["cache", "info"]) == 0
    assert "1 in 1 object files" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert not list(tmp_path.iterdir())


def test_missing_function_is_a_lookup_error() -> None:
    with pytest.raises(LookupError):
        MachineCode(compile_kernels([kernels.axpy()])).address("tj_nothing")


_SCRIPT = """
import sys
from tests import kernels
from tracejit.runtime.kernel_cache import get_kernels
import numpy as np
loaded, = get_kernels([kernels.softmax()])
x, out = np.ones((3, 4)), np.empty((3, 4))
assert loaded.entry(x, out, 3, 4, 3, 1) is None
assert (out == 0.25).all()
print(loaded.source, "tracejit.lower.cpu" in sys.modules, "numba" in sys.modules)
"""


@pytest.mark.parametrize("portable", ["", "1"])
def test_a_second_process_imports_no_emitter(tmp_path: Path, portable: str) -> None:
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "TRACEJIT_CACHE_DIR": str(tmp_path),
        "TRACEJIT_PORTABLE": portable,
        "PYTHONPATH": str(here.parent),
    }
    results = [
        subprocess.run(
            [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert results == ["compiled True False\n", "disk False False\n"]


def test_our_own_ops_are_kept_on_disk() -> None:
    assert [name for name, op in OPS.items() if not name.startswith("_test_") and kernel_cache._is_foreign(name)] == []


def test_importing_loads_neither_compiler_nor_what_names_kernels() -> None:
    loaded = run_python("-c", "import sys, tracejit; print(*sys.modules)").split()
    assert "tracejit.driver.function" in loaded
    assert not {"llvmlite", "numba", "hashlib", "json"} & {*loaded}
