"""Kernels by structure: in memory, on disk, or else compiled - all that are missing as one module.

The memory cache belongs to the process.  What is not there is looked for on disk under a key that covers everything
that decides the machine code (see `environment`), and only then compiled.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from tracejit.ops.table import OPS
from tracejit.records import dataclass
from tracejit.runtime.disk_cache import DiskCache, key_of
from tracejit.runtime.llvm_binding import llvm
from tracejit.runtime.machine import machine
from tracejit.runtime.machine_code import LoadedKernel, MachineCode, make_entry
from tracejit.runtime.shared_code import supply
from tracejit.schedule.kernel import Apply, Kernel, Reduce

_EMITTER_SOURCES = ("lower", "vecmath", "ops", "schedule/kernel.py")
"""What decides the machine code of a kernel, besides the kernel."""

_TRUSTED = ("tracejit", "_operator", "builtins")
"""Modules whose scalar definitions may be kept on disk: the key covers our sources and the interpreter's version."""


@dataclass
class CacheCounts:
    """What happened to the kernels that were asked for."""

    compiled: int = 0
    memory_hits: int = 0
    disk_hits: int = 0
    compile_seconds: float = 0.0

    def add(self, other: CacheCounts) -> None:
        """Add another's counts to these."""
        self.compiled += other.compiled
        self.memory_hits += other.memory_hits
        self.disk_hits += other.disk_hits
        self.compile_seconds += other.compile_seconds


@dataclass
class KernelCache:
    """The kernels of a process."""

    disk: DiskCache = field(default_factory=DiskCache)
    counts: CacheCounts = field(default_factory=CacheCounts)
    _loaded: dict[str, LoadedKernel] = field(default_factory=dict)
    _objects: dict[str, MachineCode] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def get_kernels(self, kernels: Sequence[Kernel], counts: CacheCounts | None = None) -> list[LoadedKernel]:
        """The kernels, callable; `counts`, if given, is added to as well as the cache's own."""
        here = CacheCounts()
        with self._lock:
            found: dict[str, LoadedKernel] = {}
            for kernel in kernels:
                if kernel.structure not in found:
                    loaded = self._from_memory(kernel, here) or self._from_disk(kernel, here)
                    if loaded is not None:
                        found[kernel.structure] = loaded
            missing = {k.structure: k for k in kernels if k.structure not in found}
            if missing:
                found |= self._compile(list(missing.values()), here)
            self.counts.add(here)
        if counts is not None:
            counts.add(here)
        return [found[kernel.structure] for kernel in kernels]

    def forget(self) -> None:
        """Empty the memory cache (kernels in use live on)."""
        with self._lock:
            self._loaded.clear()
            self._objects.clear()

    def _from_memory(self, kernel: Kernel, counts: CacheCounts) -> LoadedKernel | None:
        loaded = self._loaded.get(kernel.structure)
        if loaded is None:
            return None
        counts.memory_hits += 1
        return replace(loaded, source="memory", seconds=0.0)

    def _from_disk(self, kernel: Kernel, counts: CacheCounts) -> LoadedKernel | None:
        if _foreign(kernel):
            return None
        started = time.perf_counter()
        name = self.disk.object_name(_key(kernel))
        if name is None:
            return None
        code = self._objects.get(name)
        if code is None:
            data = self.disk.read_object(name)
            if data is None:
                return None
            code = self._objects[name] = self._machine_code(data)
        counts.disk_hits += 1
        return self._load(kernel, code, "disk", time.perf_counter() - started)

    def _compile(self, kernels: list[Kernel], counts: CacheCounts) -> dict[str, LoadedKernel]:
        started = time.perf_counter()
        # The emitters, and what they need, are loaded by a process that compiles and by no other.
        data: bytes = import_module("tracejit.lower.cpu").compile_kernels(kernels, machine().last_level_cache)
        code = self._machine_code(data)
        seconds = time.perf_counter() - started
        counts.compiled += len(kernels)
        counts.compile_seconds += seconds
        lasting = [_key(kernel) for kernel in kernels if not _foreign(kernel)]
        if lasting:
            self._objects[self.disk.write(lasting, data)] = code
        return {k.structure: self._load(k, code, "compiled", seconds) for k in kernels}

    def _machine_code(self, data: bytes) -> MachineCode:
        supply(data, self.disk, key_of(environment()))
        return MachineCode(data)

    def _load(self, kernel: Kernel, code: MachineCode, source: str, seconds: float) -> LoadedKernel:
        entry = make_entry(kernel, code)
        loaded = LoadedKernel(kernel, kernel.structure, entry, source, seconds, code)
        self._loaded[kernel.structure] = loaded
        return loaded


KERNELS = KernelCache()
"""The cache that the library uses."""


def get_kernels(kernels: Sequence[Kernel], counts: CacheCounts | None = None) -> list[LoadedKernel]:
    """The kernels, callable, from the process's cache."""
    return KERNELS.get_kernels(kernels, counts)


def _foreign(kernel: Kernel) -> bool:
    """Does an op's definition stand outside this package?  Its source is in no key, so it must not be kept on disk."""
    bodies = (instruction.body for instruction in kernel.instructions)
    return any(_is_foreign(name) for name in {body.op for body in bodies if isinstance(body, Apply | Reduce)})


def _is_foreign(name: str) -> bool:
    scalar = OPS[name].scalar
    return scalar is not None and (scalar.__module__ or "").split(".")[0] not in _TRUSTED


def _key(kernel: Kernel) -> str:
    return key_of(f"{environment()}|{kernel.structure}")


@lru_cache(maxsize=1)
def environment() -> str:
    """All but the kernel that decides the machine code: the CPU, the compilers, and our emitters' own sources."""
    parts = [
        llvm().get_process_triple(),
        llvm().get_host_cpu_name(),
        llvm().get_host_cpu_features().flatten(),
        str(machine().last_level_cache),
        f"llvmlite {import_module('llvmlite').__version__}, LLVM {llvm().llvm_version_info}",
        sys.version,
        source_hash(Path(__file__).parent.parent, _EMITTER_SOURCES),
    ]
    return "|".join(parts)


def source_hash(package: Path, names: Iterable[str]) -> str:
    """A hash of the sources that emit code: whoever edits an op's definition gets a new key."""
    import hashlib

    digest = hashlib.sha256()
    for path in _sources(package, names):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(package: Path, names: Iterable[str]) -> Iterable[Path]:
    for name in names:
        path = package / name
        yield from sorted(path.glob("*.py")) if path.is_dir() else [path]
