"""Functions that kernels share: compiled once a machine, kept on disk, loaded before a kernel that calls one."""

from __future__ import annotations

import threading
from functools import partial
from importlib import import_module

import numpy as np

from tracejit.lower.linking import TILE
from tracejit.runtime.disk_cache import DiskCache
from tracejit.runtime.llvm_binding import llvm
from tracejit.runtime.machine_code import MachineCode
from tracejit.schedule.panel_products import DTYPES

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
                    code = MachineCode(disk.kept(f"{key}-{name}", partial(_compiled, dtype)))
                    llvm().add_symbol(name, code.address(name))
                    _LOADED[name] = code


def _compiled(dtype: str) -> bytes:
    # The emitters are loaded by a process that compiles and by no other.
    data: bytes = import_module("tracejit.lower.cpu").compile_tile_product(np.dtype(dtype))
    return data
