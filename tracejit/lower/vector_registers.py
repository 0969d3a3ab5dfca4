"""How much the vector registers of this machine's CPU hold."""

from __future__ import annotations

from functools import lru_cache

import llvmlite.binding as llvm


@lru_cache(maxsize=1)
def vector_bytes() -> int:
    """Bytes of the widest vector register."""
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


def register_bytes() -> int:
    """Bytes of all vector registers: 32 of AVX-512 and NEON, 16 of AVX2."""
    width = vector_bytes()
    return width * (16 if width == 32 else 32)
