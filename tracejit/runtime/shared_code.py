"""Functions that kernels share: compiled once a machine, kept on disk, loaded before a kernel that calls one."""

from __future__ import annotations

import threading
from importlib import import_module

import numpy as np

from tracejit.lower.linking import TILE
from tracejit.runtime.disk_cache import DiskCache
from tracejit.runtime.llvm_binding import llvm
from tracejit.runtime.machine_code import MachineCode

DTYPES = ("float32", "float64")
"""Of the panels that are multiplied."""

_LOADED: dict[str, MachineCode] = {}
"""The functions of this process, by name; they live as long as it does."""

_loading = threading.Lock()


def supply(object_code: bytes, disk: DiskCache, key: str) -> None:
    """Load what object code calls and does not have.

    key: of a function's own code on the disk, without the function's name, which is added to it.
    """
    for dtype in DTYPES:
        name = TILE + dtype
        if name.encode() in object_code:
            with _loading:
                if name not in _LOADED:
                    code = MachineCode(_object_code(np.dtype(dtype), disk, f"{key}-{name}"))
                    llvm().add_symbol(name, code.address(name))
                    _LOADED[name] = code


def _object_code(dtype: np.dtype[np.floating], disk: DiskCache, key: str) -> bytes:
    """From the disk, or compiled."""
    name = disk.object_name(key)
    found = None if name is None else disk.read_object(name)
    if found is None:
        found = import_module("tracejit.lower.cpu").compile_tile_product(dtype)
        disk.write([key], found)
    return found
