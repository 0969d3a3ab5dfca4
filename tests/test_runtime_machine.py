"""What the library knows of the machine."""

from __future__ import annotations

from pathlib import Path

from tracejit.runtime.machine import DEFAULT_CACHES, available_cpus, cache_sizes, cpu_quota, machine


def test_quota_of_both_versions(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cpu_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path) == 2


def test_caches_by_level(tmp_path: Path) -> None:
    assert cache_sizes(tmp_path) == tuple(DEFAULT_CACHES.values())
    caches = {0: ("1", "Data", "48K"), 1: ("1", "Instruction", "32K"), 2: ("2", "Unified", "2048K")}
    for index, (level, kind, size) in caches.items():
        directory = tmp_path / f"index{index}"
        directory.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (directory / name).write_text(f"{text}\n")
    assert cache_sizes(tmp_path) == (48 << 10, 2 << 20)
    (tmp_path / "index3").mkdir()  # says nothing
    assert cache_sizes(tmp_path) == (48 << 10, 2 << 20)


def test_this_machine() -> None:
    found = machine()
    assert found is machine()
    assert found.processor and found.cpus == available_cpus() >= 1
    assert found.last_level_cache == max(found.caches) >= 64 << 10
