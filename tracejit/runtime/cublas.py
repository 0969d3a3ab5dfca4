"""NVIDIA's cuBLAS by ctypes: one function of it, which multiplies batches of matrices.

The library is that of the wheel `nvidia-cublas` (the extra [cuda]), or the system's.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {"float16": (2, 68), "float32": (0, 68), "float64": (1, 70)}
"""For each dtype cudaDataType_t and cublasComputeType_t: float16 is added up in float32, float32 never as TF32."""

_AS_IT_IS, _TRANSPOSED, _ANY_ALGORITHM = 0, 1, -1

DTYPES = frozenset(map(np.dtype, _TYPES))
"""What it multiplies."""


class CublasError(RuntimeError):
    """A call of cuBLAS failed; the text has its number."""


class Cublas:
    """cuBLAS on one GPU, which is the active device while it is made.

    library: the file to load; raises OSError where there is none.
    """

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        self._handle = ctypes.c_void_p()
        self._lock = threading.Lock()
        self._check("cublasCreate_v2", self._library.cublasCreate_v2(ctypes.byref(self._handle)))
        size, word = ctypes.c_longlong, ctypes.c_int
        pointer = ctypes.c_void_p
        matrix = (pointer, word, word, size)
        self._multiply = self._library.cublasGemmStridedBatchedEx
        self._multiply.argtypes = (
            *(pointer, word, word, word, word, word, pointer),
            *matrix,
            *matrix,
            pointer,
            *matrix,
            *(word, word, word),
        )

    def _check(self, name: str, status: int) -> None:
        if status:
            raise CublasError(f"{name} failed with status {status}")

    def multiply(
        self,
        stream: int,
        dtype: np.dtype[Any],
        sizes: tuple[int, int, int, int],
        left: tuple[int, int, int, int],
        right: tuple[int, int, int, int],
        target: tuple[int, int, int],
    ) -> None:
        """target[b] = left[b] @ right[b], all in C order unless transposed; queued on a stream.

        sizes: batch, rows, columns, depth; left, right: address, whether it is transposed in memory, elements from row
        to row there, and from matrix to matrix; target: the same, never transposed.
        """
        kind, compute = _TYPES[dtype.name]
        batch, rows, columns, depth = sizes
        scale = ctypes.c_double if dtype.name == "float64" else ctypes.c_float
        one, zero = scale(1.0), scale(0.0)
        # cuBLAS counts by columns, so it sees every matrix transposed: target' = right' @ left'.
        with self._lock:
            self._check("cublasSetStream_v2", self._library.cublasSetStream_v2(self._handle, ctypes.c_void_p(stream)))
            status = self._multiply(
                self._handle,
                _TRANSPOSED if right[1] else _AS_IT_IS,
                _TRANSPOSED if left[1] else _AS_IT_IS,
                *(columns, rows, depth),
                ctypes.byref(one),
                *(right[0], kind, right[2], right[3]),
                *(left[0], kind, left[2], left[3]),
                ctypes.byref(zero),
                *(target[0], kind, target[1], target[2]),
                *(batch, compute, _ANY_ALGORITHM),
            )
        self._check("cublasGemmStridedBatchedEx", status)


def _files() -> Iterator[str]:
    """Where the library may be: in the wheel, then where the system looks."""
    found = importlib.util.find_spec("nvidia")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for path in sorted(Path(folder).glob("cu*/lib/libcublas.so.1[0-9]"), reverse=True):
            yield str(path)
    yield from ("libcublas.so.13", "libcublas.so.12")


@cache
def cublas(ordinal: int) -> Cublas | None:
    """cuBLAS for a GPU, which is the active device now; None where it is not installed."""
    for file in _files():
        try:
            return Cublas(file)
        except OSError:
            continue
    return None
