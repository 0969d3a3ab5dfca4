"""Arrays that come from elsewhere: from the host to a device, from another library's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.eager.array import Array
from tracejit.eager.core import Eager, wrap
from tracejit.runtime.device import Device
from tracejit.runtime.devices import cuda_home, moved
from tracejit.runtime.dlpack import CUDA, CUDA_MANAGED, borrowed
from tracejit.trace.pytree import flatten, rebuild


def device_put(tree: Any, device: str | Device) -> Any:
    """A pytree whose arrays are `Array`s on a device.

    tree: NumPy arrays, Arrays, NumPy scalars, in any nesting of tuples, lists, dicts; other leaves stay as they are.
    device: "cpu", "cuda", "cuda:1".

    Arrays that are there already stay themselves.  The copy is made on the calling thread's stream, and what is queued
    later comes after it.  Raises NoDevice where there is no such device.

    >>> import numpy as np, tracejit as tj
    >>> tj.device_put({"w": np.ones(2), "steps": 3}, "cpu")
    {'w': Array([1., 1.]), 'steps': 3}
    """
    where = Device(device)
    if where.kind != "cpu":
        cuda_home(where.index)
    leaves: list[Any] = []
    structure = flatten(tree, leaves)
    return rebuild(structure, [_put(leaf, where) for leaf in leaves])


def _put(leaf: Any, where: Device) -> Any:
    if isinstance(leaf, Eager):
        return leaf.to(where)  # type: ignore[attr-defined]
    if not isinstance(leaf, (np.ndarray, np.generic)):
        return leaf
    return Array(leaf) if where.kind == "cpu" else wrap(moved(leaf, where))


def from_dlpack(value: Any) -> Array:
    """An Array on another library's memory, without a copy.

    value: an array of torch, CuPy, JAX, NumPy, ..., on the CPU or on a GPU.

    Writes to it by its owner show in the Array.  Raises BufferError for what cannot be shared.

    >>> import numpy as np, tracejit as tj
    >>> tj.from_dlpack(np.arange(3.0))
    Array([0., 1., 2.])
    """
    kind, number = value.__dlpack_device__()
    if kind not in (CUDA, CUDA_MANAGED):
        return wrap(np.from_dlpack(value))  # type: ignore[no-any-return]
    stream = cuda_home(number).stream
    try:
        capsule = value.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # written before version 1.0
        capsule = value.__dlpack__(stream=stream)
    return wrap(borrowed(capsule, cuda_home))  # type: ignore[no-any-return]
