"""LLVM, loaded with the first kernel and not with the library: it takes about as long to import as the library does."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def llvm() -> Any:
    """llvmlite's binding of LLVM."""
    import llvmlite.binding

    return llvmlite.binding
